import NIOCore
import PostgresClient
import PostgresWire
import TestSupport
import Testing

@Suite struct DatabaseSettingsTests {
    @Test(arguments: TestPostgres.Version.available)
    func `a unix socket in a key=value text is found`(version: TestPostgres.Version) async throws {
        let server = try TestPostgres.shared(version)
        let found = try await DatabaseSettings.resolve(server.conninfo())
        #expect(found.target.endpoint == .unixSocket(path: server.socketPath))
        #expect(found.probe.serverVersion / 10_000 == version.rawValue)
        #expect(found.probe.role == "postgres" && found.probe.database == "postgres")
        #expect(found.probe.isSuperuser && !found.probe.isInRecovery && !found.probe.usesTLS)
        #expect(found.probe.maximumConnections == 100)
    }

    @Test(arguments: TestPostgres.Version.available)
    func `a URL with a password is found, and the password is never printed`(
        version: TestPostgres.Version
    ) async throws {
        let server = try TestPostgres.shared(version)
        try server.sql(
            "alter role scram password '\(TestPostgres.password.replacing("'", with: "''"))'")
        let password = "it%27s%20a%20%22secret%22%20%C3%BC"
        let url =
            "postgresql://scram:\(password)@127.0.0.1:\(server.port)/postgres?connect_timeout=7"
        let found = try await DatabaseSettings.resolve(url)
        #expect(found.target.password?.reveal == TestPostgres.password)
        #expect(found.target.connectTimeout == .seconds(7))
        #expect(found.probe.usesTLS == version.speaksTLS)
        #expect(!"\(found)".contains("secret"))
        let session = try await Session.open(DatabaseConnector(found.target))
        #expect(try await session.value("select current_user") == "scram")
    }

    @Test(arguments: TestPostgres.Version.available)
    func `of several hosts the one that answers is used`(version: TestPostgres.Version)
        async throws
    {
        let server = try TestPostgres.shared(version)
        let conninfo = """
            host=127.0.0.1,\(server.socketFolder) port=1,\(server.port) user=postgres \
            dbname=postgres target_session_attrs=read-write
            """
        let found = try await DatabaseSettings.resolve(conninfo)
        #expect(found.target.endpoint == .unixSocket(path: server.socketPath))
    }

    @Test(arguments: [
        ("user=scram password=wrong", "password authentication failed", "Check the role"),
        ("user=scram", "no password supplied", "Give the password"),
        ("user=nobody_here password=x", "authentication failed", "Check the role"),
        ("user=postgres dbname=nowhere", "does not exist", "Check the names"),
        ("user=postgres port=1", "Connection refused", "Is Postgres running"),
        ("user=postgres nonsense=1", "nonsense", ""),
        ("user=postgres gssencmode=require", "gssencmode", "TLS"),
    ])
    func `a failure is libpq's sentence and what to do`(
        more: String, sentence: String, advice: String
    ) async throws {
        let version = try #require(TestPostgres.Version.available.first)
        let server = try TestPostgres.shared(version)
        let conninfo =
            "host=127.0.0.1 port=\(server.port) dbname=postgres passfile=/dev/null \(more)"
        do throws(DatabaseSettingsError) {
            _ = try await DatabaseSettings.resolve(conninfo)
            Issue.record("it connected")
        } catch {
            #expect("\(error)".contains(sentence))
            #expect(advice.isEmpty || "\(error)".contains(advice))
            #expect(!"\(error)".contains("wrong"))
        }
    }
}
