import Foundation
import NIOCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Where a printer prints; tests make one up.
struct PrinterPlace: Sendable {
    /// Writes a text as it is.
    var write: @Sendable (String) -> Void
    /// Lets what was written leave.
    var flush: @Sendable () -> Void
    /// The columns of the terminal just now, for its window may change; nil if it is none.
    var columns: @Sendable () -> Int?
    /// Whether lines may have colours.
    var hasColours: Bool
    /// The time.
    var now: @Sendable () -> NIODeadline

    /// Columns of a terminal that does not tell.
    private static let usualColumns = 80
    /// Narrower than this, a bar says nothing.
    private static let fewestColumns = 20

    /// Standard output, with a bar if it is a terminal that can move its cursor.
    ///
    /// Colours follow <https://no-color.org>: `NO_COLOR`, set to anything but nothing, forbids them.
    static func standardOutput(
        environment: [String: String] = ProcessInfo.processInfo.environment
    ) -> PrinterPlace {
        let terminal = environment["TERM"] ?? ""
        let isTerminal = isatty(STDOUT_FILENO) == 1 && !terminal.isEmpty && terminal != "dumb"
        return PrinterPlace(
            write: { print($0, terminator: "") },
            flush: { Output.flush() },
            columns: { isTerminal ? Self.windowColumns() : nil },
            hasColours: isTerminal && (environment["NO_COLOR"] ?? "").isEmpty,
            now: { .now() })
    }

    private static func windowColumns() -> Int {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else {
            return Self.usualColumns
        }
        return max(Self.fewestColumns, Int(size.ws_col))
    }
}
