import NIOCore
import NIOPosix
import PostgresClient
import PostgresWire
import TestSupport
import Testing

@Suite struct PostgresCopyTests {
    static let loops = MultiThreadedEventLoopGroup.singleton

    @Test(arguments: TestPostgres.Version.available, [true, false])
    func `a copy moves every row, on one loop or across two`(
        version: TestPostgres.Version, onOneLoop: Bool
    ) async throws {
        try await CopyPair.with(version, onOneLoop: onOneLoop) { pair in
            try await pair.source.rows(
                """
                create table public.a as select i, repeat('é\t', i % 50) t, null::text n
                from generate_series(1, 100000) i
                """)
            try await pair.target.rows("create table public.b (like public.a)")
            let told = Told()
            let result = try await pair.source.copy(
                "copy public.a to stdout", into: pair.target, "copy public.b from stdin",
                progress: { told.bytes($0) })
            #expect(result.rows == 100_000)
            #expect(result.bytes > 1_000_000)
            #expect(told.last == result.bytes)
            let sum = "select count(*), sum(hashtextextended(x::text, 0)) from public."
            #expect(
                try await pair.source.rows(sum + "a x") == pair.source.rows(sum + "b x"))
            #expect(try await pair.target.rows("select 1") == [["1"]])
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `an empty table and a binary COPY go through`(
        version: TestPostgres.Version
    ) async throws {
        try await CopyPair.with(version) { pair in
            try await pair.target.rows("create table public.b (i int)")
            let none = try await pair.source.copy(
                "copy (select 1 where false) to stdout", into: pair.target,
                "copy public.b from stdin")
            #expect(none == CopyResult(rows: 0, bytes: 0))
            let some = try await pair.source.copy(
                "copy (select generate_series(1, 1000)) to stdout (format binary)",
                into: pair.target, "copy public.b from stdin (format binary)")
            #expect(some.rows == 1000)
        }
    }

    @Test(arguments: TestPostgres.Version.available, [true, false])
    func `a row that the target refuses is the target's error, and both sessions go on`(
        version: TestPostgres.Version, onOneLoop: Bool
    ) async throws {
        try await CopyPair.with(version, onOneLoop: onOneLoop) { pair in
            try await pair.target.rows("create table public.b (i int check (i <> 70000))")
            try await pair.target.rows("begin")
            let error = await failure(CopyError.self) {
                try await pair.source.copy(
                    "copy (select generate_series(1, 10000000)) to stdout", into: pair.target,
                    "copy public.b from stdin")
            }
            let said = try #require(error?.targetError)
            #expect(said.sqlState.rawValue == "23514")
            #expect(said.detail?.contains("70000") == true)
            #expect(said.context?.contains("line 70000") == true)
            #expect(pair.target.transactionStatus == .failed)
            #expect(try await pair.source.rows("select 1") == [["1"]])
            try await pair.target.rows("rollback")
            #expect(try await pair.target.rows("select count(*) from public.b") == [["0"]])
        }
    }

    @Test(arguments: TestPostgres.Version.available, [true, false])
    func `a source that fails leaves the target in a failed transaction, and usable`(
        version: TestPostgres.Version, onOneLoop: Bool
    ) async throws {
        try await CopyPair.with(version, onOneLoop: onOneLoop) { pair in
            try await pair.target.rows("create table public.b (i int)")
            try await pair.target.rows("begin")
            let error = await failure(CopyError.self) {
                try await pair.source.copy(
                    "copy (select 1 / (70000 - i) from generate_series(1, 100000) i) to stdout",
                    into: pair.target, "copy public.b from stdin")
            }
            #expect(error?.sourceError?.sqlState.rawValue == "22012")
            #expect(pair.target.transactionStatus == .failed)
            try await pair.target.rows("rollback")
            #expect(try await pair.target.rows("select count(*) from public.b") == [["0"]])
            #expect(try await pair.source.rows("select 1") == [["1"]])
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `a statement that fails at once ends the other one`(
        version: TestPostgres.Version
    ) async throws {
        try await CopyPair.with(version) { pair in
            try await pair.target.rows("create table public.b (i int)")
            let noTarget = await failure(CopyError.self) {
                try await pair.source.copy(
                    "copy (select generate_series(1, 100000000)) to stdout", into: pair.target,
                    "copy public.nothing from stdin")
            }
            #expect(noTarget?.targetError?.sqlState.rawValue == "42P01")
            let noSource = await failure(CopyError.self) {
                try await pair.source.copy(
                    "copy public.nothing to stdout", into: pair.target, "copy public.b from stdin")
            }
            #expect(noSource?.sourceError?.sqlState.rawValue == "42P01")
            #expect(try await pair.source.rows("select 1") == [["1"]])
            #expect(try await pair.target.rows("select 1") == [["1"]])
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `a source that waits for a lock does not keep a failed target waiting`(
        version: TestPostgres.Version
    ) async throws {
        try await CopyPair.with(version) { pair in
            try await pair.other.rows("create table public.a (i int)")
            try await pair.other.rows("begin; lock table public.a")
            let error = await failure(CopyError.self) {
                try await pair.source.copy(
                    "copy public.a to stdout", into: pair.target, "copy public.nothing from stdin")
            }
            #expect(error?.targetError?.sqlState.rawValue == "42P01")
            #expect(try await pair.source.rows("select 1") == [["1"]])
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `numbers of rows that differ are an error`(version: TestPostgres.Version) async throws {
        try await CopyPair.with(version) { pair in
            try await pair.target.rows(
                """
                create table public.b (i int);
                create function public.f() returns trigger language plpgsql as
                $$ begin if new.i % 10 = 0 then return null; end if; return new; end $$;
                create trigger t before insert on public.b for each row execute function public.f()
                """)
            let error = await failure(CopyError.self) {
                try await pair.source.copy(
                    "copy (select generate_series(1, 100)) to stdout", into: pair.target,
                    "copy public.b from stdin")
            }
            #expect(error == .rowsDiffer(source: 100, target: 90))
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `what is no pair of COPYs of one format is refused, and both sessions go on`(
        version: TestPostgres.Version
    ) async throws {
        try await CopyPair.with(version) { pair in
            try await pair.target.rows("create table public.b (i int)")
            let statements = [
                ("copy (select 1) to stdout (format binary)", "copy public.b from stdin"),
                ("copy (select 1, 2) to stdout", "copy public.b from stdin"),
                ("select 1", "copy public.b from stdin"), ("copy (select 1) to stdout", "select 1"),
                ("copy (select 1) to stdout", "copy (select 1) to stdout"),
                ("copy public.b from stdin", "copy public.b from stdin"), ("", ""),
            ]
            for (out, into) in statements {
                let error = await failure(CopyError.self) {
                    try await pair.source.copy(out, into: pair.target, into)
                }
                #expect(error != nil)
                #expect(try await pair.source.rows("select 1") == [["1"]])
                #expect(try await pair.target.rows("select 1") == [["1"]])
            }
            #expect(try await pair.target.rows("select count(*) from public.b") == [["0"]])
        }
    }
}

/// A source, a target, and a session to look at them, in a database of their own.
struct CopyPair {
    let server: TestPostgres
    let source: PostgresSession
    let target: PostgresSession
    let other: PostgresSession

    static func with(
        _ version: TestPostgres.Version, onOneLoop: Bool = true,
        _ body: (CopyPair) async throws -> Void
    ) async throws {
        let server = try TestPostgres.forSessions(version)
        let database = "copy_\(UInt64.random(in: 0 ... .max))"
        let loops = Array(PostgresCopyTests.loops.makeIterator())
        let first = loops[0]
        let second = onOneLoop ? first : loops[1]
        let admin = try await server.session(on: first)
        try await admin.rows("create database \(database)")
        let pair = CopyPair(
            server: server, source: try await server.session(database: database, on: first),
            target: try await server.session(database: database, on: second),
            other: try await server.session(database: database, on: first))
        defer {
            for session in [pair.source, pair.target, pair.other] { session.abort() }
        }
        try await body(pair)
        for session in [pair.source, pair.target, pair.other] { session.abort() }
        try await admin.rows("drop database \(database) with (force)")
        await admin.close()
    }

    /// Asks again and again, a bounded number of times.
    func wait(until sql: String) async throws {
        for _ in 0..<100_000 {
            if try await self.other.rows(sql) == [["t"]] { return }
        }
        Issue.record("never true: \(sql)")
    }
}

extension CopyError {
    var sourceError: PostgresError? {
        if case .source(let error) = self { error.serverError } else { nil }
    }
    var targetError: PostgresError? {
        if case .target(let error) = self { error.serverError } else { nil }
    }
}
