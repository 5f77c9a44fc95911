import Synchronization

/// Whether a link is busy with bulk data, readable from any thread: who places a new stream
/// looks for a link that is not.
package final class LinkLoad: Sendable {
    /// Bytes in one tick that count as bulk: 8 MiB in 2.5 s is more than a busy session of small
    /// queries moves.
    static let bulkBytesPerTick = 8 * 1024 * 1024

    private let flag = Atomic<Bool>(false)

    package init() {}

    package internal(set) var isBulk: Bool {
        get { self.flag.load(ordering: .relaxed) }
        set { self.flag.store(newValue, ordering: .relaxed) }
    }
}
