import Foundation
import Logging
import NIOCore
import SharePolicy
import SharedSession
import TunnelTransport
import TunnelWire

/// Where agents and browsers come in: makes their connections links of tunnels.
final class RelayTunnelDoor: TunnelDoor {
    private let startedWith: TunnelConfiguration
    private let claims: ShareClaims
    private let directory: ShareDirectory
    let registry: TunnelRegistry
    let environment: TunnelEnvironment

    init(
        configuration: TunnelConfiguration, claims: ShareClaims, directory: ShareDirectory,
        registry: TunnelRegistry, environment: TunnelEnvironment
    ) {
        self.startedWith = configuration
        self.claims = claims
        self.directory = directory
        self.registry = registry
        self.environment = environment
    }

    /// What tunnels that come now are granted.
    var configuration: TunnelConfiguration {
        var configuration = self.startedWith
        self.environment.tune(&configuration)
        return configuration
    }

    package func accept(
        channel: any Channel, transport: TunnelTransportKind, owner: OwnerID
    ) -> EventLoopFuture<Void> {
        let operations = channel.pipeline.syncOperations
        return channel.eventLoop.makeCompletedFuture {
            try self.tune(channel)
            if transport == .webSocket {
                try operations.addHandler(WebSocketTransportHandler(role: .server))
            }
            try operations.addHandler(
                TunnelHandshakeHandler(door: self, owner: owner, transport: transport))
        }
    }

    /// At most 128 KiB wait in the socket, so that a bulk COPY never stands between a client and
    /// its one-row answer.
    private func tune(_ channel: any Channel) throws {
        TunnelSocket.tune(channel)
        let options = channel.syncOptions
        try options?.setOption(
            .writeBufferWaterMark, value: .init(low: 64 * 1024, high: 128 * 1024))
        try options?.setOption(.maxMessagesPerRead, value: 1)
    }

    // MARK: HELLO

    /// A first frame said HELLO. On the connection's event loop.
    func hello(_ hello: Hello, _ connection: TunnelConnection) {
        guard !self.registry.isStopping else { return self.refuse(.relayStopping, connection) }
        guard hello.version >= TunnelProtocol.version else {
            return self.refuse(.protocolVersion, connection)
        }
        if let join = hello.join { return self.join(join, connection) }
        guard let request = hello.share else { return self.refuse(.badRequest, connection) }
        let claimed = connection.channel.eventLoop.makeFutureWithTask {
            try await self.claims.claim(request, by: connection.owner, now: Date())
        }
        claimed.whenComplete { result in
            switch result {
            case .success(let share):
                self.serve(share, self.configuration.sessionLimits(request), connection)
            case .failure(let error): self.refuse(error, connection)
            }
        }
    }

    /// The share is the owner's: this tunnel serves it, and a stale one is displaced at once.
    private func serve(
        _ share: Share, _ session: SessionLimits?, _ connection: TunnelConnection
    ) {
        guard connection.channel.isActive else { return }
        // The relay may have begun to drain meanwhile: the next one serves the share.
        guard !self.registry.isStopping else { return self.refuse(.relayStopping, connection) }
        let tunnel = RelayTunnel(share: share, environment: self.environment)
        switch self.directory.tunnelUp(
            share, acceptor: tunnel, generation: share.generation, now: Date())
        {
        case .stale:
            return self.refuse(.takenOver, connection)
        case .serving(let displaced):
            if let displaced = displaced as? RelayTunnel {
                if !displaced.isDraining { self.environment.metrics.takeOvers.add() }
                self.displace(displaced)
            } else {
                displaced?.end(.tunnelLost)
            }
        }
        self.registry.insert(tunnel)
        self.environment.metrics.tunnelsOpen.increment()
        self.environment.logger.log(
            .info, "tunnel up",
            [
                .share: share.id.rawValue, .owner: share.owner.rawValue,
                .generation: "\(share.generation)",
                .transport: connection.transport.label.rawValue,
            ])
        self.addLink(to: tunnel, share, session, connection)
        // Those who were here when the drain began have been told; this one may have been missed.
        if self.registry.isStopping { tunnel.goAway() }
    }

    /// A newer tunnel of the owner took over. Clients of the old one cannot move: they are told.
    /// One that drains is not in the way: it goes on until its last client has left, or until its
    /// share ends.
    private func displace(_ old: RelayTunnel) {
        guard !old.isDraining else { return }
        self.registry.remove(old)
        for session in old.sessions { self.registry.remove(session: session) }
        old.endLinks(telling: .takenOver, reset: .tunnelLost)
    }

    private func join(_ join: Hello.Join, _ connection: TunnelConnection) {
        guard let tunnel = self.registry.tunnel(id: join.tunnel),
            tunnel.owner == connection.owner, tunnel.joinSecret.matches(join.secret),
            let share = self.directory.find(.id(tunnel.shareID))?.share
        else { return self.refuse(.resumeExpired, connection) }
        self.addLink(to: tunnel, share, nil, connection)
    }

    private func addLink(
        to tunnel: RelayTunnel, _ share: Share, _ session: SessionLimits?,
        _ connection: TunnelConnection
    ) {
        let loop = connection.channel.eventLoop
        let load = LinkLoad()
        let limits =
            tunnel.isBrowser ? self.configuration.browserLimits : self.configuration.limits
        let link = Link(role: .relay, limits: limits, eventLoop: loop, load: load)
        let seat = RelayTunnel.Seat(
            session: TunnelSecret.random(), loop: loop,
            link: NIOLoopBound(link, eventLoop: loop), load: load,
            transport: connection.transport, isConnected: true, isDraining: false,
            secret: TunnelSecret(),
            counted: NIOLoopBoundBox(RelayTunnel.Traffic(), eventLoop: loop))
        guard tunnel.add(seat) else {
            // This event loop has its link: the agent may dial again and land on another.
            let spare = self.welcome(tunnel, share, seat, isSpare: true)
            connection.channel.writeAndFlush(spare.frame, promise: nil)
            return connection.channel.close(promise: nil)
        }
        self.registry.insert(session: seat.session, of: tunnel)
        link.delegate = RelayLinkKeeper(tunnel: tunnel, session: seat.session, door: self)
        self.environment.metrics.linksOpen.increment(connection.transport.label)
        let handler = LinkHandler(link: link, transport: connection.transport)
        let welcome = self.welcome(tunnel, share, seat, isSpare: false)
        if connection.answer(welcome.frame, handler: handler) {
            link.attach(handler)
            if let session { tunnel.openSession(on: link, limits: session) }
            self.environment.room.serve(tunnel.shareID, by: tunnel)
        } else {
            link.end(nil, reset: .tunnelLost)
        }
    }

    private func welcome(
        _ tunnel: RelayTunnel, _ share: Share, _ seat: RelayTunnel.Seat, isSpare: Bool
    ) -> HelloOK {
        let configuration = self.configuration
        let limits = tunnel.isBrowser ? configuration.browserLimits : configuration.limits
        let grace = self.grace(of: tunnel)
        let id = share.id.rawValue
        return HelloOK(
            share: id, name: share.name?.rawValue,
            host: configuration.clientHost(of: share),
            port: configuration.postgresPort, domain: configuration.domain,
            expiresAt: share.expiresAt?.timeIntervalSince1970 ?? 0,
            generation: share.generation, tunnel: tunnel.id,
            tunnelSecret: tunnel.joinSecret.reveal,
            links: tunnel.isBrowser ? 1 : configuration.links,
            isSpare: isSpare, session: seat.session, resumeSecret: seat.secret.reveal,
            graceSeconds: Int(grace.nanoseconds / 1_000_000_000),
            replayBytes: limits.replayBytes, earlyResume: true)
    }

    fileprivate func grace(of tunnel: RelayTunnel) -> TimeAmount {
        tunnel.isBrowser ? self.configuration.browserGrace : self.configuration.grace
    }

    // MARK: RESUME

    /// A first frame said RESUME. On the connection's event loop.
    func resume(_ resume: Resume, _ connection: TunnelConnection) {
        guard let tunnel = self.registry.tunnel(session: resume.session),
            tunnel.owner == connection.owner,
            let seat = tunnel.seat(session: resume.session, secret: resume.secret)
        else { return self.refuse(.resumeExpired, connection) }
        let secret = TunnelSecret()
        let resumption = Resumption(
            tunnel: tunnel, seat: seat, carried: resume.secret, secret: secret,
            peerReceived: resume.received)
        if seat.loop === connection.channel.eventLoop {
            self.resumeHere(resumption, connection)
        } else {
            seat.loop.execute { self.resumeCrossing(resumption, connection) }
        }
    }

    private struct Resumption: Sendable {
        let tunnel: RelayTunnel
        let seat: RelayTunnel.Seat
        /// What the agent had: it stays good until the new one is known to have come.
        let carried: String
        let secret: TunnelSecret
        let peerReceived: UInt64
    }

    /// The link, if it goes on with that RESUME; if not, its connection is refused, and the one
    /// that stands is left alone. On the link's event loop.
    private func link(_ resumption: Resumption, _ connection: TunnelConnection) -> Link? {
        let seat = resumption.seat
        let link = seat.link.value
        // On the way between event loops, a newer RESUME may have made the secret worthless.
        guard !link.isOver, connection.channel.isActive,
            resumption.tunnel.seat(session: seat.session, secret: resumption.carried) != nil
        else {
            self.refuse(.resumeExpired, connection)
            return nil
        }
        // An agent never forgets what it has taken: this was said before a newer one.
        guard !link.machine.isBehind(resumption.peerReceived) else {
            self.refuse(.resumeExpired, connection)
            return nil
        }
        return link
    }

    private func resumeHere(_ resumption: Resumption, _ connection: TunnelConnection) {
        guard let link = self.link(resumption, connection) else { return }
        let handler = LinkHandler(link: link, transport: connection.transport)
        // The old socket delivers nothing from here on: only then is the offset final.
        let received = link.replaceConnection()
        let ok = ResumeOK(received: received, resumeSecret: resumption.secret.reveal)
        guard connection.answer(ok.frame, handler: handler) else { return }
        self.resumed(resumption, link, handler, connection)
    }

    private func resumeCrossing(_ resumption: Resumption, _ connection: TunnelConnection) {
        guard let link = self.link(resumption, connection) else { return }
        let crossing = CrossingLinkConnection(
            link: link, channel: connection.channel, transport: connection.transport)
        let received = link.replaceConnection()
        let ok = ResumeOK(received: received, resumeSecret: resumption.secret.reveal)
        connection.channel.eventLoop.execute {
            let handler = CrossingLinkHandler(connection: crossing)
            if !connection.answer(ok.frame, handler: handler) { crossing.gone() }
        }
        self.resumed(resumption, link, crossing, connection)
    }

    private func resumed(
        _ resumption: Resumption, _ link: Link, _ linkConnection: any LinkConnection,
        _ connection: TunnelConnection
    ) {
        resumption.tunnel.update(session: resumption.seat.session) { seat in
            seat.handOut(resumption.secret, for: resumption.carried)
            seat.isConnected = true
        }
        do {
            try link.resume(on: linkConnection, peerReceived: resumption.peerReceived)
        } catch {
            return connection.refuse(LinkError(error))
        }
        resumption.tunnel.linkIsAway(false)
        self.environment.metrics.resumes.add()
        self.environment.metrics.linksOpen.increment(connection.transport.label)
        self.environment.logger.log(
            .info, "link resumed", [.share: resumption.tunnel.shareID.rawValue])
    }

    // MARK: Ends

    /// A link has ended for good. On its event loop.
    fileprivate func linkEnded(_ tunnel: RelayTunnel, session: String) {
        self.registry.remove(session: session)
        guard tunnel.remove(session: session) else { return }
        self.tunnelOver(tunnel)
    }

    private func tunnelOver(_ tunnel: RelayTunnel) {
        self.registry.remove(tunnel)
        var isAwaited = false
        if case .broken = tunnel.farewell { isAwaited = true }
        let isOffline = self.directory.tunnelDown(
            tunnel.shareID, generation: tunnel.generation,
            awaitedUntil: isAwaited ? .now() + ShareDirectory.awaitedFor : nil)
        if isOffline, !isAwaited, !self.registry.isStopping {
            self.environment.agentLeft(tunnel.shareID, tunnel.generation)
        }
        self.environment.metrics.tunnelsOpen.decrement()
        self.environment.logger.log(
            .info, "tunnel down",
            [.share: tunnel.shareID.rawValue, .generation: "\(tunnel.generation)"])
    }

    private func refuse(_ reason: TunnelRefusal.Reason, _ connection: TunnelConnection) {
        self.refuse(TunnelRefusal(reason, detail: ""), connection)
    }

    private func refuse(_ error: any Error, _ connection: TunnelConnection) {
        connection.refuse(self.environment.refused(error, by: connection.owner))
    }
}

/// What the relay does when something happens to one of its links.
private final class RelayLinkKeeper: LinkDelegate {
    private let tunnel: RelayTunnel
    private let session: String
    private let door: RelayTunnelDoor

    init(tunnel: RelayTunnel, session: String, door: RelayTunnelDoor) {
        self.tunnel = tunnel
        self.session = session
        self.door = door
    }

    func link(_ link: Link, opened handle: StreamHandle, _ open: Open) {
        // The machine of a relay takes no OPEN.
    }

    func linkGoesAway(_ link: Link) {
        self.tunnel.update(session: self.session) { $0.isDraining = true }
    }

    func linkHeard(_ link: Link) {
        self.tunnel.update(session: self.session) { $0.heard() }
    }

    func linkDisconnected(_ link: Link, reason: LinkLoss) {
        self.markDisconnected()
        // Also where a newer connection is taking over: that one may die before it stands, and
        // resuming cancels the grace.
        link.expire(in: self.door.grace(of: self.tunnel))
        self.tunnel.linkIsAway(true)
        guard reason != .replaced else { return }
        self.door.environment.logger.log(
            .info, "link lost, waiting for it to resume",
            [.share: self.tunnel.shareID.rawValue, .reason: "\(reason)"])
    }

    func linkEnded(_ link: Link, error: LinkError?) {
        self.markDisconnected()
        self.tunnel.countTraffic(on: link.eventLoop)
        self.tunnel.ended(with: error)
        if error == nil { self.door.environment.metrics.linksLost.add() }
        self.door.linkEnded(self.tunnel, session: self.session)
    }

    private func markDisconnected() {
        self.tunnel.update(session: self.session) { seat in
            if seat.isConnected {
                self.door.environment.metrics.linksOpen.decrement(seat.transport.label)
            }
            seat.isConnected = false
        }
    }
}

extension TunnelTransportKind {
    var label: TransportLabel {
        switch self {
        case .raw: .raw
        case .webSocket: .webSocket
        }
    }
}
