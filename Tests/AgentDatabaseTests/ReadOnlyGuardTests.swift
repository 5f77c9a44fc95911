import Agent
import NIOCore
import PostgresClient
import PostgresWire
import TestSupport
import Testing

@Suite(.serialized) struct ReadOnlyGuardTests {
    /// A database of its own with something to spoil in it.
    private static func prepare(_ version: TestPostgres.Version, _ name: String) throws
        -> TestPostgres
    {
        let server = try TestPostgres.shared(version)
        try server.sql("create database \(name)")
        let setUp = """
            create table kept (id serial primary key, word text);
            insert into kept (word) values ('as it was');
            select lo_from_bytea(4711, 'as it was');
            create function change() returns void language sql
                as $$ update kept set word = 'changed' $$;
            create function audit() returns trigger language plpgsql security definer
                as $$ begin delete from kept; return new; end $$;
            revoke execute on function audit() from public;
            create extension dblink;
            revoke execute on function dblink_connect(text), dblink_connect(text, text),
                dblink(text, text), dblink(text, text, boolean), dblink_exec(text, text),
                dblink_exec(text, text, boolean) from public
            """
        try server.sql(setUp, database: name)
        return server
    }

    private static func start(
        _ server: TestPostgres, _ database: String, user: String = "postgres"
    ) async throws -> ReadOnlyGuard {
        let conninfo = server.conninfo(user: user, database: database)
        let found = try await DatabaseSettings.resolve(conninfo)
        return try await ReadOnlyGuard.start(found, conninfo: conninfo)
    }

    private static let attacks = [
        "insert into kept (word) values ('changed')", "update kept set word = 'changed'",
        "delete from kept", "truncate kept", "drop table kept", "alter table kept add spoiled int",
        "create table mine (id int)", "create schema mine",
        "create function f() returns int"
            + " language sql as 'select 1'", "select change()", "select nextval('kept_id_seq')",
        "select setval('kept_id_seq', 1000)", "copy kept from program 'echo 9'",
        "copy kept to '/tmp/pgshare-stolen'", "do $$ begin update kept set word = 'x'; end $$",
        "do $$ begin execute 'delete from kept'; end $$",
        "with gone as (delete from kept returning *) select * from gone",
        "select lo_put(4711, 0, 'changed')", "select lo_unlink(4711)",
        "select lowrite(lo_open(4711, 131072), 'changed')",
        "set role postgres", "set session authorization postgres",
        "select set_config('role', 'postgres', false)", "alter role current_user superuser",
        "grant postgres to current_user",
        "create role another", "vacuum full kept; create database mine",
        "select dblink_exec('dbname=attacked user=postgres', 'delete from kept')",
        "select dblink_exec('dbname=' || current_database(), 'delete from kept')",
        "select * from kept for update", "lock table kept in exclusive mode",
        "create extension hstore", "alter system set work_mem = '1MB'", "reindex table kept",
        "alter database postgres set work_mem = '1MB'", "drop owned by postgres",
        "select pg_read_file('/etc/passwd')", "refresh materialized view kept",
        "copy kept from stdin",
    ]

    @Test(arguments: TestPostgres.Version.available)
    func `nothing that a client tries writes`(version: TestPostgres.Version) async throws {
        let server = try Self.prepare(version, "attacked")
        let shared = try await Self.start(server, "attacked")
        guard case .temporaryRole(let role) = shared.guarantee else {
            Issue.record("a superuser's share needs a role of its own")
            return
        }
        let connector = try DatabaseConnector(shared.target)
        for undo in [
            "select 1", "set default_transaction_read_only = off",
            "set transaction_read_only = off",
            "set session characteristics as transaction read write",
            "grant insert, update, delete on kept to current_user", "reset role",
            "reset session authorization", "discard all",
            "alter role current_user set default_transaction_read_only = off",
        ] {
            let session = try await Session.open(
                connector, ["options": "-c default_transaction_read_only=off"])
            _ = try await session.query(undo)
            #expect(try await session.value("select current_user") == role)
            for attack in Self.attacks where undo == "select 1" || attack.contains("kept") {
                for begin in ["begin read write", "select 1"] {
                    _ = try await session.query(begin)
                    #expect(try await session.failure(attack) != nil, "\(undo); \(attack)")
                    _ = try await session.query("rollback")
                }
            }
            #expect(try await session.value("select word from kept") == "as it was")
        }
        let asPostgres = await failure {
            _ = try await Session.open(connector, ["options": "-c role=postgres"])
        }
        #expect(asPostgres != nil)
        try await shared.stop()
        let kept = "select word || count(*) over () || lo_get(4711)::text from kept"
        #expect(
            try server.sql(kept, database: "attacked") == "as it was1\\x617320697420776173")
        #expect(try server.sql("select count(*) from pg_roles where rolname = '\(role)'") == "0")
        try server.sql("drop database attacked (force)")
    }

    @Test(arguments: TestPostgres.Version.available)
    func `stop ends the sessions of the role and drops what it made`(
        version: TestPostgres.Version
    ) async throws {
        let server = try Self.prepare(version, "stopped")
        let shared = try await Self.start(server, "stopped")
        let session = try await Session.open(DatabaseConnector(shared.target))
        _ = try await session.query("set transaction_read_only = off; create temp table t (i int)")
        _ = try await session.query("begin read write; select lo_creat(-1); commit")
        try await shared.stop()
        try await shared.stop()
        let left = "select count(*) from pg_roles where rolname like 'pgshare\\_ro%'"
        #expect(try server.sql(left) == "0")
        let objects = "select count(*) from pg_largeobject_metadata"
        #expect(try server.sql(objects, database: "stopped") == "1")
        try server.sql("drop database stopped (force)")
    }

    @Test(arguments: TestPostgres.Version.available)
    func `the role of an agent that died is dropped by the next, a live one is not`(
        version: TestPostgres.Version
    ) async throws {
        let server = try Self.prepare(version, "crashed")
        let oid = try server.sql("select oid from pg_database where datname = 'crashed'")
        try server.sql("create role pgshare_ro_\(oid)_0000000000000000 login")
        // Somebody's own, whose names begin alike.
        let others = ["keep", "0000000000000000_mine", "00000000000000000", "000000000000000G"]
            .map { "\"pgshare_ro_\(oid)_\($0)\"" }
        for other in others { try server.sql("create role \(other)") }
        let first = try await Self.start(server, "crashed")
        let second = try await Self.start(server, "crashed")
        let names = try server.sql(
            "select count(*) from pg_roles where rolname like 'pgshare\\_ro\\_\(oid)%'")
        #expect(names == "\(2 + others.count)")
        for other in others { try server.sql("drop role \(other)") }
        let session = try await Session.open(DatabaseConnector(first.target))
        #expect(try await session.value("select word from kept") == "as it was")
        try await first.stop()
        try await second.stop()
        try server.sql("drop database crashed (force)")
    }

    @Test(
        arguments: TestPostgres.Version.available,
        [
            ("grant insert on kept to public", "table kept"),
            ("grant create on schema public to public", "schema public"),
            ("grant usage on sequence kept_id_seq to public", "sequence"),
            ("grant update (word) on kept to public", "column"),
            ("alter function change() security definer", "change()"),
            ("grant update on large object 4711 to public", "large object 4711"),
            ("grant execute on function audit() to public", "audit()"),
            ("grant execute on function dblink_connect(text) to public", "dblink_connect(text)"),
            ("grant execute on function lo_export(oid, text) to public", "lo_export"),
        ])
    func `what everyone may write is named, and the share refused`(
        version: TestPostgres.Version, hole: (grant: String, named: String)
    ) async throws {
        let server = try Self.prepare(version, "holed")
        defer { _ = try? server.sql("drop database holed (force)") }
        try server.sql(hole.grant, database: "holed")
        do {
            _ = try await Self.start(server, "holed")
            Issue.record("it started")
        } catch let error as DatabaseSettingsError {
            #expect("\(error)".contains(hole.named))
        }
        let left = "select count(*) from pg_roles where rolname like 'pgshare\\_ro%'"
        #expect(try server.sql(left) == "0")
    }

    @Test(arguments: TestPostgres.Version.available)
    func `a role that cannot write is used as it is, one that cannot make roles is refused`(
        version: TestPostgres.Version
    ) async throws {
        let server = try Self.prepare(version, "narrow")
        defer { _ = try? server.sql("drop database narrow (force)") }
        let harmless = try await Self.start(server, "narrow", user: "trusty")
        #expect(harmless.guarantee == .ownRole)
        try server.sql("grant insert on kept to trusty", database: "narrow")
        do {
            _ = try await Self.start(server, "narrow", user: "trusty")
            Issue.record("it started")
        } catch let error as DatabaseSettingsError {
            #expect("\(error)".contains("CREATEROLE"))
            #expect("\(error)".contains("kept"))
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `a role with CREATEROLE is enough`(version: TestPostgres.Version) async throws {
        let server = try Self.prepare(version, "maker")
        try server.sql("create role rolemaker login createrole password 'x'")
        try server.sql("grant pg_read_all_data to rolemaker with admin option")
        try server.sql("grant insert on kept to rolemaker", database: "maker")
        defer {
            _ = try? server.sql("drop database maker (force)")
            _ = try? server.sql("drop role rolemaker")
        }
        let conninfo = server.conninfo(user: "rolemaker", database: "maker", "password=x")
        let found = try await DatabaseSettings.resolve(conninfo)
        let shared = try await ReadOnlyGuard.start(found, conninfo: conninfo)
        let session = try await Session.open(DatabaseConnector(shared.target))
        #expect(try await session.failure("delete from kept") != nil)
        #expect(try await session.value("select word from kept") == "as it was")
        try await shared.stop()
        let left = "select count(*) from pg_roles where rolname like 'pgshare\\_ro%'"
        #expect(try server.sql(left) == "0")
    }

    @Test(arguments: TestPostgres.Version.available)
    func `a replica is read-only for a plain role, not for one that could promote it`(
        version: TestPostgres.Version
    ) async throws {
        let server = try TestPostgres(version)
        defer { server.stop() }
        try server.sql("create table kept (word text); grant insert on kept to trusty")
        try server.becomeReplica()
        let plain = try await Self.start(server, "postgres", user: "trusty")
        #expect(plain.guarantee == .replica)
        let session = try await Session.open(DatabaseConnector(plain.target))
        #expect(try await session.failure("insert into kept values ('changed')") == "25006")
        do {
            _ = try await Self.start(server, "postgres")
            Issue.record("it started")
        } catch let error as DatabaseSettingsError {
            #expect("\(error)".contains("promote"))
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `the lock of the role is taken again, and a role that is gone is noticed`(
        version: TestPostgres.Version
    ) async throws {
        let server = try Self.prepare(version, "watched")
        defer { _ = try? server.sql("drop database watched (force)") }
        let shared = try await Self.start(server, "watched")
        guard case .temporaryRole(let role) = shared.guarantee else {
            Issue.record("a superuser's share needs a role of its own")
            return
        }
        let held = "select count(*) from pg_locks where locktype = 'advisory'"
        let holder =
            "select pg_terminate_backend(pid, 9000) from pg_locks where locktype = 'advisory'"
        #expect(try server.sql(held) == "1")
        #expect(try server.sql(holder) == "t")
        #expect(try server.sql(held) == "0")
        #expect(try await shared.look())
        #expect(try server.sql(held) == "1")
        // A client takes it while the guard has none: nobody waits for it.
        let session = try await Session.open(DatabaseConnector(shared.target))
        #expect(try server.sql(holder) == "t")
        _ = try await session.query("select pg_advisory_lock(hashtextextended('\(role)', 0))")
        #expect(try await shared.look())
        try server.sql("drop owned by \(role); drop role \(role)", database: "watched")
        #expect(try await !shared.look())
        try? await shared.stop()
    }

    @Test func `a statement that is not answered in time fails, and the connection with it`() throws
    {
        let version = try #require(TestPostgres.Version.available.first)
        let server = try TestPostgres.shared(version)
        let conninfo = server.conninfo(user: "postgres", database: "postgres")
        let connection = try LibpqConnection(DatabaseSettings.keywords(conninfo))
        connection.answersWithin = .seconds(30)
        #expect(try connection.query("select $1::int + 1", ["1"]) == [["2"]])
        #expect(throws: DatabaseSettingsError.self) { try connection.query("select 1 / 0") }
        connection.answersWithin = .milliseconds(50)
        #expect(throws: DatabaseSettingsError.self) { try connection.query("select pg_sleep(99)") }
        #expect(throws: DatabaseSettingsError.self) { try connection.query("select 1") }
    }

    @Test func `the role is dropped although Postgres was restarted meanwhile`() async throws {
        let server = try TestPostgres(try #require(TestPostgres.Version.available.first))
        defer { server.stop() }
        let shared = try await Self.start(server, "postgres")
        try server.restart()
        try await shared.stop()
        let left = "select count(*) from pg_roles where rolname like 'pgshare\\_ro%'"
        #expect(try server.sql(left) == "0")
    }
}
