import Foundation
import HTTPTypes
import NIOHTTP1
package import SharePolicy
import Synchronization

/// Turns what a request carries into the owner it speaks for.
///
/// An answer of the store is believed for ``cacheSeconds``, so that an agent which opens its
/// links, or a thousand that come back at once, cost one look-up each and not more; a revoked token
/// is good for that long. Wrong tokens are not remembered: an attacker could fill the memory.
/// Tokens of an issuer are checked each time: that needs no store.
package final class TokenGate: Sendable {
    /// How long the store's yes is believed.
    static let cacheSeconds: TimeInterval = 1
    /// Owners remembered at once; when full, all are forgotten.
    static let maximumEntries = 1_024

    private struct Entry {
        var owner: OwnerID
        var until: Date
    }

    private let isOpen: Bool
    private let issuer: TokenIssuer?
    private let lookup: @Sendable (TokenHash) async throws -> OwnerID?
    private let cache = Mutex<[TokenHash: Entry]>([:])

    /// Creates a gate.
    ///
    /// - Parameters:
    ///   - isOpen: Whether tokens that nobody issued, or none at all, are good enough for a tunnel.
    ///   - issuer: Knows the tokens that are not ours; nil where there are none.
    ///   - lookup: Asks the store whose token it is.
    package init(
        isOpen: Bool, issuer: TokenIssuer? = nil,
        lookup: @escaping @Sendable (TokenHash) async throws -> OwnerID?
    ) {
        self.isOpen = isOpen
        self.issuer = issuer
        self.lookup = lookup
    }

    /// Who stands behind an API request. An open relay's strangers own what their token made.
    ///
    /// - Throws: ``APIError`` `unauthorized`, or what the store threw.
    /// - Returns: The owner.
    func owner(of credentials: Credentials) async throws -> OwnerID {
        switch credentials.token {
        case .own(let token):
            if let owner = try await self.cachedOwner(of: token.hash) { return owner }
            guard self.isOpen else { throw APIError(.unauthorized) }
            return OwnerID(anonymous: token.hash)
        case .issued(let token):
            guard let issuer else { throw APIError(.unauthorized) }
            return try await issuer.owner(of: token, now: Date())
        case nil:
            throw APIError(.unauthorized)
        }
    }

    /// Who stands behind a tunnel. On an open relay a tunnel without a token is an owner of its
    /// own,
    /// whom nobody, not even itself, can be again.
    ///
    /// - Throws: ``APIError`` `unauthorized`, or what the store threw.
    /// - Returns: The owner.
    func tunnelOwner(of credentials: Credentials) async throws -> OwnerID {
        if self.isOpen, case .none = credentials {
            var random = SystemRandomNumberGenerator()
            return OwnerID(anonymous: TunnelToken.make(using: &random).hash)
        }
        return try await self.owner(of: credentials)
    }

    private func cachedOwner(of hash: TokenHash) async throws -> OwnerID? {
        let now = Date()
        let known = self.cache.withLock { $0[hash] }
        if let known, known.until > now { return known.owner }
        let owner = try await self.lookup(hash)
        self.cache.withLock { cache in
            cache[hash] = nil
            guard let owner else { return }
            if cache.count >= Self.maximumEntries { cache.removeAll() }
            cache[hash] = Entry(owner: owner, until: now.addingTimeInterval(Self.cacheSeconds))
        }
        return owner
    }
}

/// What a request says about who it is.
enum Credentials: Sendable {
    /// Nothing at all.
    case none
    /// Something that no relay has issued: not a token, or two of them.
    case malformed
    /// A token, not checked yet.
    case token(AccessToken)

    /// The subprotocol that carries a browser's token is this and the token.
    static let subprotocolPrefix = "pgshare.token."

    /// Reads `Authorization: Bearer`, or else the subprotocols of a WebSocket.
    init(authorization: [String], subprotocols: [String]) {
        let carried = subprotocols.filter { $0.hasPrefix(Self.subprotocolPrefix) }
        let tokens =
            authorization.map(Self.bearer)
            + carried.map { AccessToken(String($0.dropFirst(Self.subprotocolPrefix.count))) }
        switch tokens.count {
        case 0:
            self = .none
        case 1:
            self = tokens.first.flatMap { $0 }.map { .token($0) } ?? .malformed
        default:
            self = .malformed
        }
    }

    init(_ headers: HTTPHeaders) {
        self.init(
            authorization: headers["authorization"],
            subprotocols: headers[canonicalForm: "sec-websocket-protocol"].map(String.init))
    }

    init(_ fields: HTTPFields) {
        let subprotocols = fields[values: .secWebSocketProtocol]
            .flatMap { $0.split(separator: ",") }
            .map { $0.trimmingCharacters(in: .whitespaces) }
        self.init(authorization: fields[values: .authorization], subprotocols: subprotocols)
    }

    /// Reads `token=` of the query of database.build's page, which cannot send it anywhere else.
    init(query: Substring) {
        let values = query.split(separator: "&").filter { $0.hasPrefix("token=") }
        guard let value = values.first else {
            self = .none
            return
        }
        let text = value.dropFirst("token=".count).removingPercentEncoding
        let token = values.count == 1 ? text.flatMap { AccessToken($0) } : nil
        self = token.map { .token($0) } ?? .malformed
    }

    var token: AccessToken? {
        switch self {
        case .token(let token): token
        case .none, .malformed: nil
        }
    }

    /// Source: RFC 9110, 11.1: the scheme's case does not matter.
    private static func bearer(_ value: String) -> AccessToken? {
        let parts = value.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else { return nil }
        return AccessToken(parts[1].trimmingCharacters(in: .whitespaces))
    }
}
