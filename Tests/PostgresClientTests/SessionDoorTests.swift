import Foundation
import NIOCore
import PostgresClient
import PostgresWire
import TestSupport
import Testing

@Suite struct SessionDoorTests {
    /// Tools of one version, a server of another.
    static let pairs = TestPostgres.Version.available.flatMap { tools in
        TestPostgres.Version.available.map { (tools, $0) }
    }

    @Test(arguments: Self.pairs)
    func `pg_restore through the door becomes part of the transaction`(
        tools: TestPostgres.Version, version: TestPostgres.Version
    ) async throws {
        let archive = try await Archive.shared(tools)
        try await DoorTest.with(version) { test in
            let seen = Seen()
            let door = try await SessionDoor.open(test.session, observer: seen.observer)
            let outcome = try await archive.restore(door)
            #expect(outcome.status == 0 && outcome.errors == "")
            #expect(seen.errors.isEmpty)
            #expect(seen.statements.contains { $0.beginning.hasPrefix("CREATE TABLE public.a") })
            #expect(seen.copiedBytes > 1_000_000)
            #expect(test.session.transactionStatus == .inTransaction)
            #expect(try await test.other.rows("select to_regclass('public.a')") == [[nil]])
            #expect(try await test.session.rows(Archive.sums) == archive.expected)
            try await test.session.rows("commit")
            #expect(try await test.other.rows(Archive.sums) == archive.expected)
            await door.close()
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `what pg_restore made is gone after a rollback`(
        version: TestPostgres.Version
    ) async throws {
        let archive = try await Archive.shared(version)
        try await DoorTest.with(version) { test in
            let door = try await SessionDoor.open(test.session)
            #expect(try await archive.restore(door).status == 0)
            try await test.session.rows("rollback")
            let left = """
                select (select count(*) from pg_class where relnamespace = 'public'::regnamespace),
                    (select count(*) from pg_largeobject_metadata)
                """
            #expect(try await test.session.rows(left) == [["0", "0"]])
            await door.close()
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `an error of the server reaches pg_restore and the observer`(
        version: TestPostgres.Version
    ) async throws {
        let archive = try await Archive.shared(version)
        try await DoorTest.with(version) { test in
            try await test.session.rows("create table public.a (other int)")
            let seen = Seen()
            let door = try await SessionDoor.open(test.session, observer: seen.observer)
            let outcome = try await archive.restore(door)
            #expect(outcome.status == 1)
            #expect(outcome.errors.contains("relation \"a\" already exists"))
            #expect(seen.errors.first?.sqlState.rawValue == "42P07")
            let error = await failure(SessionError.self) { try await test.session.rows("select 1") }
            #expect(error?.serverError?.sqlState.rawValue == "25P02")
            try await test.session.rows("rollback")
            await door.close()
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `pg_restore killed in the middle of a COPY leaves a failed transaction`(
        version: TestPostgres.Version
    ) async throws {
        let archive = try await Archive.shared(version)
        try await DoorTest.with(version) { test in
            try await test.blockInserts()
            let door = try await SessionDoor.open(test.session)
            let restore = try archive.start(door, ["--data-only", "--table=a"])
            try await test.waitUntilBlocked()
            restore.send(signal: SIGKILL)
            #expect(await restore.outcome.wasKilled)
            try await test.other.rows("select pg_advisory_unlock(7)")
            let error = await failure(SessionError.self) { try await test.session.rows("select 1") }
            #expect(error?.serverError?.sqlState.rawValue == "25P02")
            try await test.session.rows("rollback")
            #expect(try await test.session.rows("select count(*) from public.a") == [["0"]])
            await door.close()
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `a program killed within a statement has the statement cancelled`(
        version: TestPostgres.Version
    ) async throws {
        try await DoorTest.with(version) { test in
            try await test.other.rows("select pg_advisory_lock(7)")
            let door = try await SessionDoor.open(test.session)
            let psql = try test.psql(door, ["select pg_advisory_lock(7)"])
            try await test.waitUntilBlocked()
            psql.send(signal: SIGKILL)
            let error = await failure(SessionError.self) { try await test.session.rows("select 1") }
            #expect(error?.serverError?.sqlState.rawValue == "25P02")
            #expect(test.session.transactionStatus == .failed)
            await door.close()
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `a program's own cancel request cancels its statement`(
        version: TestPostgres.Version
    ) async throws {
        try await DoorTest.with(version) { test in
            try await test.other.rows("select pg_advisory_lock(7)")
            let door = try await SessionDoor.open(test.session)
            let psql = try test.psql(door, ["select pg_advisory_lock(7)"])
            try await test.waitUntilBlocked()
            psql.send(signal: SIGINT)
            #expect(await psql.outcome.errors.contains("canceling statement"))
            await door.close()
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `the session's own statements wait until the program has left`(
        version: TestPostgres.Version
    ) async throws {
        try await DoorTest.with(version) { test in
            try await test.other.rows("create table public.t (i int)")
            try await test.other.rows("select pg_advisory_lock(7)")
            let door = try await SessionDoor.open(test.session)
            let psql = try test.psql(
                door, ["select pg_advisory_xact_lock(7)", "insert into public.t values (1)"])
            try await test.waitUntilBlocked()
            async let count = test.session.rows("select count(*) from public.t")
            let second = try await test.psql(door, ["select 1"]).outcome
            #expect(second.errors.contains("another program has the session"))
            try await test.other.rows("select pg_advisory_unlock(7)")
            #expect(try await count == [["1"]])
            #expect(await psql.outcome.status == 0)
            let third = try await test.psql(door, ["select 3"]).outcome
            #expect(third.output == "3\n")
            await door.close()
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `the transaction cannot be ended by the program`(
        version: TestPostgres.Version
    ) async throws {
        try await DoorTest.with(version) { test in
            let door = try await SessionDoor.open(test.session)
            try await test.session.rows("create table public.t (i int)")
            let sql = [
                "begin", "insert into public.t values (1)", "commit", "rollback",
                "insert into public.t values (2); commit", "prepare transaction 'x'",
                "do $$ begin commit; end $$",
            ]
            var outcomes: [Tool.Outcome] = []
            for statement in sql {
                outcomes.append(try await test.psql(door, [statement]).outcome)
            }
            #expect(outcomes.map(\.status) == [0, 0, 0, 1, 1, 1, 1])
            #expect(outcomes[3].errors.contains("the transaction belongs to the deployment"))
            #expect(outcomes[6].errors.contains("invalid transaction termination"))
            #expect(try await test.other.rows("select to_regclass('public.t')") == [[nil]])
            await door.close()
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `a policy answers or refuses statements`(version: TestPostgres.Version) async throws {
        try await DoorTest.with(version) { test in
            let seen = Seen()
            let refusal = PostgresError(
                severity: .error, sqlState: .insufficientPrivilege, message: "not that one")
            let door = try await SessionDoor.open(
                test.session,
                policy: { text in
                    switch text.beginning.prefix(6) {
                    case "create": .answer(commandTag: "CREATE THING")
                    case "drop t": .refuse(refusal)
                    default: .forward
                    }
                }, observer: seen.observer)
            let psql = try await test.psql(
                door, ["create thing", "drop table x", "select 1"], ["-v", "ON_ERROR_STOP=0"]
            ).outcome
            #expect(psql.output == "CREATE THING\n1\n")
            #expect(psql.errors.contains("not that one"))
            #expect(seen.errors == [refusal])
            #expect(
                seen.statements.map(\.beginning) == ["create thing", "drop table x", "select 1"])
            await door.close()
        }
    }

    @Test(arguments: TestPostgres.Version.available.filter { $0.rawValue >= 17 })
    func `the extended protocol goes through, but not for BEGIN and COMMIT`(
        version: TestPostgres.Version
    ) async throws {
        try await DoorTest.with(version) { test in
            let door = try await SessionDoor.open(test.session)
            let script = "select $1 \\bind 5 \\g\ncommit \\bind \\g\nselect $1 \\bind 6 \\g\n"
            let file = test.server.folder + "/\(UInt64.random(in: 0 ... .max)).sql"
            try Data(script.utf8).write(to: URL(fileURLWithPath: file))
            let psql = try await test.psql(door, [], ["-v", "ON_ERROR_STOP=0", "-f", file]).outcome
            #expect(psql.output == "5\n6\n")
            #expect(psql.errors.contains("simple protocol"))
            #expect(test.session.transactionStatus == .inTransaction)
            await door.close()
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `a server that goes away is told to the program, and ends the session`(
        version: TestPostgres.Version
    ) async throws {
        try await DoorTest.with(version) { test in
            try await test.other.rows("select pg_advisory_lock(7)")
            let door = try await SessionDoor.open(test.session)
            let psql = try test.psql(door, ["select pg_advisory_lock(7)"])
            try await test.waitUntilBlocked()
            let pid = test.session.backendProcessID
            try await test.other.rows("select pg_terminate_backend(\(pid))")
            #expect(await psql.outcome.errors.contains("terminating connection"))
            let error = await failure(SessionError.self) { try await test.session.rows("select 1") }
            #expect(error?.endsSession == true)
            let late = try await test.psql(door, ["select 1"]).outcome
            #expect(late.errors.contains("connection to the server was lost"))
            await door.close()
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `closing the door puts out who is there and frees the session`(
        version: TestPostgres.Version
    ) async throws {
        try await DoorTest.with(version) { test in
            try await test.other.rows("select pg_advisory_lock(7)")
            let door = try await SessionDoor.open(test.session)
            let psql = try test.psql(door, ["select pg_advisory_lock(7)"])
            try await test.waitUntilBlocked()
            await door.close()
            #expect(await psql.outcome.errors.contains("the session is taken back"))
            #expect(test.session.transactionStatus == .failed)
            try await test.session.rows("rollback")
            #expect(!FileManager.default.fileExists(atPath: door.socketFolder))
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `nobody joins a session that is in no transaction, and the folder is ours alone`(
        version: TestPostgres.Version
    ) async throws {
        try await DoorTest.with(version) { test in
            try await test.session.rows("rollback")
            let door = try await SessionDoor.open(test.session)
            let attributes = try FileManager.default.attributesOfItem(atPath: door.socketFolder)
            #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o700)
            let psql = try await test.psql(door, ["select 1"]).outcome
            #expect(psql.errors.contains("in no transaction"))
            #expect(try await test.session.rows("select 1") == [["1"]])
            await door.close()
        }
    }
}
