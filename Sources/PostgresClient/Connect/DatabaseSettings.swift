import Foundation
import NIOCore
import NIOPosix
import PostgresWire

/// What the agent knows about its database once it has been there.
public struct DatabaseProbe: Hashable, Sendable {
    /// As libpq numbers it: 150018 is 15.18.
    public var serverVersion: Int
    /// The role the agent logs in as.
    public var role: String
    /// The database.
    public var database: String
    /// Whether the role may do everything. Whoever shares as a superuser should be told.
    public var isSuperuser: Bool
    /// Whether the server is a read replica: nothing can be written, whatever a client tries.
    public var isInRecovery: Bool
    /// `max_connections` of the server.
    public var maximumConnections: Int
    /// Whether the connection was encrypted, with a server certificate.
    public var usesTLS: Bool
}

/// A target and what was found there.
public struct ResolvedDatabase: Hashable, Sendable {
    /// For ``DatabaseConnector``.
    public var target: DatabaseTarget
    /// For the person who shares it, and for limits.
    public var probe: DatabaseProbe
}

/// Finds the database by libpq's own rules: libpq makes a whole connection and says what it used.
///
/// So URL, `key=value`, `PG…` variables, `.pgpass`, service files, unix sockets, several hosts and
/// `target_session_attrs` mean here what they mean to psql, because the same code reads them.
public enum DatabaseSettings {
    /// Connects once, off the event loops and the cooperative threads.
    ///
    /// - Parameters:
    ///   - conninfo: A URL, `key=value` text or a database name; nil is libpq's defaults.
    ///   - overrides: libpq keywords that win over those of `conninfo`, such as a password that
    ///     must not stand in a URL.
    /// - Returns: Where the database is, and what was found there.
    /// - Throws: ``DatabaseSettingsError``: libpq's sentence, and what a person can do.
    public static func resolve(
        _ conninfo: String?,
        overrides: [String: String] = [:]
    ) async throws(DatabaseSettingsError) -> ResolvedDatabase {
        try await offLoop { () throws(DatabaseSettingsError) in
            try self.resolveBlocking(conninfo, overrides)
        }
    }

    static func resolveBlocking(
        _ conninfo: String?,
        _ overrides: [String: String] = [:]
    ) throws(DatabaseSettingsError) -> ResolvedDatabase {
        let wanted = conninfo ?? ""
        if wanted.contains("=") || wanted.contains("://") {
            try self.refuseUnsupported(try LibpqConnection.settings(of: wanted))
        } else {
            try self.refuseUnsupported([:])
        }
        let connection = try LibpqConnection(
            self.keywords(wanted) + overrides.map { (name: $0.key, value: $0.value) })
        let probe = try self.probe(connection)
        return ResolvedDatabase(target: try self.target(connection), probe: probe)
    }

    /// What libpq is given; values behind `dbname` win over those in it.
    package static func keywords(_ conninfo: String) -> [(name: String, value: String)] {
        var keywords: [(name: String, value: String)] = []
        if self.environment("PGCONNECT_TIMEOUT") == nil {
            let seconds = DatabaseTarget.defaultConnectTimeout.nanoseconds / 1_000_000_000
            keywords.append(("connect_timeout", "\(seconds)"))
        }
        if !conninfo.isEmpty { keywords.append(("dbname", conninfo)) }
        keywords.append(("fallback_application_name", "pgshare"))
        keywords.append(("gssencmode", "disable"))
        return keywords
    }

    private static func refuseUnsupported(
        _ given: [String: String]
    ) throws(DatabaseSettingsError) {
        let gss = given["gssencmode"] ?? self.environment("PGGSSENCMODE")
        guard gss != "require" else {
            throw .unsupported(
                key: "gssencmode=require", advice: "use TLS (sslmode=verify-full) instead")
        }
    }

    private static func probe(
        _ connection: LibpqConnection
    ) throws(DatabaseSettingsError) -> DatabaseProbe {
        let rows = try connection.query(
            """
            select rolsuper, pg_catalog.pg_is_in_recovery(),
                pg_catalog.current_setting('max_connections'), rolname,
                pg_catalog.current_database()
            from pg_catalog.pg_roles where rolname = current_user
            """)
        guard let row = rows.first, row.count == 5, let maximum = row[2].flatMap({ Int($0) }) else {
            throw .queryFailed(message: "the server does not know the role it let in")
        }
        return DatabaseProbe(
            serverVersion: connection.serverVersion,
            role: row[3] ?? connection.user,
            database: row[4] ?? connection.database,
            isSuperuser: row[0] == "t",
            isInRecovery: row[1] == "t",
            maximumConnections: maximum,
            usesTLS: connection.usesTLS
        )
    }

    /// What libpq used, as the connector wants it.
    private static func target(
        _ connection: LibpqConnection
    ) throws(DatabaseSettingsError) -> DatabaseTarget {
        let settings = connection.settings()
        let endpoint = self.endpoint(connection)
        let timeout = settings["connect_timeout"].flatMap { Int64($0) }.map { seconds in
            // libpq: 1 means 2; 0 and less mean for ever, which here is the maximum.
            seconds > 0
                ? min(.seconds(max(2, seconds)), DatabaseTarget.maximumConnectTimeout)
                : DatabaseTarget.maximumConnectTimeout
        }
        let isUnixSocket = endpoint.isUnixSocket
        return DatabaseTarget(
            endpoint: endpoint,
            user: connection.user,
            password: connection.password.isEmpty ? nil : Secret(connection.password),
            database: connection.database,
            tls: isUnixSocket
                ? DatabaseTLSSettings(mode: .disable) : try self.tls(settings),
            channelBinding: settings["channel_binding"]
                .flatMap(ClientLoginMachine.ChannelBindingPolicy.init(rawValue:)) ?? .prefer,
            requireAuth: try self.requireAuth(settings["require_auth"]),
            options: settings["options"],
            connectTimeout: timeout ?? DatabaseTarget.defaultConnectTimeout
        )
    }

    private static func endpoint(_ connection: LibpqConnection) -> DatabaseTarget.Endpoint {
        let host = connection.host
        let port = connection.port ?? 5432
        guard !host.hasPrefix("/") else {
            return .unixSocket(path: "\(host)/.s.PGSQL.\(port)")
        }
        guard !host.hasPrefix("@") else {
            // The abstract namespace: its names begin with a zero byte.
            return .unixSocket(path: "\0\(host.dropFirst())/.s.PGSQL.\(port)")
        }
        let address = connection.hostAddress
        return .tcp(host: host, address: address.isEmpty ? nil : address, port: port)
    }

    /// libpq's `require_auth`; a list of names, or of names that are not allowed (`!name`).
    static func requireAuth(
        _ text: String?
    ) throws(DatabaseSettingsError) -> Set<ClientLoginMachine.Method>? {
        guard let text, !text.isEmpty else { return nil }
        let names = text.split(separator: ",").map { $0.trimmingPrefix(" ") }
        let isNegated = names.allSatisfy { $0.hasPrefix("!") }
        let methods = names.compactMap {
            ClientLoginMachine.Method(rawValue: String($0.trimmingPrefix("!")))
        }
        let result =
            isNegated
            ? Set(ClientLoginMachine.Method.allCases).subtracting(methods) : Set(methods)
        guard !result.isEmpty else {
            throw .unsupported(
                key: "require_auth=\(text)", advice: "use none, password, md5 or scram-sha-256")
        }
        return result
    }
}

extension DatabaseSettings {
    /// The settings of TLS, with libpq's default files where they exist.
    static func tls(
        _ settings: [String: String]
    ) throws(DatabaseSettingsError) -> DatabaseTLSSettings {
        let mode = settings["sslmode"].flatMap(DatabaseTLSSettings.Mode.init(rawValue:)) ?? .prefer
        guard mode != .disable else { return DatabaseTLSSettings(mode: .disable) }
        for key in ["sslcrl", "sslcrldir"] where settings[key]?.isEmpty == false {
            throw .unsupported(
                key: key,
                advice: "revocation lists are not read; leave it out, or use a short-lived CA")
        }
        let root = settings["sslrootcert"] ?? self.defaultFile("root.crt")
        if root != nil, let list = self.defaultFile("root.crl") {
            throw .unsupported(key: list, advice: "revocation lists are not read; move it away")
        }
        let certificate = settings["sslcert"] ?? self.defaultFile("postgresql.crt")
        let hasCertificate = certificate.map(FileManager.default.fileExists(atPath:)) ?? false
        let key = settings["sslkey"] ?? self.defaultFile("postgresql.key")
        if hasCertificate, let key, key.contains(":"), !FileManager.default.fileExists(atPath: key)
        {
            throw .unsupported(key: "sslkey=\(key)", advice: "keys come from files here")
        }
        return DatabaseTLSSettings(
            mode: mode,
            negotiation: settings["sslnegotiation"]
                .flatMap(DatabaseTLSSettings.Negotiation.init(rawValue:)) ?? .postgres,
            rootCertificate: root.flatMap { path in
                guard path != "system" else { return .system }
                return FileManager.default.fileExists(atPath: path) ? .file(path) : nil
            },
            certificatePath: hasCertificate ? certificate : nil,
            keyPath: hasCertificate ? key : nil,
            keyPassword: settings["sslpassword"].map(Secret.init),
            sendsServerName: settings["sslsni"] != "0"
        )
    }

    /// A file of `~/.postgresql`, if it is there.
    private static func defaultFile(_ name: String) -> String? {
        let path = NSHomeDirectory() + "/.postgresql/" + name
        return FileManager.default.fileExists(atPath: path) ? path : nil
    }

    private static func environment(_ name: String) -> String? {
        ProcessInfo.processInfo.environment[name]
    }

    /// Runs what blocks on a thread made for that.
    package static func offLoop<Value: Sendable>(
        _ body: @escaping @Sendable () throws(DatabaseSettingsError) -> Value
    ) async throws(DatabaseSettingsError) -> Value {
        let result: Result<Value, DatabaseSettingsError>
        do {
            result = try await NIOThreadPool.singleton.runIfActive {
                do throws(DatabaseSettingsError) {
                    return .success(try body())
                } catch {
                    return .failure(error)
                }
            }
        } catch {
            throw .cannotConnect(message: "the agent is stopping", advice: nil)
        }
        return try result.get()
    }
}
