import Foundation
import Testing

@testable import CloudProviders

extension RDSMachineTests {
    private static func waiting(_ text: String = "a") throws -> RDSMachine {
        var machine = RDSMachine(try Self.task(text))
        _ = machine.start(now: 0)
        _ = machine.receive(.answered(try Self.instance("creating")), now: 0)
        _ = machine.receive(.noted, now: 0)
        return machine
    }

    @Test(arguments: [
        "deleted", "deleting", "failed", "incompatible-restore", "incompatible-parameters",
        "incompatible-network", "insufficient-capacity",
    ])
    func `a terminal state ends the wait with its name and advice`(status: String) throws {
        var machine = try Self.waiting()
        _ = machine.receive(.waited, now: 30)
        let step = machine.receive(.answered(try Self.instance(status)), now: 31)
        guard case .fail(let failure) = step.action else {
            Issue.record("\(Self.line(step))")
            return
        }
        #expect(failure.message == "the RDS instance a is \(status)")
        #expect(failure.advice?.isEmpty == false)
    }

    @Test func `the wait has an end`() throws {
        var machine = try Self.waiting()
        var now = 0.0
        var lines: [String] = []
        while lines.last?.hasPrefix("fail") != true, lines.count < 1_000 {
            now += 30
            _ = machine.receive(.waited, now: now)
            lines.append(
                Self.line(machine.receive(.answered(try Self.instance("creating")), now: now)))
        }
        #expect(lines.count == 60)
        #expect(lines.last == "fail: the RDS instance a is still creating after 30 minutes")
    }

    @Test(arguments: [
        ProviderCallFailure.unanswered(reason: "the connection was cut"),
        .busy(retryAfterSeconds: 500),
        .refused(status: 400, message: "Throttling: Rate exceeded"),
    ])
    func `a look that fails for a while does not end the wait`(failure: ProviderCallFailure) throws
    {
        var machine = try Self.waiting()
        for minute in 1...5 {
            _ = machine.receive(.waited, now: Double(minute) * 60)
            let step = machine.receive(.failed(failure), now: Double(minute) * 60)
            #expect(Self.line(step) == "wait 30")
            #expect(step.says?.contains("still waiting") == true)
        }
    }

    @Test func `an instance that disappears is missed, then given up`() throws {
        var machine = try Self.waiting()
        var lines: [String] = []
        for second in 1...3 {
            _ = machine.receive(.waited, now: Double(second))
            lines.append(Self.line(machine.receive(.failed(Self.notFound), now: Double(second))))
        }
        #expect(lines == ["wait 30", "wait 30", "fail: the RDS instance a has been deleted"])
    }

    @Test(arguments: [
        (true, "Let this machine into a security group of the instance."),
        (false, "It has no public address"),
    ])
    func `a host out of reach is tried again, then explained`(isPublic: Bool, words: String) throws
    {
        var machine = try Self.waiting()
        let ready = try Self.instance("available", endpoint: true, isPublic: isPublic)
        for _ in 1...2 {
            _ = machine.receive(.waited, now: 1)
            #expect(Self.line(machine.receive(.answered(ready), now: 1)).hasPrefix("reach"))
            #expect(Self.line(machine.receive(.reached(false), now: 1)) == "wait 30")
        }
        _ = machine.receive(.waited, now: 1)
        _ = machine.receive(.answered(ready), now: 1)
        guard case .fail(let failure) = machine.receive(.reached(false), now: 1).action else {
            Issue.record("it goes on")
            return
        }
        #expect(failure.message == "h.example:5432 takes no connections from here")
        #expect(failure.advice?.hasPrefix(words) == true)
    }

    @Test(arguments: [
        ("AccessDenied: User: arn:aws:iam::1:user/x is not authorized", "The key needs"),
        ("InvalidClientTokenId: The security token is invalid.", "Check AWS_ACCESS_KEY_ID"),
        ("ExpiredToken: The security token has expired", "The temporary key has ended"),
        ("RequestExpired: too old", "This machine's clock"),
        ("InstanceQuotaExceeded: Request would exceed quota", "Delete an instance"),
    ])
    func `what a person must mend is said with what to do`(message: String, advice: String) throws {
        let made: [ProviderEvent<RDSInstance>] = [.failed(Self.notFound), .noted]
        for events in [[], made] {
            var machine = RDSMachine(try Self.task("new"))
            _ = machine.start(now: 0)
            for event in events { _ = machine.receive(event, now: 1) }
            let refused = ProviderCallFailure.refused(status: 403, message: message)
            guard case .fail(let failure) = machine.receive(.failed(refused), now: 2).action else {
                Issue.record("it goes on")
                return
            }
            #expect(failure.message == "Amazon RDS refused: \(message)")
            #expect(failure.advice?.hasPrefix(advice) == true)
        }
    }

    @Test func `the database is described for libpq, verified where certificates are given`() throws
    {
        func database(_ task: RDSMachine.Task, _ tags: [String: String]) throws -> ProviderDatabase
        {
            var machine = RDSMachine(task)
            _ = machine.start(now: 0)
            let ready = try Self.instance("available", endpoint: true, tags: tags)
            _ = machine.receive(.answered(ready), now: 0)
            _ = machine.receive(.noted, now: 0)
            guard case .finish(let database) = machine.receive(.reached(true), now: 0).action else {
                throw ProviderFailure("no end")
            }
            return database
        }
        let plain = try database(try Self.task("a"), [:])
        #expect(
            plain.keywords == [
                "host": "h.example", "port": "5432", "user": "m@x", "dbname": "app",
                "sslmode": "require",
            ])
        #expect(plain.password.reveal.isEmpty && !plain.isNew)
        #expect(
            plain.connectionStrings == [
                .init(
                    label: "direct",
                    url: "postgresql://m%40x@h.example:5432/app?sslmode=require")
            ])
        let verified = try database(
            try Self.task("a?database=other&user=u", password: "p", certificateFile: "/ca.pem"),
            [RDSMachine.keyTag: "\(Self.key.name)-salt"])
        #expect(verified.keywords["sslmode"] == "verify-full")
        #expect(verified.keywords["sslrootcert"] == "/ca.pem")
        #expect(verified.keywords["dbname"] == "other" && verified.keywords["user"] == "u")
        #expect(verified.password.reveal == "p")
    }

    @Test func `a password is ours only with our key, and for the master user`() throws {
        func password(_ text: String, _ tag: String) throws -> String {
            var machine = RDSMachine(try Self.task(text))
            let ready = try Self.instance(
                "available", endpoint: true, tags: [RDSMachine.keyTag: tag])
            _ = machine.start(now: 0)
            _ = machine.receive(.answered(ready), now: 0)
            _ = machine.receive(.noted, now: 0)
            guard case .finish(let database) = machine.receive(.reached(true), now: 0).action else {
                throw ProviderFailure("no end")
            }
            return database.password.reveal
        }
        let ours = "\(Self.key.name)-pepper"
        let expected = Self.key.password(region: "eu-a-1", identifier: "a", salt: "pepper").reveal
        #expect(try password("a", ours) == expected)
        #expect(expected.count == 64)
        #expect(try password("a?user=other", ours).isEmpty)
        #expect(try password("a", "0123456789abcdef-pepper").isEmpty)
        #expect(try password("a", "nonsense").isEmpty)
    }
}
