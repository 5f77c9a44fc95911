public import PostgresClient

/// One end of a deploy, found and checked.
public struct DeployEnd: Sendable {
    /// How it is reached.
    public var database: ResolvedDatabase
    /// What the user called it, without secrets.
    public var description: String
    /// A role to become after the login (`SET ROLE`), because the login's own is temporary.
    public var role: String?

    /// Creates an end.
    public init(database: ResolvedDatabase, description: String, role: String? = nil) {
        self.database = database
        self.description = description
        self.role = role
    }
}

extension DeployEnd {
    /// What a plan says of it.
    var planned: PlanInput.End {
        switch self.database.target.endpoint {
        case .unixSocket: PlanInput.End(self.description)
        case .tcp(let host, let address, let port):
            PlanInput.End(
                self.description, host: host.isEmpty ? address : host, port: port)
        }
    }
}
