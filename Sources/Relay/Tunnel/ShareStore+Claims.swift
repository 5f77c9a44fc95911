import Foundation
import SharePolicy
import ShareStore

extension ShareStore {
    /// Keeps a share that was claimed.
    ///
    /// - Returns: The share as it is kept now; it is live.
    /// - Throws: ``TunnelRefusal``; tell whoever claimed it its reason.
    func keep(
        _ share: Share, limits: Claim.Limits, now: Date
    ) async throws(TunnelRefusal) -> Share {
        let kept: Share
        do {
            kept = try await self.upsert(share, limits: limits, now: now)
        } catch {
            throw TunnelRefusal(claiming: error)
        }
        guard kept.state(now: now) == .live else {
            throw TunnelRefusal(.shareRevoked, detail: "\(kept)")
        }
        return kept
    }
}

extension TunnelRefusal {
    /// What stood in the way of a claim.
    init(claiming error: any Error) {
        switch error {
        case let refusal as TunnelRefusal: self = refusal
        case ShareStoreError.shareTaken: self.init(.idTaken, detail: "\(error)")
        case ShareStoreError.shareNameTaken: self.init(.nameTaken, detail: "\(error)")
        case ShareStoreError.tooManyShares: self.init(.tooManyShares, detail: "\(error)")
        case ShareStoreError.ownerRevoked: self.init(.unauthorized, detail: "\(error)")
        default: self.init(.internalFailure, detail: "\(error)")
        }
    }
}
