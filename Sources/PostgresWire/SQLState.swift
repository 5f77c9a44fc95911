/// The five-character code that drivers branch on.
///
/// Source: PostgreSQL documentation, appendix A, "PostgreSQL Error Codes".
public struct SQLState: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// Five characters of `[0-9A-Z]`, for example `28P01`.
    public var rawValue: String

    /// Takes the code as it is; a backend may send codes of its own.
    public init(rawValue: String) {
        self.rawValue = rawValue
    }

    /// The code itself.
    public var description: String { self.rawValue }

    /// 08001: the connection to the database could not be made.
    public static let cannotEstablishConnection = SQLState(rawValue: "08001")
    /// 08004: the server rejected the establishment of the connection.
    public static let connectionRejected = SQLState(rawValue: "08004")
    /// 08006: the tunnel was lost.
    public static let connectionFailure = SQLState(rawValue: "08006")
    /// 08P01: the peer broke the protocol.
    public static let protocolViolation = SQLState(rawValue: "08P01")
    /// 0A000: a protocol version or feature that is not supported.
    public static let featureNotSupported = SQLState(rawValue: "0A000")
    /// 22023: a parameter has a value that is not allowed.
    public static let invalidParameterValue = SQLState(rawValue: "22023")
    /// 25006: a write in a read-only share.
    public static let readOnlyTransaction = SQLState(rawValue: "25006")
    /// 25P03: idle in a transaction for too long.
    public static let idleInTransactionTimeout = SQLState(rawValue: "25P03")
    /// 28000: TLS is missing, or policy says no.
    public static let invalidAuthorizationSpecification = SQLState(rawValue: "28000")
    /// 28P01: wrong password, or a share that cannot be told from one.
    public static let invalidPassword = SQLState(rawValue: "28P01")
    /// 3D000: the database does not exist or is not shared.
    public static let invalidCatalogName = SQLState(rawValue: "3D000")
    /// 42501: the role may not do this.
    public static let insufficientPrivilege = SQLState(rawValue: "42501")
    /// 53300: a limit on connections is reached.
    public static let tooManyConnections = SQLState(rawValue: "53300")
    /// 53400: a configured limit is exceeded.
    public static let configurationLimitExceeded = SQLState(rawValue: "53400")
    /// 57014: the query was cancelled.
    public static let queryCanceled = SQLState(rawValue: "57014")
    /// 57P01: the share expired, was revoked, or the relay drains.
    public static let adminShutdown = SQLState(rawValue: "57P01")
    /// 57P03: the sandbox is starting or its agent is away.
    public static let cannotConnectNow = SQLState(rawValue: "57P03")
    /// 57P05: idle for too long.
    public static let idleSessionTimeout = SQLState(rawValue: "57P05")
    /// XX000: our fault.
    public static let internalError = SQLState(rawValue: "XX000")
}
