import Foundation
import NIOCore
import PostgresClient
import PostgresWire
import Testing

@testable import Deploy

@Suite struct ToolConnectionTests {
    private let folder: RunFolder

    init() throws {
        self.folder = try TestFolder.make()
    }

    private func connection(_ change: (inout DatabaseTarget) -> Void) throws -> ToolConnection {
        var target = DatabaseTarget(
            endpoint: .tcp(host: "db.example", address: "192.0.2.1", port: 5433), user: "me",
            database: "shop")
        change(&target)
        return try ToolConnection(target: target, label: "source", in: self.folder)
    }

    @Test func `every setting of a target is a variable`() throws {
        let connection = try self.connection {
            $0.tls = DatabaseTLSSettings(
                mode: .verifyFull, negotiation: .direct, rootCertificate: .file("/ca"),
                certificatePath: "/cert", keyPath: "/key", sendsServerName: false)
            $0.channelBinding = .require
            $0.requireAuth = [.scramSHA256]
            $0.options = "-c a=b"
            $0.connectTimeout = .seconds(7)
        }
        #expect(
            connection.variables == [
                "PGHOST": "db.example", "PGHOSTADDR": "192.0.2.1", "PGPORT": "5433",
                "PGUSER": "me", "PGSSLMODE": "verify-full", "PGSSLNEGOTIATION": "direct",
                "PGSSLROOTCERT": "/ca", "PGSSLCERT": "/cert", "PGSSLKEY": "/key", "PGSSLSNI": "0",
                "PGCHANNELBINDING": "require", "PGREQUIREAUTH": "scram-sha-256",
                "PGOPTIONS": "-c a=b", "PGCONNECT_TIMEOUT": "7", "PGGSSENCMODE": "disable",
                "PGAPPNAME": "pgshare deploy", "PGCLIENTENCODING": "UTF8",
                "PGPASSFILE": self.folder.path("source.pgpass"),
            ])
    }

    @Test(arguments: [
        ("/var/run/postgresql/.s.PGSQL.5432", "/var/run/postgresql", "5432"),
        ("\0abstract/.s.PGSQL.77", "@abstract", "77"),
    ])
    func `a unix socket is its folder and its number`(
        path: String, host: String, port: String
    ) throws {
        let connection = try self.connection { $0.endpoint = .unixSocket(path: path) }
        #expect(connection.variables["PGHOST"] == host)
        #expect(connection.variables["PGPORT"] == port)
        #expect(connection.variables["PGHOSTADDR"] == nil)
    }

    @Test(arguments: [
        ("plain", "*:*:*:*:plain\n"), ("a:b\\c", "*:*:*:*:a\\:b\\\\c\n"),
        (" ü'\"", "*:*:*:*: ü'\"\n"),
    ])
    func `a password is in a file that only we can read`(
        password: String, line: String
    ) throws {
        let connection = try self.connection { $0.password = Secret(password) }
        let path = try #require(connection.variables["PGPASSFILE"])
        #expect(try String(contentsOfFile: path, encoding: .utf8) == line)
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions]
        #expect(mode as? Int == 0o600)
        #expect(connection.variables["PGPASSWORD"] == nil)
    }

    @Test func `a password of two lines fits no file and is a variable`() throws {
        let connection = try self.connection { $0.password = Secret("a\nb") }
        #expect(connection.variables["PGPASSWORD"] == "a\nb")
    }

    @Test func `a pass phrase is in a service file`() throws {
        let connection = try self.connection { $0.tls.keyPassword = Secret("open sesame") }
        let path = try #require(connection.variables["PGSERVICEFILE"])
        #expect(
            try String(contentsOfFile: path, encoding: .utf8)
                == "[pgshare]\nsslpassword=open sesame\n")
        #expect(throws: ToolFailure.self) {
            try self.connection { $0.tls.keyPassword = Secret("ends in a blank ") }
        }
    }

    @Test(arguments: [
        ("shop", "dbname='shop'"), ("a=b", "dbname='a=b'"),
        ("it's \\ \"x\"", #"dbname='it\'s \\ "x"'"#),
        ("postgresql://x", "dbname='postgresql://x'"),
    ])
    func `the name of a database is quoted`(name: String, argument: String) throws {
        #expect(try self.connection { $0.database = name }.databaseArgument == argument)
    }

    @Test func `a program sees no variable of ours but a few`() {
        let own = [
            "PATH": "/bin", "HOME": "/home/me", "PGHOST": "elsewhere", "PGSERVICE": "mine",
            "SUPABASE_ACCESS_TOKEN": "hidden", "LC_ALL": "de_DE.UTF-8", "LANGUAGE": "de",
        ]
        let seen = ToolProcess.environment(nil, own: own)
        #expect(seen == ["PATH": "/bin", "HOME": "/home/me", "LC_ALL": "C"])
    }
}
