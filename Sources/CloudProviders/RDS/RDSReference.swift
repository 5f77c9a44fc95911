import Foundation

/// What stands behind `rds:`: an instance that exists, or one to make.
///
/// ```
/// rds:orders                             the instance "orders" of the region of AWS_REGION
/// rds:orders?region=eu-west-1&database=app
/// rds:new?name=orders&class=db.t4g.small&storage=50&region=eu-west-1&public=yes
/// ```
public struct RDSReference: Hashable, Sendable {
    /// The identifier of the instance: 1 to 63 small letters, digits and single hyphens.
    public var identifier: String
    /// The region, or nil: then the environment's.
    public var region: String?
    /// The database in it, or nil: then the one it was made with.
    public var database: String?
    /// What to make where there is none, or nil: then it must exist.
    public var creation: RDSCreation?
}

/// How an instance is made.
public struct RDSCreation: Hashable, Sendable {
    /// The instance class. The default is the smallest that runs every version since 14.
    public var instanceClass = "db.t4g.micro"
    /// GiB, 20...65536. RDS takes no less than 20.
    public var storage = 20
    /// Whether it gets a public address. Off: a database is not put on the internet unasked.
    public var isPublic = false
    /// The version of Postgres ("17", "17.4"), or nil: then RDS's default.
    public var engineVersion: String?
    /// Security groups that let the client in; empty: the network's default.
    public var securityGroups: [String] = []
    /// The subnet group, or nil: the network's default.
    public var subnetGroup: String?
}

extension RDSReference {
    /// The database that a new instance is made with.
    static let newDatabase = "app"

    /// Reads a reference.
    ///
    /// - Parameters:
    ///   - text: What stands behind `rds:`. Empty means `new`.
    ///   - name: The name of a new instance that has none in the reference.
    /// - Throws: ``ProviderFailure`` that names the part and what it may be.
    public init(_ text: String, name: String) throws(ProviderFailure) {
        let parts = text.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let head = parts.first.map(String.init) ?? ""
        let isNew = head.isEmpty || head == "new"
        var values = try Self.values(parts.count == 2 ? String(parts[1]) : "")
        self.region = try values.removeValue(forKey: "region").map(Self.region)
        self.database = values.removeValue(forKey: "database")
        self.identifier = head
        if isNew {
            self.identifier = values.removeValue(forKey: "name") ?? Self.identifier(from: name)
            self.creation = try RDSCreation(taking: &values)
        }
        if let unknown = values.keys.sorted().first {
            let known = isNew ? RDSCreation.keys : ["region", "database"]
            throw ProviderFailure(
                "\"\(unknown)\" is nothing an rds: target knows",
                advice: "it may have \(known.joined(separator: ", "))")
        }
        guard Self.isIdentifier(self.identifier) else {
            throw ProviderFailure(
                "\"\(self.identifier)\" cannot be the name of an RDS instance",
                advice: "1 to 63 small letters, digits and single hyphens, a letter first")
        }
        if self.database?.isEmpty == true { self.database = nil }
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
        let isPlain = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"):
                true
            default: false
            }
        }
        return isPlain && (1...63).contains(text.utf8.count) && text.first?.isLetter == true
            && text.last != "-" && !text.contains("--")
    }

    /// The region becomes part of a host name, so nothing else may be in it.
    static func region(_ text: String) throws(ProviderFailure) -> String {
        let isPlain = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"):
                true
            default: false
            }
        }
        guard isPlain, (5...32).contains(text.utf8.count) else {
            throw ProviderFailure(
                "\"\(text)\" is no AWS region", advice: "for example region=eu-central-1")
        }
        return text
    }

    private static func values(_ query: String) throws(ProviderFailure) -> [String: String] {
        var values: [String: String] = [:]
        for pair in query.split(separator: "&") {
            let words = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard
                let key = words.first.map(String.init), words.count == 2,
                let value = String(words[1]).removingPercentEncoding, values[key] == nil
            else {
                throw ProviderFailure(
                    "\"\(pair)\" cannot be read", advice: "write key=value, each key once")
            }
            values[key] = value
        }
        return values
    }
}

extension RDSCreation {
    fileprivate static let keys = [
        "name", "class", "storage", "region", "public", "version", "database", "security-group",
        "subnet-group",
    ]

    /// Takes its keys out of `values`.
    fileprivate init(taking values: inout [String: String]) throws(ProviderFailure) {
        if let text = values.removeValue(forKey: "class") {
            guard text.hasPrefix("db."), text.utf8.count <= 64 else {
                throw ProviderFailure(
                    "\"\(text)\" is no instance class", advice: "for example class=db.t4g.small")
            }
            self.instanceClass = text
        }
        if let text = values.removeValue(forKey: "storage") {
            guard let storage = Int(text), (20...65_536).contains(storage) else {
                throw ProviderFailure(
                    "storage=\(text) is out of range", advice: "20 to 65536 GiB, without a unit")
            }
            self.storage = storage
        }
        if let text = values.removeValue(forKey: "public") {
            switch text {
            case "yes", "true", "1": self.isPublic = true
            case "no", "false", "0": self.isPublic = false
            default: throw ProviderFailure("public=\(text) is neither yes nor no")
            }
        }
        self.engineVersion = values.removeValue(forKey: "version")
        self.subnetGroup = values.removeValue(forKey: "subnet-group")
        let groups = values.removeValue(forKey: "security-group") ?? ""
        self.securityGroups = groups.split(separator: ",").map(String.init)
    }
}
