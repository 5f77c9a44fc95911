import NIOCore
import NIOPosix
import PostgresWire
import TestSupport
import Testing

@testable import PostgresClient

@Suite struct DatabaseConnectorTests {
    @Test func `Postgres 15, 17 or 18 is there to test with`() {
        #expect(!TestPostgres.Version.available.isEmpty)
        #expect(!TestPostgres.Version.availableWithTLS.isEmpty)
    }

    @Test(arguments: TestPostgres.Version.available)
    func `a unix socket with trust gives a whole greeting`(version: TestPostgres.Version)
        async throws
    {
        let session = try await Session.open(try TestPostgres.shared(version).connector())
        let types = Session.messages(session.greeting).map(\.type)
        #expect(types.first == UInt8(ascii: "S"))
        #expect(types.last == UInt8(ascii: "Z"))
        #expect(try await session.value("select current_user") == "postgres")
        #expect(!session.backend.isEncrypted)
    }

    @Test(
        arguments: TestPostgres.Version.available,
        ["trusty", "clear", "md5", "scram"])
    func `every method that asks for a password lets the right one in`(
        version: TestPostgres.Version, user: String
    ) async throws {
        let tls = DatabaseTLSSettings(mode: .disable)
        let connector = try TestPostgres.shared(version).connector(user: user, tls: tls)
        for _ in 1...2 {  // The second login uses the keys of the first.
            let session = try await Session.open(connector)
            #expect(try await session.value("select current_user") == user)
        }
    }

    @Test(arguments: TestPostgres.Version.available, ["clear", "md5", "scram"])
    func `a wrong password tells the client nothing of the agent's login`(
        version: TestPostgres.Version, user: String
    ) async throws {
        let tls = DatabaseTLSSettings(mode: .disable)
        let connector = try TestPostgres.shared(version)
            .connector(user: user, password: "wrong", tls: tls)
        let failure = await failure { _ = try await Session.open(connector) }
        #expect(failure?.reason == .login)
        #expect(failure?.detail.contains("28P01") == true)
        let sentence = failure?.clientError.message ?? ""
        #expect(!sentence.contains(user) && !sentence.contains("password"))
    }

    @Test(arguments: TestPostgres.Version.availableWithTLS, DatabaseTLSSettings.Mode.allCases)
    func `each sslmode encrypts or not, as in libpq`(
        version: TestPostgres.Version, mode: DatabaseTLSSettings.Mode
    ) async throws {
        let server = try TestPostgres.shared(version)
        let tls = DatabaseTLSSettings(
            mode: mode, rootCertificate: .file(server.rootCertificate))
        let session = try await Session.open(try server.connector(user: "scram", tls: tls))
        let isEncrypted = mode != .disable && mode != .allow
        #expect(session.backend.isEncrypted == isEncrypted)
        let sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
        #expect(try await session.value(sql) == (isEncrypted ? "t" : "f"))
    }

    @Test(arguments: TestPostgres.Version.availableWithTLS)
    func `allow and prefer try the other way where pg_hba asks for it`(
        version: TestPostgres.Version
    ) async throws {
        let server = try TestPostgres.shared(version)
        let only = try await Session.open(
            server.connector(user: "tlsonly", tls: DatabaseTLSSettings(mode: .allow)))
        #expect(only.backend.isEncrypted)
        let plain = try await Session.open(
            server.connector(user: "plainonly", tls: DatabaseTLSSettings(mode: .prefer)))
        #expect(!plain.backend.isEncrypted)
        let refused = await failure {
            let tls = DatabaseTLSSettings(mode: .require)
            _ = try await Session.open(server.connector(user: "plainonly", tls: tls))
        }
        #expect(refused?.reason == .login)
    }

    @Test(
        arguments: TestPostgres.Version.availableWithTLS,
        [DatabaseTLSSettings.Mode.require, .verifyCA, .verifyFull])
    func `a certificate of an authority that we do not trust is refused`(
        version: TestPostgres.Version, mode: DatabaseTLSSettings.Mode
    ) async throws {
        let server = try TestPostgres.shared(version)
        let tls = DatabaseTLSSettings(
            mode: mode, rootCertificate: .file(server.otherRootCertificate))
        let failure = await failure {
            _ = try await Session.open(server.connector(user: "scram", tls: tls))
        }
        #expect(failure?.reason == .tls)
    }

    @Test(
        arguments: TestPostgres.Version.availableWithTLS,
        [DatabaseTLSSettings.Mode.verifyCA, .verifyFull])
    func `only verify-full looks at the host name`(
        version: TestPostgres.Version, mode: DatabaseTLSSettings.Mode
    ) async throws {
        let server = try TestPostgres.shared(version)
        var target = server.target(
            user: "scram",
            tls: DatabaseTLSSettings(mode: mode, rootCertificate: .file(server.rootCertificate)))
        target.endpoint = .tcp(host: "elsewhere.test", address: "127.0.0.1", port: server.port)
        let failure = await failure {
            _ = try await Session.open(DatabaseConnector(target))
        }
        #expect(
            (failure?.reason == .tls) == (mode == .verifyFull), "\(String(describing: failure))")
    }

    @Test(arguments: TestPostgres.Version.availableWithTLS)
    func `channel binding is used where it is required, and refused where it cannot be`(
        version: TestPostgres.Version
    ) async throws {
        let server = try TestPostgres.shared(version)
        var target = server.target(user: "scram", tls: DatabaseTLSSettings(mode: .require))
        target.channelBinding = .require
        let session = try await Session.open(DatabaseConnector(target))
        #expect(try await session.value("select 1") == "1")
        target.tls = DatabaseTLSSettings(mode: .disable)
        let unbound = target
        let failure = await failure { _ = try await Session.open(DatabaseConnector(unbound)) }
        #expect(failure?.reason == .login)
    }

    @Test(arguments: TestPostgres.Version.availableWithTLS)
    func `a client certificate logs in`(version: TestPostgres.Version) async throws {
        let server = try TestPostgres.shared(version)
        let tls = DatabaseTLSSettings(
            mode: .verifyFull, rootCertificate: .file(server.rootCertificate),
            certificatePath: server.clientCertificate, keyPath: server.clientKey)
        let session = try await Session.open(
            server.connector(user: "certified", password: nil, tls: tls))
        #expect(try await session.value("select current_user") == "certified")
    }

    @Test(arguments: TestPostgres.Version.availableWithTLS.filter { $0 != .v15 })
    func `direct TLS needs no SSLRequest`(version: TestPostgres.Version) async throws {
        let server = try TestPostgres.shared(version)
        let tls = DatabaseTLSSettings(mode: .require, negotiation: .direct)
        let session = try await Session.open(server.connector(user: "scram", tls: tls))
        #expect(session.backend.isEncrypted)
    }

    @Test(arguments: TestPostgres.Version.available)
    func `the client's startup parameters arrive, and its user does not`(
        version: TestPostgres.Version
    ) async throws {
        let server = try TestPostgres.shared(version)
        var target = server.target(user: "trusty")
        target.options = "-c work_mem=123kB -c statement_timeout=7s"
        let session = try await Session.open(
            DatabaseConnector(target),
            [
                "user": "postgres", "application_name": "it is me", "TimeZone": "Asia/Tokyo",
                "options": "-c statement_timeout=9s", "DateStyle": "German",
            ])
        #expect(try await session.value("select session_user") == "trusty")
        #expect(try await session.value("show application_name") == "it is me")
        #expect(try await session.value("show timezone") == "Asia/Tokyo")
        #expect(try await session.value("show statement_timeout") == "9s")
        #expect(try await session.value("show work_mem") == "123kB")
    }

    @Test(arguments: TestPostgres.Version.available)
    func `a walsender can be had`(version: TestPostgres.Version) async throws {
        let session = try await Session.open(
            TestPostgres.shared(version).connector(), ["replication": "true"])
        #expect(try await session.value("IDENTIFY_SYSTEM") != nil)
    }

    @Test(
        arguments: TestPostgres.Version.available,
        [false, true])
    func `cancel ends the query and nothing else`(
        version: TestPostgres.Version, encrypted: Bool
    ) async throws {
        try #require(!encrypted || TestPostgres.Version.available.contains(version))
        let server = try TestPostgres.shared(version)
        let mode = encrypted && version.speaksTLS
        let tls = mode ? DatabaseTLSSettings(mode: .require) : nil
        let connector = try server.connector(user: "scram", tls: tls)
        let session = try await Session.open(connector)
        let key = try #require(session.key)
        async let reply = session.failure("select pg_sleep(60)")
        let probe = try await Session.open(server.connector())
        let isSleeping = """
            select count(*) from pg_stat_activity where pid = \(key.processID) and state = 'active'
            """
        while try await probe.value(isSleeping) != "1" {}
        let eventLoop = MultiThreadedEventLoopGroup.singleton.any()
        try await connector.cancel(key, isEncrypted: mode, on: eventLoop).get()
        #expect(try await reply == "57014")
        #expect(try await session.value("select 1") == "1")
    }
}

@Suite struct DatabaseConnectorFailureTests {
    @Test(arguments: TestPostgres.Version.available)
    func `a database that is not there is the client's own error`(version: TestPostgres.Version)
        async throws
    {
        let connector = try TestPostgres.shared(version).connector()
        let failure = await failure { _ = try await Session.open(connector, database: "nowhere") }
        #expect(failure?.clientError.sqlState == .invalidCatalogName)
        #expect(failure?.clientError.message == "database \"nowhere\" does not exist")
    }

    @Test(arguments: TestPostgres.Version.available)
    func `a wrong startup parameter is the client's own error`(version: TestPostgres.Version)
        async throws
    {
        let connector = try TestPostgres.shared(version).connector()
        let failure = await failure {
            _ = try await Session.open(connector, ["work_mem": "many"])
        }
        #expect(failure?.clientError.sqlState == .invalidParameterValue)
    }

    @Test func `a server that is down is unreachable, by either socket`() async throws {
        let server = try TestPostgres(try #require(TestPostgres.Version.available.first))
        server.stop()
        for tls in [nil, DatabaseTLSSettings(mode: .prefer)] {
            var target = server.target(tls: tls)
            if tls == nil { target.endpoint = .unixSocket(path: "/tmp/pgshare-nothing-here") }
            if tls != nil { target.endpoint = .tcp(host: "", address: "127.0.0.1", port: 1) }
            let down = target
            let failure = await failure { _ = try await Session.open(DatabaseConnector(down)) }
            #expect(failure?.reason == .unreachable)
            #expect(failure?.clientError.sqlState == .cannotConnectNow)
        }
    }

    @Test func `a full server says so without naming a role`() async throws {
        let version = try #require(TestPostgres.Version.available.first)
        let server = try TestPostgres(
            version,
            settings: [
                "max_connections = 5", "superuser_reserved_connections = 1",
                "max_wal_senders = 0", "wal_level = minimal",
            ])
        defer { server.stop() }
        let connector = try server.connector(user: "trusty")
        var open: [Session] = []
        let failure = await failure {
            for _ in 1...6 { open.append(try await Session.open(connector)) }
        }
        #expect(failure?.clientError.sqlState == .tooManyConnections)
        #expect(failure?.clientError.message.contains("trusty") == false)
        #expect(!open.isEmpty)
    }

    @Test func `a server that says nothing is given up in time`() async throws {
        let silent = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(host: "127.0.0.1", port: 0).get()
        let target = DatabaseTarget(
            endpoint: .tcp(
                host: "", address: "127.0.0.1", port: try #require(silent.localAddress?.port)),
            user: "nobody", database: "none", connectTimeout: .milliseconds(50))
        let connector = try DatabaseConnector(target)
        let login = await failure { _ = try await Session.open(connector) }
        #expect(login?.reason == .timedOut)
        let key = try #require(CancelKey(processID: 1, secret: [1, 2, 3, 4]))
        let eventLoop = MultiThreadedEventLoopGroup.singleton.any()
        let cancel = await failure {
            try await connector.cancel(key, isEncrypted: false, on: eventLoop).get()
        }
        #expect(cancel?.reason == .timedOut)
        try await silent.close()
    }
}

@Suite struct ServerNameCheckTests {
    @Test(arguments: [
        ("db.example.com", "db.example.com", true), ("DB.example.com", "db.Example.com", true),
        ("db.example.com", "db.example.com.", true), ("*.example.com", "db.example.com", true),
        ("*.example.com", "a.b.example.com", false), ("*.example.com", "example.com", false),
        ("*.example.com", ".example.com", false), ("*", "localhost", false),
        ("d*.example.com", "db.example.com", false), ("example.com", "db.example.com", false),
    ])
    func `a star stands for one whole label`(pattern: String, name: String, expected: Bool) {
        #expect(ServerNameCheck.matches(pattern: pattern, name: name) == expected)
    }
}
