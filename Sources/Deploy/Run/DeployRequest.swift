/// What one run is asked to do.
public struct DeployRequest: Sendable {
    /// 16 characters of `[0-9a-z]`: names the run in the history, the ledger and its folder.
    public var id: String
    /// What is deployed.
    public var source: DeployEnd
    /// Where to.
    public var target: DeployEnd
    /// How.
    public var options: DeployOptions
    /// What is known of the target's provider.
    public var profile: ProviderProfile
    /// Statements that the provider's databases need after every deploy, inside its transaction;
    /// given the schemas that were deployed.
    public var afterRestore: @Sendable (_ schemas: [String]) -> [String]
    /// Below which the run's own folder is made.
    public var folder: String
    /// The variables that tools are looked up with.
    public var environment: [String: String]

    /// Creates a request.
    public init(
        id: String,
        source: DeployEnd,
        target: DeployEnd,
        options: DeployOptions,
        profile: ProviderProfile = .generic,
        afterRestore: @escaping @Sendable ([String]) -> [String] = { _ in [] },
        folder: String,
        environment: [String: String]
    ) {
        self.id = id
        self.source = source
        self.target = target
        self.options = options
        self.profile = profile
        self.afterRestore = afterRestore
        self.folder = folder
        self.environment = environment
    }
}

/// What a run came to.
public struct DeploymentResult: Codable, Hashable, Sendable {
    /// The run's id.
    public var id: String
    /// Rows that travelled, by the table's identity.
    public var rows: [String: Int64]
    /// Bytes of COPY data.
    public var bytes: Int64
    /// Seconds from the first statement at the target until it was visible.
    public var seconds: Double
    /// What was compared, nil with `--verify none`.
    public var verification: VerificationReport?
    /// What came after it was visible and did not work, sentences.
    public var warnings: [String]

    /// Creates a report.
    public init(
        id: String, rows: [String: Int64], bytes: Int64, seconds: Double,
        verification: VerificationReport?, warnings: [String] = []
    ) {
        self.id = id
        self.rows = rows
        self.bytes = bytes
        self.seconds = seconds
        self.verification = verification
        self.warnings = warnings
    }
}
