import Foundation

/// A request of RDS's query protocol.
///
/// Source: RDS API reference, version 2014-10-31.
struct RDSRequest {
    /// The version of the API that the answers are read by.
    static let version = "2014-10-31"

    /// For example "DescribeDBInstances".
    var action: String
    /// Without Action and Version.
    var parameters: [(name: String, value: String)]

    /// Secrets among the parameters.
    var secrets: [ProviderSecret] = []

    /// The request of HTTP, without a signature.
    ///
    /// Every request may be sent twice: a second creation of one name is refused by RDS.
    var call: ProviderCall {
        let pairs = [("Action", self.action), ("Version", Self.version)] + self.parameters
        let form = pairs.map { "\(ProviderCall.encoded($0.0))=\(ProviderCall.encoded($0.1))" }
        return ProviderCall(
            .post, "/",
            headers: [
                ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),
                // Asked for JSON, the query protocol answers in JSON.
                ("Accept", "text/xml"),
            ],
            body: Data(form.joined(separator: "&").utf8), secrets: self.secrets)
    }

    /// Asks for one instance.
    static func describe(_ identifier: String) -> RDSRequest {
        RDSRequest(
            action: "DescribeDBInstances", parameters: [("DBInstanceIdentifier", identifier)])
    }

    /// Makes an instance: encrypted, with its tags from its first moment on.
    ///
    /// - Parameters:
    ///   - reference: Which.
    ///   - creation: How.
    ///   - password: Of the master user; 8 to 128 printable ASCII characters but `/`, `"`, `@`.
    ///   - tags: In order.
    /// - Returns: The request.
    static func create(
        _ reference: RDSReference,
        _ creation: RDSCreation,
        password: ProviderSecret,
        tags: [(name: String, value: String)]
    ) -> RDSRequest {
        var parameters = [
            (name: "DBInstanceIdentifier", value: reference.identifier),
            ("DBInstanceClass", creation.instanceClass),
            ("Engine", "postgres"),
            ("AllocatedStorage", "\(creation.storage)"),
            ("DBName", reference.database ?? RDSReference.newDatabase),
            ("MasterUsername", reference.user ?? RDSReference.newUser),
            ("MasterUserPassword", password.reveal),
            ("PubliclyAccessible", creation.isPublic ? "true" : "false"),
            ("StorageEncrypted", "true"),
            ("CopyTagsToSnapshot", "true"),
        ]
        if let version = creation.engineVersion { parameters.append(("EngineVersion", version)) }
        if let group = creation.subnetGroup { parameters.append(("DBSubnetGroupName", group)) }
        for (index, group) in creation.securityGroups.enumerated() {
            let name = "VpcSecurityGroupIds.VpcSecurityGroupId.\(index + 1)"
            parameters.append((name, group))
        }
        for (index, tag) in tags.enumerated() {
            parameters.append(("Tags.Tag.\(index + 1).Key", tag.name))
            parameters.append(("Tags.Tag.\(index + 1).Value", tag.value))
        }
        return RDSRequest(
            action: "CreateDBInstance", parameters: parameters, secrets: [password])
    }
}

extension RDSInstance {
    /// Reads the answer to a request for one instance or to a creation.
    ///
    /// - Parameter body: XML.
    /// - Throws: ``XMLViolation``, also where there is no instance in it.
    init(answer body: Data) throws(XMLViolation) {
        let tree = try XMLTree(parsing: Array(body))
        let element =
            tree.first("DescribeDBInstancesResult", "DBInstances", "DBInstance")
            ?? tree.first("CreateDBInstanceResult", "DBInstance")
        guard let element, let instance = RDSInstance(element) else { throw .malformed(at: 0) }
        self = instance
    }
}
