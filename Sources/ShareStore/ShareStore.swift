public import Foundation
public import SharePolicy

/// What outlives a restart of the relay: shares, tokens and the audit trail.
///
/// A verb that returns has its change on the disk, also if the power fails right after. Every verb
/// may wait for the disk or another process; none belongs on an event loop.
public protocol ShareStore: Sendable {
    /// Every share that is remembered, ended ones too, oldest first.
    func allShares() async throws(ShareStoreError) -> [Share]

    /// The share with this id; nil if none is remembered.
    func share(_ id: ShareID) async throws(ShareStoreError) -> Share?

    /// Adds a share or replaces the one with its id.
    ///
    /// A revocation that another process wrote in the meantime stands, the generation never goes
    /// back, and an ended share gives its name up to a live one.
    ///
    /// - Parameters:
    ///   - share: The share.
    ///   - limits: How many live shares there may be with a new one; nil for any number. Counted in
    ///     the same transaction, so that no two claims get the last place.
    ///   - now: The time.
    /// - Returns: The share as it is kept now; look at its state before serving it.
    /// - Throws: ``ShareStoreError/shareTaken(_:)`` if the id belongs to another owner,
    ///   ``ShareStoreError/tooManyShares(_:)`` if a new one is over the limits,
    ///   ``ShareStoreError/shareNameTaken(_:)`` if another live share has the name,
    ///   ``ShareStoreError/ownerRevoked(_:)`` if the owner's token is not (or no longer) valid.
    func upsert(
        _ share: Share, limits: Claim.Limits?, now: Date
    ) async throws(ShareStoreError) -> Share

    /// What a claim is decided by, of one moment.
    ///
    /// - Parameters:
    ///   - id: The claimed id; nil where none is.
    ///   - name: The claimed name; nil where none is.
    ///   - owner: Who claims.
    ///   - now: Decides what is live.
    /// - Returns: Who has the id and the name, and how many live shares there are.
    /// - Throws: ``ShareStoreError`` if the file cannot be used.
    func claimed(
        id: ShareID?, name: ShareName?, by owner: OwnerID, now: Date
    ) async throws(ShareStoreError) -> ClaimedShares

    /// Ends a share. One that has ended already is returned as it is.
    ///
    /// - Parameters:
    ///   - id: The share.
    ///   - owner: Whose share it must be; nil for the operator, who may end any.
    ///   - now: The time.
    /// - Returns: The share, ended; nil if that owner has none with this id.
    /// - Throws: ``ShareStoreError`` if the file cannot be used.
    func revoke(
        _ id: ShareID, owner: OwnerID?, now: Date
    ) async throws(ShareStoreError) -> Share?

    /// Gives a live share another password.
    ///
    /// - Parameters:
    ///   - verifier: The password's SCRAM verifier, as Postgres writes it.
    ///   - id: The share.
    ///   - owner: Whose share it must be.
    ///   - kind: What it must be: where an agent holds the password, the agent would put its own
    ///     verifier back.
    ///   - now: The time.
    /// - Returns: The share as it is kept now; nil if that owner has no live share of that kind
    ///   with this id.
    /// - Throws: ``ShareStoreError`` if the file cannot be used.
    func setVerifier(
        _ verifier: String, of id: ShareID, owner: OwnerID, kind: Share.Kind, now: Date
    ) async throws(ShareStoreError) -> Share?

    /// Forgets a share at once. Its id is free again.
    ///
    /// - Returns: Whether there was one.
    func delete(_ id: ShareID) async throws(ShareStoreError) -> Bool

    /// Forgets what is long over: shares and tokens that ended, and shares that no tunnel has
    /// served, for longer than the store's retention. Call it once an hour or so.
    ///
    /// - Parameters:
    ///   - served: The shares that have a tunnel now. They are kept, and noted as served.
    ///   - now: The time.
    /// - Returns: The ids that were forgotten.
    /// - Throws: ``ShareStoreError`` if the file cannot be used.
    func deleteStale(
        served: Set<ShareID>, now: Date
    ) async throws(ShareStoreError) -> [ShareID]

    /// Every token that is remembered, revoked ones too, oldest first. Never the tokens themselves.
    func tokens() async throws(ShareStoreError) -> [TokenRecord]

    /// Makes a token and keeps its hash.
    ///
    /// - Returns: The token, which nobody can show again.
    /// - Throws: ``ShareStoreError/tokenNameTaken(_:)`` if a valid token has the name. The name of
    ///   a revoked one may be used again.
    func createToken(_ name: OwnerID, now: Date) async throws(ShareStoreError) -> TunnelToken

    /// Revokes a token and, in the same transaction, ends every live share of its owner.
    ///
    /// - Returns: The shares that this ended, for whom the relay must end the live streams.
    /// - Throws: ``ShareStoreError/tokenUnknown(_:)`` if no valid token has the name.
    func revokeToken(_ name: OwnerID, now: Date) async throws(ShareStoreError) -> [Share]

    /// Whose token has this hash; nil if it is unknown or revoked.
    func owner(of hash: TokenHash) async throws(ShareStoreError) -> OwnerID?

    /// Adds to the audit trail. The store's own verbs do so by themselves.
    func audit(_ event: AuditEvent) async throws(ShareStoreError)

    /// The newest events of the audit trail, newest first, at most `limit`.
    func auditTrail(limit: Int) async throws(ShareStoreError) -> [AuditEvent]

    /// A number that changes when *another process* has written to the store, and not when this
    /// one has. Look at it once a second, and load everything again when it differs.
    func changeCounter() async throws(ShareStoreError) -> Int64
}

extension ShareStore {
    /// As ``upsert(_:limits:now:)``, with any number of shares.
    public func upsert(_ share: Share, now: Date) async throws(ShareStoreError) -> Share {
        try await self.upsert(share, limits: nil, now: now)
    }
}

/// What stands in the way of a claim, or does not.
public struct ClaimedShares: Hashable, Sendable {
    /// The share that has the id, whoever owns it.
    public var byID: Share?
    /// The share that has the name, whoever owns it, ended or not.
    public var byName: Share?
    /// The live shares, that with the id not counted.
    public var occupancy: Claim.Occupancy

    /// Creates an answer.
    public init(byID: Share?, byName: Share?, occupancy: Claim.Occupancy) {
        self.byID = byID
        self.byName = byName
        self.occupancy = occupancy
    }
}

/// What the store tells of a token.
public struct TokenRecord: Hashable, Codable, Sendable {
    /// The token's name, which is also the owner of its shares.
    public var name: OwnerID
    /// When it was made, to the millisecond.
    public var createdAt: Date
    /// When it was revoked, to the millisecond; nil if it is valid.
    public var revokedAt: Date?

    /// Creates a record.
    public init(name: OwnerID, createdAt: Date, revokedAt: Date?) {
        self.name = name
        self.createdAt = createdAt
        self.revokedAt = revokedAt
    }
}

/// One line of the audit trail: who did what to what. Nothing secret goes in.
public struct AuditEvent: Hashable, Codable, Sendable {
    /// A closed list.
    public enum Action: String, Codable, Hashable, Sendable, CaseIterable {
        /// A token was made.
        case tokenCreated = "token_created"
        /// A token was revoked.
        case tokenRevoked = "token_revoked"
        /// A share was claimed for the first time.
        case shareCreated = "share_created"
        /// A share was revoked.
        case shareRevoked = "share_revoked"
        /// A share was given another password.
        case passwordMade = "password_made"
        /// A share's time was over, or nobody had served it for long, and it was forgotten.
        case shareDeleted = "share_deleted"
    }

    /// When, to the millisecond.
    public var at: Date
    /// What was done.
    public var action: Action
    /// To what: a share's id or a token's name.
    public var subject: String
    /// On whose behalf; nil for the operator.
    public var owner: OwnerID?

    /// Creates an event.
    public init(at: Date, action: Action, subject: String, owner: OwnerID?) {
        self.at = at
        self.action = action
        self.subject = subject
        self.owner = owner
    }
}
