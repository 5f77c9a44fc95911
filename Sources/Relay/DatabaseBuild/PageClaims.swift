import Foundation
import PostgresWire
import SharePolicy
import ShareStore

/// Makes a share of a page of database.build, which says nothing but an id.
struct PageClaims: Sendable {
    /// What its clients are told; nothing looks at it.
    private static let user = "postgres"
    /// The one database of a PGlite.
    private static let database = "postgres"

    let store: any ShareStore
    let configuration: TunnelConfiguration
    let limits: Claim.Limits

    /// Claims the share with that id, which is the database's and stays the same for ever: so an
    /// owner may have it again when it has ended.
    ///
    /// - Throws: ``TunnelRefusal``; tell the page its reason.
    func claim(
        _ id: ShareID, by owner: OwnerID, now: Date
    ) async throws(TunnelRefusal) -> Share {
        do {
            let found = try await self.store.claimed(id: id, name: nil, by: owner, now: now)
            let existing = found.byID
            if let existing, existing.owner == owner, existing.kind != .databaseBuild {
                throw TunnelRefusal(.idTaken, detail: "\(existing) is of another kind")
            }
            let isOver = existing.map { $0.owner == owner && $0.state(now: now) != .live } ?? false
            let verdict = Claim.decide(
                existingByID: isOver ? nil : existing, existingByName: nil, by: owner,
                occupancy: found.occupancy,
                limits: self.limits, now: now)
            switch verdict {
            case .refused(let refusal): throw refusal
            case .takeOver(let existing):
                return try await self.store.keep(
                    self.renewed(existing, now), limits: self.limits, now: now)
            case .new:
                // Who was let in before must not be by that alone.
                if isOver { _ = try await self.store.delete(id) }
                var share = self.make(id, owner, now)
                share.generation = (existing?.generation ?? 0) + 1
                return try await self.store.keep(share, limits: self.limits, now: now)
            }
        } catch {
            throw TunnelRefusal(claiming: error)
        }
    }

    /// The share goes on: with the password that it has, and the time of a new one.
    private func renewed(_ existing: Share, _ now: Date) -> Share {
        var share = existing
        share.generation += 1
        share.expiresAt = self.expiry(now)
        share.limits.maximumClients = self.maximumClients
        return share
    }

    /// A new share. Nobody knows its password until the owner asks for one.
    private func make(_ id: ShareID, _ owner: OwnerID, _ now: Date) -> Share {
        var generator = SystemRandomNumberGenerator()
        let password = SharePassword.make(using: &generator)
        let verifier = SCRAMVerifier(password: password, using: &generator)
        var limits = ShareLimits()
        limits.maximumClients = self.maximumClients
        return Share(
            id: id, kind: .databaseBuild, name: nil, owner: owner, verifier: verifier.text,
            authMethod: .scram, limits: limits, createdAt: now, expiresAt: self.expiry(now),
            database: Self.database, user: Self.user)
    }

    private var maximumClients: Int {
        self.configuration.exclusive ? 1 : ShareLimits().maximumClients
    }

    private func expiry(_ now: Date) -> Date {
        now.addingTimeInterval(TimeInterval(self.configuration.defaultExpirySeconds))
    }
}
