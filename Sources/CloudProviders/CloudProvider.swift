/// A cloud that hands out Postgres databases: found, adopted or created by its HTTP API.
public protocol CloudProvider: Sendable {
    /// What ``prepare(_:journal:progress:)`` would do, found out by reading alone: for `--plan`.
    ///
    /// - Throws: ``ProviderFailure`` with a sentence for a person.
    func survey(_ request: ProviderRequest) async throws(ProviderFailure) -> ProviderSurvey

    /// Finds, adopts or creates the database, and waits until it takes connections.
    ///
    /// The journal hears of a project before it is asked for and again once its id is known,
    /// both before any waiting, so that a crash never orphans it: the next run finds it by name.
    ///
    /// - Parameters:
    ///   - request: Which database.
    ///   - journal: What outlives this process.
    ///   - progress: Told a sentence a step.
    /// - Returns: How to connect.
    /// - Throws: ``ProviderFailure``. The project, if there is one by then, stays: the next run
    ///   adopts it.
    func prepare(
        _ request: ProviderRequest,
        journal: any ProviderJournal,
        progress: @escaping @Sendable (String) -> Void
    ) async throws(ProviderFailure) -> ProviderDatabase

    /// Gives back what was lent for the deploy, such as a temporary login role. Never throws: what
    /// cannot be given back expires by itself.
    func release(_ database: ProviderDatabase) async
}

/// The clouds we speak to.
public enum ProviderName: String, Sendable, Hashable, Codable, CaseIterable {
    /// supabase.com
    case supabase
    /// neon.tech
    case neon
    /// Amazon RDS for PostgreSQL
    case rds

    /// As people write it.
    public var title: String {
        switch self {
        case .supabase: "Supabase"
        case .neon: "Neon"
        case .rds: "Amazon RDS"
        }
    }
}

/// What a deploy asks of a provider.
public struct ProviderRequest: Sendable, Hashable {
    /// What the user wrote, such as `supabase:REF`.
    public var reference: ProviderReference
    /// The name of a project of ours: the same for every deploy of one share, so that the project
    /// of an earlier run is found. 1 to 63 of `[a-z0-9-]`, a letter first.
    public var name: String
    /// The major version of the source, which a new database should have at least; nil: the
    /// provider chooses.
    public var sourceMajor: Int?
    /// The password of an existing database, where the user gave one (`SUPABASE_DB_PASSWORD`).
    public var password: ProviderSecret?

    /// Creates a request.
    public init(
        reference: ProviderReference, name: String, sourceMajor: Int? = nil,
        password: ProviderSecret? = nil
    ) {
        self.reference = reference
        self.name = name
        self.sourceMajor = sourceMajor
        self.password = password
    }
}

/// A project (Supabase, Neon) or an instance (RDS), as the journal keeps it. No secrets.
public struct ProviderProject: Sendable, Hashable, Codable {
    /// Whose it is.
    public var provider: ProviderName
    /// The provider's id (Supabase: the ref; RDS: the instance's identifier); nil before the
    /// provider answered.
    public var id: String?
    /// The name that it was, or will be, created with.
    public var name: String
    /// The provider's code of the region; nil where it is not known.
    public var region: String?

    /// Creates a description of a project.
    public init(provider: ProviderName, id: String?, name: String, region: String?) {
        self.provider = provider
        self.id = id
        self.name = name
        self.region = region
    }
}

/// What preparing would do.
public enum ProviderSurvey: Sendable, Hashable, Codable {
    /// The project is there. The sentence says in which state.
    case existing(ProviderProject, state: String)
    /// The project would be created.
    case wouldCreate(ProviderProject)
}

/// What the provider machines write down, so that a crash can be mended by the next run.
public protocol ProviderJournal: Sendable {
    /// Whether an earlier deploy wrote down that it was creating this: by the id where there is
    /// one, else by provider and name.
    func knows(_ project: ProviderProject) async throws(ProviderFailure) -> Bool

    /// The project is about to be asked for; it has no id yet.
    func creating(_ project: ProviderProject) async throws(ProviderFailure)

    /// The project exists, made by this run. It may take minutes until it is ready.
    func created(_ project: ProviderProject) async throws(ProviderFailure)

    /// The project existed; this run deploys into it.
    func adopted(_ project: ProviderProject) async throws(ProviderFailure)
}

/// A database that takes connections.
public struct ProviderDatabase: Sendable, Hashable {
    /// One way to reach the database, for a person.
    public struct ConnectionString: Sendable, Hashable, Codable {
        /// What it is good for, such as `direct` or `pooler, transaction mode`.
        public var label: String
        /// A Postgres URL without a password.
        public var url: String

        /// Creates a connection string.
        public init(label: String, url: String) {
            self.label = label
            self.url = url
        }
    }

    /// The project behind it.
    public var project: ProviderProject
    /// libpq's keywords without the password: host, port, user, dbname, sslmode.
    public var keywords: [String: String]
    /// The password of `user`.
    public var password: ProviderSecret
    /// The role to become after login (`SET ROLE`), where the login role is a temporary one that
    /// must not own anything; else nil.
    public var sessionRole: String?
    /// Seconds after which `password` opens no new connections; nil: it stays.
    public var passwordSeconds: Int?
    /// Whether this run made the project. Its password is then known to nobody else yet.
    public var isNew: Bool
    /// For a person, after the deploy.
    public var connectionStrings: [ConnectionString]

    /// Creates a description of a database.
    public init(
        project: ProviderProject,
        keywords: [String: String],
        password: ProviderSecret,
        sessionRole: String? = nil,
        passwordSeconds: Int? = nil,
        isNew: Bool,
        connectionStrings: [ConnectionString]
    ) {
        self.project = project
        self.keywords = keywords
        self.password = password
        self.sessionRole = sessionRole
        self.passwordSeconds = passwordSeconds
        self.isNew = isNew
        self.connectionStrings = connectionStrings
    }
}
