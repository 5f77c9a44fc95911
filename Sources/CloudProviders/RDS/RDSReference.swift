/// The instance that an `rds:` target means.
struct RDSReference: Hashable {
    /// The identifier of the instance: 1 to 63 small letters, digits and single hyphens.
    var identifier: String
    /// The region, or nil: then the environment's.
    var region: String?
    /// The database in it, or nil: then the one it was made with.
    var database: String?
    /// The role to log in as, or nil: then the master user.
    var user: String?
    /// What to make where there is none, or nil: then it must exist.
    var creation: RDSCreation?
    /// Whether an instance of that name, made by an earlier deploy that ended well, is an error.
    var mustBeNew: Bool
}

/// How an instance is made.
struct RDSCreation: Hashable {
    /// The instance class. The default is the smallest that runs every version since 14.
    var instanceClass = "db.t4g.micro"
    /// GiB, 20...65536. RDS takes no less than 20.
    var storage = 20
    /// Whether it gets a public address. Off: a database is not put on the internet unasked.
    var isPublic = false
    /// The version of Postgres ("17", "17.4"), or nil: then RDS's default.
    var engineVersion: String?
    /// Security groups that let the client in; empty: the network's default.
    var securityGroups: [String] = []
    /// The subnet group, or nil: the network's default.
    var subnetGroup: String?
}

extension RDSReference {
    /// The database that a new instance is made with.
    static let newDatabase = "app"
    /// The master user of a new instance. RDS reserves `rdsadmin` and its like.
    static let newUser = "postgres"

    /// Reads a reference.
    ///
    /// - Parameters:
    ///   - reference: What the user wrote.
    ///   - name: The name of a new instance that has none in the reference.
    /// - Throws: ``ProviderFailure`` that names the part and what it may be.
    init(_ reference: ProviderReference, name: String) throws(ProviderFailure) {
        let options = reference.options
        self.region = try options["region"].map(Self.region)
        self.database = options["database"]
        self.user = options["user"]
        switch reference.place {
        case .existing(let id, _):
            self.identifier = id
            self.mustBeNew = false
            let creating = Set(options.keys).intersection(RDSCreation.keys)
            if let key = creating.min() {
                throw ProviderFailure(
                    "\(key)= is for a new instance, and \(id) is meant to exist",
                    advice: "Leave it out, or write rds:new?name=\(id)&…")
            }
        case .named, .new:
            self.identifier = options["name"] ?? Self.identifier(from: name)
            self.mustBeNew = reference.place == .new
            self.creation = try RDSCreation(options)
        }
        guard Self.isIdentifier(self.identifier) else {
            throw ProviderFailure(
                "'\(self.identifier)' cannot be the name of an RDS instance",
                advice: "It has 1 to 63 small letters, digits and single hyphens, a letter first.")
        }
    }

    /// Makes an identifier of any text: what RDS refuses becomes a hyphen.
    static func identifier(from name: String) -> String {
        var result = ""
        for character in name.lowercased() {
            let isPlain = character.isASCII && (character.isLetter || character.isNumber)
            if isPlain { result.append(character) } else if result.last != "-" { result += "-" }
        }
        if result.first?.isLetter != true { result = "pgshare-\(result)" }
        result = String(result.replacing("--", with: "-").prefix(63))
        while result.last == "-" { result.removeLast() }
        return result
    }

    /// Source: RDS API reference, CreateDBInstance, DBInstanceIdentifier.
    private static func isIdentifier(_ text: String) -> Bool {
        text.utf8.count <= 63 && text.wholeMatch(of: /[a-z](-?[a-z0-9])*/) != nil
    }

    /// The region becomes part of a host name, so nothing else may be in it.
    static func region(_ text: String) throws(ProviderFailure) -> String {
        guard text.wholeMatch(of: /[a-z0-9-]{5,32}/) != nil else {
            throw ProviderFailure(
                "'\(text)' is no AWS region", advice: "For example region=eu-central-1.")
        }
        return text
    }
}

extension RDSCreation {
    /// The options that only a new instance has.
    fileprivate static let keys: Set<String> = [
        "class", "name", "public", "security-group", "storage", "subnet-group", "version",
    ]

    fileprivate init(_ options: [String: String]) throws(ProviderFailure) {
        if let text = options["class"] {
            guard text.wholeMatch(of: /db\.[a-z0-9.-]{1,60}/) != nil else {
                throw ProviderFailure(
                    "'\(text)' is no instance class", advice: "For example class=db.t4g.small.")
            }
            self.instanceClass = text
        }
        if let text = options["storage"] {
            guard let storage = Int(text), (20...65_536).contains(storage) else {
                throw ProviderFailure(
                    "storage=\(text) is out of range", advice: "20 to 65536 GiB, without a unit.")
            }
            self.storage = storage
        }
        switch options["public"] {
        case nil, "no", "false", "0": self.isPublic = false
        case "yes", "true", "1": self.isPublic = true
        case .some(let text): throw ProviderFailure("public=\(text) is neither yes nor no")
        }
        self.engineVersion = options["version"]
        self.subnetGroup = options["subnet-group"]
        let groups = options["security-group"] ?? ""
        self.securityGroups = groups.split(separator: ",").map(String.init)
    }
}
