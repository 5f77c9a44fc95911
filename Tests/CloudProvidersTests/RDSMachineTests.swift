import Foundation
import Testing

@testable import CloudProviders

/// Transcripts of the machine: what it asks for, what it is told, what it does then.
struct RDSMachineTests {
    static let key = RDSKey(bytes: [UInt8](repeating: 7, count: 32))
    static let notFound = ProviderCallFailure.refused(
        status: 404, message: "DBInstanceNotFound: DBInstance a not found.")

    static func task(
        _ text: String,
        isSurvey: Bool = false,
        password: String? = nil,
        certificateFile: String? = nil
    ) throws -> RDSMachine.Task {
        let reference = try #require(try ProviderReference.parse("rds:\(text)"))
        var limits = ProviderLimits()
        limits.pollSeconds = 30
        limits.readySeconds = 1_800
        return RDSMachine.Task(
            reference: try RDSReference(reference, name: "a"), name: "share", region: "eu-a-1",
            isSurvey: isSurvey, key: isSurvey ? nil : Self.key, salt: "salt",
            password: password.map { ProviderSecret($0) }, certificateFile: certificateFile,
            limits: limits)
    }

    static func instance(
        _ status: String,
        endpoint: Bool = false,
        tags: [String: String] = [
            RDSMachine.deploymentTag: "share", RDSMachine.keyTag: "\(Self.key.name)-salt",
        ],
        engine: String = "postgres",
        isPublic: Bool = true,
        host: String = "h.example"
    ) throws -> RDSInstance {
        let place =
            endpoint ? "<Endpoint><Address>\(host)</Address><Port>5432</Port></Endpoint>" : ""
        let list = tags.map { "<Tag><Key>\($0.key)</Key><Value>\($0.value)</Value></Tag>" }
        let text = """
            <DescribeDBInstancesResponse><DescribeDBInstancesResult><DBInstances><DBInstance>
            <DBInstanceIdentifier>a</DBInstanceIdentifier><Engine>\(engine)</Engine>
            <DBInstanceStatus>\(status)</DBInstanceStatus><DBName>app</DBName>\(place)
            <MasterUsername>m@x</MasterUsername><TagList>\(list.joined())</TagList>
            <PubliclyAccessible>\(isPublic)</PubliclyAccessible>
            </DBInstance></DBInstances></DescribeDBInstancesResult></DescribeDBInstancesResponse>
            """
        return try RDSInstance(answer: Data(text.utf8))
    }

    /// A step as one line.
    static func line(_ step: RDSMachine.Step) -> String {
        switch step.action {
        case .send(let call, _):
            let form = String(decoding: call.body ?? Data(), as: UTF8.self)
            return form.split(separator: "&").first.map(String.init) ?? ""
        case .wait(let seconds): return "wait \(Int(seconds))"
        case .recall(let project): return "recall \(project.name)"
        case .note(.creating(let project)): return "creating \(project.id ?? "-")"
        case .note(.created(let project)): return "created \(project.id ?? "-")"
        case .note(.adopted(let project)): return "adopted \(project.id ?? "-")"
        case .reach(let host, let port): return "reach \(host):\(port)"
        case .finish(let database): return database.isNew ? "finish new" : "finish"
        case .surveyed(.existing(_, let state)): return "existing, \(state)"
        case .surveyed(.wouldCreate(let project)): return "would create \(project.name)"
        case .fail(let failure): return "fail: \(failure.message)"
        }
    }

    /// Runs a machine through events that come a second apart, and gives its lines.
    static func transcript(
        _ task: RDSMachine.Task,
        _ events: [ProviderEvent<RDSInstance>]
    ) -> [String] {
        var machine = RDSMachine(task)
        var lines = [Self.line(machine.start(now: 0))]
        for (second, event) in events.enumerated() {
            lines.append(Self.line(machine.receive(event, now: Double(second + 1))))
        }
        return lines
    }

    @Test func `an instance is made, noted before and after, waited for and reached`() throws {
        let lines = Self.transcript(
            try Self.task("new"),
            [
                .failed(Self.notFound), .noted, .answered(try Self.instance("creating")), .noted,
                .waited, .answered(try Self.instance("backing-up")), .waited,
                .answered(try Self.instance("available")), .waited,
                .answered(try Self.instance("available", endpoint: true)), .reached(true),
            ])
        #expect(
            lines == [
                "Action=DescribeDBInstances", "creating -", "Action=CreateDBInstance", "created a",
                "wait 30", "Action=DescribeDBInstances", "wait 30", "Action=DescribeDBInstances",
                "wait 30", "Action=DescribeDBInstances", "reach h.example:5432", "finish new",
            ])
    }

    @Test func `a creation says all that was asked, and its password is among the secrets`() throws
    {
        var machine = RDSMachine(
            try Self.task(
                "new?name=b&class=db.m7g.large&storage=50&public=yes&version=17&database=x%26y"))
        _ = machine.start(now: 0)
        _ = machine.receive(.failed(Self.notFound), now: 1)
        guard case .send(let call, _) = machine.receive(.noted, now: 2).action else {
            Issue.record("no request")
            return
        }
        let password = Self.key.password(region: "eu-a-1", identifier: "b", salt: "salt")
        #expect(
            String(decoding: call.body ?? Data(), as: UTF8.self)
                == "Action=CreateDBInstance&Version=2014-10-31&DBInstanceIdentifier=b"
                + "&DBInstanceClass=db.m7g.large&Engine=postgres&AllocatedStorage=50"
                + "&DBName=x%26y&MasterUsername=postgres&MasterUserPassword=\(password.reveal)"
                + "&PubliclyAccessible=true&StorageEncrypted=true&CopyTagsToSnapshot=true"
                + "&EngineVersion=17&Tags.Tag.1.Key=pgshare%3Adeployment&Tags.Tag.1.Value=share"
                + "&Tags.Tag.2.Key=pgshare%3Akey&Tags.Tag.2.Value=\(Self.key.name)-salt")
        #expect(call.secrets == [password])
        #expect(call.safety == .repeatable && call.path == "/" && call.method == .post)
        // Asked for JSON, AWS's query protocol answers in JSON.
        #expect(call.headers.contains { $0 == ("Accept", "text/xml") })
    }

    @Test func `a creation whose first answer was lost is found again by its tag`() throws {
        let taken = ProviderCallFailure.refused(
            status: 400, message: "DBInstanceAlreadyExists: DB instance already exists")
        let mine = Self.transcript(
            try Self.task("new"),
            [
                .failed(Self.notFound), .noted, .failed(taken),
                .answered(try Self.instance("creating")),
            ])
        #expect(mine.suffix(2) == ["Action=DescribeDBInstances", "created a"])
        let theirs = Self.transcript(
            try Self.task("new"),
            [
                .failed(Self.notFound), .noted, .failed(taken),
                .answered(try Self.instance("creating", tags: [RDSMachine.keyTag: "other-salt"])),
            ])
        #expect(theirs.last == "fail: somebody else has just made an instance a")
    }

    @Test func `an orphan of a broken run is adopted, and its password is known again`() throws {
        var machine = RDSMachine(try Self.task("new"))
        let events: [ProviderEvent<RDSInstance>] = [
            .answered(try Self.instance("creating")), .known(true), .noted, .waited,
            .answered(try Self.instance("available", endpoint: true)), .reached(true),
        ]
        var step = machine.start(now: 0)
        for event in events { step = machine.receive(event, now: 1) }
        guard case .finish(let database) = step.action else {
            Issue.record("\(Self.line(step))")
            return
        }
        // It was never ready, so nobody knows its password yet.
        #expect(database.isNew)
        #expect(
            database.password == Self.key.password(region: "eu-a-1", identifier: "a", salt: "salt"))
        #expect(database.project.id == "a" && database.project.region == "eu-a-1")
    }

    @Test func `new is refused where nobody knows of the instance, and the share's own adopts`()
        throws
    {
        let ready = ProviderEvent.answered(try Self.instance("available", endpoint: true))
        #expect(
            Self.transcript(try Self.task("new"), [ready, .known(false)]).suffix(2) == [
                "recall a", "fail: there is an instance a already, in eu-a-1",
            ])
        #expect(
            Self.transcript(try Self.task(""), [ready, .noted, .reached(true)]).suffix(3) == [
                "adopted a", "reach h.example:5432", "finish",
            ])
        let foreign = ProviderEvent.answered(
            try Self.instance("available", endpoint: true, tags: [:]))
        #expect(
            Self.transcript(try Self.task(""), [foreign]).last
                == "fail: there is an instance a that pgshare did not make")
        #expect(Self.transcript(try Self.task("a"), [foreign]).last == "adopted a")
    }

    @Test func `a survey only looks`() throws {
        let ready = ProviderEvent.answered(try Self.instance("modifying"))
        for text in ["", "new", "a"] {
            let lines = Self.transcript(try Self.task(text, isSurvey: true), [ready])
            #expect(lines.last == "existing, modifying")
        }
        let lost = ProviderEvent<RDSInstance>.failed(Self.notFound)
        #expect(
            Self.transcript(try Self.task("", isSurvey: true), [lost]).last == "would create a")
        #expect(
            Self.transcript(try Self.task("b", isSurvey: true), [lost]).last
                == "fail: there is no instance b in eu-a-1")
    }

    @Test func `an instance that is not PostgreSQL is refused`() throws {
        let other = ProviderEvent.answered(try Self.instance("available", engine: "mysql"))
        #expect(
            Self.transcript(try Self.task("a"), [other]).last
                == "fail: the instance a is no PostgreSQL but mysql")
    }

    @Test(arguments: ["/tmp", "a,b", "a b", "-h"])
    func `a host that libpq would take for something else is refused`(host: String) throws {
        let ready = ProviderEvent.answered(
            try Self.instance("available", endpoint: true, host: host))
        #expect(
            Self.transcript(try Self.task("a"), [ready, .noted]).last
                == "fail: Amazon RDS told a host, a user or a database that cannot be")
    }
}
