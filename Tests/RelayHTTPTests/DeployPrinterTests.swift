import Deploy
import Dispatch
import Foundation
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import pgshare

/// A terminal, or a file, that remembers what was written.
private final class MadePlace: Sendable {
    struct State {
        var text = ""
        var columns: Int?
        var now = NIODeadline.uptimeNanoseconds(1_000_000_000)
    }

    let state = NIOLockedValueBox(State())
    let gate = DispatchSemaphore(value: 1)

    init(columns: Int?) { self.state.withLockedValue { $0.columns = columns } }

    func place(colours: Bool = false) -> PrinterPlace {
        PrinterPlace(
            write: { text in
                self.gate.wait()
                self.gate.signal()
                self.state.withLockedValue { $0.text += text }
            },
            flush: {}, columns: { self.state.withLockedValue { $0.columns } },
            hasColours: colours, now: { self.state.withLockedValue { $0.now } })
    }

    var text: String { self.state.withLockedValue { $0.text } }

    func wait(_ seconds: Int64) {
        self.state.withLockedValue { $0.now = $0.now + .seconds(seconds) }
    }
}

struct DeployPrinterTests {
    static func progress(_ bytes: Int64) -> DeployEvent {
        .tableProgress(TableProgress(schema: "s", name: "t\u{1B}[2J", bytes: bytes))
    }

    static let started = DeployEvent.tableStarted(TableProgress(schema: "s", name: "t\u{1B}[2J"))

    @Test func `on a terminal the bar is redrawn in place and gone at the end`() throws {
        let terminal = MadePlace(columns: 60)
        let printer = DeployPrinter(json: false, place: terminal.place())
        printer.happened(.phase(.data))
        printer.happened(Self.started)
        printer.redraw()
        terminal.state.withLockedValue { $0.columns = 30 }
        printer.redraw()
        printer.happened(.notice(RunNotice("look")))
        printer.finish()

        let text = terminal.text
        #expect(text.contains("s.t\\x1b[2J"))
        #expect(!text.contains("\u{1B}[2J"))
        #expect(text.hasSuffix("\r\u{1B}[Klook\n") || text.hasSuffix("\u{1B}[K"))
        for drawn in text.split(separator: "\r") where drawn.contains("%") {
            let bar = try #require(drawn.split(separator: "\u{1B}").first)
            #expect(bar.count < 60)
            #expect(!bar.contains("\n"))
        }
    }

    @Test func `nothing is printed after the end`() {
        let terminal = MadePlace(columns: 60)
        let printer = DeployPrinter(json: false, place: terminal.place())
        printer.happened(.phase(.data))
        printer.finish()
        let text = terminal.text
        printer.happened(.notice(RunNotice("late")))
        printer.say("late")
        printer.redraw()
        printer.finish()
        #expect(terminal.text == text)
    }

    @Test func `while somebody is asked there is no bar`() {
        let terminal = MadePlace(columns: 60)
        let printer = DeployPrinter(json: false, place: terminal.place())
        printer.happened(.phase(.planning))
        printer.redraw()
        printer.pause()
        let text = terminal.text
        #expect(text.hasSuffix("\r\u{1B}[K"))
        printer.redraw()
        #expect(terminal.text == text)
        printer.happened(.phase(.data))
        printer.redraw()
        #expect(terminal.text.hasPrefix(text + "\r --%"))
        printer.finish()
    }

    @Test func `a log has plain lines without a bar or colours`() {
        let log = MadePlace(columns: nil)
        let printer = DeployPrinter(json: false, place: log.place())
        printer.happened(.phase(.data))
        printer.happened(Self.started)
        printer.redraw()
        log.wait(11)
        printer.redraw()
        printer.redraw()
        printer.say("a plan\nof two lines")
        printer.finish()
        #expect(log.text == "copying rows\n  s.t\\x1b[2J, 0 B, 0 B/s\na plan\nof two lines\n")
    }

    @Test func `warnings have a colour where colours are wanted`() {
        for (colours, expected) in [
            (true, "\u{1B}[33mwarning: w\u{1B}[0m\n"), (false, "warning: w\n"),
        ] {
            let terminal = MadePlace(columns: 60)
            let printer = DeployPrinter(json: false, place: terminal.place(colours: colours))
            printer.happened(.notice(RunNotice("w", isWarning: true)))
            printer.finish()
            #expect(terminal.text == expected)
        }
    }

    @Test func `programs get an object a line, of one table one a second`() throws {
        let pipe = MadePlace(columns: nil)
        let printer = DeployPrinter(json: true, place: pipe.place())
        printer.happened(Self.started)
        for second in 0..<3 {
            for bytes in 0..<100 { printer.happened(Self.progress(Int64(second * 100 + bytes))) }
            pipe.wait(1)
        }
        printer.happened(.step(PhaseStep(.indexes, "a")))
        printer.happened(.step(PhaseStep(.indexes, "a", done: 1)))
        printer.happened(.step(PhaseStep(.indexes, "b")))
        printer.say("not for programs")
        printer.happened(.committed)
        printer.finish()

        let lines = pipe.text.split(separator: "\n").map(String.init)
        #expect(!pipe.text.unicodeScalars.contains("\u{1B}"))
        let names = try lines.map { try DeployEvent(json: $0).name }
        #expect(
            names == [
                .tableStarted, .tableProgress, .tableProgress, .tableProgress, .step, .step,
                .committed,
            ])
    }

    @Test func `a reader that takes nothing keeps nobody waiting and is told the end`() {
        let terminal = MadePlace(columns: nil)
        let printer = DeployPrinter(json: false, place: terminal.place())
        terminal.gate.wait()
        for _ in 0..<(DeployPrinter.maximumWaitingLines + 500) {
            printer.happened(.notice(RunNotice("n")))
        }
        printer.happened(.committed)
        terminal.gate.signal()
        printer.finish()
        let lines = terminal.text.split(separator: "\n")
        // Beside those that waited: the one that was being written, and the last.
        #expect(lines.count <= DeployPrinter.maximumWaitingLines + 2)
        #expect(lines.last == "committed: the target holds the new state")
    }
}
