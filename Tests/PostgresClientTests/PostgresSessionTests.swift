import NIOCore
import NIOPosix
import PostgresClient
import PostgresWire
import TestSupport
import Testing

@Suite struct PostgresSessionTests {
    @Test(arguments: TestPostgres.Version.available)
    func `a session knows its server and its settings`(version: TestPostgres.Version) async throws {
        let session = try await TestPostgres.forSessions(version).session()
        #expect(session.serverVersion / 10_000 == version.rawValue)
        #expect(session.parameters["TimeZone"] == "UTC")
        #expect(session.parameters["DateStyle"]?.hasPrefix("ISO") == true)
        #expect(session.parameters["IntervalStyle"] == "postgres")
        #expect(session.parameters["application_name"] == "tests")
        let shown = try await session.rows(
            """
            select current_setting('search_path'), current_setting('statement_timeout'),
                current_setting('lock_timeout'), current_setting('idle_session_timeout'),
                current_setting('extra_float_digits'), current_setting('row_security'),
                pg_backend_pid()
            """)
        let processID = "\(session.backendProcessID)"
        let path = "pg_catalog, pg_temp"
        #expect(shown == [[path, "0", "1min", "0", "3", "off", processID]])
        await session.close()
    }

    @Test(arguments: TestPostgres.Version.available)
    func `a commit waits for the disk, even of a database whose commits do not`(
        version: TestPostgres.Version
    ) async throws {
        let server = try TestPostgres.forSessions(version)
        let admin = try await server.session()
        try await admin.rows("create database hasty")
        try await admin.rows("alter database hasty set synchronous_commit = off")
        let session = try await server.session(database: "hasty")
        #expect(try await session.rows("show synchronous_commit") == [["on"]])
        await session.close()
        try await admin.rows("drop database hasty with (force)")
        await admin.close()
    }

    @Test(arguments: TestPostgres.Version.available)
    func `rows are those of the last statement that has any`(
        version: TestPostgres.Version
    ) async throws {
        let session = try await TestPostgres.forSessions(version).session()
        let rows = try await session.rows("select 1; select 'é', null, ''; set lock_timeout = 0")
        #expect(rows == [["é", nil, ""]])
        #expect(try await session.rows("") == [])
        #expect(try await session.rows("select 1 where false") == [])
    }

    @Test(arguments: TestPostgres.Version.available)
    func `an error has every field for the person, and the session goes on`(
        version: TestPostgres.Version
    ) async throws {
        let session = try await TestPostgres.forSessions(version).session()
        let sql = """
            do $$ begin raise exception 'no' using detail = 'why', hint = 'how',
            errcode = 'PS001'; end $$
            """
        let error = await failure(SessionError.self) { try await session.rows(sql) }
        let said = try #require(error?.serverError)
        #expect(said.message == "no")
        #expect(said.detail == "why")
        #expect(said.hint == "how")
        #expect(said.sqlState.rawValue == "PS001")
        #expect(said.context?.contains("PL/pgSQL") == true)
        #expect(error?.endsSession == false)
        #expect(try await session.rows("select 1") == [["1"]])
    }

    @Test(arguments: TestPostgres.Version.available)
    func `the transaction status follows the server`(
        version: TestPostgres.Version
    ) async throws {
        let session = try await TestPostgres.forSessions(version).session()
        #expect(session.transactionStatus == .idle)
        try await session.rows("begin")
        #expect(session.transactionStatus == .inTransaction)
        _ = await failure(SessionError.self) { try await session.rows("select 1/0") }
        #expect(session.transactionStatus == .failed)
        try await session.rows("rollback")
        #expect(session.transactionStatus == .idle)
    }
}
