import NIOCore

/// What a client asked for in its StartupMessage. *Unverified*: a stranger wrote it.
///
/// Source: PostgreSQL documentation, "StartupMessage".
public struct StartupRequest: Hashable, Sendable {
    /// One name and its value.
    public struct Parameter: Hashable, Sendable {
        /// For example `application_name`. Never empty, never starts with `_pq_.`.
        public var name: String
        /// May be empty.
        public var value: String

        /// Creates a parameter.
        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    /// The version asked for; its major part is 3.
    public var version: ProtocolVersion
    /// Names and values in the client's order, without the `_pq_.` ones.
    public var parameters: [Parameter]
    /// The names that start with `_pq_.`, in the client's order.
    public var protocolOptions: [String]

    /// Creates a request.
    public init(
        version: ProtocolVersion = .v3_0,
        parameters: [Parameter],
        protocolOptions: [String] = []
    ) {
        self.version = version
        self.parameters = parameters
        self.protocolOptions = protocolOptions
    }

    /// The user named, or nil where none is or it is empty.
    public var user: String? { self.nonEmpty("user") }

    /// The database named, or nil where none is: Postgres then takes the user's name.
    public var database: String? { self.nonEmpty("database") }

    /// Whether the client asks for a walsender, physical or logical.
    ///
    /// Source: `ProcessStartupPacket`: `database`, or a boolean of any spelling `parse_bool` takes.
    public var isReplication: Bool {
        guard let value = self.parameter("replication")?.lowercased() else { return false }
        return value == "database" || value == "1" || value == "on"
            || (!value.isEmpty && ("true".hasPrefix(value) || "yes".hasPrefix(value)))
    }

    /// The value of a parameter, or nil. Of several with one name the last counts, as in Postgres.
    public func parameter(_ name: String) -> String? {
        self.parameters.last { $0.name == name }?.value
    }

    /// What must be answered before authentication, or nil where the client asked for no more than
    /// is spoken here.
    ///
    /// There is no protocol 3.1: who asks for it is answered with 3.0.
    public var negotiation: NegotiateProtocolVersion? {
        let agreed = self.agreedVersion
        guard self.version != agreed || !self.protocolOptions.isEmpty else { return nil }
        return NegotiateProtocolVersion(minor: agreed.minor, unknown: self.protocolOptions)
    }

    /// The version spoken from here on: the lower of the client's and 3.2.
    public var agreedVersion: ProtocolVersion {
        self.version >= .v3_2 ? .v3_2 : .v3_0
    }

    private func nonEmpty(_ name: String) -> String? {
        guard let value = self.parameter(name), !value.isEmpty else { return nil }
        return value
    }
}

extension StartupRequest {
    /// How a name of a protocol extension starts.
    private static let protocolOptionPrefix = "_pq_."

    /// Reads what follows the version word.
    init(version: ProtocolVersion, body: ByteBuffer) throws(StartupViolation) {
        self.init(version: version, parameters: [])
        var body = body
        while true {
            let name = try Self.text(&body, "a parameter name")
            if name.isEmpty { break }
            let value = try Self.text(&body, "a parameter value")
            if name.hasPrefix(Self.protocolOptionPrefix) {
                self.protocolOptions.append(name)
            } else {
                self.parameters.append(Parameter(name: name, value: value))
            }
        }
        guard body.readableBytes == 0 else {
            throw .malformed("bytes behind the terminator")
        }
    }

    private static func text(
        _ body: inout ByteBuffer,
        _ what: String
    ) throws(StartupViolation) -> String {
        guard let bytes = body.readCStringBytes() else {
            throw .malformed("\(what) is not terminated")
        }
        guard let text = String(validating: bytes.readableBytesView, as: UTF8.self) else {
            throw .malformed("\(what) is not UTF-8")
        }
        return text
    }
}
