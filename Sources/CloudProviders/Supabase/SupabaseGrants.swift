/// What Supabase's own projects grant in a schema that its HTTP API serves.
///
/// A restore without owners and privileges brings tables that `anon`, `authenticated` and
/// `service_role` cannot see. A fresh project has these grants in `public`; row security is what
/// protects the rows there.
///
/// Source: Supabase's documentation, "Using Custom Schemas".
package enum SupabaseGrants {
    /// The roles of the API.
    static let roles = ["anon", "authenticated", "service_role"]

    /// Schemas that Supabase manages: never dumped, restored, or granted in.
    package static let managedSchemas: Set<String> = [
        "_analytics", "_realtime", "_supavisor", "auth", "cron", "extensions", "graphql",
        "graphql_public", "net", "pgbouncer", "pgmq", "pgmq_public", "pgsodium", "pgsodium_masks",
        "realtime", "storage", "supabase_functions", "supabase_migrations", "vault",
    ]

    /// Statements to run after a restore, each alone, as the role `postgres`.
    ///
    /// - Parameter schemas: What was deployed; the managed ones among them are passed over.
    /// - Returns: SQL without semicolons.
    package static func statements(schemas: [String]) -> [String] {
        let roles = Self.roles.joined(separator: ", ")
        return schemas.filter { !Self.managedSchemas.contains($0) && !Self.isSystem($0) }
            .flatMap { schema in
                let name = Self.identifier(schema)
                let future = "alter default privileges for role postgres in schema \(name)"
                return [
                    "grant usage on schema \(name) to \(roles)",
                    "grant all on all tables in schema \(name) to \(roles)",
                    "grant all on all routines in schema \(name) to \(roles)",
                    "grant all on all sequences in schema \(name) to \(roles)",
                    "\(future) grant all on tables to \(roles)",
                    "\(future) grant all on routines to \(roles)",
                    "\(future) grant all on sequences to \(roles)",
                ]
            }
    }

    private static func isSystem(_ schema: String) -> Bool {
        schema.hasPrefix("pg_") || schema == "information_schema" || schema == "pgshare"
    }

    /// A name, always quoted. Source: PostgreSQL documentation, "Identifiers and Key Words".
    private static func identifier(_ name: String) -> String {
        "\"" + name.replacingScalars("\"", with: "\"\"") + "\""
    }
}

extension ProviderDatabase {
    /// What the provider's own roles need after a restore; each statement alone.
    ///
    /// - Parameter schemas: What was deployed.
    /// - Returns: SQL, empty where the provider has no roles of its own.
    public func afterRestoreSQL(schemas: [String]) -> [String] {
        switch self.project.provider {
        case .supabase: SupabaseGrants.statements(schemas: schemas)
        case .neon, .rds: []
        }
    }
}
