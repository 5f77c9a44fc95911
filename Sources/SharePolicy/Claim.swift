public import Foundation

/// May an owner have the share that its agent asks for?
public enum Claim {
    /// How many shares there may be.
    ///
    /// Settings of `pgshare relay`:
    /// - `max-shares-an-owner` (int, default 100, 1...10000)
    /// - `max-shares` (int, default 10000, 1...1000000)
    public struct Limits: Hashable, Sendable {
        /// Live shares an owner. 100 is a team's worth of laptops and CI jobs.
        public var maximumAnOwner = 100

        /// Live shares of the whole relay. A tunnel costs tens of KiB, so 10,000 fit half a GiB.
        public var maximumInTotal = 10_000

        /// Creates the default limits.
        public init() {}

        /// Checks every field once, at the door.
        ///
        /// - Throws: ``ConfigurationError`` naming the key, the value and the range.
        /// - Returns: The same limits.
        public func validated() throws(ConfigurationError) -> Limits {
            try Check.range("shares.maximumAnOwner", self.maximumAnOwner, in: 1...10_000)
            try Check.range("shares.maximumInTotal", self.maximumInTotal, in: 1...1_000_000)
            return self
        }
    }

    /// How many live shares there are, the claimed one not counted.
    public struct Occupancy: Hashable, Sendable {
        /// Live shares of the owner who asks.
        public var ofOwner: Int
        /// Live shares of everybody.
        public var inTotal: Int

        /// Creates an occupancy.
        public init(ofOwner: Int, inTotal: Int) {
            self.ofOwner = ofOwner
            self.inTotal = inTotal
        }

        /// Counts live shares.
        public init(of owner: OwnerID, among live: [Share]) {
            self.init(ofOwner: live.count { $0.owner == owner }, inTotal: live.count)
        }
    }

    /// The answer.
    public enum Verdict: Hashable, Sendable {
        /// Nobody has the id or the name: make the share.
        case new
        /// The owner has this share already: keep its id and creation, add one to its generation.
        case takeOver(Share)
        /// No.
        case refused(TunnelRefusal)
    }

    /// Decides.
    ///
    /// - An id belongs to its owner for as long as the store remembers it, ended or not; an ended
    ///   share is not brought back to life.
    /// - A name belongs to a share while that is live. The owner who asks for it again, with no id
    ///   or a new one, takes the named share over: so an agent that was killed gets its host name
    ///   back at once, without waiting for an expiry.
    /// - Limits hold for new shares only: a take-over never locks out who was in.
    ///
    /// - Parameters:
    ///   - existingByID: The share that has the claimed id, whoever owns it.
    ///   - existingByName: The share that has the claimed name, whoever owns it.
    ///   - owner: Who asks, by the token.
    ///   - occupancy: How many live shares there are.
    ///   - limits: How many there may be.
    ///   - now: The time, for expiries.
    /// - Returns: What to do with the share, or why not.
    public static func decide(
        existingByID: Share?,
        existingByName: Share?,
        by owner: OwnerID,
        occupancy: Occupancy,
        limits: Limits = Limits(),
        now: Date
    ) -> Verdict {
        let named = existingByName.flatMap { $0.state(now: now) == .live ? $0 : nil }
        if let existing = existingByID {
            guard existing.owner == owner else {
                return Self.refused(.idTaken, "\(owner) claimed \(existing)")
            }
            switch existing.state(now: now) {
            case .revoked: return Self.refused(.shareRevoked, "\(existing)")
            case .expired: return Self.refused(.shareExpired, "\(existing)")
            case .live: break
            }
            if let named, named.id != existing.id {
                return Self.refused(.nameTaken, "\(existing) asked for the name of \(named)")
            }
            return .takeOver(existing)
        }
        if let named {
            return named.owner == owner
                ? .takeOver(named) : Self.refused(.nameTaken, "\(owner) claimed \(named)")
        }
        guard occupancy.ofOwner < limits.maximumAnOwner else {
            return Self.refused(.tooManyShares, "\(owner) has \(occupancy.ofOwner)")
        }
        guard occupancy.inTotal < limits.maximumInTotal else {
            return Self.refused(.tooManyShares, "the relay has \(occupancy.inTotal)")
        }
        return .new
    }

    private static func refused(_ reason: TunnelRefusal.Reason, _ detail: String) -> Verdict {
        .refused(TunnelRefusal(reason, detail: detail))
    }
}
