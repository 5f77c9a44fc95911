import Foundation

/// What is set for something that a deploy may change without having made it: a schema that was
/// there (`public` above all), or default privileges.
struct Setting: Codable, Hashable, Sendable {
    /// Of what.
    enum Subject: Codable, Hashable, Sendable {
        /// A schema's owner, privileges and comment.
        case schema(String)
        /// What `role` gives away of each new object of one type, as `pg_default_acl` has it:
        /// in one schema, or in all (nil).
        case defaults(role: String, schema: String?, objectType: String)
        /// A large object's owner, privileges and comment.
        case largeObject(String)
    }

    /// One privilege of one role.
    struct Grant: Codable, Hashable, Sendable {
        /// Nil is PUBLIC.
        var role: String?
        var privilege: String
        var isGrantable: Bool
    }

    var subject: Subject
    var owner: String
    var grants: [Grant]
    var comment: String?
    /// For default privileges: what holds where nothing is set.
    var standard: [Grant] = []

    /// The same for the same subject.
    var key: String {
        switch self.subject {
        case .schema(let name): "schema \(SQLText.identifier(name))"
        case .largeObject(let oid): "large object \(oid)"
        case .defaults(let role, let schema, let type):
            "default \(type) of \(SQLText.identifier(role))"
                + (schema.map { " in \(SQLText.identifier($0))" } ?? "")
        }
    }

    /// As it is before anybody sets anything: only for default privileges.
    var unset: Setting {
        var setting = self
        setting.grants = self.standard
        return setting
    }

    /// The statements that bring about `wanted` where `self` holds. Privileges are changed one by
    /// one, so that what is alike keeps its place in the list.
    func statements(to wanted: Setting) -> [String] {
        var statements: [String] = []
        var grants = self.grants
        if self.owner != wanted.owner, let object = self.object {
            statements.append("alter \(object) owner to \(SQLText.identifier(wanted.owner))")
            grants = grants.map { grant in
                var grant = grant
                if grant.role == self.owner { grant.role = wanted.owner }
                return grant
            }
        }
        let place = self.place
        for grant in grants {
            let still = wanted.grants.first {
                $0.role == grant.role && $0.privilege == grant.privilege
            }
            if still == nil {
                statements.append(
                    "\(place.prefix)revoke \(grant.privilege) \(place.on) from \(grant.name)")
            } else if still?.isGrantable == false, grant.isGrantable {
                statements.append(
                    "\(place.prefix)revoke grant option for \(grant.privilege) \(place.on) "
                        + "from \(grant.name)")
            }
        }
        for grant in wanted.grants where !grants.contains(grant) {
            guard
                !grants.contains(where: {
                    $0.role == grant.role && $0.privilege == grant.privilege && $0.isGrantable
                })
            else { continue }
            statements.append(
                "\(place.prefix)grant \(grant.privilege) \(place.on) to \(grant.name)"
                    + (grant.isGrantable ? " with grant option" : ""))
        }
        if self.comment != wanted.comment, let object = self.object {
            let text = wanted.comment.map(SQLText.literal) ?? "null"
            statements.append("comment on \(object) is \(text)")
        }
        return statements
    }

    private var object: String? {
        switch self.subject {
        case .schema(let name): "schema \(SQLText.identifier(name))"
        case .largeObject(let oid): "large object \(oid)"
        case .defaults: nil
        }
    }

    /// What goes before GRANT or REVOKE, and after the privilege.
    private var place: (prefix: String, on: String) {
        switch self.subject {
        case .schema(let name): return ("", "on schema \(SQLText.identifier(name))")
        case .largeObject(let oid): return ("", "on large object \(oid)")
        case .defaults(let role, let schema, let type):
            let within = schema.map { "in schema \(SQLText.identifier($0)) " } ?? ""
            let plural = Self.plurals[type] ?? "tables"
            return (
                "alter default privileges for role \(SQLText.identifier(role)) \(within)",
                "on \(plural)"
            )
        }
    }

    /// Source: PostgreSQL documentation, `pg_default_acl.defaclobjtype`.
    private static let plurals = [
        "r": "tables", "S": "sequences", "f": "functions", "T": "types", "n": "schemas",
        "L": "large objects",
    ]
}

extension Setting.Grant {
    fileprivate var name: String { self.role.map(SQLText.identifier) ?? "public" }
}

extension Setting {
    /// Of every schema, and all default privileges.
    static func readAll(_ session: any SQLSession) async throws(SQLFailure) -> [Setting] {
        let schemas = try await session.rows(
            """
            select nspname, pg_get_userbyid(nspowner),
                \(self.grants("coalesce(nspacl, acldefault('n', nspowner))")),
                obj_description(oid, 'pg_namespace')
            from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
            """)
        let defaults = try await self.readDefaults(session, where: "true")
        return schemas.compactMap(self.schema) + defaults
    }

    /// Default privileges, of those that `condition` on `pg_default_acl d` names.
    static func readDefaults(
        _ session: any SQLSession,
        where condition: String
    ) async throws(SQLFailure) -> [Setting] {
        try await session.rows(
            """
            select pg_get_userbyid(defaclrole), n.nspname, defaclobjtype,
                \(self.grants("defaclacl")),
                case defaclnamespace when 0 then \(self.grants(self.standardDefault)) else '[]' end
            from pg_default_acl d left join pg_namespace n on n.oid = defaclnamespace
            where \(condition)
            """
        ).compactMap(self.defaults)
    }

    private static let standardDefault = """
        acldefault(case defaclobjtype when 'S' then 's' else defaclobjtype end, defaclrole)
        """

    /// JSON text of an access list, in its order.
    static func grants(_ list: String) -> String {
        """
        (select coalesce(json_agg(json_build_object(
                'role', case g.grantee when 0 then null else pg_get_userbyid(g.grantee) end,
                'privilege', g.privilege_type, 'isGrantable', g.is_grantable) order by g.n), '[]')
            from aclexplode(\(list)) with ordinality
                as g(grantor, grantee, privilege_type, is_grantable, n))::text
        """
    }

    static func grants(json: String?) -> [Grant] {
        guard let json else { return [] }
        return (try? JSONDecoder().decode([Grant].self, from: Data(json.utf8))) ?? []
    }

    private static func schema(_ row: [String?]) -> Setting? {
        guard row.count == 4, let name = row[0], let owner = row[1],
            !LedgerLayout.isReserved(name)
        else { return nil }
        return Setting(
            subject: .schema(name), owner: owner, grants: self.grants(json: row[2]),
            comment: row[3])
    }

    private static func defaults(_ row: [String?]) -> Setting? {
        guard row.count == 5, let role = row[0], let type = row[2],
            !(row[1].map(LedgerLayout.isReserved) ?? false)
        else { return nil }
        return Setting(
            subject: .defaults(role: role, schema: row[1], objectType: type), owner: role,
            grants: self.grants(json: row[3]), comment: nil, standard: self.grants(json: row[4]))
    }

    /// As the ledger stores it.
    var json: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    init?(json: String?) {
        guard let json, let setting = try? JSONDecoder().decode(Self.self, from: Data(json.utf8))
        else { return nil }
        self = setting
    }
}
