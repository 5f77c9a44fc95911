import Foundation
import GRDB
import SharePolicy
import Testing

@testable import ShareStore

/// A time of day and an uptime that tests move as they like.
extension StoreMoment {
    static let start = StoreMoment(
        date: Date(timeIntervalSince1970: 1_800_000_000), uptimeNanoseconds: 5_000_000_000_000)

    func later(_ seconds: Double, dateJump: Double = 0) -> StoreMoment {
        StoreMoment(
            date: self.date.addingTimeInterval(seconds + dateJump),
            uptimeNanoseconds: self.uptimeNanoseconds + UInt64(seconds * 1e9))
    }
}

extension DeploymentMachine {
    /// A machine on which every process lives, but those that are named.
    static func made(
        host: String = "laptop", boot: String = "boot-1", space: String = "pid:[1]",
        gone: Set<Int32> = []
    ) -> DeploymentMachine {
        DeploymentMachine(host: host, boot: boot, processSpace: space) {
            gone.contains($0) ? .gone : .running(start: 77)
        }
    }
}

extension DeploymentRecord {
    static func made(
        _ id: Character, key: String = "pair", pid: Int32 = 100, start: UInt64? = 77,
        boot: String = "boot-1", space: String = "pid:[1]", now: StoreMoment = .start
    ) -> DeploymentRecord {
        DeploymentRecord(
            id: String(repeating: id, count: DeploymentRecord.idLength), action: .deploy,
            source: "share abc", target: "postgres://app@db.example.com/app", key: key,
            lease: DeploymentLease(
                pid: pid, processStart: start, host: "laptop", boot: boot, processSpace: space,
                heartbeat: now),
            now: now)
    }
}

struct DeploymentTests {
    let folder = TemporaryFolder()

    func open() throws -> SQLiteShareStore { try SQLiteShareStore(folder: self.folder.path) }

    @Test func `what a run said is there after reopening, every field of it`() async throws {
        let record = DeploymentRecord.made("a")
        do {
            let store = try self.open()
            let begun = try await store.beginDeployment(record, now: .start, on: .made())
            #expect(begun == BegunDeployment(record: record, crashed: []))
            try await store.updateDeployment(record.id, plan: #"{"p":1}"#)
            try await store.updateDeployment(record.id, project: #"{"id":"x"}"#, keptIn: "kept_a")
            try await store.finishDeployment(
                record.id, hasSucceeded: true, report: #"{"rows":7}"#, message: nil,
                now: StoreMoment.start.later(9))
        }
        var expected = record
        expected.state = .succeeded
        expected.plan = #"{"p":1}"#
        expected.project = #"{"id":"x"}"#
        expected.keptIn = "kept_a"
        expected.report = #"{"rows":7}"#
        expected.finishedAt = StoreMoment.start.later(9).date
        let again = try self.open()
        #expect(try await again.deployment("aaa") == expected)
        expected.plan = nil
        expected.report = nil
        #expect(try await again.deployments(limit: 10) == [expected])
    }

    @Test func `a store of before deployments is brought up to date and keeps its shares`()
        async throws
    {
        do {
            let store = try self.open()
            _ = try await store.createToken(SQLiteShareStoreTests.owner("anna"), now: Date())
            try await store.queue.write { database in
                try database.execute(sql: "DROP TABLE deployment")
                try database.execute(
                    sql: "DELETE FROM grdb_migrations WHERE identifier = '2 deployments'")
            }
        }
        let store = try self.open()
        #expect(try await store.tokens().map(\.name.rawValue) == ["anna"])
        #expect(try await store.deployments(limit: 1).isEmpty)
    }

    @Test func `a second run of a pair waits its turn, a run of another pair does not`()
        async throws
    {
        let store = try self.open()
        let first = DeploymentRecord.made("a")
        _ = try await store.beginDeployment(first, now: .start, on: .made())
        let soon = StoreMoment.start.later(59)
        await #expect(throws: ShareStoreError.deploymentRunning(first)) {
            try await store.beginDeployment(.made("b", now: soon), now: soon, on: .made())
        }
        _ = try await store.beginDeployment(.made("c", key: "other"), now: soon, on: .made())
        try await store.finishDeployment(
            first.id, hasSucceeded: false, report: nil, message: "no", now: soon)
        let begun = try await store.beginDeployment(.made("b"), now: soon, on: .made())
        #expect(begun.crashed.isEmpty)
        #expect(try await store.deployment("a").message == "no")
    }

    @Test func `a heartbeat keeps the lease, and a minute without one loses it`() async throws {
        let store = try self.open()
        let first = DeploymentRecord.made("a")
        _ = try await store.beginDeployment(first, now: .start, on: .made())
        try await store.heartbeat(first.id, now: StoreMoment.start.later(50))
        let held = StoreMoment.start.later(109)
        await #expect(throws: ShareStoreError.self) {
            try await store.beginDeployment(.made("b", now: held), now: held, on: .made())
        }
        let lost = StoreMoment.start.later(111)
        let begun = try await store.beginDeployment(
            .made("b", now: lost), now: lost, on: .made())
        #expect(begun.crashed.map(\.id) == [first.id])
        #expect(begun.crashed.map(\.state) == [.crashed])

        let takenOver = ShareStoreError.deploymentTakenOver(id: first.id)
        await #expect(throws: takenOver) { try await store.heartbeat(first.id, now: lost) }
        await #expect(throws: takenOver) {
            try await store.updateDeployment(first.id, keptIn: "x")
        }
    }

    @Test func `a run that was taken for dead may still say how it ended, once`() async throws {
        let store = try self.open()
        let first = DeploymentRecord.made("a")
        _ = try await store.beginDeployment(first, now: .start, on: .made())
        let late = StoreMoment.start.later(100)
        _ = try await store.beginDeployment(.made("b", now: late), now: late, on: .made())
        try await store.finishDeployment(
            first.id, hasSucceeded: true, report: nil, message: nil, now: late)
        #expect(try await store.deployment("a").state == .succeeded)
        await #expect(throws: ShareStoreError.deploymentUnknown(first.id)) {
            try await store.finishDeployment(
                first.id, hasSucceeded: false, report: nil, message: nil, now: late)
        }
    }

    /// Whoever comes first gets it, whichever process it is: each handle is a connection, with
    /// SQLite's own locks between them.
    @Test(arguments: 0..<5)
    func `of many stores that race for one lease exactly one gets it`(round: Int) async throws {
        let stores = try (0..<6).map { _ in try self.open() }
        let winners = await withTaskGroup(of: String?.self) { group in
            for (number, store) in stores.enumerated() {
                let record = DeploymentRecord.made(Character("\(number)"), key: "race \(round)")
                group.addTask {
                    do throws(ShareStoreError) {
                        return try await store.beginDeployment(record, now: .start, on: .made())
                            .record.id
                    } catch .deploymentRunning {
                        return nil
                    } catch {
                        return "failed: \(error)"
                    }
                }
            }
            return await group.reduce(into: [String]()) { if let id = $1 { $0.append(id) } }
        }
        #expect(winners.count == 1)
        let running = try await stores[0].deployments(limit: 10).filter { $0.state == .running }
        #expect(running.map(\.id) == winners)
    }

    /// Two that find the same dead run: one takes over, the other sees that.
    @Test func `of stores that race for a dead run's lease one takes over`() async throws {
        let stores = try (0..<4).map { _ in try self.open() }
        _ = try await stores[0].beginDeployment(.made("x", pid: 9), now: .start, on: .made())
        let machine = DeploymentMachine.made(gone: [9])
        let taken = await withTaskGroup(of: [String].self) { group in
            for (number, store) in stores.enumerated() {
                let record = DeploymentRecord.made(Character("\(number)"))
                group.addTask {
                    let begun = try? await store.beginDeployment(
                        record, now: .start, on: machine)
                    return begun?.crashed.map(\.id) ?? []
                }
            }
            return await group.reduce(into: [String]()) { $0 += $1 }
        }
        #expect(taken == [String(repeating: "x", count: 16)])
        let states = try await stores[0].deployments(limit: 10).map(\.state)
        #expect(states.count { $0 == .running } == 1)
        #expect(states.count { $0 == .crashed } == 1)
    }

    @Test func `a run whose process was killed is found dead at once`() async throws {
        let store = try self.open()
        let child = Process()
        child.executableURL = URL(fileURLWithPath: "/bin/cat")
        let input = Pipe()
        child.standardInput = input
        try child.run()
        let now = StoreMoment.now()
        var lease = DeploymentLease.mine(now: now)
        lease.pid = child.processIdentifier
        lease.processStart = nil
        var record = DeploymentRecord.made("a", now: now)
        record.lease = lease
        _ = try await store.beginDeployment(record, now: now)
        var second = DeploymentRecord.made("b", now: now)
        second.lease = .mine(now: now)
        #expect(try await store.deployment("a").state(now: now) == .running)
        await #expect(throws: ShareStoreError.self) {
            try await store.beginDeployment(second, now: now)
        }
        kill(child.processIdentifier, SIGKILL)
        child.waitUntilExit()

        #expect(try await store.deployment("a").state(now: now) == .crashed)
        let begun = try await store.beginDeployment(second, now: now)
        #expect(begun.crashed.map(\.id) == [record.id])
        #expect(begun.record.state(now: now) == .running, "this process lives")
    }

    @Test func `a deployment is found by the beginning of its id`() async throws {
        let store = try self.open()
        for (id, key) in [("a", "1"), ("b", "2")] {
            _ = try await store.beginDeployment(
                .made(Character(id), key: key), now: .start, on: .made())
        }
        var like = DeploymentRecord.made("a", key: "3")
        like.id = "aaab000000000000"
        _ = try await store.beginDeployment(like, now: .start, on: .made())
        #expect(try await store.deployment("aaab").id == like.id)
        await #expect(throws: ShareStoreError.deploymentAmbiguous("aaa")) {
            try await store.deployment("aaa")
        }
        for unknown in ["", "z", "%", "_", "a'"] {
            await #expect(throws: ShareStoreError.deploymentUnknown(unknown)) {
                try await store.deployment(unknown)
            }
        }
    }

    @Test func `the history is newest first, of one pair if asked, and bounded`() async throws {
        let store = try self.open()
        let count = SQLiteShareStore.maximumDeployments + 5
        try await store.queue.write { database in
            for number in 0..<count {
                let now = StoreMoment.start.later(Double(number))
                var old = DeploymentRecord.made("a", key: "old", now: now)
                old.id = "old\(number)"
                old.state = number == 0 ? .running : .succeeded
                try database.execute(
                    sql: "INSERT INTO deployment VALUES (" + "?,".repeated(19) + "?)",
                    arguments: old.row)
            }
        }
        let now = StoreMoment.start.later(Double(count))
        let newest = DeploymentRecord.made("n", now: now)
        _ = try await store.beginDeployment(newest, now: now, on: .made())

        let all = try await store.deployments(limit: 5_000)
        #expect(all.count == SQLiteShareStore.maximumDeployments + 1, "and the one that runs")
        #expect(all.first?.id == newest.id)
        #expect(all.last?.id == "old0")
        #expect(all.map(\.startedAt) == all.map(\.startedAt).sorted(by: >))
        #expect(try await store.deployments(key: "pair", limit: 9).map(\.id) == [newest.id])
        #expect(try await store.deployments(limit: 0).isEmpty)
    }

    @Test func `of plans that are too many bytes the oldest are forgotten, their runs are not`()
        async throws
    {
        let store = try self.open()
        let half = SQLiteShareStore.maximumDeploymentBytes / 2
        for (number, id) in ["a", "b", "c"].enumerated() {
            let now = StoreMoment.start.later(Double(number))
            let record = DeploymentRecord.made(Character(id), key: id, now: now)
            _ = try await store.beginDeployment(record, now: now, on: .made())
            try await store.queue.write { database in
                try database.execute(
                    sql: "UPDATE deployment SET plan = hex(zeroblob(?)) WHERE id = ?",
                    arguments: [half / 2, record.id])
            }
            try await store.finishDeployment(
                record.id, hasSucceeded: true, report: nil, message: nil, now: now)
        }
        #expect(try await store.deployment("a").plan == nil)
        #expect(try await store.deployment("b").plan?.utf8.count == half)
        #expect(try await store.deployment("c").plan?.utf8.count == half)
    }

    @Test func `a deploy that was taken back says so, and a failed one cannot be`() async throws {
        let store = try self.open()
        for (id, hasSucceeded) in [("a", true), ("b", false)] {
            let record = DeploymentRecord.made(Character(id), key: id)
            _ = try await store.beginDeployment(record, now: .start, on: .made())
            try await store.finishDeployment(
                record.id, hasSucceeded: hasSucceeded, report: nil, message: nil, now: .start)
        }
        #expect(try await store.markRolledBack(String(repeating: "a", count: 16)))
        #expect(try await store.deployment("a").state == .rolledBack)
        #expect(try await !store.markRolledBack(String(repeating: "b", count: 16)))
        #expect(try await store.deployment("b").state == .failed)
    }

    @Test func `no password reaches the file, whatever is passed on`() async throws {
        let store = try self.open()
        var record = DeploymentRecord.made("a")
        record.source = "postgres://anna:hunter2one@db.example.com/app"
        record.target = "host=db user=anna password='hunter2 two'"
        _ = try await store.beginDeployment(record, now: .start, on: .made())
        try await store.updateDeployment(
            record.id, plan: #"{"url":"postgres:\/\/anna:hunter2three@db\/app"}"#,
            project: #"{"password":"hunter2four","id":"p"}"#)
        try await store.finishDeployment(
            record.id, hasSucceeded: false, report: #"{"dsn":"password=hunter2five"}"#,
            message: "cannot reach postgres://anna:hunter2six@db", now: .start)
        try await store.queue.writeWithoutTransaction { _ = try $0.checkpoint(.truncate) }

        let bytes = try Data(contentsOf: URL(fileURLWithPath: store.path))
        #expect(bytes.range(of: Data("hunter2".utf8)) == nil)
        let kept = try await store.deployment("a")
        #expect(kept.source == "postgres://anna:…@db.example.com/app")
        #expect(kept.project == #"{"password":"…","id":"p"}"#)
    }

    @Test func `a run that is stopped still says how it ended`() async throws {
        let store = try self.open()
        let record = DeploymentRecord.made("a")
        _ = try await store.beginDeployment(record, now: .start, on: .made())
        let stopped = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            try await store.updateDeployment(record.id, keptIn: "kept")
            try await store.finishDeployment(
                record.id, hasSucceeded: false, report: nil, message: "stopped", now: .start)
        }
        try await stopped.value
        let kept = try await store.deployment("a")
        #expect(kept.message == "stopped")
        #expect(kept.keptIn == "kept")
    }

    @Test func `an id has 16 letters and digits, another one each time`() {
        var generator = SystemRandomNumberGenerator()
        let ids = (0..<100).map { _ in DeploymentRecord.makeID(using: &generator) }
        #expect(Set(ids).count == 100)
        #expect(ids.allSatisfy { $0.wholeMatch(of: /[0-9a-z]{16}/) != nil })
    }
}

extension String {
    fileprivate func repeated(_ count: Int) -> String { String(repeating: self, count: count) }
}

extension DeploymentRecord {
    /// The columns in the order of the table.
    fileprivate var row: StatementArguments {
        [
            self.id, self.action.rawValue, self.source, self.target, self.key,
            self.state.rawValue, StoreTime.milliseconds(self.startedAt), nil, self.lease.pid, nil,
            self.lease.host, self.lease.boot, self.lease.processSpace,
            StoreTime.milliseconds(self.lease.heartbeat.date),
            Int64(clamping: self.lease.heartbeat.uptimeNanoseconds), nil, nil, nil, nil, nil,
        ]
    }
}
