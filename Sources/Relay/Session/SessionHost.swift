import NIOCore
import PostgresWire
import SharePolicy
import SharedSession
import Synchronization

/// Serves all clients of a share from the one session of its sandbox.
///
/// The machine lives on the event loop of its ``EngineLink``; clients of that event loop talk to
/// it directly, others by a hop each way.
final class SessionHost: ClientAcceptor {
    private let loop: any EventLoop
    private let shell: NIOLoopBound<SessionShell>
    private let environment: TunnelEnvironment
    private let lastNumber = Atomic<UInt32>(0)
    private let clients = Atomic<Int>(0)

    /// Whether it has no clients.
    var isEmpty: Bool { self.clients.load(ordering: .acquiring) == 0 }

    /// Takes over an engine. On its event loop.
    ///
    /// - Parameters:
    ///   - engine: The way to it; its delegate is set here.
    ///   - shareID: The share it serves, for logs.
    ///   - limits: How long clients may keep and await the session.
    ///   - loop: The engine's event loop.
    ///   - environment: What is shared with other tunnels.
    init(
        engine: any EngineLink, shareID: ShareID, limits: SessionLimits, on loop: any EventLoop,
        environment: TunnelEnvironment
    ) {
        let shell = SessionShell(
            engine: engine, shareID: shareID, limits: limits, loop: loop, environment: environment)
        self.loop = loop
        self.shell = NIOLoopBound(shell, eventLoop: loop)
        self.environment = environment
        engine.delegate = shell
        shell.start()
    }

    // MARK: ClientAcceptor

    func accept(_ client: AdmittedClient, channel: any Channel) {
        let number = self.lastNumber.wrappingAdd(1, ordering: .relaxed).newValue
        let id = SessionClientID(rawValue: number)
        let isHere = channel.eventLoop === self.loop
        let key = self.environment.cancels.mint(version: client.version) { promise in
            self.cancel(id, promise)
        }
        let environment = self.environment
        environment.metrics.streamsOpen.increment()
        self.clients.wrappingAdd(1, ordering: .acquiringAndReleasing)
        let handler = SessionClientHandler(
            id: id, way: SessionWay(shell: self.shell, loop: self.loop, isHere: isHere),
            loginReply: client.bufferedLoginReply,
            onEnd: {
                self.clients.wrappingSubtract(1, ordering: .acquiringAndReleasing)
                environment.cancels.remove(key)
                client.lease.release()
                environment.metrics.streamsOpen.decrement()
            })
        let arrival = SessionArrival(
            request: client.request, cancelKey: key, address: client.remoteAddress?.ipAddress)
        let peer = SessionPeer(
            loop: channel.eventLoop, isHere: isHere,
            handler: NIOLoopBound(handler, eventLoop: channel.eventLoop))
        let early = client.earlyBytes
        // The handler stands before the machine hears: it may answer at once.
        let added: Void? = try? channel.pipeline.syncOperations.addHandler(handler)
        if isHere {
            self.shell.value.arrived(id, arrival, early, peer)
        } else {
            self.loop.execute { self.shell.value.arrived(id, arrival, early, peer) }
        }
        // The client may have left between its password and now.
        if added == nil || !channel.isActive {
            channel.close(promise: nil)
            handler.ended()
        }
    }

    func end(_ reason: Refusal.Reason) {
        self.loop.execute { self.shell.value.end(reason) }
    }

    /// Ends every client as soon as it is at rest. Any thread.
    func endAtRest(_ reason: Refusal.Reason) {
        self.loop.execute { self.shell.value.endAtRest(reason) }
    }

    /// The engine is away for a while, or back. On its event loop.
    func engineAway(_ isAway: Bool) { self.shell.value.engineAway(isAway) }

    /// Asks for a cancel. Any thread.
    private func cancel(_ id: SessionClientID, _ promise: EventLoopPromise<Void>) {
        self.loop.execute {
            self.shell.value.cancel(id)
            promise.succeed()
        }
    }
}

/// A client, as the machine's event loop sees it.
struct SessionPeer: Sendable {
    let loop: any EventLoop
    let isHere: Bool
    let handler: NIOLoopBound<SessionClientHandler>
}
