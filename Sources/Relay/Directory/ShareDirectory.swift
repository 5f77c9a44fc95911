import Foundation
import NIOConcurrencyHelpers
import NIOCore
import PostgresWire
import SharePolicy

/// Which shares there are, and which of them have a tunnel now.
///
/// One lock around dictionaries; every verb takes it, changes what it must and returns whom to
/// tell. Nobody is called while it is held.
final class ShareDirectory: Sendable {
    /// One share as it is known now. Immutable: a change puts another in its place.
    final class Entry: Sendable {
        /// What the store knows.
        let share: Share
        /// The share's password verifier, parsed once; nil where the store holds no valid one.
        let verifier: SCRAMVerifier?
        /// The tunnel that serves it, or nil where the agent is not connected.
        let acceptor: (any ClientAcceptor)?
        /// The generation of that tunnel, or of the last one; 0 where there was none.
        let tunnelGeneration: UInt64
        /// Tunnels before it, by generation, that are not down yet: an agent that has moved on may
        /// still have clients there, and they end with the share.
        fileprivate let retired: [UInt64: any ClientAcceptor]
        /// Whether it was ended here, before the store says so.
        let isEnded: Bool
        /// Which of the directory's claims brought its tunnel; 0 where none did.
        fileprivate let claim: Int
        /// Until when its agent is expected back; nil where it is not.
        let awaitedUntil: NIODeadline?

        fileprivate init(
            share: Share,
            verifier: SCRAMVerifier?,
            acceptor: (any ClientAcceptor)? = nil,
            tunnelGeneration: UInt64 = 0,
            retired: [UInt64: any ClientAcceptor] = [:],
            isEnded: Bool = false,
            claim: Int = 0,
            awaitedUntil: NIODeadline? = nil
        ) {
            self.share = share
            self.verifier = verifier
            self.acceptor = acceptor
            self.tunnelGeneration = tunnelGeneration
            self.retired = retired
            self.isEnded = isEnded
            self.claim = claim
            self.awaitedUntil = awaitedUntil
        }

        /// Whether a client may come in: neither expired, nor revoked, nor ended.
        func isLive(now: Date) -> Bool {
            !self.isEnded && self.share.state(now: now) == .live
        }

        /// Its tunnels, to be told that it is over.
        fileprivate func endings(_ reason: Refusal.Reason) -> [Ending] {
            let acceptors = (self.acceptor.map { [$0] } ?? []) + Array(self.retired.values)
            return acceptors.map { Ending(acceptor: $0, reason: reason) }
        }

        /// The same entry with another share, tunnel or end.
        fileprivate func with(
            share: Share? = nil,
            acceptor: (any ClientAcceptor)?,
            tunnelGeneration: UInt64? = nil,
            retired: [UInt64: any ClientAcceptor]? = nil,
            isEnded: Bool,
            claim: Int? = nil,
            awaitedUntil: NIODeadline? = nil
        ) -> Entry {
            let share = share ?? self.share
            let isSameVerifier = share.verifier == self.share.verifier
            return Entry(
                share: share,
                verifier: isSameVerifier ? self.verifier : SCRAMVerifier(share.verifier),
                acceptor: acceptor,
                tunnelGeneration: tunnelGeneration ?? self.tunnelGeneration,
                retired: retired ?? self.retired,
                isEnded: isEnded,
                claim: claim ?? self.claim,
                // Nobody is awaited who is here.
                awaitedUntil: acceptor == nil ? awaitedUntil ?? self.awaitedUntil : nil
            )
        }
    }

    /// A tunnel whose share is over: call ``ClientAcceptor/end(_:)`` with the reason.
    struct Ending: Sendable {
        /// The tunnel.
        let acceptor: any ClientAcceptor
        /// What its clients are told.
        let reason: Refusal.Reason
    }

    /// What became of a new tunnel.
    enum OnTunnelUp: Sendable {
        /// It serves the share. Close the one that did before, if there was one.
        case serving(displaced: (any ClientAcceptor)?)
        /// A newer tunnel serves the share already, or the share is over. Close this one.
        case stale
    }

    /// What is told of one share to the API and to metrics.
    struct Snapshot: Sendable {
        /// The share.
        let share: Share
        /// Whether its agent is connected.
        let isOnline: Bool
    }

    private struct State {
        var entries: [ShareID: Entry] = [:]
        var idsByName: [ShareName: ShareID] = [:]
        /// Entries that have a tunnel.
        private(set) var online = 0
        /// Tunnels that came up so far.
        var claims = 0

        /// Puts an entry in the place of the one with its id, if there is one.
        mutating func insert(_ entry: Entry) {
            self.remove(entry.share.id)
            self.entries[entry.share.id] = entry
            if entry.acceptor != nil { self.online += 1 }
            guard let name = entry.share.name else { return }
            // A share that is over must not hide the one that has its name now.
            let holder = self.idsByName[name].flatMap { self.entries[$0] }
            if !entry.isEnded || holder?.isEnded ?? true {
                self.idsByName[name] = entry.share.id
            }
        }

        mutating func remove(_ id: ShareID) {
            guard let old = self.entries.removeValue(forKey: id) else { return }
            if old.acceptor != nil { self.online -= 1 }
            if let name = old.share.name, self.idsByName[name] == id {
                self.idsByName[name] = nil
            }
        }
    }

    /// How long an agent is expected back that was lost without a goodbye, or that served before
    /// this relay began: an agent that is there has dialled anew by then.
    static let awaitedFor = TimeAmount.seconds(30)

    private let state = NIOLockedValueBox(State())
    private let online: Gauge
    /// Where clients wait for a tunnel.
    let room: WaitingRoom

    /// Creates an empty directory.
    ///
    /// - Parameters:
    ///   - online: Shows how many shares have a tunnel.
    ///   - agentWait: How long clients wait for an agent that is expected.
    init(online: Gauge = Gauge(), agentWait: TimeAmount = .seconds(10)) {
        self.online = online
        self.room = WaitingRoom(patience: agentWait)
        self.room.setCheck { [weak self] in self?.objection(to: $0, now: Date()) }
    }

    /// What stands in the way of a client that has waited: its share may have ended, or be another
    /// than the one that it logged in to.
    func objection(to client: AdmittedClient, now: Date) -> Refusal.Reason? {
        guard let entry = self.find(.id(client.shareID)), entry.isLive(now: now) else {
            return .shareEnded
        }
        // Another password, or the same one with a new salt, of an agent that was started anew:
        // which of the two cannot be told, so the client logs in again.
        guard entry.verifier == client.verifier else { return .agentOffline }
        let address = client.remoteAddress?.ipAddress
        return entry.share.limits.admits(address: address) ? nil : .addressNotAllowed
    }

    /// Takes the lock for a verb that changes something.
    private func change<Answer>(_ verb: (inout State) -> Answer) -> Answer {
        self.state.withLockedValue { state in
            defer { self.online.set(state.online) }
            return verb(&state)
        }
    }

    /// The share of that id or name, or nil where there is none.
    func find(_ key: ShareKey) -> Entry? {
        self.state.withLockedValue { state in
            switch key {
            case .id(let id): state.entries[id]
            case .name(let name): state.idsByName[name].flatMap { state.entries[$0] }
            }
        }
    }

    /// Who takes a client of that share: its tunnel, or the room where it waits for one; nil where
    /// none is expected.
    func acceptor(for entry: Entry, now: NIODeadline) -> (any ClientAcceptor)? {
        if let acceptor = entry.acceptor { return acceptor }
        guard let until = entry.awaitedUntil, now < until else { return nil }
        return AwaitedTunnel(directory: self)
    }

    /// Agents of these shares are expected back: they did not say goodbye.
    func expect(_ ids: Set<ShareID>, until: NIODeadline) {
        self.change { state in
            for id in ids {
                guard let entry = state.entries[id], entry.acceptor == nil else { continue }
                state.insert(
                    entry.with(acceptor: nil, isEnded: entry.isEnded, awaitedUntil: until))
            }
        }
    }

    /// Tunnels that came up so far. Ask before the store is read, and tell ``load(_:readAt:now:)``.
    var claims: Int { self.state.withLockedValue { $0.claims } }

    /// Takes what the store holds now, all of it. Tunnels of shares that go on are kept.
    ///
    /// - Parameters:
    ///   - shares: All that the store holds.
    ///   - claims: ``claims`` before the store was read: it may not know of later ones yet, and
    ///     their shares stay as they are. Nil: there were none meanwhile.
    ///   - now: The time of day.
    /// - Returns: Tunnels whose share is gone, revoked or expired.
    func load(_ shares: [Share], readAt claims: Int? = nil, now: Date) -> [Ending] {
        self.change { state in
            var fresh = State()
            var endings: [Ending] = []
            fresh.claims = state.claims
            let known = claims ?? state.claims
            for entry in state.entries.values where entry.claim > known { fresh.insert(entry) }
            for share in shares where fresh.entries[share.id] == nil {
                let entry = Self.updated(state.entries[share.id], to: share)
                guard let reason = Self.reason(of: share, now) else {
                    fresh.insert(entry)
                    continue
                }
                Self.end(entry, because: reason, &fresh, &endings)
            }
            for (id, entry) in state.entries where fresh.entries[id] == nil {
                endings += entry.endings(.shareEnded)
            }
            state = fresh
            return endings
        }
    }

    /// A tunnel is up and serves `share`, which may be new here.
    ///
    /// - Parameters:
    ///   - share: As the store has it after the claim.
    ///   - acceptor: The tunnel.
    ///   - generation: The tunnel's; a lower one than that of the tunnel at work is stale.
    ///   - now: The time of day.
    /// - Returns: Whether it serves, and whom it displaced.
    func tunnelUp(
        _ share: Share,
        acceptor: any ClientAcceptor,
        generation: UInt64,
        now: Date
    ) -> OnTunnelUp {
        self.change { state in
            let old = state.entries[share.id]
            guard share.state(now: now) == .live else { return .stale }
            if let old, generation < old.tunnelGeneration { return .stale }
            state.claims += 1
            let entry = Self.updated(old, to: share)
            let displaced = old?.acceptor.flatMap { $0 === acceptor ? nil : $0 }
            var retired = entry.retired
            if let displaced { retired[entry.tunnelGeneration] = displaced }
            state.insert(
                entry.with(
                    acceptor: acceptor, tunnelGeneration: generation, retired: retired,
                    isEnded: false, claim: state.claims))
            return .serving(displaced: displaced)
        }
    }

    /// A tunnel is down. One that was displaced says nothing about the share any more.
    ///
    /// - Parameters:
    ///   - id: Its share.
    ///   - generation: Its own.
    ///   - awaitedUntil: Until when its agent is expected back; nil where it is not.
    /// - Returns: Whether the share is offline because of it.
    @discardableResult
    func tunnelDown(
        _ id: ShareID, generation: UInt64, awaitedUntil: NIODeadline? = nil
    ) -> Bool {
        self.change { state in
            guard let entry = state.entries[id] else { return false }
            guard entry.acceptor != nil, entry.tunnelGeneration == generation else {
                var retired = entry.retired
                guard retired.removeValue(forKey: generation) != nil else { return false }
                state.insert(
                    entry.with(acceptor: entry.acceptor, retired: retired, isEnded: entry.isEnded))
                return false
            }
            state.insert(
                entry.with(acceptor: nil, isEnded: entry.isEnded, awaitedUntil: awaitedUntil))
            return true
        }
    }

    /// The store keeps something else of a share than before: another password.
    func changed(_ share: Share) {
        self.change { state in
            guard let entry = state.entries[share.id] else { return }
            // A store that was read before this knows less.
            state.claims += 1
            state.insert(
                entry.with(
                    share: share, acceptor: entry.acceptor, isEnded: entry.isEnded,
                    claim: state.claims))
        }
    }

    /// A share was revoked, deleted or has expired. It admits nobody from here on.
    ///
    /// - Returns: The tunnels to tell.
    func ended(_ id: ShareID, _ reason: Refusal.Reason) -> [Ending] {
        self.change { state in
            var endings: [Ending] = []
            if let entry = state.entries[id] {
                Self.end(entry, because: reason, &state, &endings)
            }
            return endings
        }
    }

    /// Ends the shares whose time is over. Called by a timer, once a second or so.
    ///
    /// - Returns: The tunnels to tell.
    func expire(now: Date) -> [Ending] {
        self.change { state in
            var endings: [Ending] = []
            for entry in Array(state.entries.values) where !entry.isEnded {
                Self.end(entry, because: Self.reason(of: entry.share, now), &state, &endings)
            }
            return endings
        }
    }

    /// Every share, in no order.
    func snapshot() -> [Snapshot] {
        let entries = self.state.withLockedValue { Array($0.entries.values) }
        return entries.map { entry in
            Snapshot(share: entry.share, isOnline: entry.acceptor != nil)
        }
    }

    private static func updated(_ old: Entry?, to share: Share) -> Entry {
        guard let old else {
            return Entry(share: share, verifier: SCRAMVerifier(share.verifier))
        }
        // The store may have been read just before the share was ended here: its end stays, until
        // somebody has claimed the share anew.
        let isEnded = old.isEnded && share.generation <= old.share.generation
        return old.with(share: share, acceptor: old.acceptor, isEnded: isEnded)
    }

    private static func reason(of share: Share, _ now: Date) -> Refusal.Reason? {
        share.state(now: now) == .live ? nil : .shareEnded
    }

    private static func end(
        _ entry: Entry,
        because reason: Refusal.Reason?,
        _ state: inout State,
        _ endings: inout [Ending]
    ) {
        guard let reason else { return }
        endings += entry.endings(reason)
        state.insert(entry.with(acceptor: nil, retired: [:], isEnded: true))
    }
}
