import Foundation
import GRDB
import Testing

@testable import ShareStore

struct DeploymentHeartbeatTests {
    let folder = TemporaryFolder()

    func open() throws -> SQLiteShareStore { try SQLiteShareStore(folder: self.folder.path) }

    @Test func `a lease is kept by a heartbeat every ten seconds until the task is cancelled`()
        async throws
    {
        let store = try self.open()
        let record = DeploymentRecord.made("a")
        _ = try await store.beginDeployment(record, now: .start, on: .made())
        let clock = MadeClock(wakes: 5)
        try await store.keepLease(
            record.id, sleep: { try clock.pass($0) }, now: { clock.now })
        #expect(clock.slept == 50)
        let lease = try await store.deployment("a").lease
        #expect(lease.heartbeat == StoreMoment.start.later(50))
    }

    @Test func `a lease that another run took is not kept`() async throws {
        let store = try self.open()
        let record = DeploymentRecord.made("a", pid: 9)
        _ = try await store.beginDeployment(record, now: .start, on: .made())
        _ = try await store.beginDeployment(.made("b"), now: .start, on: .made(gone: [9]))
        let clock = MadeClock(wakes: 5)
        await #expect(throws: ShareStoreError.deploymentTakenOver(id: record.id)) {
            try await store.keepLease(
                record.id, sleep: { try clock.pass($0) }, now: { clock.now })
        }
        #expect(clock.slept == 10)
    }

    @Test func `a store that fails for a while is borne, until others may take the lease`()
        async throws
    {
        let store = try self.open()
        let record = DeploymentRecord.made("a")
        _ = try await store.beginDeployment(record, now: .start, on: .made())
        try await store.queue.write { try $0.execute(sql: "ALTER TABLE deployment RENAME TO x") }
        let clock = MadeClock(wakes: 100)
        await #expect(throws: ShareStoreError.self) {
            try await store.keepLease(
                record.id, sleep: { try clock.pass($0) }, now: { clock.now })
        }
        #expect(clock.slept == DeploymentLease.staleAfter)
    }
}

/// A clock that is later after each sleep, and a task that is cancelled after some.
private final class MadeClock: @unchecked Sendable {
    // Unchecked: one task sleeps and looks, one after the other.
    private(set) var slept = 0.0
    private var wakes: Int

    init(wakes: Int) { self.wakes = wakes }

    var now: StoreMoment { StoreMoment.start.later(self.slept) }

    func pass(_ seconds: Double) throws {
        guard self.wakes > 0 else { throw CancellationError() }
        self.wakes -= 1
        self.slept += seconds
    }
}
