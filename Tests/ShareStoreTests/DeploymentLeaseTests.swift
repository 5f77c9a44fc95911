import Foundation
import Testing

@testable import ShareStore

struct DeploymentLeaseTests {
    /// One line of the table: what is known, and what follows.
    struct Case: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var later: Double = 0
        var dateJump: Double = 0
        var machine = DeploymentMachine.made()
        var record = DeploymentRecord.made("a")
        var crash: DeploymentLease.Crash?
    }

    static let cases: [Case] = [
        Case(testDescription: "just begun"),
        Case(testDescription: "60 s silent", later: 60),
        Case(testDescription: "longer", later: 60.1, crash: .silent),
        Case(testDescription: "the time of day went an hour ahead", later: 5, dateJump: 3_600),
        Case(testDescription: "the time of day went an hour back", later: 5, dateJump: -3_600),
        Case(
            testDescription: "back by as much as it was silent", later: 300, dateJump: -300,
            crash: .silent),
        Case(
            testDescription: "process gone", machine: .made(gone: [100]), crash: .processGone),
        Case(
            testDescription: "pid used again", record: .made("a", start: 76),
            crash: .processGone),
        Case(testDescription: "start unknown", record: .made("a", start: nil)),
        Case(
            testDescription: "machine restarted", machine: .made(boot: "boot-2"),
            crash: .machineRestarted),
        Case(
            testDescription: "another container: its pids say nothing",
            machine: .made(space: "pid:[2]", gone: [100])),
        Case(
            testDescription: "another container, silent", later: 61,
            machine: .made(space: "pid:[2]"), crash: .silent),
        Case(
            testDescription: "pid space unknown",
            machine: .made(space: "", gone: [100]), record: .made("a", space: "")),
        Case(
            testDescription: "boot unknown, by the time of day", later: 61,
            machine: .made(boot: "", space: ""), crash: .silent),
        Case(
            testDescription: "boot unknown and a time of day far back", later: 1,
            dateJump: -3_600, machine: .made(boot: "", space: ""), crash: .silent),
        Case(
            testDescription: "boot unknown, fresh", later: 59,
            machine: .made(boot: "", space: "")),
    ]

    @Test(arguments: Self.cases)
    func `a lease is over when its holder is known to be dead or silent`(line: Case) {
        let now = StoreMoment.start.later(line.later, dateJump: line.dateJump)
        #expect(line.record.lease.crash(now: now, on: line.machine) == line.crash)
        let state: DeploymentRecord.State = line.crash == nil ? .running : .crashed
        #expect(line.record.state(now: now, on: line.machine) == state)
    }

    @Test func `a run that ended stays what it was`() {
        var record = DeploymentRecord.made("a")
        record.state = .failed
        #expect(record.state(now: StoreMoment.start.later(1e6), on: .made(gone: [100])) == .failed)
    }

    @Test func `this machine knows itself and its processes`() {
        let machine = DeploymentMachine.current
        #expect(!machine.host.isEmpty)
        #expect(!machine.boot.isEmpty)
        #expect(!machine.processSpace.isEmpty)
        #expect(machine.process(getpid()) != .gone)
        #expect(machine.process(-1) == .gone)
        #expect(machine.process(0) == .gone)
        #expect(DeploymentLease.mine(now: .now()).crash(now: .now(), on: machine) == nil)
    }
}

struct SecretTextTests {
    @Test(arguments: [
        ("postgres://u:pw@h/d", "postgres://u:…@h/d"),
        ("postgres://u:p@w@h/d", "postgres://u:…@h/d"),
        ("postgres://u:p/w@h/d", "postgres://u:…@h/d"),
        ("postgres://u@h:5432/d", "postgres://u@h:5432/d"),
        ("https://h:8443/x", "https://h:8443/x"),
        ("a postgres://:pw@h b", "a postgres://:…@h b"),
        (#"{"u":"postgres:\/\/u:pw@h"}"#, #"{"u":"postgres:\/\/u:…@h"}"#),
        ("password=pw user=u", "password=… user=u"),
        ("PASSWORD = pw", "PASSWORD = …"),
        (#"password='a \' b' user=u"#, "password='…' user=u"),
        ("password='a '' b' x", "password='…' x"),
        ("password='never ends", "password='…"),
        ("h/d?password=pw&x=y", "h/d?password=…&x=y"),
        ("sslpassword=pw", "sslpassword=…"),
        (#"{"password" : "pw"}"#, #"{"password" : "…"}"#),
        ("password authentication failed", "password authentication failed"),
        ("password", "password"),
        ("password=", "password="),
        ("://", "://"),
        ("", ""),
        ("größer :: ✓", "größer :: ✓"),
    ])
    func `passwords are taken out and the rest stays`(text: String, expected: String) {
        #expect(SecretText.redacted(text) == expected)
    }
}
