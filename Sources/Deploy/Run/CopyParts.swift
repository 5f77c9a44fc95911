import Synchronization

/// The COPYs that are still to do, for several lanes, and how far each table is.
final class CopyParts: Sendable {
    private struct State {
        var waiting: ArraySlice<ParallelFill.Part>
        var open: [PlannedTable: Open] = [:]
    }

    /// A table that is under way.
    private struct Open {
        var partsLeft: Int
        var hasStarted = false
        var bytes: [ParallelFill.Part: Int64] = [:]
        var rows: Int64 = 0
        var seconds = 0.0
    }

    /// How many there are.
    let count: Int
    private let state: Mutex<State>

    init(_ parts: [ParallelFill.Part]) {
        self.count = parts.count
        var open: [PlannedTable: Open] = [:]
        for part in parts { open[part.table, default: Open(partsLeft: 0)].partsLeft += 1 }
        self.state = Mutex(State(waiting: parts[...], open: open))
    }

    /// The next, the largest first; nil when all are taken.
    func next() -> ParallelFill.Part? {
        self.state.withLock { $0.waiting.popFirst() }
    }

    /// Makes one table's events of those of its parts: it starts once and finishes once.
    func observer(
        of part: ParallelFill.Part, _ observer: @escaping DeployObserver
    ) -> DeployObserver {
        { event in
            guard let event = self.merge(event, part) else { return }
            observer(event)
        }
    }

    private func merge(_ event: DeployEvent, _ part: ParallelFill.Part) -> DeployEvent? {
        self.state.withLock { state -> DeployEvent? in
            guard var open = state.open[part.table] else { return event }
            defer { state.open[part.table] = open }
            switch event {
            case .tableStarted(let progress):
                defer { open.hasStarted = true }
                return open.hasStarted ? nil : .tableStarted(progress)
            case .tableProgress(var progress):
                open.bytes[part] = progress.bytes
                progress.bytes = open.bytes.values.reduce(0, +)
                return .tableProgress(progress)
            case .tableFinished(var progress):
                open.bytes[part] = progress.bytes
                open.rows += progress.rows ?? 0
                open.seconds = max(open.seconds, progress.seconds)
                open.partsLeft -= 1
                progress.bytes = open.bytes.values.reduce(0, +)
                progress.seconds = open.seconds
                guard open.partsLeft == 0 else {
                    progress.rows = nil
                    return .tableProgress(progress)
                }
                progress.rows = open.rows
                return .tableFinished(progress)
            case .started, .phase, .step, .notice, .committed, .rolledBack, .finished, .failed,
                .planned, .finding, .verified:
                return event
            }
        }
    }
}
