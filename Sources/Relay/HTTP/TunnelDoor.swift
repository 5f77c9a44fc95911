package import Foundation
package import NIOCore
package import SharePolicy
package import TunnelTransport

/// Takes over the connections of agents and browsers once they are authenticated.
package protocol TunnelDoor: Sendable {
    /// Takes a connection whose upgrade was granted, on its event loop.
    ///
    /// Only TLS is left in the pipeline; for `.webSocket` the bytes are still WebSocket frames.
    /// What
    /// the peer sent behind its request is held back and goes through the handlers that are in the
    /// pipeline when the returned future succeeds. If it fails, the connection is closed.
    ///
    /// - Parameters:
    ///   - channel: The connection.
    ///   - transport: What both sides agreed on.
    ///   - owner: Whose token it was.
    /// - Returns: Succeeds when the handlers are in place.
    func accept(
        channel: any Channel, transport: TunnelTransportKind, owner: OwnerID
    ) -> EventLoopFuture<Void>
}

/// Takes over the WebSockets of database.build's page once they are authenticated.
package protocol PageDoor: Sendable {
    /// Takes a connection whose upgrade was granted, on its event loop, as
    /// ``TunnelDoor/accept(channel:transport:owner:)`` does.
    ///
    /// - Parameters:
    ///   - channel: The connection; its bytes are WebSocket frames.
    ///   - share: The id that the host named.
    ///   - owner: Whose token it was.
    /// - Returns: Succeeds when the handlers are in place.
    func accept(
        channel: any Channel, share: ShareID, owner: OwnerID
    ) -> EventLoopFuture<Void>
}

/// What the HTTP API asks about shares. Every question is scoped to the owner who asks.
package protocol SharesControl: Sendable {
    /// All shares of the owner, the newest first.
    func shares(of owner: OwnerID) async throws -> [ShareStatus]
    /// One share of the owner, by id or name; nil when the owner has no such share.
    func share(_ key: ShareKey, of owner: OwnerID) async throws -> ShareStatus?
    /// Revokes the share and ends its live streams; nil when the owner has no such share.
    /// Revoking a second time changes nothing and answers the same.
    func revoke(_ key: ShareKey, of owner: OwnerID) async throws -> ShareStatus?
    /// Gives the share a new password; nil when the owner has no such share.
    ///
    /// - Throws: ``APIError`` `passwordElsewhere` where an agent holds the password, `shareEnded`.
    func makePassword(_ key: ShareKey, of owner: OwnerID) async throws -> MadePassword?
}

/// How to connect to a share that was given a new password. Told once.
package struct MadePassword: Hashable, Codable, Sendable {
    /// All of it as a URL of libpq.
    package var url: String
    package var user: String
    package var password: String
    package var host: String
    package var port: Int
    package var database: String
    package var expiresAt: Date?

    package init(
        user: String, password: String, host: String, port: Int, database: String,
        expiresAt: Date?
    ) {
        self.url = ConnectionURL.share(
            user: user, password: password, host: host, port: port, database: database)
        self.user = user
        self.password = password
        self.host = host
        self.port = port
        self.database = database
        self.expiresAt = expiresAt
    }

    private enum CodingKeys: String, CodingKey {
        case url, user, password, host, port, database
        case expiresAt = "expires_at"
    }
}

/// A share as the API shows it. No verifier, no password, no address.
package struct ShareStatus: Hashable, Codable, Sendable {
    /// Whether clients can use the share.
    package enum State: String, Hashable, Codable, Sendable, CaseIterable {
        /// An agent is connected.
        case online
        /// No agent is connected.
        case offline
        /// Its time is over.
        case expired
        /// Its owner ended it.
        case revoked
    }

    package var id: String
    /// What stands at its other end.
    package var kind = Share.Kind.agent
    package var name: String?
    package var state: State
    package var database: String
    package var user: String
    /// The host that clients connect to; nil from a relay that does not say.
    package var host: String?
    /// Its port.
    package var port: Int?
    /// The user that clients log in as at that host.
    package var login: String?
    /// Clients connected now.
    package var clients: Int
    package var maxConnections: Int
    package var createdAt: Date
    package var expiresAt: Date?
    package var revokedAt: Date?

    package init(
        id: String, name: String?, state: State, database: String, user: String, clients: Int,
        maxConnections: Int, createdAt: Date, expiresAt: Date?, revokedAt: Date?
    ) {
        self.id = id
        self.name = name
        self.state = state
        self.database = database
        self.user = user
        self.clients = clients
        self.maxConnections = maxConnections
        self.createdAt = createdAt
        self.expiresAt = expiresAt
        self.revokedAt = revokedAt
    }

    /// Describes a share of the store.
    ///
    /// - Parameters:
    ///   - share: As it is stored.
    ///   - isOnline: Whether it has a tunnel.
    ///   - clients: Clients connected now.
    ///   - now: Decides whether it has expired.
    package init(_ share: Share, isOnline: Bool, clients: Int, now: Date) {
        let state: State =
            switch share.state(now: now) {
            case .live: isOnline ? .online : .offline
            case .expired: .expired
            case .revoked: .revoked
            }
        self.init(
            id: share.id.rawValue, name: share.name?.rawValue, state: state,
            database: share.database, user: share.user, clients: clients,
            maxConnections: share.limits.maximumClients, createdAt: share.createdAt,
            expiresAt: share.expiresAt, revokedAt: share.revokedAt)
        self.kind = share.kind
    }

    /// Reads what a relay of any version says: one of before kinds had agents alone.
    package init(from decoder: any Decoder) throws {
        let keys = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            id: try keys.decode(String.self, forKey: .id),
            name: try keys.decodeIfPresent(String.self, forKey: .name),
            state: try keys.decode(State.self, forKey: .state),
            database: try keys.decode(String.self, forKey: .database),
            user: try keys.decode(String.self, forKey: .user),
            clients: try keys.decode(Int.self, forKey: .clients),
            maxConnections: try keys.decode(Int.self, forKey: .maxConnections),
            createdAt: try keys.decode(Date.self, forKey: .createdAt),
            expiresAt: try keys.decodeIfPresent(Date.self, forKey: .expiresAt),
            revokedAt: try keys.decodeIfPresent(Date.self, forKey: .revokedAt))
        let kind = try keys.decodeIfPresent(String.self, forKey: .kind)
        self.kind = kind.flatMap(Share.Kind.init(rawValue:)) ?? .agent
        self.host = try keys.decodeIfPresent(String.self, forKey: .host)
        self.port = try keys.decodeIfPresent(Int.self, forKey: .port)
        self.login = try keys.decodeIfPresent(String.self, forKey: .login)
    }

    private enum CodingKeys: String, CodingKey {
        case id, kind, name, state, database, user, host, port, login, clients
        case maxConnections = "max_connections"
        case createdAt = "created_at"
        case expiresAt = "expires_at"
        case revokedAt = "revoked_at"
    }
}

/// The body of `GET /v1/shares`.
package struct ShareList: Hashable, Codable, Sendable {
    package var shares: [ShareStatus]

    package init(shares: [ShareStatus]) {
        self.shares = shares
    }
}

/// How the API writes and reads JSON: dates as RFC 3339 in UTC, keys in order.
package enum APIJSON {
    package static func encode(_ value: some Encodable) throws -> Data {
        let encoder = JSONEncoder()
        encoder.dateEncodingStrategy = .iso8601
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(value)
    }

    package static func decode<Value: Decodable>(_ type: Value.Type, from data: Data) throws
        -> Value
    {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        return try decoder.decode(type, from: data)
    }
}
