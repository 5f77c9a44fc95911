import Foundation
public import Logging

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Writes one line an event and escapes what could break out of that line.
public struct LineLogHandler: LogHandler {
    private let label: String
    private let format: LogFormat
    private let write: @Sendable (String) -> Void

    /// What every line of this logger carries.
    public var metadata = Logger.Metadata()
    /// The least level that is written. Until it is set, that of all loggers.
    public var logLevel: Logger.Level {
        get { self.ownLevel ?? self.commonLevel() }
        set { self.ownLevel = newValue }
    }
    private var ownLevel: Logger.Level?
    private let commonLevel: @Sendable () -> Logger.Level
    /// Asked for more facts at every line.
    public var metadataProvider: Logger.MetadataProvider?

    /// Creates a handler.
    ///
    /// - Parameters:
    ///   - label: The logger's label.
    ///   - format: Text or JSON.
    ///   - level: The least level that is written, asked for at every line.
    ///   - write: Takes a whole line, its newline included. Called on any thread.
    public init(
        label: String,
        format: LogFormat,
        level: @escaping @autoclosure @Sendable () -> Logger.Level,
        write: @escaping @Sendable (String) -> Void
    ) {
        self.label = label
        self.format = format
        self.commonLevel = level
        self.write = write
    }

    /// Gets or sets one fact that every line of this logger carries.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    /// Writes one line.
    public func log(event: LogEvent) {
        var facts = self.metadata
        if let provided = self.metadataProvider?.get() {
            facts.merge(provided) { _, new in new }
        }
        if let own = event.metadata {
            facts.merge(own) { _, new in new }
        }
        if let error = event.error {
            facts[LogKey.error.rawValue] = "\(error)"
        }
        let line =
            switch self.format {
            case .text: self.textLine(event, facts)
            case .json: self.jsonLine(event, facts)
            }
        self.write(line)
    }

    private func textLine(_ event: LogEvent, _ facts: Logger.Metadata) -> String {
        var line = "\(Self.now()) \(Self.padded(event.level)) "
        line += LogText.escaped("\(event.message)", quoting: false)
        for (key, value) in facts.sorted(by: { $0.key < $1.key }) {
            line += " \(LogText.escaped(key, quoting: true))="
            line += LogText.escaped("\(value)", quoting: true)
        }
        return line + "\n"
    }

    private func jsonLine(_ event: LogEvent, _ facts: Logger.Metadata) -> String {
        var pairs = [
            ("time", Self.now()), ("level", event.level.rawValue), ("message", "\(event.message)"),
            ("label", self.label),
        ]
        let taken = Set(pairs.map(\.0))
        for (key, value) in facts.sorted(by: { $0.key < $1.key }) where !taken.contains(key) {
            pairs.append((key, "\(value)"))
        }
        let body = pairs.map { "\(LogText.json($0.0)):\(LogText.json($0.1))" }
        return "{\(body.joined(separator: ","))}\n"
    }

    private static func now() -> String {
        Date().formatted(.iso8601.year().month().day().time(includingFractionalSeconds: true))
            + "Z"
    }

    private static func padded(_ level: Logger.Level) -> String {
        level.rawValue.padding(toLength: 8, withPad: " ", startingAt: 0)
    }
}

/// The process's standard error, a whole line at a time.
enum StandardError {
    /// Writes `line`. Lines below `PIPE_BUF` (4,096 bytes) never mix, even between processes.
    static func write(_ line: String) {
        var bytes = Array(line.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { systemWrite(2, $0.baseAddress, $0.count) }
            // A log that nobody reads any more must not stop the relay.
            guard count > 0 else { return }
            bytes = bytes.dropFirst(count)
        }
    }
}

private func systemWrite(_ file: Int32, _ base: UnsafeRawPointer?, _ count: Int) -> Int {
    guard let base else { return 0 }
    while true {
        let written = write(file, base, count)
        guard written < 0, errno == EINTR else { return written }
    }
}
