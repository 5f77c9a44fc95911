import Foundation
import Synchronization

/// A throw-away Postgres for tests: own folder, free port, unix socket, own authority for TLS, and
/// roles for every way to log in.
///
/// A shell watches over it: when the test process ends, however it ends, the shell reads the end of
/// its standard input, stops Postgres and removes the folder.
///
/// | role | how it logs in |
/// |---|---|
/// | postgres, trusty | trust; superuser and not |
/// | clear, md5, scram | by TCP with that method; password ``password`` |
/// | certified | by TCP with TLS and the client certificate |
/// | tlsonly, plainonly | scram, only with TLS, only without |
public final class TestPostgres: Sendable {
    /// The major versions that we test with.
    public enum Version: Int, Sendable, CaseIterable {
        case v15 = 15
        case v17 = 17
        case v18 = 18

        /// The folder of `initdb` and `postgres`: `PGSHARE_TEST_PG15_BIN` and so on; for 15,
        /// Debian's if unset. Nil where there is none.
        public var binaries: String? {
            let name = "PGSHARE_TEST_PG\(self.rawValue)_BIN"
            let path =
                ProcessInfo.processInfo.environment[name]
                ?? "/usr/lib/postgresql/\(self.rawValue)/bin"
            return FileManager.default.isExecutableFile(atPath: path + "/initdb") ? path : nil
        }

        /// The versions that are here.
        public static var available: [Version] { Self.allCases.filter { $0.binaries != nil } }

        /// Whether this build of Postgres speaks TLS.
        public var speaksTLS: Bool {
            guard let path = self.binaries else { return false }
            let options = try? Shell.run([path + "/pg_config", "--configure"])
            return options?.contains("openssl") == true
        }

        /// The versions that are here and speak TLS.
        public static var availableWithTLS: [Version] { Self.available.filter(\.speaksTLS) }
    }

    /// The password of every role that has one.
    public static let password = "it's a \"secret\" ü"

    /// Of the server.
    public let version: Version
    /// The folder of the server's programs.
    public let binaries: String
    /// Everything of this server.
    public let folder: String
    /// The TCP port, on 127.0.0.1.
    public let port: Int
    private let watcher: Mutex<Watcher?>

    /// The folder of the unix socket.
    public var socketFolder: String { self.folder + "/socket" }
    /// The path of the unix socket.
    public var socketPath: String { "\(self.socketFolder)/.s.PGSQL.\(self.port)" }
    /// The authority's certificate.
    public var rootCertificate: String { self.folder + "/tls/ca.pem" }
    /// An authority that signed nothing here.
    public var otherRootCertificate: String { self.folder + "/tls/other.pem" }
    /// The certificate of the role `certified`.
    public var clientCertificate: String { self.folder + "/tls/client.pem" }
    /// Its key.
    public var clientKey: String { self.folder + "/tls/client.key" }

    private static let servers = Mutex<[Version: TestPostgres]>([:])

    /// The server of this version that all tests of the process share.
    public static func shared(_ version: Version) throws -> TestPostgres {
        try self.servers.withLock { servers in
            if let server = servers[version] { return server }
            let server = try TestPostgres(version)
            servers[version] = server
            return server
        }
    }

    /// Starts a server of one's own.
    ///
    /// - Parameters:
    ///   - version: One of ``Version/available``.
    ///   - settings: Lines for `postgresql.conf`.
    /// - Throws: ``TestPostgresError``, with what the program that failed printed.
    public init(_ version: Version, settings: [String] = []) throws {
        guard let binaries = version.binaries else { throw TestPostgresError("no \(version)") }
        self.version = version
        self.binaries = binaries
        self.folder = try Shell.run(["mktemp", "-d", "/tmp/pgshare-test.XXXXXX"])
        self.port = try Shell.freePort()
        self.watcher = Mutex(nil)
        try Shell.run(["mkdir", self.socketFolder, self.folder + "/tls"])
        if version.speaksTLS { try TestCertificates.make(in: self.folder + "/tls") }
        try Shell.run(Shell.asRoot ? ["chown", "-R", "postgres:", self.folder] : ["true"])
        try Shell.run(
            Shell.unprivileged + [
                binaries + "/initdb", "-D", self.folder + "/data", "-U", "postgres", "-A", "trust",
                "-E", "UTF8", "--no-locale", "--no-sync",
            ])
        try self.configure(settings)
        try self.start()
        for statement in Self.roles { try self.sql(statement) }
    }

    deinit {
        self.stop()
    }

    /// Stops the server and removes its folder. Connections to it are closed.
    public func stop() {
        self.watcher.withLock { watcher in
            try? watcher?.input.close()
            watcher = nil
        }
    }

    /// Makes the server a read replica, of nobody: it waits for WAL and refuses every write.
    public func becomeReplica() throws {
        try Shell.run(Shell.unprivileged + ["touch", self.folder + "/data/standby.signal"])
        try self.restart()
    }

    /// Restarts the server; every session ends.
    public func restart() throws {
        try self.watcher.withLock { watcher in
            guard let watcher else { throw TestPostgresError("the server was stopped") }
            try watcher.input.write(contentsOf: Data("restart\n".utf8))
            try watcher.awaitReady(self.folder)
        }
    }

    /// Runs statements as the superuser; what psql prints, unaligned.
    @discardableResult
    public func sql(_ text: String, database: String = "postgres") throws -> String {
        try Shell.run([
            self.binaries + "/psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h",
            self.socketFolder, "-p", "\(self.port)", "-U", "postgres", "-d", database, "-c", text,
        ])
    }

    /// `key=value` text for libpq.
    public func conninfo(
        user: String = "postgres",
        tcp: Bool = false,
        database: String = "postgres",
        _ more: String = ""
    ) -> String {
        let host = tcp ? "host=localhost hostaddr=127.0.0.1" : "host=\(self.socketFolder)"
        return "\(host) port=\(self.port) user=\(user) dbname=\(database) \(more)"
    }

    private func configure(_ settings: [String]) throws {
        var lines = [
            "listen_addresses = '127.0.0.1'", "port = \(self.port)", "fsync = off",
            "unix_socket_directories = '\(self.socketFolder)'", "shared_buffers = 16MB",
            "wal_level = logical", "max_wal_senders = 4", "password_encryption = 'scram-sha-256'",
        ]
        if self.version.speaksTLS {
            lines += [
                "ssl = on", "ssl_cert_file = '\(self.folder)/tls/server.pem'",
                "ssl_key_file = '\(self.folder)/tls/server.key'",
                "ssl_ca_file = '\(self.rootCertificate)'",
            ]
        }
        try self.append(lines + settings, to: "postgresql.conf")
        let certified = self.version.speaksTLS ? Self.accessWithTLS : []
        let access = try FileHandle(forWritingTo: self.file("pg_hba.conf"))
        try access.truncate(atOffset: 0)
        try access.close()
        try self.append(certified + Self.access, to: "pg_hba.conf")
    }

    private func file(_ name: String) -> URL {
        URL(fileURLWithPath: "\(self.folder)/data/\(name)")
    }

    private func append(_ lines: [String], to name: String) throws {
        let file = try FileHandle(forWritingTo: self.file(name))
        try file.seekToEnd()
        try file.write(contentsOf: Data((lines.joined(separator: "\n") + "\n").utf8))
        try file.close()
    }

    private func start() throws {
        let script = """
            "$1/pg_ctl" -D "$2/data" -l "$2/log" -s -w start </dev/null && echo r
            while read line
            do "$1/pg_ctl" -D "$2/data" -l "$2/log" -s -w -m fast restart </dev/null && echo r
            done
            "$1/pg_ctl" -D "$2/data" -s -m immediate stop; rm -rf "$2"
            """
        let input = Pipe()
        let output = Pipe()
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments =
            Shell.unprivileged + ["sh", "-c", script, "sh", self.binaries, self.folder]
        process.currentDirectoryURL = URL(fileURLWithPath: "/")
        process.standardInput = input
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let watcher = Watcher(
            input: input.fileHandleForWriting, output: output.fileHandleForReading)
        self.watcher.withLock { $0 = watcher }
        try watcher.awaitReady(self.folder)
    }

    /// The two ends of the shell that watches over the server.
    private struct Watcher: Sendable {
        let input: FileHandle
        let output: FileHandle

        func awaitReady(_ folder: String) throws {
            guard try self.output.read(upToCount: 2)?.count == 2 else {
                throw TestPostgresError("Postgres does not start: \(folder)/log")
            }
        }
    }

    private static let roles: [String] = [
        "create role trusty login",
        "create role clear login password '\(TestPostgres.quoted)'",
        "create role scram login password '\(TestPostgres.quoted)'",
        "create role tlsonly login password '\(TestPostgres.quoted)'",
        "create role plainonly login password '\(TestPostgres.quoted)'",
        "create role certified login",
        "set password_encryption = 'md5'; create role md5 login password '\(TestPostgres.quoted)'",
    ]

    private static let quoted = TestPostgres.password.replacing("'", with: "''")

    private static let accessWithTLS = [
        "hostssl all certified 127.0.0.1/32 cert",
        "hostssl all tlsonly 127.0.0.1/32 scram-sha-256",
        "hostnossl all plainonly 127.0.0.1/32 scram-sha-256",
    ]

    private static let access = [
        "local replication all trust",
        "local all postgres,trusty trust",
        "local all all scram-sha-256",
        "host all certified,tlsonly,plainonly 127.0.0.1/32 reject",
        "host all postgres,trusty 127.0.0.1/32 trust",
        "host all clear 127.0.0.1/32 password",
        "host all md5 127.0.0.1/32 md5",
        "host all all 127.0.0.1/32 scram-sha-256",
    ]
}

/// What went wrong while a test server was made.
public struct TestPostgresError: Error, CustomStringConvertible {
    /// A sentence.
    public var description: String

    init(_ description: String) {
        self.description = description
    }
}
