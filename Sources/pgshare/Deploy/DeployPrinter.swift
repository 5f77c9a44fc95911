import Deploy
import Dispatch
import Foundation
import NIOConcurrencyHelpers
import NIOCore

/// Tells the person, or the program, behind `pgshare deploy` what happens.
///
/// On a terminal a bar is redrawn in place; elsewhere there are plain lines; with `--json` one
/// object a line. Events come from any thread and never wait: writing is done on a queue, so that
/// a terminal that is paused stalls no event loop.
final class DeployPrinter: Sendable {
    /// The most redraws a second are ten.
    static let redrawInterval = DispatchTimeInterval.milliseconds(100)
    /// The least time between two lines of JSON about one table, or about one phase's steps.
    static let jsonInterval = TimeAmount.seconds(1)
    /// Lines that may wait for a reader that takes none. Others are dropped, but not the last.
    static let maximumWaitingLines = 100_000
    /// How long the end waits for a reader, in seconds: it may be gone.
    static let patience = 1.0

    private let json: Bool
    /// Whether it prints JSON and nothing else.
    var isJSON: Bool { self.json }
    private let place: PrinterPlace
    private let state: NIOLockedValueBox<State>
    private let queue = DispatchQueue(label: "pgshare.deploy.printer")

    private struct State {
        var transcript: ProgressTranscript
        /// When JSON last told of a table.
        var lastTables: [TableName: NIODeadline] = [:]
        /// The last step that JSON told of.
        var lastStep: (step: PhaseStep, at: NIODeadline)?
        var waiting = 0
        var isPaused = false
        var isFinished = false
        /// Whether a bar stands on the terminal's last line. Of the queue.
        var hasBar = false
        var timer: RedrawTimer?
    }

    private struct TableName: Hashable {
        var schema: String
        var name: String

        init(_ table: TableProgress) {
            self.schema = table.schema
            self.name = table.name
        }
    }

    /// Creates a printer.
    ///
    /// - Parameters:
    ///   - json: Whether every event is printed as JSON, and nothing else.
    ///   - place: Where it prints.
    init(json: Bool, place: PrinterPlace = .standardOutput()) {
        self.json = json
        self.place = place
        let hasBar = !json && place.columns() != nil
        self.state = NIOLockedValueBox(State(transcript: ProgressTranscript(hasBar: hasBar)))
    }

    /// One thing happened. Any thread; never waits.
    func happened(_ event: DeployEvent) {
        let now = self.place.now()
        self.state.withLockedValue { state in
            state.isPaused = false
            if self.json {
                guard Self.isDue(event, now, &state) else { return }
                self.enqueue(&state, isLast: event.isLast) { self.writeJSON(event) }
            } else {
                let lines = state.transcript.apply(event, now: now)
                if !lines.isEmpty {
                    self.enqueue(&state, isLast: event.isLast) { self.write(lines) }
                }
                self.startTimer(&state)
            }
        }
    }

    /// Prints a text of ours that may have several lines and may quote others, such as a plan.
    /// With `--json` it is not printed: the events have it all.
    func say(_ text: String) {
        guard !self.json else { return }
        let lines = ProgressText.printableLines(text).split(
            separator: "\n", omittingEmptySubsequences: false)
        self.state.withLockedValue { state in
            self.enqueue(&state, isLast: true) {
                self.write(lines.map { ProgressTranscript.Line(String($0)) })
            }
        }
    }

    /// Takes the bar away, until the next event: somebody is asked a question. Returns when all
    /// that was said stands on the terminal.
    func pause() {
        self.state.withLockedValue { $0.isPaused = true }
        self.drain()
    }

    /// Prints what is left and leaves the terminal clean. Nothing is printed after it.
    func finish() {
        let timer = self.state.withLockedValue { state in
            state.isFinished = true
            defer { state.timer = nil }
            return state.timer
        }
        timer?.cancel()
        self.drain()
    }

    /// Does what the timer does, and returns when it is done.
    func redraw() { self.queue.sync { self.tick() } }

    private func drain() {
        let isPrinted = DispatchSemaphore(value: 0)
        self.queue.async {
            self.clearBar()
            self.place.flush()
            isPrinted.signal()
        }
        _ = isPrinted.wait(timeout: .now() + Self.patience)
    }

    // MARK: Under the lock

    /// Progress comes many times a second, and a program needs it once.
    private static func isDue(
        _ event: DeployEvent, _ now: NIODeadline, _ state: inout State
    ) -> Bool {
        switch event {
        case .tableProgress(let table):
            let name = TableName(table)
            if let last = state.lastTables[name], now - last < Self.jsonInterval { return false }
            state.lastTables[name] = now
        case .tableFinished(let table):
            state.lastTables[TableName(table)] = nil
        case .step(let step):
            if let last = state.lastStep, last.step.phase == step.phase,
                last.step.text == step.text, now - last.at < Self.jsonInterval
            {
                return false
            }
            state.lastStep = (step, now)
        case .started, .planned, .finding, .phase, .tableStarted, .notice, .verified, .committed,
            .rolledBack, .finished, .failed:
            break
        }
        return true
    }

    private func enqueue(
        _ state: inout State, isLast: Bool, _ body: @escaping @Sendable () -> Void
    ) {
        guard !state.isFinished, isLast || state.waiting < Self.maximumWaitingLines else { return }
        state.waiting += 1
        self.queue.async {
            self.state.withLockedValue { $0.waiting -= 1 }
            body()
        }
    }

    /// The timer draws the bar, or says that long work goes on.
    private func startTimer(_ state: inout State) {
        guard state.timer == nil, !state.isFinished else { return }
        state.timer = RedrawTimer(on: self.queue, every: Self.redrawInterval) { [weak self] in
            self?.tick()
        }
    }

    // MARK: On the queue

    /// Draws the bar, or prints the line that is due.
    private func tick() {
        let now = self.place.now()
        let columns = self.place.columns()
        let (bar, line, hadBar) = self.state.withLockedValue { state in
            guard !state.isPaused, !state.isFinished else {
                return (String?.none, ProgressTranscript.Line?.none, state.hasBar)
            }
            // The last column stays free: a terminal may move on when it is written to.
            let bar = columns.flatMap { state.transcript.bar(now: now, columns: $0 - 1) }
            let hadBar = state.hasBar
            state.hasBar = bar != nil
            return (bar, state.transcript.overdue(now: now), hadBar)
        }
        if let bar {
            self.place.write("\r\(bar)\u{1B}[K")
        } else if hadBar {
            self.clearBar()
        }
        if let line { self.write([line]) }
        if bar != nil || hadBar || line != nil { self.place.flush() }
    }

    private func write(_ lines: [ProgressTranscript.Line]) {
        self.clearBar()
        for line in lines { self.place.write(self.coloured(line) + "\n") }
        self.place.flush()
    }

    private func writeJSON(_ event: DeployEvent) {
        // Only a number that is none cannot be written; such an event is not worth the run.
        guard let json = try? event.json() else { return }
        self.place.write(ProgressText.safeJSON(json) + "\n")
        self.place.flush()
    }

    private func clearBar() {
        let hadBar = self.state.withLockedValue { state in
            defer { state.hasBar = false }
            return state.hasBar
        }
        if hadBar { self.place.write("\r\u{1B}[K") }
    }

    private func coloured(_ line: ProgressTranscript.Line) -> String {
        guard self.place.hasColours else { return line.text }
        switch line.tone {
        case .plain: return line.text
        case .good: return "\u{1B}[32m\(line.text)\u{1B}[0m"
        case .warning: return "\u{1B}[33m\(line.text)\u{1B}[0m"
        case .bad: return "\u{1B}[31m\(line.text)\u{1B}[0m"
        }
    }
}

/// A timer of Dispatch. Unchecked: Dispatch takes calls on a source from any thread, but says so
/// in its documentation only.
private final class RedrawTimer: @unchecked Sendable {
    private let source: any DispatchSourceTimer

    init(
        on queue: DispatchQueue, every interval: DispatchTimeInterval,
        _ body: @escaping @Sendable () -> Void
    ) {
        self.source = DispatchSource.makeTimerSource(queue: queue)
        self.source.schedule(deadline: .now() + interval, repeating: interval)
        self.source.setEventHandler(handler: body)
        self.source.resume()
    }

    func cancel() { self.source.cancel() }
}

extension DeployEvent {
    /// Whether a reader waits for this one to know how it ended.
    fileprivate var isLast: Bool {
        switch self {
        case .finished, .failed, .committed: true
        case .started, .planned, .finding, .phase, .step, .tableStarted, .tableProgress,
            .tableFinished, .notice, .verified, .rolledBack:
            false
        }
    }
}
