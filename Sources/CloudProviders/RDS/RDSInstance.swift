/// An instance as DescribeDBInstances tells it.
struct RDSInstance: Equatable {
    /// Its name in its region.
    var identifier: String
    /// For example "creating", "available".
    var status: String
    /// Where it listens; absent until it is ready.
    var endpoint: Endpoint?
    /// The master user.
    var user: String
    /// The database it was made with, or nil.
    var database: String?
    /// For example "postgres".
    var engine: String
    /// For example "17.4".
    var engineVersion: String?
    /// Its name in the world; tags hang on it.
    var resourceName: String?
    /// Whether it has a public address.
    var isPublic: Bool
    /// Its tags.
    var tags: [String: String]

    /// Host and port.
    struct Endpoint: Hashable {
        /// A host name or an address.
        var host: String
        /// 1...65535.
        var port: Int
    }

    /// Reads a `<DBInstance>`, or a `<DBInstance>` of the answer to a creation.
    ///
    /// - Returns: nil if a field is missing that RDS always sends.
    init?(_ element: XMLTree) {
        guard
            let identifier = element["DBInstanceIdentifier"],
            let status = element["DBInstanceStatus"],
            let user = element["MasterUsername"]
        else { return nil }
        self.identifier = identifier
        self.status = status
        self.user = user
        self.database = element["DBName"]
        self.engine = element["Engine"] ?? ""
        self.engineVersion = element["EngineVersion"]
        self.resourceName = element["DBInstanceArn"]
        self.isPublic = element["PubliclyAccessible"] == "true"
        self.tags = [:]
        for tag in element.first("TagList")?.all("Tag") ?? [] {
            if let key = tag["Key"] { self.tags[key] = tag["Value"] ?? "" }
        }
        if let place = element.first("Endpoint"), let host = place["Address"],
            let port = place["Port"].flatMap({ Int($0) }), (1...65_535).contains(port)
        {
            self.endpoint = Endpoint(host: host, port: port)
        }
    }

    /// What an instance's status means for one who waits for it.
    enum Readiness: Hashable {
        /// It takes connections.
        case ready(Endpoint)
        /// It will.
        case waiting
        /// It will not without a person.
        case ended(advice: String)
    }

    /// What the status means.
    ///
    /// An unknown status is one to wait for: RDS adds some, and the wait has an end.
    /// Source: RDS User Guide, "Viewing Amazon RDS DB instance status".
    var readiness: Readiness {
        switch self.status {
        case "available", "storage-optimization":
            self.endpoint.map { .ready($0) } ?? .waiting
        case "deleted", "deleting":
            .ended(advice: "it is going away; choose another name")
        case "failed", "restore-error", "incompatible-restore":
            .ended(advice: "RDS cannot mend it; delete it in the AWS console and run again")
        case "incompatible-parameters", "incompatible-option-group":
            .ended(advice: "its parameter or option group does not fit; change it and run again")
        case "incompatible-network", "incompatible-create":
            .ended(advice: "its subnets have no room or are gone; choose subnet-group=…")
        case "insufficient-capacity":
            .ended(advice: "AWS has no room for this class there; choose class=… or region=…")
        case "inaccessible-encryption-credentials":
            .ended(advice: "its KMS key is disabled or gone; enable the key")
        case "storage-full":
            .ended(advice: "its disk is full; give it more storage and run again")
        case "stopped", "stopping":
            .ended(advice: "start it (aws rds start-db-instance) and run again")
        default:
            .waiting
        }
    }
}
