import NIOCore
import PostgresClient
import PostgresWire
import TestSupport
import Testing

/// What ends a COPY from outside: a server that goes away, a task that is cancelled, a target that
/// does not read.
@Suite struct PostgresCopyFaultTests {
    private static let endless = "copy (select generate_series(1, 1000000000000)) to stdout"
    private static let store = "copy public.b from stdin"

    @Test(arguments: TestPostgres.Version.available, [true, false])
    func `a source that is killed in the middle leaves the target usable`(
        version: TestPostgres.Version, onOneLoop: Bool
    ) async throws {
        try await CopyPair.with(version, onOneLoop: onOneLoop) { pair in
            try await pair.target.rows("create table public.b (i bigint)")
            try await pair.target.rows("begin")
            let error = try await pair.copyFailure(Self.endless, Self.store) {
                try await pair.kill(pair.source)
            }
            let said = try #require(error)
            #expect(said.isLostSource)
            #expect(pair.source.isOver)
            #expect(pair.target.transactionStatus == .failed)
            try await pair.target.rows("rollback")
            #expect(try await pair.target.rows("select count(*) from public.b") == [["0"]])
        }
    }

    @Test(arguments: TestPostgres.Version.available, [true, false])
    func `a target that is killed in the middle leaves the source usable`(
        version: TestPostgres.Version, onOneLoop: Bool
    ) async throws {
        try await CopyPair.with(version, onOneLoop: onOneLoop) { pair in
            try await pair.target.rows("create table public.b (i bigint)")
            let error = try await pair.copyFailure(Self.endless, Self.store) {
                try await pair.kill(pair.target)
            }
            let said = try #require(error)
            #expect(said.isLostTarget)
            #expect(pair.target.isOver)
            #expect(try await pair.source.rows("select 1") == [["1"]])
        }
    }

    @Test(arguments: TestPostgres.Version.available, [true, false])
    func `a cancelled task cancels both sides, and both go on`(
        version: TestPostgres.Version, onOneLoop: Bool
    ) async throws {
        try await CopyPair.with(version, onOneLoop: onOneLoop) { pair in
            try await pair.target.rows("create table public.b (i bigint)")
            let told = Told()
            let copy = Task {
                try await pair.source.copy(
                    Self.endless, into: pair.target, Self.store, progress: { told.bytes($0) })
            }
            await told.wait(beyond: 1_000_000)
            copy.cancel()
            let error = await failure(CopyError.self) { _ = try await copy.value }
            let state = (error?.sourceError ?? error?.targetError)?.sqlState
            #expect(state == .queryCanceled)
            #expect(try await pair.source.rows("select 1") == [["1"]])
            #expect(try await pair.target.rows("select count(*) from public.b") == [["0"]])
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `a task that is cancelled already copies nothing`(
        version: TestPostgres.Version
    ) async throws {
        try await CopyPair.with(version) { pair in
            try await pair.target.rows("create table public.b (i bigint)")
            let copy = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                try await pair.source.copy(Self.endless, into: pair.target, Self.store)
            }
            let error = await failure(CopyError.self) { try await copy.value }
            #expect(error != nil)
            #expect(try await pair.source.rows("select 1") == [["1"]])
            #expect(try await pair.target.rows("select count(*) from public.b") == [["0"]])
        }
    }

    /// The target's server takes nothing while a trigger waits for a lock.
    @Test(arguments: TestPostgres.Version.available, [true, false])
    func `a target that does not read stops the source, and little is on the way`(
        version: TestPostgres.Version, onOneLoop: Bool
    ) async throws {
        try await CopyPair.with(version, onOneLoop: onOneLoop) { pair in
            try await pair.blockTarget()
            let told = Told()
            async let copied = pair.source.copy(
                "copy (select repeat('x', 1000) from generate_series(1, 20000)) to stdout",
                into: pair.target, Self.store, progress: { told.bytes($0) })
            try await pair.waitForBlockedSource()
            #expect(told.last < 4 * 1024 * 1024)
            try await pair.unblockTarget()
            #expect(try await copied.rows == 20_000)
        }
    }

    @Test(arguments: TestPostgres.Version.available, [true, false])
    func `a source that dies within one long row fails the copy, and the target goes on`(
        version: TestPostgres.Version, onOneLoop: Bool
    ) async throws {
        try await CopyPair.with(version, onOneLoop: onOneLoop) { pair in
            try await pair.blockTarget()
            async let failed = failure(CopyError.self) {
                try await pair.source.copy(
                    "copy (select case i when 1 then 'x' else repeat('x', 30000000) end "
                        + "from generate_series(1, 2) i) to stdout",
                    into: pair.target, Self.store)
            }
            try await pair.waitForBlockedSource()
            try await pair.kill(pair.source)
            try await pair.unblockTarget()
            #expect(await failed?.isLostSource == true)
            #expect(try await pair.target.rows("select count(*) from public.b") == [["0"]])
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `a cancelled task ends a copy whose target does not read`(
        version: TestPostgres.Version
    ) async throws {
        try await CopyPair.with(version) { pair in
            try await pair.blockTarget()
            let copy = Task {
                try await pair.source.copy(Self.endless, into: pair.target, Self.store)
            }
            try await pair.waitForBlockedSource()
            copy.cancel()
            let error = await failure(CopyError.self) { _ = try await copy.value }
            #expect((error?.sourceError ?? error?.targetError)?.sqlState == .queryCanceled)
            #expect(try await pair.source.rows("select 1") == [["1"]])
            #expect(try await pair.target.rows("select 1") == [["1"]])
        }
    }
}

extension CopyPair {
    /// Starts a copy, acts once a megabyte has moved, and returns how the copy failed.
    fileprivate func copyFailure(
        _ out: String, _ into: String, _ act: () async throws -> Void
    ) async throws -> CopyError? {
        let told = Told()
        async let failed = failure(CopyError.self) {
            try await self.source.copy(
                out, into: self.target, into, progress: { told.bytes($0) })
        }
        await told.wait(beyond: 1_000_000)
        try await act()
        return await failed
    }

    fileprivate func kill(_ session: PostgresSession) async throws {
        try await self.other.rows("select pg_terminate_backend(\(session.backendProcessID))")
    }

    /// Makes a table whose first row waits for this pair's `other` session.
    fileprivate func blockTarget() async throws {
        try await self.other.rows(
            """
            create table public.b (t text);
            create function public.f() returns trigger language plpgsql as
            $$ begin perform pg_advisory_xact_lock_shared(7); return new; end $$;
            create trigger t before insert on public.b for each row execute function public.f();
            select pg_advisory_lock(7)
            """)
    }

    fileprivate func unblockTarget() async throws {
        try await self.other.rows("select pg_advisory_unlock(7)")
    }

    /// The source's server waits until somebody reads.
    fileprivate func waitForBlockedSource() async throws {
        try await self.wait(
            until: """
                select wait_event = 'ClientWrite' from pg_stat_activity
                where pid = \(self.source.backendProcessID)
                """)
    }
}

extension CopyError {
    fileprivate var isLostSource: Bool {
        switch self {
        case .source(let error): error.endsSession
        case .target, .rowsDiffer, .formatsDiffer: false
        }
    }

    fileprivate var isLostTarget: Bool {
        switch self {
        case .target(let error): error.endsSession
        case .source, .rowsDiffer, .formatsDiffer: false
        }
    }
}
