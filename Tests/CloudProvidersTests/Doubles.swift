import CloudProviders
import Foundation
import Synchronization

/// A clock that jumps: a wait is over at once and is written down.
final class JumpingClock: Sendable {
    private struct State {
        var seconds = 1_000.0
        var slept: [Double] = []
    }

    private let state = Mutex(State())

    /// The waits so far, in seconds.
    var slept: [Double] { self.state.withLock { $0.slept } }

    /// As a provider sees it; the jitter is none.
    var clock: ProviderClock {
        ProviderClock(
            now: { Date(timeIntervalSince1970: 1_800_000_000 + self.seconds) },
            seconds: { self.seconds },
            sleep: { seconds in
                self.state.withLock { state in
                    state.seconds += seconds
                    state.slept.append(seconds)
                }
            },
            jitter: { 0 })
    }

    private var seconds: Double { self.state.withLock { $0.seconds } }
}

/// A journal in memory.
final class MemoryJournal: ProviderJournal {
    private let lines = Mutex<[String]>([])
    private let isKnown: Bool

    /// What was written, a line a call.
    var entries: [String] { self.lines.withLock { $0 } }

    init(isKnown: Bool = false) {
        self.isKnown = isKnown
    }

    func knows(_ project: ProviderProject) -> Bool { self.isKnown }

    func creating(_ project: ProviderProject) {
        self.lines.withLock { $0.append("creating \(project.name) \(project.id ?? "-")") }
    }

    func created(_ project: ProviderProject) {
        self.lines.withLock { $0.append("created \(project.name) \(project.id ?? "-")") }
    }

    func adopted(_ project: ProviderProject) {
        self.lines.withLock { $0.append("adopted \(project.name) \(project.id ?? "-")") }
    }
}
