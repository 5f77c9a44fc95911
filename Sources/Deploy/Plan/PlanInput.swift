/// What a plan is made from: everything that is known of both ends, and the user's wishes.
public struct PlanInput: Sendable {
    /// How a person calls an end, and where it is; without secrets.
    public struct End: Codable, Hashable, Sendable {
        /// For sentences: what the user typed, shortened.
        public var description: String
        /// The host name, nil for a unix socket or a share.
        public var host: String?
        /// The port, nil where there is no host.
        public var port: Int?

        /// Creates an end.
        public init(_ description: String, host: String? = nil, port: Int? = nil) {
            self.description = description
            self.host = host
            self.port = port
        }
    }

    /// The user's wishes.
    public var options: DeployOptions
    /// Where it comes from.
    public var sourceEnd: End
    /// What is there.
    public var source: DatabaseFacts
    /// Where it goes.
    public var targetEnd: End
    /// What is there.
    public var target: DatabaseFacts
    /// What earlier deploys left in the target; nil if none did.
    public var ledger: LedgerState?
    /// What pg_dump found with the ``Planner/selection(options:source:provider:)``.
    public var contents: TableOfContents
    /// The programs.
    public var tools: ClientTools
    /// What is particular about the target.
    public var provider: ProviderProfile
    /// Cores of this machine, at least 1.
    public var cores: Int

    /// Creates it; see the properties.
    public init(
        options: DeployOptions,
        sourceEnd: End,
        source: DatabaseFacts,
        targetEnd: End,
        target: DatabaseFacts,
        ledger: LedgerState?,
        contents: TableOfContents,
        tools: ClientTools,
        provider: ProviderProfile,
        cores: Int
    ) {
        self.options = options
        self.sourceEnd = sourceEnd
        self.source = source
        self.targetEnd = targetEnd
        self.target = target
        self.ledger = ledger
        self.contents = contents
        self.tools = tools
        self.provider = provider
        self.cores = cores
    }
}
