public import Foundation

/// A database made reachable: what the relay knows of it and keeps across a restart.
public struct Share: Hashable, Codable, Sendable {
    /// How a client of the share proves that it knows the password.
    public enum AuthMethod: String, Codable, Hashable, Sendable, CaseIterable {
        /// SCRAM-SHA-256, or -PLUS where the client can.
        case scram
        /// The password in clear inside TLS, for clients that cannot do SCRAM.
        case password
    }

    /// What stands at the other end of a share.
    public enum Kind: String, Codable, Hashable, Sendable, CaseIterable {
        /// `pgshare share` beside a Postgres: a backend a client. It holds the password.
        case agent
        /// A page with pgshare.js: one session for all clients. It holds the password.
        case browser
        /// A page of database.build: one session for all clients. It knows of no password, so the
        /// relay makes one when the owner asks.
        case databaseBuild = "database_build"
    }

    /// Whether a share can be used.
    public enum State: String, Codable, Hashable, Sendable, CaseIterable {
        /// It can.
        case live
        /// Its time is over.
        case expired
        /// Its owner or the operator ended it.
        case revoked
    }

    /// The share's id. It belongs to the owner for as long as the store remembers it.
    public var id: ShareID
    /// What stands at its other end.
    public var kind: Kind
    /// The name its owner gave it, if any.
    public var name: ShareName?
    /// Who made it.
    public var owner: OwnerID
    /// The SCRAM verifier of the share's password, as Postgres writes it (`SCRAM-SHA-256$…`).
    public var verifier: String
    /// How clients prove that they know the password.
    public var authMethod: AuthMethod
    /// What the share may use and who may use it.
    public var limits: ShareLimits
    /// When the share was first claimed. The store keeps milliseconds.
    public var createdAt: Date
    /// When the share ends by itself; nil means never. The store keeps milliseconds.
    public var expiresAt: Date?
    /// When the share was ended; nil means it was not. The store keeps milliseconds.
    public var revokedAt: Date?
    /// Which tunnel of the share is the current one; each take-over adds one.
    public var generation: UInt64
    /// The database behind the share, as the agent named it.
    public var database: String
    /// The user clients log in as, as the agent named it.
    public var user: String

    /// Creates a share that nobody has revoked, at generation 1.
    public init(
        id: ShareID,
        kind: Kind = .agent,
        name: ShareName?,
        owner: OwnerID,
        verifier: String,
        authMethod: AuthMethod,
        limits: ShareLimits,
        createdAt: Date,
        expiresAt: Date?,
        revokedAt: Date? = nil,
        generation: UInt64 = 1,
        database: String,
        user: String
    ) {
        self.id = id
        self.kind = kind
        self.name = name
        self.owner = owner
        self.verifier = verifier
        self.authMethod = authMethod
        self.limits = limits
        self.createdAt = createdAt
        self.expiresAt = expiresAt
        self.revokedAt = revokedAt
        self.generation = generation
        self.database = database
        self.user = user
    }

    /// Whether the share can be used at `now`. At its very expiry it no longer can.
    public func state(now: Date) -> State {
        if self.revokedAt != nil { return .revoked }
        if let expiresAt = self.expiresAt, expiresAt <= now { return .expired }
        return .live
    }
}

extension Share: CustomStringConvertible, CustomDebugStringConvertible {
    /// The id, the name and the owner; never the verifier, which allows guessing offline.
    public var description: String {
        let name = self.name.map { " (\($0))" } ?? ""
        return "share \(self.id)\(name) of \(self.owner)"
    }

    /// The same as ``description``.
    public var debugDescription: String { self.description }
}
