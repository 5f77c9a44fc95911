import Foundation
import PostgresClient

/// The role that a ``ReadOnlyGuard`` makes for one share, and the statements that make and drop it.
struct ReadOnlyRole {
    /// 32 random bytes, hexadecimal.
    private static let passwordBytes = 32

    /// Honest clients fail early by it; it holds nobody back.
    private static let setting = "default_transaction_read_only"

    var name: String
    var password: String

    /// Creates the role, as the owner's own role, in one transaction with its lock held.
    /// `findings` is why the owner's role itself will not do, for the sentence of the error.
    static func create(
        _ connection: LibpqConnection,
        owner: String,
        findings: [String]
    ) throws(DatabaseSettingsError) -> ReadOnlyRole {
        let rows = try connection.query(
            "select oid from pg_catalog.pg_database where datname = current_database()")
        let database = rows.first?.first.flatMap { $0 } ?? "0"
        let role = ReadOnlyRole(
            name: "\(ReadOnlyGuard.rolePrefix)\(database)_\(Self.randomHexadecimal(bytes: 8))",
            password: Self.randomHexadecimal(bytes: Self.passwordBytes)
        )
        let name = connection.identifier(role.name)
        let verifier = try connection.verifier(password: role.password, user: role.name)
        guard try role.hold(connection) else {
            throw .notReadOnly(reason: "the lock of the share's role is taken; try again")
        }
        do throws(DatabaseSettingsError) {
            try connection.query("begin")
            // A verifier is ASCII without quotes: a utility statement takes no parameters.
            try connection.query(
                "create role \(name) login nosuperuser nocreatedb nocreaterole noreplication"
                    + " nobypassrls password '\(verifier)'")
            try connection.query("grant pg_read_all_data to \(name)")
            // Only a superuser may end the sessions of a role, or drop what it owns, from outside.
            try connection.query("grant \(name) to current_user")
            try connection.query("alter role \(name) set \(Self.setting) = on")
            try connection.query("commit")
        } catch {
            _ = try? connection.query("rollback")
            throw .notReadOnly(
                reason:
                    "role \"\(owner)\" can write (\(WritePrivileges.sentence(findings))) and may"
                    + " not make a role that cannot (\(error)). Share with a role that cannot"
                    + " write, or give \"\(owner)\" CREATEROLE and pg_read_all_data"
                    + " WITH ADMIN OPTION")
        }
        return role
    }

    /// Ends the role's sessions and the transactions that it has prepared, drops what it owns
    /// (large objects of its own), then the role.
    static func drop(_ name: String, _ connection: LibpqConnection) throws(DatabaseSettingsError) {
        let quoted = connection.identifier(name)
        let found = try connection.query(
            "select from pg_catalog.pg_roles where rolname = $1", [name])
        guard !found.isEmpty else { return }
        // Whatever a client has locked: nobody waits for ever.
        try connection.query("set lock_timeout = '8s'")
        try connection.query("alter role \(quoted) nologin")
        // Before Postgres 16 a role may take itself from its members.
        _ = try? connection.query("grant \(quoted) to current_user")
        // All at once first: each is then waited for in turn.
        for wait in ["", ", 2000"] {
            try connection.query(
                """
                select pg_catalog.pg_terminate_backend(pid\(wait))
                from pg_catalog.pg_stat_activity where usename = $1
                """, [name])
        }
        try Self.rollBackPrepared(name, connection)
        // The server is there; a client may have made many large objects.
        try connection.query("set statement_timeout = '2min'")
        let usual = connection.answersWithin
        connection.answersWithin = .seconds(130)
        defer { connection.answersWithin = usual }
        try connection.query("drop owned by \(quoted)")
        try connection.query("drop role \(quoted)")
        _ = try? connection.query("reset statement_timeout")
    }

    /// A prepared transaction outlives its session, and its locks would stop the drop.
    private static func rollBackPrepared(
        _ name: String, _ connection: LibpqConnection
    ) throws(DatabaseSettingsError) {
        let statements = try connection.query(
            """
            select pg_catalog.format('rollback prepared %L', gid)
            from pg_catalog.pg_prepared_xacts
            where owner = $1 and database = pg_catalog.current_database()
            """, [name])
        guard !statements.isEmpty else { return }
        // Only a superuser may end another's.
        try connection.query("set role \(connection.identifier(name))")
        for case let statement? in statements.compactMap(\.first) {
            // Another guard, or the server's owner, may have been first.
            _ = try? connection.query(statement)
        }
        try connection.query("reset role")
    }

    /// Makes the role what it was made as: it may change its own password and settings, and so
    /// may a client, and would shut the other clients out.
    ///
    /// - Parameters:
    ///   - connection: The owner's.
    ///   - withPassword: Whether somebody could not log in; a password cannot be looked at.
    /// - Throws: ``DatabaseSettingsError`` if Postgres does not answer, or refuses.
    func mend(_ connection: LibpqConnection, withPassword: Bool) throws(DatabaseSettingsError) {
        let quoted = connection.identifier(self.name)
        let settings = try connection.query(
            """
            select s.setdatabase || ' ' || s.setconfig::text
            from pg_catalog.pg_db_role_setting s join pg_catalog.pg_roles r on r.oid = s.setrole
            left join pg_catalog.pg_database d on d.oid = s.setdatabase
            where r.rolname = $1 and coalesce(d.datname = pg_catalog.current_database(), true)
            """, [self.name])
        if settings != [["0 {\(Self.setting)=on}"]] {
            let named = try connection.query("select pg_catalog.current_database()").first?.first
            let database = connection.identifier(named.flatMap { $0 } ?? "")
            try connection.query("alter role \(quoted) in database \(database) reset all")
            try connection.query("alter role \(quoted) reset all")
            try connection.query("alter role \(quoted) set \(Self.setting) = on")
        }
        if withPassword {
            let verifier = try connection.verifier(password: self.password, user: self.name)
            try connection.query("alter role \(quoted) password '\(verifier)'")
        }
    }

    /// Takes the lock that says that the role's agent lives. Never waits for it: a client knows
    /// the role's name, and could take it once the guard has lost its session.
    ///
    /// - Returns: whether this session has it.
    func hold(_ connection: LibpqConnection) throws(DatabaseSettingsError) -> Bool {
        let rows = try connection.query(Self.lock("pg_try_advisory_lock"), [self.name])
        return rows.first?.first == "t"
    }

    /// Whether the role is there, and whether this session has its lock.
    func standing(
        _ connection: LibpqConnection
    ) throws(DatabaseSettingsError) -> (exists: Bool, isHeld: Bool) {
        let rows = try connection.query(
            """
            select exists (select from pg_catalog.pg_roles where rolname = $1),
                exists (
                    select from pg_catalog.pg_locks
                    where locktype = 'advisory' and pid = pg_catalog.pg_backend_pid() and granted)
            """, [self.name])
        return (rows.first?.first == "t", rows.first?.last == "t")
    }

    /// Nobody logs in as the role after that time, also if its agent died and no other follows.
    func expire(at time: Date, _ connection: LibpqConnection) throws(DatabaseSettingsError) {
        let rows = try connection.query(
            """
            select pg_catalog.format(
                'alter role %I valid until %L', $1::text, pg_catalog.to_timestamp($2::float8))
            """, [self.name, "\(time.timeIntervalSince1970)"])
        if case let statement?? = rows.first?.first { try connection.query(statement) }
    }

    /// Drops the roles of agents that died, in this database. Best effort: what another agent is
    /// just dropping, or what we may not drop, stays for the next one.
    static func dropLeftovers(_ connection: LibpqConnection) {
        let all =
            """
            select rolname from pg_catalog.pg_roles, pg_catalog.pg_database
            where datname = current_database()
                and rolname operator(pg_catalog.~)
                    ('^' || $1 || pg_database.oid || '_[0-9a-f]{16}$')
            """
        let rows = (try? connection.query(all, [ReadOnlyGuard.rolePrefix])) ?? []
        for case let name? in rows.compactMap(\.first) {
            let locked = try? connection.query(Self.lock("pg_try_advisory_lock"), [name])
            guard locked?.first?.first == "t" else { continue }
            _ = try? Self.drop(name, connection)
            _ = try? connection.query(Self.lock("pg_advisory_unlock"), [name])
        }
    }

    /// A call of one of the advisory lock functions for the role `$1`.
    private static func lock(_ function: String) -> String {
        "select pg_catalog.\(function)(pg_catalog.hashtextextended($1, 0))"
    }

    private static func randomHexadecimal(bytes: Int) -> String {
        var random = SystemRandomNumberGenerator()
        return (0..<bytes).map { _ in
            let byte = UInt8.random(in: .min ... .max, using: &random)
            return String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
        }.joined()
    }
}
