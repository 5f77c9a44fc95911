import Foundation
import NIOCore
import PostgresClient
import PostgresWire
import Synchronization
import TestSupport
import Testing

/// What a door's observer was told.
final class Seen: Sendable {
    private let all = Mutex<(statements: [StatementText], errors: [PostgresError], bytes: Int)>(
        ([], [], 0))

    var statements: [StatementText] { self.all.withLock { $0.statements } }
    var errors: [PostgresError] { self.all.withLock { $0.errors } }
    var copiedBytes: Int { self.all.withLock { $0.bytes } }

    var observer: DoorObserver {
        DoorObserver(
            statement: { text in self.all.withLock { $0.statements.append(text) } },
            error: { error in self.all.withLock { $0.errors.append(error) } },
            copiedBytes: { count in self.all.withLock { $0.bytes += count } })
    }
}

/// A session in a transaction, and another to look at it, in a database of their own.
struct DoorTest {
    let server: TestPostgres
    let session: PostgresSession
    let other: PostgresSession

    static func with(
        _ version: TestPostgres.Version, _ body: (DoorTest) async throws -> Void
    ) async throws {
        try await CopyPair.with(version) { pair in
            try await pair.target.rows("begin")
            try await body(
                DoorTest(server: pair.server, session: pair.target, other: pair.other))
        }
    }

    func psql(_ door: SessionDoor, _ statements: [String], _ more: [String] = []) throws -> Tool {
        let commands = statements.flatMap { ["-c", $0] }
        return try Tool(
            self.server.binaries + "/psql",
            ["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "anyone", "-d", "any"] + more
                + commands,
            ["PGHOST": door.socketFolder, "PGPORT": "\(door.port)"])
    }

    /// Makes a table whose first row waits for the `other` session.
    func blockInserts() async throws {
        try await self.other.rows(
            """
            create table public.a (i int primary key, t text);
            create function public.f() returns trigger language plpgsql as
            $$ begin perform pg_advisory_xact_lock_shared(7); return new; end $$;
            create trigger t before insert on public.a for each row execute function public.f();
            select pg_advisory_lock(7)
            """)
    }

    func waitUntilBlocked() async throws {
        let sql = """
            select coalesce((select wait_event_type = 'Lock' from pg_stat_activity
                where pid = \(self.session.backendProcessID)), false)
            """
        for _ in 0..<100_000 {
            if try await self.other.rows(sql) == [["t"]] { return }
        }
        Issue.record("never blocked")
    }
}

/// An archive of a small database with one of what pg_restore does differently: rows, large objects
/// (function calls), a function with semicolons in it, an index, a foreign key.
final class Archive: Sendable {
    static let sums = """
        select (select count(*) || ':' || sum(hashtextextended(x::text, 0)) from public.a x),
            (select count(*) || ':' || coalesce(sum(length(lo_get(oid))), 0)
                from pg_largeobject_metadata),
            (select public.f(4)), (select count(*) from pg_index i join pg_class c
                on c.oid = i.indexrelid where c.relnamespace = 'public'::regnamespace),
            (select count(*) from pg_constraint where contype = 'f')
        """

    let path: String
    let binaries: String
    let expected: [[String?]]

    private static let archives = Mutex<[TestPostgres.Version: Task<Archive, any Error>]>([:])

    static func shared(_ version: TestPostgres.Version) async throws -> Archive {
        let task = self.archives.withLock { archives in
            let task = archives[version] ?? Task { try await Archive(version) }
            archives[version] = task
            return task
        }
        return try await task.value
    }

    private init(_ version: TestPostgres.Version) async throws {
        let server = try TestPostgres.forSessions(version)
        try server.sql("create database archived")
        let session = try await server.session(database: "archived")
        try await session.rows(
            """
            create table public.a (i int primary key, t text);
            insert into public.a select i, repeat('é', i % 40) from generate_series(1, 50000) i;
            create table public.b (i int references public.a, j int);
            create index on public.b (j);
            create function public.f(x int) returns int language sql begin atomic
                select case when x > 1 then x * 2 else 1 end; end;
            select lo_from_bytea(0, decode(repeat('00ff', 100000), 'hex'))
                from generate_series(1, 3)
            """)
        self.expected = try await session.rows(Self.sums)
        self.path = server.folder + "/archive"
        self.binaries = server.binaries
        let dump = try Tool(
            server.binaries + "/pg_dump",
            [
                "-Fc", "-h", server.socketFolder, "-p", "\(server.port)", "-U", "postgres", "-f",
                self.path, "archived",
            ])
        let outcome = await dump.outcome
        guard outcome.status == 0 else { throw Failed(errors: outcome.errors) }
        await session.close()
    }

    struct Failed: Error {
        var errors: String
    }

    func start(_ door: SessionDoor, _ more: [String] = []) throws -> Tool {
        try Tool(
            self.binaries + "/pg_restore",
            ["--single-transaction", "--exit-on-error", "--no-owner", "-d", "any"] + more
                + [self.path],
            ["PGHOST": door.socketFolder, "PGPORT": "\(door.port)", "PGUSER": "anyone"])
    }

    func restore(_ door: SessionDoor) async throws -> Tool.Outcome {
        try await self.start(door).outcome
    }
}
