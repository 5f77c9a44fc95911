import Foundation
import Logging
import NIOConcurrencyHelpers
import NIOCore
import SharePolicy
import TunnelTransport

/// Where pages of database.build come in: makes their WebSockets the engines of shares.
final class DatabaseBuildDoor: PageDoor {
    /// Bytes of the longest reply: more than a database in a browser has memory for.
    private static let maximumReplyBytes = 1 << 30

    private let configuration: TunnelConfiguration
    private let claims: PageClaims
    private let directory: ShareDirectory
    private let environment: TunnelEnvironment
    private let state = NIOLockedValueBox(State())

    private struct State {
        var tunnels: [ShareID: DatabaseBuildTunnel] = [:]
        var isStopping = false
    }

    init(
        configuration: TunnelConfiguration, claims: PageClaims, directory: ShareDirectory,
        environment: TunnelEnvironment
    ) {
        self.configuration = configuration
        self.claims = claims
        self.directory = directory
        self.environment = environment
    }

    package func accept(
        channel: any Channel, share id: ShareID, owner: OwnerID
    ) -> EventLoopFuture<Void> {
        channel.eventLoop.makeCompletedFuture {
            try channel.syncOptions?.setOption(
                .writeBufferWaterMark, value: .init(low: 64 * 1_024, high: 128 * 1_024))
            try channel.syncOptions?.setOption(.maxMessagesPerRead, value: 1)
            let webSocket = WebSocketTransportHandler(
                role: .server, limits: .messages(atMost: Self.maximumReplyBytes))
            let handler = PageHandler(webSocket: webSocket, metrics: self.environment.metrics)
            try channel.pipeline.syncOperations.addHandlers([webSocket, handler])
            self.claim(id, owner, NIOLoopBound(handler, eventLoop: channel.eventLoop), channel)
        }
    }

    private func claim(
        _ id: ShareID, _ owner: OwnerID, _ handler: NIOLoopBound<PageHandler>,
        _ channel: any Channel
    ) {
        let claimed = channel.eventLoop.makeFutureWithTask {
            guard !self.state.withLockedValue({ $0.isStopping }) else {
                throw TunnelRefusal(.relayStopping, detail: "")
            }
            return try await self.claims.claim(id, by: owner, now: Date())
        }
        claimed.whenComplete { result in
            switch result {
            case .success(let share): self.serve(share, handler.value, channel)
            case .failure(let error): self.refuse(error, owner, handler.value)
            }
        }
    }

    /// The share is the owner's. On the WebSocket's event loop.
    private func serve(_ share: Share, _ handler: PageHandler, _ channel: any Channel) {
        guard channel.isActive else { return }
        guard !self.state.withLockedValue({ $0.isStopping }) else {
            return self.refuse(TunnelRefusal(.relayStopping, detail: ""), share.owner, handler)
        }
        let (tunnel, isNew) = self.tunnel(for: share, on: channel.eventLoop)
        switch self.directory.tunnelUp(
            share, acceptor: tunnel, generation: share.generation, now: Date())
        {
        case .stale:
            if isNew { tunnel.end(.tunnelLost) }
            return self.refuse(
                TunnelRefusal(.takenOver, detail: "\(share)"), share.owner, handler)
        case .serving(let displaced):
            displaced?.end(.tunnelLost)
        }
        tunnel.setGeneration(share.generation)
        if !isNew { self.environment.metrics.takeOvers.add() }
        guard handler.serve(tunnel.link, on: tunnel.loop) else {
            return tunnel.withoutPage()
        }
        self.environment.room.serve(share.id, by: tunnel)
        self.environment.metrics.linksOpen.increment(.webSocket)
        channel.closeFuture.whenComplete { [metrics = self.environment.metrics] _ in
            metrics.linksOpen.decrement(.webSocket)
        }
        self.environment.logger.log(
            .info, "database.build's page shares",
            [
                .share: share.id.rawValue, .owner: share.owner.rawValue,
                .generation: "\(share.generation)",
            ])
    }

    /// The tunnel that serves the share, waiting for its page perhaps, or a new one.
    private func tunnel(
        for share: Share, on loop: any EventLoop
    ) -> (tunnel: DatabaseBuildTunnel, isNew: Bool) {
        var configuration = self.configuration
        self.environment.tune(&configuration)
        let made = DatabaseBuildTunnel(
            share: share, loop: loop, configuration: configuration,
            environment: self.environment)
        let known = self.state.withLockedValue { state -> DatabaseBuildTunnel? in
            if let known = state.tunnels[share.id], !known.isOver { return known }
            state.tunnels[share.id] = made
            return nil
        }
        if let known { return (known, false) }
        self.environment.metrics.tunnelsOpen.increment()
        made.start { self.ended(made) }
        return (made, true)
    }

    private func ended(_ tunnel: DatabaseBuildTunnel) {
        self.state.withLockedValue { state in
            if state.tunnels[tunnel.shareID] === tunnel { state.tunnels[tunnel.shareID] = nil }
        }
        let isOffline = self.directory.tunnelDown(tunnel.shareID, generation: tunnel.generation)
        if isOffline, !self.state.withLockedValue({ $0.isStopping }) {
            self.environment.agentLeft(tunnel.shareID, tunnel.generation)
        }
        self.environment.metrics.tunnelsOpen.decrement()
        self.environment.logger.log(
            .info, "database.build's page is gone", [.share: tunnel.shareID.rawValue])
    }

    private func refuse(_ error: any Error, _ owner: OwnerID, _ handler: PageHandler) {
        let reason = self.environment.refused(error, by: owner)
        handler.close(
            reason.isRetryable ? .serviceRestart : .policyViolation, reason.message)
    }

    /// The relay drains: no new pages, and clients are ended as soon as they are at rest.
    func endAtRest(_ reason: Refusal.Reason) {
        let tunnels = self.state.withLockedValue { state in
            state.isStopping = true
            return Array(state.tunnels.values)
        }
        for tunnel in tunnels { tunnel.endAtRest(reason) }
    }

    /// The relay drains: ends the tunnels without clients; their pages come back at the next one.
    func endEmpty(_ reason: Refusal.Reason) {
        for tunnel in self.state.withLockedValue({ Array($0.tunnels.values) }) {
            tunnel.endIfEmpty(reason)
        }
    }

    /// The relay stops: no new pages, and an end to those that are here.
    func stop() {
        let tunnels = self.state.withLockedValue { state in
            state.isStopping = true
            return Array(state.tunnels.values)
        }
        for tunnel in tunnels { tunnel.end(.relayStopping) }
    }
}

/// One share of a page: its link, and who serves its clients from it.
final class DatabaseBuildTunnel: ClientAcceptor {
    let shareID: ShareID
    let loop: any EventLoop
    let link: NIOLoopBound<DatabaseBuildLink>
    private let host: SessionHost
    private let state: NIOLockedValueBox<State>

    private struct State {
        var generation: UInt64
        var isOver = false
        var onEnd: (@Sendable () -> Void)?
    }

    /// Makes it. On the event loop.
    init(
        share: Share, loop: any EventLoop, configuration: TunnelConfiguration,
        environment: TunnelEnvironment
    ) {
        self.shareID = share.id
        self.loop = loop
        let state = NIOLockedValueBox(State(generation: share.generation))
        self.state = state
        let link = DatabaseBuildLink(loop: loop, grace: configuration.browserGrace) {
            let onEnd = state.withLockedValue { state in
                state.isOver = true
                return state.onEnd
            }
            onEnd?()
        }
        self.link = NIOLoopBound(link, eventLoop: loop)
        self.host = SessionHost(
            engine: link, shareID: share.id, limits: configuration.session, on: loop,
            environment: environment)
    }

    /// It is in use; `onEnd` is called once, when it is over.
    func start(onEnd: @escaping @Sendable () -> Void) {
        self.state.withLockedValue { $0.onEnd = onEnd }
    }

    var isOver: Bool { self.state.withLockedValue { $0.isOver } }
    var generation: UInt64 { self.state.withLockedValue { $0.generation } }
    func setGeneration(_ generation: UInt64) {
        self.state.withLockedValue { $0.generation = generation }
    }

    /// Its page left before it was served; where there was one before, that goes on.
    func withoutPage() {
        self.loop.execute { self.link.value.endIfNeverAttached() }
    }

    // MARK: ClientAcceptor

    func accept(_ client: AdmittedClient, channel: any Channel) {
        self.host.accept(client, channel: channel)
    }

    func end(_ reason: Refusal.Reason) { self.host.end(reason) }

    func endAtRest(_ reason: Refusal.Reason) { self.host.endAtRest(reason) }

    /// Ends it where it has no clients. Any thread.
    func endIfEmpty(_ reason: Refusal.Reason) {
        if self.host.isEmpty { self.host.end(reason) }
    }
}
