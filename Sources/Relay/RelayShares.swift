import Foundation
import PostgresWire
import SharePolicy
import ShareStore

/// Answers the HTTP API about shares, from the directory and the store.
struct RelayShares: SharesControl {
    let store: any ShareStore
    let directory: ShareDirectory
    let admission: AdmissionGate
    let configuration: TunnelConfiguration

    func shares(of owner: OwnerID) async throws -> [ShareStatus] {
        let now = Date()
        let live = self.liveByID()
        return try await self.store.allShares()
            .filter { $0.owner == owner }
            .sorted { $0.createdAt > $1.createdAt }
            .map { self.status($0, live[$0.id], now) }
    }

    func share(_ key: ShareKey, of owner: OwnerID) async throws -> ShareStatus? {
        guard let share = try await self.find(key, of: owner) else { return nil }
        return self.status(share, self.liveByID()[share.id], Date())
    }

    func revoke(_ key: ShareKey, of owner: OwnerID) async throws -> ShareStatus? {
        guard let share = try await self.find(key, of: owner),
            let revoked = try await self.store.revoke(share.id, owner: owner, now: Date())
        else { return nil }
        for ending in self.directory.ended(share.id, .shareEnded) {
            ending.acceptor.end(ending.reason)
        }
        return self.status(revoked, nil, Date())
    }

    func makePassword(_ key: ShareKey, of owner: OwnerID) async throws -> MadePassword? {
        guard let found = try await self.find(key, of: owner) else { return nil }
        guard found.kind == .databaseBuild else { throw APIError(.passwordElsewhere) }
        var generator = SystemRandomNumberGenerator()
        let password = SharePassword.make(using: &generator)
        let verifier = SCRAMVerifier(password: password, using: &generator)
        let kept = try await self.store.setVerifier(
            verifier.text, of: found.id, owner: owner, kind: .databaseBuild, now: Date())
        guard let kept else { throw APIError(.shareEnded) }
        self.directory.changed(kept)
        return MadePassword(
            user: self.configuration.clientLogin(of: kept), password: password.reveal,
            host: self.configuration.clientHost(of: kept), port: self.configuration.postgresPort,
            database: kept.database, expiresAt: kept.expiresAt)
    }

    /// By id, or by name: the live share of that name, or the newest that had it.
    private func find(_ key: ShareKey, of owner: OwnerID) async throws -> Share? {
        switch key {
        case .id(let id):
            let share = try await self.store.share(id)
            return share?.owner == owner ? share : nil
        case .name(let name):
            let now = Date()
            let named = try await self.store.allShares()
                .filter { $0.owner == owner && $0.name == name }
            return named.first { $0.state(now: now) == .live }
                ?? named.max { $0.createdAt < $1.createdAt }
        }
    }

    private func liveByID() -> [ShareID: ShareDirectory.Snapshot] {
        var live: [ShareID: ShareDirectory.Snapshot] = [:]
        for snapshot in self.directory.snapshot() { live[snapshot.share.id] = snapshot }
        return live
    }

    private func status(
        _ share: Share, _ live: ShareDirectory.Snapshot?, _ now: Date
    ) -> ShareStatus {
        var status = ShareStatus(
            share, isOnline: live?.isOnline ?? false, clients: self.admission.clients(of: share.id),
            now: now)
        status.host = self.configuration.clientHost(of: share)
        status.port = self.configuration.postgresPort
        status.login = self.configuration.clientLogin(of: share)
        return status
    }
}
