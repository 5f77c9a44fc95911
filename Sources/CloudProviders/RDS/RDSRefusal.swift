import Foundation

/// A "no" of RDS.
struct RDSRefusal: Hashable, CustomStringConvertible {
    /// AWS's word, for example "DBInstanceNotFound"; empty where the body has none.
    var code: String
    /// AWS's sentence, without control characters.
    var message: String

    /// Reads the body of an answer that is no success; nil where it is not of RDS.
    init?(body: Data) {
        guard let tree = try? XMLTree(parsing: Array(body)), let error = tree.first("Error"),
            let code = error["Code"]
        else { return nil }
        self.code = Printable.text(code, atMost: 100)
        self.message = Printable.text(error["Message"] ?? "")
    }

    /// Reads ``description`` again.
    init(description text: String) {
        let parts = text.split(separator: ": ", maxSplits: 1).map(String.init)
        self.code = parts.first ?? ""
        self.message = parts.count == 2 ? parts[1] : ""
    }

    /// "Code: Message".
    var description: String {
        self.message.isEmpty ? self.code : "\(self.code): \(self.message)"
    }

    /// Whether it means "too many requests". Throttling comes with status 400.
    ///
    /// Source: AWS General Reference, "Common errors"; botocore's retry rules.
    var isThrottling: Bool {
        [
            "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled",
            "RequestThrottledException", "RequestLimitExceeded", "TooManyRequestsException",
            "BandwidthLimitExceeded", "PriorRequestNotComplete", "SlowDown",
        ].contains(self.code)
    }

    /// There is no such instance.
    var isNotFound: Bool {
        ["DBInstanceNotFound", "DBInstanceNotFoundFault"].contains(self.code)
    }

    /// There is one of that name already.
    var isTaken: Bool {
        ["DBInstanceAlreadyExists", "DBInstanceAlreadyExistsFault"].contains(self.code)
    }

    /// What a person can do about it, or nil.
    var advice: String? {
        switch self.code {
        case "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch",
            "IncompleteSignature", "MissingAuthenticationToken", "InvalidAccessKeyId":
            "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        case "ExpiredToken", "ExpiredTokenException":
            "The temporary key has ended: get a new one."
        case "RequestExpired":
            "This machine's clock is off by more than five minutes."
        case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation":
            "The key needs rds:DescribeDBInstances, rds:CreateDBInstance and rds:AddTagsToResource."
        case "OptInRequired":
            "The account has not switched on that region."
        case "InstanceQuotaExceeded", "StorageQuotaExceeded":
            "Delete an instance, or ask AWS for a higher quota."
        case "InsufficientDBInstanceCapacity":
            "AWS has no room for this class there: choose another class or region."
        case "InvalidParameterCombination", "InvalidParameterValue":
            "Choose another class, storage or version."
        case "DBSubnetGroupNotFoundFault", "InvalidVPCNetworkStateFault",
            "DBSubnetGroupDoesNotCoverEnoughAZs":
            "The account has no default network there: choose subnet-group=… and security-group=…"
        default: nil
        }
    }
}
