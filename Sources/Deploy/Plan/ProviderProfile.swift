/// What is particular about the databases of one provider.
public struct ProviderProfile: Codable, Hashable, Sendable {
    /// `generic`, `supabase`, `neon` or `rds`.
    public var name: String
    /// Schemas that the provider looks after: never deployed from and never touched.
    public var excludedSchemas: Set<String>
    /// Extensions that the provider sets up by itself, or that make no sense in a copy.
    public var excludedExtensions: Set<String>
    /// Whether owners and grants are left out unless the user says otherwise.
    public var leavesOutOwnership: Bool
    /// The schema in which the provider wants extensions, nil where it has no wish.
    public var extensionSchema: String?
    /// Whether a database may be renamed without the provider losing sight of it.
    public var allowsSwap: Bool
    /// Whether the provider lets its ordinary role create extensions that are not trusted.
    public var allowsExtensions: Bool

    /// Creates a profile; see the properties.
    public init(
        name: String,
        excludedSchemas: Set<String> = [],
        excludedExtensions: Set<String> = [],
        leavesOutOwnership: Bool = false,
        extensionSchema: String? = nil,
        allowsSwap: Bool = true,
        allowsExtensions: Bool = false
    ) {
        self.name = name
        self.excludedSchemas = excludedSchemas
        self.excludedExtensions = excludedExtensions
        self.leavesOutOwnership = leavesOutOwnership
        self.extensionSchema = extensionSchema
        self.allowsSwap = allowsSwap
        self.allowsExtensions = allowsExtensions
    }
}

extension ProviderProfile {
    /// A Postgres of nobody in particular.
    public static let generic = Self(name: "generic")

    /// Supabase.
    ///
    /// Source: Supabase's own `db dump` leaves out these schemas and extensions.
    public static let supabase = Self(
        name: "supabase",
        excludedSchemas: [
            "_analytics", "_realtime", "_supavisor", "auth", "cron", "extensions", "graphql",
            "graphql_public", "net", "pgbouncer", "pgmq", "pgmq_public", "pgsodium",
            "pgsodium_masks", "realtime", "storage", "supabase_functions",
            "supabase_migrations", "vault",
        ],
        excludedExtensions: [
            "pg_cron", "pg_graphql", "pg_net", "pg_stat_statements", "pgmq", "pgsodium",
            "supabase_vault", "wrappers",
        ],
        leavesOutOwnership: true,
        extensionSchema: "extensions",
        allowsSwap: false,
        allowsExtensions: true
    )

    /// Neon.
    public static let neon = Self(
        name: "neon",
        excludedSchemas: ["neon", "neon_auth", "neon_migration"],
        excludedExtensions: ["neon", "neon_utils", "pg_stat_statements"],
        leavesOutOwnership: true,
        allowsExtensions: true
    )

    /// Amazon RDS and Aurora.
    public static let rds = Self(
        name: "rds",
        excludedSchemas: ["rdsadmin"],
        excludedExtensions: [
            "aws_commons", "aws_lambda", "aws_s3", "pg_stat_statements", "rds_tools",
        ],
        leavesOutOwnership: true,
        allowsExtensions: true
    )

    /// All of them.
    public static let all: [ProviderProfile] = [.generic, .supabase, .neon, .rds]

    /// The profile of this name, nil where there is none.
    public static func named(_ name: String) -> ProviderProfile? {
        self.all.first { $0.name == name }
    }
}
