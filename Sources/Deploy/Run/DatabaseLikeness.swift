/// What one database has beside its contents, for another to have it too.
struct DatabaseLikeness {
    let session: DeploySession

    /// CREATE DATABASE with the encoding and locale of another.
    ///
    /// Source: PostgreSQL documentation, "CREATE DATABASE"; `dumpDatabase` of pg_dump.
    static func create(_ name: String, like server: ServerFacts, serverVersion: Int) -> String {
        let locale = server.locale
        var options = [
            "TEMPLATE = template0", "ENCODING = \(SQLText.literal(server.encoding))",
            "LC_COLLATE = \(SQLText.literal(locale.collate))",
            "LC_CTYPE = \(SQLText.literal(locale.ctype))",
        ]
        if serverVersion >= 150_000 {
            options.append("LOCALE_PROVIDER = \(locale.provider)")
            if let text = locale.locale {
                let option = locale.provider == "icu" ? "ICU_LOCALE" : "BUILTIN_LOCALE"
                options.append("\(option) = \(SQLText.literal(text))")
            }
        }
        return "CREATE DATABASE \(SQLText.identifier(name)) WITH \(options.joined(separator: " "))"
    }

    /// The statements that give `copy` the owner's, roles' and grants' settings of `original`.
    func statements(
        from original: String, to copy: String
    ) async throws(SQLFailure) -> [String] {
        let name = SQLText.identifier(copy)
        let rows = try await self.session.rows(
            Self.settings.replacing("$1", with: SQLText.literal(original)))
        var statements = rows.compactMap { row -> String? in
            guard row.count == 3, let key = row[1], let value = row[2] else { return nil }
            let role = row[0].map { "ROLE \(SQLText.identifier($0)) IN " } ?? ""
            let isList = Self.lists.contains(key.lowercased())
            let text = isList ? Self.literals(list: value) : SQLText.literal(value)
            return "ALTER \(role)DATABASE \(name) SET \(SQLText.identifier(key)) = \(text)"
        }
        let grants = try await self.session.rows(
            Self.grants.replacing("$1", with: SQLText.literal(original)))
        // Where only the owner has rights, there is a list without grants to others.
        let hasList = try await self.session.value(
            "SELECT datacl IS NOT NULL FROM pg_catalog.pg_database WHERE datname = "
                + SQLText.literal(original))
        if hasList == "t" {
            statements.append("REVOKE ALL ON DATABASE \(name) FROM PUBLIC")
        }
        statements += grants.compactMap { row -> String? in
            guard row.count == 3, let privilege = row[1] else { return nil }
            let role = row[0].map(SQLText.identifier) ?? "PUBLIC"
            let option = row[2] == "t" ? " WITH GRANT OPTION" : ""
            return "GRANT \(privilege) ON DATABASE \(name) TO \(role)\(option)"
        }
        return statements
    }

    /// A list's names, each as a literal: any role may set a list for itself that is no list to
    /// the grammar.
    ///
    /// Source: `SplitGUCList` in PostgreSQL's `dumputils.c`.
    static func literals(list: String) -> String {
        var names: [String] = []
        var name = ""
        var isQuoted = false
        var quotes = 0
        for character in list.unicodeScalars {
            switch character {
            case "\"":
                quotes += 1
                // A second quote at once is one that belongs to the name.
                if !isQuoted, quotes > 1, quotes % 2 == 1 { name.unicodeScalars.append(character) }
                isQuoted.toggle()
            case "," where !isQuoted:
                names.append(name)
                (name, quotes) = ("", 0)
            case " ", "\t", "\n", "\r", "\u{0B}", "\u{0C}":
                if isQuoted { name.unicodeScalars.append(character) }
            case _:
                name.unicodeScalars.append(character)
            }
        }
        return (names + [name]).map(SQLText.literal).joined(separator: ", ")
    }

    /// Settings whose value is a list of names.
    ///
    /// Source: `variable_is_guc_list_quote` in PostgreSQL's `dumputils.c`.
    private static let lists: Set<String> = [
        "local_preload_libraries", "search_path", "session_preload_libraries",
        "shared_preload_libraries", "temp_tablespaces", "unix_socket_directories",
    ]

    private static let settings = """
        SELECT r.rolname, pg_catalog.split_part(entry, '=', 1),
            pg_catalog.substr(entry, pg_catalog.strpos(entry, '=') + 1)
        FROM pg_catalog.pg_db_role_setting AS s
        JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase
        LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
        CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS entry
        WHERE d.datname = $1
        """

    private static let grants = """
        SELECT r.rolname, a.privilege_type, a.is_grantable
        FROM pg_catalog.pg_database AS d
        CROSS JOIN LATERAL pg_catalog.aclexplode(d.datacl) AS a
        LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
        WHERE d.datname = $1 AND a.grantee <> d.datdba
        """
}
