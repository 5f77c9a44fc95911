import Foundation
import NIOCore
import PostgresWire
import SharePolicy
import ShareStore
import TunnelWire

/// Turns what an agent asks for into a share that the store keeps.
struct ShareClaims: Sendable {
    /// Rounds of PBKDF2 that the relay does itself for a password in clear. Postgres's default is
    /// 4,096; a million would let one owner keep the cores of the relay busy.
    private static let maximumPasswordIterations = 16_384

    let store: any ShareStore
    let configuration: TunnelConfiguration
    let limits: Claim.Limits

    /// Claims the share of a HELLO.
    ///
    /// - Throws: ``TunnelRefusal``; tell the agent its reason.
    func claim(
        _ request: Hello.ShareRequest, by owner: OwnerID, now: Date
    ) async throws(TunnelRefusal) -> Share {
        let wanted = try self.checked(request, by: owner, now: now)
        let verdict = try await self.verdict(request, name: wanted.name, by: owner, now: now)
        var share = wanted
        switch verdict {
        case .new:
            break
        case .takeOver(let existing):
            share.id = existing.id
            share.name = wanted.name ?? existing.name
            share.createdAt = existing.createdAt
            share.generation = existing.generation + 1
        case .refused(let refusal):
            throw refusal
        }
        return try await self.store.keep(share, limits: self.limits, now: now)
    }

    private func verdict(
        _ request: Hello.ShareRequest, name: ShareName?, by owner: OwnerID, now: Date
    ) async throws(TunnelRefusal) -> Claim.Verdict {
        do {
            let found = try await self.store.claimed(
                id: request.id.flatMap { ShareID(rawValue: $0) }, name: name, by: owner, now: now)
            return Claim.decide(
                existingByID: found.byID, existingByName: found.byName, by: owner,
                occupancy: found.occupancy, limits: self.limits, now: now)
        } catch {
            throw TunnelRefusal(claiming: error)
        }
    }

    /// Checks what the agent wrote, field by field.
    private func checked(
        _ request: Hello.ShareRequest, by owner: OwnerID, now: Date
    ) throws(TunnelRefusal) -> Share {
        let name = request.name.map { ShareName(rawValue: $0) }
        if let name, name == nil { throw TunnelRefusal(.badName, detail: "share name") }
        let askedID = request.id.map { ShareID(rawValue: $0) }
        if let askedID, askedID == nil { throw TunnelRefusal(.badRequest, detail: "share id") }
        guard let verifier = SCRAMVerifier(request.verifier),
            let method = Share.AuthMethod(rawValue: request.auth),
            method == .scram || verifier.iterations <= Self.maximumPasswordIterations
        else { throw TunnelRefusal(.badRequest, detail: "verifier or auth") }
        guard request.sessions ?? 1 == 1 else {
            throw TunnelRefusal(.badRequest, detail: "sessions")
        }
        var generator = SystemRandomNumberGenerator()
        return Share(
            id: askedID.flatMap { $0 } ?? ShareID.make(using: &generator),
            kind: request.sessions == nil ? .agent : .browser, name: name.flatMap { $0 },
            owner: owner,
            verifier: verifier.text, authMethod: method,
            limits: try self.limits(request), createdAt: now,
            expiresAt: try self.expiry(request, now: now),
            database: String(request.database.prefix(255)),
            user: String(request.user.prefix(255)))
    }

    private func limits(
        _ request: Hello.ShareRequest
    ) throws(TunnelRefusal) -> ShareLimits {
        var limits = ShareLimits()
        limits.maximumClients = request.maxConnections
        limits.readOnly = request.readOnly
        if request.sessions != nil {
            // A superuser's session cannot promise that.
            guard !request.readOnly else { throw TunnelRefusal(.badRequest, detail: "readOnly") }
            if self.configuration.exclusive || request.exclusive == true {
                limits.maximumClients = 1
            }
        }
        for text in request.allow {
            guard let network = CIDR(text) else {
                throw TunnelRefusal(.badRequest, detail: "allow")
            }
            limits.allow.append(network)
        }
        do {
            return try limits.validated()
        } catch {
            throw TunnelRefusal(.badRequest, detail: "\(error)")
        }
    }

    private func expiry(
        _ request: Hello.ShareRequest, now: Date
    ) throws(TunnelRefusal) -> Date {
        let latest = now.addingTimeInterval(TimeInterval(self.configuration.maximumExpirySeconds))
        if let at = request.expiresAt {
            let date = Date(timeIntervalSince1970: at)
            guard date > now else { throw TunnelRefusal(.shareExpired, detail: "\(date)") }
            return min(date, latest)
        }
        let seconds = request.expiresIn ?? self.configuration.defaultExpirySeconds
        guard seconds > 0 else { throw TunnelRefusal(.badRequest, detail: "expires_in") }
        return min(now.addingTimeInterval(TimeInterval(seconds)), latest)
    }
}
