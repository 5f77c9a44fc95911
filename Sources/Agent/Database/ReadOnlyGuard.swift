import Foundation
import NIOCore
public import PostgresClient
import PostgresWire
import Synchronization

/// Makes a share read-only by what Postgres lets a *role* do, so that no client can undo it.
///
/// `default_transaction_read_only` is a setting that every client may change back, and so are all
/// others of its kind. What a client cannot change is who it is. So either
///
/// 1. the server is a read replica, and the agent's role cannot promote it; or
/// 2. the agent's own role can write nothing, and no role it can `SET ROLE` to can; or
/// 3. the agent makes a role for this share alone, which may read (`pg_read_all_data`) and nothing
///    else, logs the clients in as that, and drops it when the share ends.
///
/// What the whole world (`PUBLIC`) may write, such a role may, too. So it is looked at first
/// (``WritePrivileges``), and a database where anyone may write is refused, with what to revoke.
/// Every role of Postgres may make temporary tables, notifications and large objects of its own,
/// and nothing short of changing the database for everyone takes that away; those of the share's
/// role go when it is dropped. The default is set to read-only on top, so that honest clients fail
/// early.
///
/// A role may change its own password and settings, and only those: the guard mends them.
///
/// The guard's own connection stays open and holds an advisory lock named after the role. A role
/// whose lock is free belongs to an agent that crashed; the next guard in that database drops it.
/// The guarantee is for one database: never let the clients of such a share choose another.
public final class ReadOnlyGuard: Sendable {
    /// The beginning of the name of every role that a guard makes; the database's OID and 16
    /// hexadecimal digits follow.
    public static let rolePrefix = "pgshare_ro_"

    /// The first Postgres with `pg_read_all_data`.
    static let oldestVersion = 140_000

    /// From a client's coming or going to the look at the role.
    private static let mendingPause = Duration.milliseconds(200)

    /// Between two looks at the role of a share whose clients neither come nor go.
    private static let lookEvery = Duration.seconds(10)

    /// What a statement of the guard may take. The server ends it first; this is for a server that
    /// is frozen, or a network that is gone.
    private static let answersWithin = Duration.seconds(15)

    /// From the share's end to that of its role's password: two clocks may differ.
    private static let expirySlack: TimeInterval = 3600

    /// Which of the three guarantees holds.
    public enum Guarantee: Hashable, Sendable {
        /// The server is a read replica. Holds until its owner promotes it.
        case replica
        /// The agent's own role cannot write.
        case ownRole
        /// The role of this name was made for the share.
        case temporaryRole(String)
    }

    /// Where the share's clients are logged in. Never the agent's own target, unless that is safe.
    public let target: DatabaseTarget
    /// Why nothing can be written.
    public let guarantee: Guarantee
    /// Nil before a role is made, and after it was dropped.
    private let connection: Mutex<LibpqConnection?>
    private let conninfo: String
    private let role: ReadOnlyRole?
    private let mending = Mutex(Mending())

    /// A look at the role that is due.
    private struct Mending {
        var isDue = false
        var mayBeLockedOut = false
    }

    private init(
        _ target: DatabaseTarget,
        _ guarantee: Guarantee,
        _ role: ReadOnlyRole? = nil,
        _ connection: sending LibpqConnection? = nil,
        _ conninfo: String = ""
    ) {
        self.target = target
        self.guarantee = guarantee
        self.role = role
        self.connection = Mutex(connection)
        self.conninfo = conninfo
    }

    /// Checks the database, and makes the role if one is needed.
    ///
    /// - Parameters:
    ///   - database: What ``DatabaseSettings/resolve(_:)`` found.
    ///   - conninfo: The same text that was resolved.
    /// - Returns: The guard; keep it and ``stop()`` it.
    /// - Throws: ``DatabaseSettingsError/notReadOnly(reason:)`` where no guarantee is possible: do
    ///   not share then.
    public static func start(
        _ database: ResolvedDatabase,
        conninfo: String?
    ) async throws(DatabaseSettingsError) -> ReadOnlyGuard {
        try await DatabaseSettings.offLoop { () throws(DatabaseSettingsError) in
            try self.startBlocking(database, conninfo: conninfo)
        }
    }

    /// Ends the sessions of the temporary role and drops it. Call it once every stream is closed,
    /// and always: also after an error. A second call does nothing.
    public func stop() async throws(DatabaseSettingsError) {
        try await DatabaseSettings.offLoop { () throws(DatabaseSettingsError) in
            guard case .temporaryRole(let role) = self.guarantee else { return }
            let result: Result<Void, DatabaseSettingsError> = self.connection.withLock { held in
                defer { held = nil }
                guard let held else { return .success(()) }
                return Result { () throws(DatabaseSettingsError) in
                    do throws(DatabaseSettingsError) {
                        try ReadOnlyRole.drop(role, held)
                    } catch {
                        // Postgres may have been restarted since: once more, on a new connection.
                        let fresh = try Self.connect(self.conninfo)
                        try ReadOnlyRole.drop(role, fresh)
                    }
                }
            }
            try result.get()
        }
    }

    /// Tells the guard what happens to the share. A role may change its own password and settings,
    /// so a client may: it looks at the role when clients come, go or fail, and mends it. Any
    /// thread may call this; it does not wait.
    public func happened(_ event: AgentEvent) {
        guard self.role != nil else { return }
        var isRefusal = false
        switch event {
        case .clientRefused: isRefusal = true
        case .clientConnected, .clientDisconnected: break
        case .shared(let address): return self.expire(with: address)
        case .tunnelLost, .resumed, .tunnelExpired, .draining, .retrying, .readOnlyRoleGone:
            return
        }
        let isFirst = self.mending.withLock { mending in
            defer { mending.isDue = true }
            if isRefusal { mending.mayBeLockedOut = true }
            return !mending.isDue
        }
        guard isFirst else { return }
        Task {
            // One look serves all who come meanwhile.
            try? await Task.sleep(for: Self.mendingPause)
            let mayBeLockedOut = self.mending.withLock { mending in
                defer { mending = Mending() }
                return mending.mayBeLockedOut
            }
            // What cannot be mended now is tried again with the next client.
            try? await DatabaseSettings.offLoop { () throws(DatabaseSettingsError) in
                _ = try self.mendBlocking(mayBeLockedOut: mayBeLockedOut)
            }
        }
    }

    /// Looks after the role until the task is cancelled, or the role is gone: then nobody can log
    /// in any more, and that is told once.
    public func watch(telling tell: @Sendable (AgentEvent) -> Void) async {
        guard let role else { return }
        while (try? await Task.sleep(for: Self.lookEvery)) != nil {
            // What cannot be looked at now is looked at again.
            guard let isThere = try? await self.look(), !isThere else { continue }
            return tell(.readOnlyRoleGone(role: role.name))
        }
    }

    /// Mends the role, and takes its lock again if that was lost.
    ///
    /// - Returns: whether the role is there.
    package func look() async throws(DatabaseSettingsError) -> Bool {
        try await DatabaseSettings.offLoop { () throws(DatabaseSettingsError) in
            try self.mendBlocking(mayBeLockedOut: false)
        }
    }

    /// The role ends some time after the share, if nobody drops it.
    private func expire(with address: SharedAddress) {
        guard let role, address.expiresAt > Date() else { return }
        let time = address.expiresAt + Self.expirySlack
        Task {
            // It is dropped with the share; this is for an agent that dies, and best effort.
            try? await DatabaseSettings.offLoop { () throws(DatabaseSettingsError) in
                let result: Result<Void, DatabaseSettingsError> = self.connection.withLock { held in
                    guard let held else { return .success(()) }
                    return Result { () throws(DatabaseSettingsError) in
                        try role.expire(at: time, held)
                    }
                }
                try result.get()
            }
        }
    }

    private func mendBlocking(mayBeLockedOut: Bool) throws(DatabaseSettingsError) -> Bool {
        guard let role else { return true }
        let result: Result<Bool, DatabaseSettingsError> = self.connection.withLock { held in
            Result { () throws(DatabaseSettingsError) in
                guard var connection = held else { return true }
                var standing = try? role.standing(connection)
                if standing == nil {
                    // Postgres was restarted: the lock is gone with the session.
                    connection = try Self.connect(self.conninfo)
                    held = connection
                    standing = try role.standing(connection)
                }
                guard standing?.exists == true else { return false }
                // Where another session has it, the next look tries again.
                if standing?.isHeld == false { _ = try role.hold(connection) }
                var isLockedOut = false
                if mayBeLockedOut, case .failure = Result(catching: { try Self.check(self.target) })
                {
                    isLockedOut = true
                }
                try role.mend(connection, withPassword: isLockedOut)
                return true
            }
        }
        return try result.get()
    }

    /// The guard's own session once the share stands: nothing in it waits for ever.
    private static func connect(
        _ conninfo: String
    ) throws(DatabaseSettingsError) -> LibpqConnection {
        let connection = try LibpqConnection(self.lively(DatabaseSettings.keywords(conninfo)))
        try self.bound(connection)
        return connection
    }

    private static func bound(_ connection: LibpqConnection) throws(DatabaseSettingsError) {
        connection.answersWithin = self.answersWithin
        try connection.query("set statement_timeout = '10s'")
        if connection.serverVersion >= Self.oldestVersion {
            // The lock goes with the session, which says little.
            try connection.query("set idle_session_timeout = 0")
        }
    }

    /// With these, a network that is gone ends the connection after 10 seconds or so.
    private static func lively(
        _ keywords: [(name: String, value: String)]
    ) -> [(name: String, value: String)] {
        keywords + [
            (name: "tcp_user_timeout", value: "10000"), (name: "keepalives", value: "1"),
            (name: "keepalives_idle", value: "5"), (name: "keepalives_interval", value: "2"),
            (name: "keepalives_count", value: "3"),
        ]
    }

    private static func startBlocking(
        _ database: ResolvedDatabase,
        conninfo: String?
    ) throws(DatabaseSettingsError) -> ReadOnlyGuard {
        let connection = try LibpqConnection(
            self.lively(DatabaseSettings.keywords(conninfo ?? "")))
        guard !database.probe.isInRecovery else {
            return try self.onReplica(database, connection)
        }
        let own = try WritePrivileges.find(of: database.probe.role, connection)
        guard !own.isEmpty else { return ReadOnlyGuard(database.target, .ownRole) }

        guard database.probe.serverVersion >= Self.oldestVersion else {
            throw .notReadOnly(
                reason: "Postgres 14 is the first with pg_read_all_data; share with a role that"
                    + " cannot write. Yours can: \(WritePrivileges.sentence(own))")
        }
        ReadOnlyRole.dropLeftovers(connection)
        let role = try ReadOnlyRole.create(connection, owner: database.probe.role, findings: own)
        do throws(DatabaseSettingsError) {
            let findings = try WritePrivileges.find(of: role.name, connection)
            guard findings.isEmpty else {
                throw .notReadOnly(
                    reason: "every role may write here: \(WritePrivileges.sentence(findings))."
                        + " Revoke that from PUBLIC (of an event trigger, change the function),"
                        + " or share a read replica")
            }
            let target = try self.login(role, database.target)
            try self.bound(connection)
            return ReadOnlyGuard(
                target, .temporaryRole(role.name), role, connection, conninfo ?? "")
        } catch {
            // The first reason is the one to read; a role left over is dropped by the next guard.
            _ = try? ReadOnlyRole.drop(role.name, connection)
            throw error
        }
    }

    /// A replica writes nothing until it is promoted, and a superuser's client could do just that.
    private static func onReplica(
        _ database: ResolvedDatabase,
        _ connection: LibpqConnection
    ) throws(DatabaseSettingsError) -> ReadOnlyGuard {
        let role = database.probe.role
        let findings = try WritePrivileges.find(of: role, connection, onReplica: true)
        guard findings.isEmpty else {
            throw .notReadOnly(
                reason: "a client of role \"\(role)\" could promote this replica"
                    + " (\(WritePrivileges.sentence(findings))); share with a plain role")
        }
        return ReadOnlyGuard(database.target, .replica)
    }

    /// Logs in as the role, where the agent does; a unix socket may want `peer`, so then by TCP.
    private static func login(
        _ role: ReadOnlyRole,
        _ target: DatabaseTarget
    ) throws(DatabaseSettingsError) -> DatabaseTarget {
        var candidate = target
        candidate.user = role.name
        candidate.password = Secret(role.password)
        // The agent's own certificate names the agent's own role.
        candidate.tls.certificatePath = nil
        candidate.tls.keyPath = nil
        do throws(DatabaseSettingsError) {
            try self.check(candidate)
            return candidate
        } catch {
            guard case .unixSocket(let path) = target.endpoint,
                let port = path.split(separator: ".").last.flatMap({ Int($0) })
            else { throw self.loginRefused(error) }
            candidate.endpoint = .tcp(host: "127.0.0.1", address: "127.0.0.1", port: port)
            candidate.tls = DatabaseTLSSettings(mode: .prefer)
            guard case .success = Result(catching: { try self.check(candidate) }) else {
                throw self.loginRefused(error)
            }
            return candidate
        }
    }

    private static func check(_ target: DatabaseTarget) throws(DatabaseSettingsError) {
        let login = try LibpqConnection(self.lively(target.keywords))
        login.answersWithin = self.answersWithin
        let rows = try login.query("select session_user, current_user")
        guard rows.first == [target.user, target.user] else {
            throw .notReadOnly(reason: "the server maps the share's role to another one")
        }
    }

    private static func loginRefused(_ error: DatabaseSettingsError) -> DatabaseSettingsError {
        .notReadOnly(
            reason: "the role that was made for the share cannot log in (\(error))."
                + " Let pg_hba.conf ask it for a password (scram-sha-256), for example on"
                + " 127.0.0.1, or share with a role that cannot write")
    }
}

extension DatabaseTarget {
    /// The same target for libpq.
    var keywords: [(name: String, value: String)] {
        // 0 would be for ever.
        let seconds = max(2, self.connectTimeout.nanoseconds / 1_000_000_000)
        var keywords = [
            (name: "user", value: self.user), (name: "dbname", value: self.database),
            (name: "connect_timeout", value: "\(seconds)"),
            (name: "sslmode", value: self.tls.mode.rawValue),
            (name: "gssencmode", value: "disable"),
        ]
        switch self.endpoint {
        case .unixSocket(let path):
            let folder = path.split(separator: "/", omittingEmptySubsequences: false).dropLast()
            let port = path.split(separator: ".").last.map(String.init) ?? "5432"
            keywords.append((name: "host", value: folder.joined(separator: "/")))
            keywords.append((name: "port", value: port))
        case .tcp(let host, let address, let port):
            if !host.isEmpty { keywords.append((name: "host", value: host)) }
            if let address { keywords.append((name: "hostaddr", value: address)) }
            keywords.append((name: "port", value: "\(port)"))
        }
        if let password = self.password {
            keywords.append((name: "password", value: password.reveal))
        }
        switch self.tls.rootCertificate {
        case .file(let path)?: keywords.append((name: "sslrootcert", value: path))
        case .system?: keywords.append((name: "sslrootcert", value: "system"))
        case nil: break
        }
        return keywords
    }
}
