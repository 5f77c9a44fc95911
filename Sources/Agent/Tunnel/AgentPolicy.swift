import PostgresClient
import PostgresWire
public import SharePolicy
import TunnelWire

/// What the agent lets a client do. The relay asked the same questions before; it may be
/// compromised, and what it leads to is the agent's own database.
public struct AgentPolicy: Sendable {
    /// The database that is shared.
    public var database: String
    /// Whether clients may ask for other databases of the same server.
    public var servesAllDatabases: Bool
    /// Clients at once.
    public var maximumClients: Int
    /// Networks that clients may come from; empty for all.
    public var allow: [CIDR]

    /// Creates a policy.
    public init(
        database: String, servesAllDatabases: Bool, maximumClients: Int, allow: [CIDR] = []
    ) {
        self.database = database
        self.servesAllDatabases = servesAllDatabases
        self.maximumClients = maximumClients
        self.allow = allow
    }

    /// The verdict on one client.
    enum Decision: Equatable {
        case serve(BackendRequest)
        case refuse(StreamReset)
    }

    /// May this client have a backend?
    ///
    /// - Parameters:
    ///   - open: What the relay says of it.
    ///   - clients: How many have one now.
    ///   - isOver: Whether the share's time is over.
    /// - Returns: What its backend must be like, or why it gets none.
    func decide(_ open: Open, clients: Int, isOver: Bool) -> Decision {
        if isOver { return .refuse(Self.reset(.shareEnded, "57P01")) }
        guard clients < self.maximumClients else {
            return .refuse(Self.reset(.tooManyClients, "53300"))
        }
        if !self.allow.isEmpty {
            let address = open.client.flatMap(Self.address(in:)) ?? ""
            guard self.allow.contains(where: { $0.contains(address: address) }) else {
                return .refuse(Self.reset(.addressNotAllowed, "28000"))
            }
        }
        var parameters: [StartupRequest.Parameter] = []
        for pair in open.parameters ?? [] {
            guard pair.count == 2 else { return .refuse(Self.unreadable) }
            parameters.append(.init(name: pair[0], value: pair[1]))
        }
        return self.decide(parameters)
    }

    private func decide(_ parameters: [StartupRequest.Parameter]) -> Decision {
        let user = parameters.first { $0.name == "user" }?.value ?? ""
        let asked = parameters.first { $0.name == "database" }?.value ?? ""
        // libpq asks for a database named like the user where nobody named one. As USER.SHARE
        // that is nobody's wish; plain USER may be, and opening another silently would mislead.
        let isDefault = asked.isEmpty || asked.hasPrefix(user + ".")
        if isDefault || asked == self.database || Self.isPhysicalReplication(parameters) {
            return .serve(BackendRequest(parameters: parameters, database: nil))
        }
        guard self.servesAllDatabases else {
            return .refuse(Self.reset(.databaseNotServed, "3D000"))
        }
        return .serve(BackendRequest(parameters: parameters, database: asked))
    }

    /// Whether the client wants a walsender without a database: Postgres then ignores the name it
    /// sends, which libpq makes `replication`. `replication=database` has one, and counts as a
    /// usual client.
    ///
    /// Source: PostgreSQL's `ProcessStartupPacket` (the last one wins) and `parse_bool_with_len`.
    private static func isPhysicalReplication(_ parameters: [StartupRequest.Parameter]) -> Bool {
        guard let value = parameters.last(where: { $0.name == "replication" })?.value.lowercased(),
            !value.isEmpty
        else { return false }
        return "true".hasPrefix(value) || "yes".hasPrefix(value) || value == "on" || value == "1"
    }

    private static let unreadable = StreamReset(
        .protocolError, sqlState: "08P01", text: "the startup parameters could not be read")

    private static func reset(_ reason: Refusal.Reason, _ sqlState: String) -> StreamReset {
        StreamReset(.refused, sqlState: sqlState, text: reason.message)
    }

    /// `1.2.3.4` of `1.2.3.4:567`, `::1` of `::1:567`.
    private static func address(in client: String) -> String? {
        client.lastIndex(of: ":").map { String(client[..<$0]) }
    }
}
