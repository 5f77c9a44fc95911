import Foundation
import NIOCore
import Simulation

@testable import SharedSession

/// What a seed decides of a run before it begins.
struct SharedRunPlan {
    let seed: UInt64
    var limits = SessionLimits()
    /// Bytes of replies that the engine sends without being given credit for them.
    var window: Int
    /// One of how many moves is a client that goes away; nil for none.
    var vanishing: Int?
    /// One of how many moves is a cancel of an exchange that waits.
    var cancels: Int?
    /// One of how many pieces of a reply is a fault of the engine.
    var faults: Int?
    /// Whether the page has queries of its own.
    var hasPage = false
    /// Whether nobody leaves before everybody is at the end of its script.
    var leavesTogether = false
    /// Whether each call is printed.
    let isTraced = ProcessInfo.processInfo.environment["PGSHARE_TEST_TRACE"] != nil

    /// A run may wait for the clock that long: all that takes longer is a limit, and those limits
    /// are not what is compared.
    static let patience = TimeAmount.seconds(60)

    init(seed: UInt64) {
        self.seed = seed
        var random = SeededGenerator(seed: seed &* 31 &+ 7)
        self.window = [1, 1000, 64 * 1024, 1024 * 1024].randomElement(using: &random) ?? 1
        self.limits.noticeAfter = .seconds(3600)
        self.limits.waitTimeout = .seconds(3600)
        self.limits.idleTimeout = .seconds(3600)
        self.limits.greetWithin = .seconds(3600)
        self.limits.queuedBytes = [100, 4096, 65_536].randomElement(using: &random) ?? 100
    }
}
