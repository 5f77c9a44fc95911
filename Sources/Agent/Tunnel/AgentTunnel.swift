import Foundation
import NIOConcurrencyHelpers
package import NIOCore
package import PostgresClient
package import TunnelTransport
package import TunnelWire

/// Keeps a share served for as long as it runs: dials, adds a link for each event loop of the
/// relay, resumes what was cut, dials anew when the tunnel is gone.
public final class AgentTunnel: Sendable {
    private let dialer: TunnelDialer
    private let transport: TunnelTransportKind
    private let share: Hello.ShareRequest
    private let service: AgentService
    private let loops: [any EventLoop]
    private let limits: LinkLimits
    private let program: String
    /// Where the relay, or the proxy before it, was reached last.
    private let relayAddress = NIOLockedValueBox<SocketAddress?>(nil)

    /// Creates a tunnel; nothing is dialled before ``run()``.
    ///
    /// - Parameters:
    ///   - dialer: The way to the relay.
    ///   - transport: What is dialled first.
    ///   - share: What is asked of it.
    ///   - connector: The way to the database.
    ///   - policy: What clients may do.
    ///   - loops: The event loops to work on; link number i lives on number i modulo their count.
    ///   - program: Name and version, for the relay's log.
    ///   - limits: Streams, windows and replay of each link.
    ///   - onEvent: Told what happens, from any thread.
    package init(
        dialer: TunnelDialer, transport: TunnelTransportKind = .raw, share: Hello.ShareRequest,
        connector: DatabaseConnector, policy: AgentPolicy, loops: [any EventLoop], program: String,
        limits: LinkLimits = LinkLimits(), onEvent: @escaping @Sendable (AgentEvent) -> Void
    ) {
        self.dialer = dialer
        self.transport = transport
        self.share = share
        self.service = AgentService(connector: connector, policy: policy, onEvent: onEvent)
        self.loops = loops
        self.limits = limits
        self.program = program
    }

    /// Serves until the task is cancelled.
    ///
    /// - Throws: ``AgentError`` when going on is pointless: a bad token, a name that is taken, a
    ///   share that has ended.
    public func run() async throws {
        let result: Result<Void, any Error>
        do {
            try await self.keepServing()
            result = .success(())
        } catch {
            result = .failure(error)
        }
        await self.settle()
        try result.get()
    }

    /// Lets the goodbyes leave: what the links do at their end, and the cancels of queries that
    /// nobody waits for any more.
    private func settle() async {
        for loop in self.loops { try? await loop.submit {}.get() }
        if let loop = self.loops.first { await self.service.settle(on: loop) }
    }

    /// What a child task of ``keepServing()`` has to tell.
    private enum Outcome: Sendable {
        /// The tunnel of that number is over, and how.
        case over(Int, TunnelEnd)
        /// The relay wants it replaced; it still serves the clients it has.
        case draining(Int)
        /// It is over and was never to be replaced.
        case nothing
    }

    private func keepServing() async throws {
        var share = self.share
        var pace = TunnelPace()
        var generator = SystemRandomNumberGenerator()
        var number = 0
        try await withThrowingTaskGroup(of: Outcome.self) { group in
            while !Task.isCancelled {
                let (reason, wait): (any Error, TimeAmount?)
                do {
                    let first = try await self.hello(share)
                    let since = NIODeadline.now()
                    pace.stands()
                    share.id = first.welcome.share
                    share.expiresIn = nil
                    share.expiresAt = first.welcome.expiresAt
                    self.announce(first.welcome)
                    number += 1
                    self.serve(first, number: number, in: &group)
                    let end = try await self.waitForNext(number, &group)
                    try Task.checkCancellation()
                    if end == .replaced { self.service.tell(.draining) }
                    reason = end.error
                    wait = pace.wait(after: end, stood: .now() - since, using: &generator)
                } catch {
                    reason = error
                    wait = pace.waitAfterFailure(using: &generator)
                }
                try await self.pause(wait, after: reason, hasWorked: share.id != nil)
            }
            group.cancelAll()
        }
    }

    private func serve(
        _ first: Standing, number: Int, in group: inout ThrowingTaskGroup<Outcome, any Error>
    ) {
        let (moves, continuation) = AsyncStream.makeStream(of: Void.self)
        group.addTask {
            let end = await self.serve(first) { continuation.yield() }
            continuation.finish()
            return .over(number, end)
        }
        group.addTask {
            for await _ in moves { return .draining(number) }
            return .nothing
        }
    }

    /// Waits until the tunnel of that number is over, or a replacement is wanted while it drains.
    ///
    /// - Returns: How it ended.
    private func waitForNext(
        _ number: Int, _ group: inout ThrowingTaskGroup<Outcome, any Error>
    ) async throws -> TunnelEnd {
        while let outcome = try await group.next() {
            switch outcome {
            case .over(number, let end):
                return end
            case .draining(number):
                return .replaced
            case .over, .draining, .nothing:
                // An older one, that was replaced: what becomes of it matters no more.
                continue
            }
        }
        throw CancellationError()
    }

    private func announce(_ welcome: HelloOK) {
        let expiresAt = Date(timeIntervalSince1970: welcome.expiresAt)
        self.service.expire(at: expiresAt)
        self.service.tell(
            .shared(
                SharedAddress(
                    id: welcome.share, name: welcome.name, host: welcome.host,
                    port: welcome.port, expiresAt: expiresAt)))
    }

    /// Gives up where trying again is pointless; sleeps before the next try if there is a wait.
    private func pause(
        _ wait: TimeAmount?, after error: any Error, hasWorked: Bool
    ) async throws {
        try Task.checkCancellation()
        if let refusal = error as? LinkError, !refusal.retry {
            throw AgentError(code: refusal.code, message: refusal.message)
        }
        if let failure = error as? DialError, failure.isFinal(hasWorked: hasWorked) {
            throw AgentError(code: "dial", message: failure.message)
        }
        guard let wait else { return }
        let reason =
            (error as? DialError)?.message ?? (error as? LinkError)?.message
            ?? "the connection to the relay was lost"
        self.service.tell(
            .retrying(reason: reason, seconds: Double(wait.nanoseconds) / 1_000_000_000))
        await self.sleep(wait)
        try Task.checkCancellation()
    }

    /// Sleeps, but not on once the way to the relay is another one, or is there again.
    private func sleep(_ time: TimeAmount) async {
        let end = NIODeadline.now() + time
        let address = self.relayAddress.withLockedValue { $0 }
        let before = address.map { RouteProbe.route(to: $0) }
        while NIODeadline.now() < end, !Task.isCancelled {
            let step = min(end - .now(), LinkWatch.every)
            try? await Task.sleep(nanoseconds: UInt64(max(step.nanoseconds, 0)))
            let now = address.map { RouteProbe.route(to: $0) }
            if now != before, now != LinkWatch.Route.none, now != .unknown { return }
        }
    }

    // MARK: Links

    /// A link that stands: what the relay said, the link on its event loop, what happens to it.
    private struct Standing: Sendable {
        let index: Int
        let welcome: HelloOK
        let loop: any EventLoop
        let link: NIOLoopBound<Link>
        let signals: AsyncStream<AgentLink.Signal>
    }

    private func hello(_ share: Hello.ShareRequest) async throws -> Standing {
        let hello = Hello(agent: self.program, share: share)
        guard let standing = try await self.establish(hello, index: 0) else {
            throw LinkError(
                code: "spare", message: "the relay gave the first link no place", retry: true)
        }
        return standing
    }

    /// Dials, says HELLO, attaches a new link.
    ///
    /// - Returns: nil if the relay had a link on that event loop already.
    private func establish(_ hello: Hello, index: Int) async throws -> Standing? {
        let loop = self.loops[index % self.loops.count]
        let attempt = self.dialer.begin(on: loop, preferring: self.transport)
        let dialed = try await attempt.tunnel.get { loop.execute { attempt.abandon() } }
        self.relayAddress.withLockedValue { $0 = dialed.channel.remoteAddress }
        let (stream, continuation) = AsyncStream.makeStream(of: AgentLink.Signal.self)
        let made = NIOLockedValueBox<NIOLoopBound<Link>?>(nil)
        let answer = try await loop.flatSubmit {
            AgentHandshakeHandler.start(
                AgentHandshake(hello: hello), on: dialed,
                makeHandler: { answer in
                    guard case .welcomed(let ok) = answer, !ok.isSpare else { return nil }
                    let link = self.makeLink(ok, signals: continuation, on: loop)
                    made.withLockedValue { $0 = NIOLoopBound(link, eventLoop: loop) }
                    return LinkHandler(link: link, transport: dialed.transport)
                },
                attach: { _, handler in
                    guard let link = made.withLockedValue({ $0 })?.value else { return }
                    link.attach(handler)
                    (link.delegate as? AgentLink)?.keeper?.attached(to: dialed.channel)
                }
            ).always { answer in
                let isAnswered = AgentHandshakeHandler.isAnswer(answer)
                self.dialer.hello(isAnswered: isAnswered, over: dialed.transport)
            }
        }.get { dialed.channel.close(promise: nil) }
        guard case .welcomed(let welcome) = answer, let link = made.withLockedValue({ $0 }) else {
            continuation.finish()
            return nil
        }
        return Standing(index: index, welcome: welcome, loop: loop, link: link, signals: stream)
    }

    private func makeLink(
        _ welcome: HelloOK, signals: AsyncStream<AgentLink.Signal>.Continuation,
        on loop: any EventLoop
    ) -> Link {
        let link = Link(role: .agent, limits: self.limits, eventLoop: loop)
        let delegate = AgentLink(service: self.service, signals: signals)
        delegate.keeper = LinkKeeper(
            link: link, dialer: self.dialer, transport: self.transport, welcome: welcome,
            signals: signals)
        link.delegate = delegate
        return link
    }

    // MARK: A tunnel

    /// What a child task of ``serve(_:onGoAway:)`` has to tell.
    private enum Change: Sendable {
        /// A further link stands.
        case joined(Standing)
        /// The relay had a link on every event loop that was tried.
        case hasNoPlace
        /// The relay could not be reached, or said no.
        case notJoined(index: Int)
        /// A link is over for good, and for how long it stood.
        case ended(index: Int, LinkError?, after: TimeAmount)
    }

    /// Serves a tunnel until its last link has ended. A further link that fails, or ends while
    /// others stand, is tried again.
    ///
    /// - Returns: how it ended.
    private func serve(
        _ first: Standing, onGoAway: @escaping @Sendable () -> Void
    ) async -> TunnelEnd {
        let welcome = first.welcome
        let isDraining = NIOLockedValueBox(false)
        let goAway: @Sendable () -> Void = {
            isDraining.withLockedValue { $0 = true }
            onGoAway()
        }
        return await withTaskGroup(of: Change.self) { group in
            group.addTask { await self.keep(first, goAway) }
            for index in 1..<max(welcome.links, 1) {
                group.addTask { await self.join(index, welcome) }
            }
            var standing = 1
            var backoffs: [Int: Backoff] = [:]
            var generator = SystemRandomNumberGenerator()
            var final: LinkError?
            for await change in group {
                let missing: Int
                switch change {
                case .joined(let link) where standing == 0:
                    self.end(link)
                    continue
                case .joined(let link):
                    standing += 1
                    group.addTask { await self.keep(link, goAway) }
                    continue
                case .hasNoPlace:
                    continue
                case .notJoined(let index):
                    missing = index
                case .ended(let index, let error, let time):
                    standing -= 1
                    missing = index
                    if time >= TunnelPace.steadyAfter { backoffs[index] = nil }
                    if let error, final == nil || final?.retry == true { final = error }
                }
                if standing == 0 { group.cancelAll() }
                guard standing > 0, !Task.isCancelled, !isDraining.withLockedValue({ $0 })
                else { continue }
                let wait = backoffs[missing, default: Backoff()].next(using: &generator)
                group.addTask { await self.join(missing, welcome, after: wait) }
            }
            return TunnelEnd(final, isDraining: isDraining.withLockedValue { $0 })
        }
    }

    /// Dials until a link lands on an event loop of the relay that has none yet.
    private func join(
        _ index: Int, _ welcome: HelloOK, after wait: TimeAmount = .zero
    ) async -> Change {
        let join = Hello.Join(tunnel: welcome.tunnel, secret: welcome.tunnelSecret)
        let hello = Hello(agent: self.program, join: join)
        do {
            try await Task.sleep(nanoseconds: UInt64(wait.nanoseconds))
            // The relay hands connections to its event loops in turn, so a few tries do.
            for _ in 0..<(4 * welcome.links) where !Task.isCancelled {
                if let standing = try await self.establish(hello, index: index) {
                    return .joined(standing)
                }
            }
            return .hasNoPlace
        } catch {
            // What is wrong is told by the link that stands, once it is lost as well.
            return .notJoined(index: index)
        }
    }

    /// Keeps one link until it has ended, and tells what happens to it.
    private func keep(
        _ standing: Standing, _ onGoAway: @escaping @Sendable () -> Void
    ) async -> Change {
        let session = standing.welcome.session
        let since = NIODeadline.now()
        defer { self.service.ended(session) }
        return await withTaskCancellationHandler {
            for await signal in standing.signals {
                switch signal {
                case .goesAway:
                    onGoAway()
                case .lost(let silence):
                    self.service.lost(session, link: standing.index, silence: silence)
                case .resumed:
                    self.service.resumed(session, link: standing.index)
                case .expired:
                    self.service.expired(session, link: standing.index)
                case .ended(let error):
                    // A link without clients may end before GOAWAY has left the relay.
                    if error?.code == LinkError.relayStopping { onGoAway() }
                    return .ended(index: standing.index, error, after: .now() - since)
                }
            }
            return .ended(index: standing.index, nil, after: .now() - since)
        } onCancel: {
            // The clients learn it at once, without waiting for the grace.
            self.end(standing)
        }
    }

    private func end(_ standing: Standing) {
        let error = LinkError(
            code: LinkError.agentStopped, message: "the agent was stopped", retry: false)
        standing.loop.execute { standing.link.value.end(error, reset: .tunnelLost) }
    }
}

extension DialError {
    /// Whether dialling again is pointless until a person changes something.
    ///
    /// - Parameter hasWorked: Whether the same dial has succeeded before: then a certificate that
    ///   does not fit is more likely a captive portal than a wrong setting.
    /// - Returns: Whether the agent should give up.
    fileprivate func isFinal(hasWorked: Bool) -> Bool {
        switch self {
        case .badSettings, .unauthorized: true
        case .tlsFailed: !hasWorked
        case .unreachable, .rejected, .notARelay, .proxyFailed, .timedOut, .abandoned: false
        }
    }
}
