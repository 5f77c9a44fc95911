import Foundation
import PostgresClient

/// The role that a ``ReadOnlyGuard`` makes for one share, and the statements that make and drop it.
struct ReadOnlyRole {
    /// 32 random bytes, hexadecimal.
    private static let passwordBytes = 32

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
        try connection.query(Self.lock("pg_advisory_lock"), [role.name])
        do throws(DatabaseSettingsError) {
            try connection.query("begin")
            // A verifier is ASCII without quotes: a utility statement takes no parameters.
            try connection.query(
                "create role \(name) login nosuperuser nocreatedb nocreaterole noreplication"
                    + " nobypassrls password '\(verifier)'")
            try connection.query("grant pg_read_all_data to \(name)")
            // Only a superuser may end the sessions of a role, or drop what it owns, from outside.
            try connection.query("grant \(name) to current_user")
            try connection.query("alter role \(name) set default_transaction_read_only = on")
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

    /// Ends the role's sessions, drops what it owns (large objects of its own), then the role.
    static func drop(_ name: String, _ connection: LibpqConnection) throws(DatabaseSettingsError) {
        let quoted = connection.identifier(name)
        try connection.query("alter role \(quoted) nologin")
        try connection.query(
            """
            select pg_catalog.pg_terminate_backend(pid, 2000)
            from pg_catalog.pg_stat_activity where usename = $1
            """, [name])
        try connection.query("drop owned by \(quoted)")
        try connection.query("drop role \(quoted)")
    }

    /// Drops the roles of agents that died, in this database. Best effort: what another agent is
    /// just dropping, or what we may not drop, stays for the next one.
    static func dropLeftovers(_ connection: LibpqConnection) {
        let all =
            """
            select rolname from pg_catalog.pg_roles, pg_catalog.pg_database
            where datname = current_database()
                and pg_catalog.starts_with(rolname, $1 || pg_database.oid || '_')
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
