import Logging
import NIOCore
import NIOPosix
import PostgresWire
import SharePolicy

/// Finds the share a client means, asks for its password, and hands the client to its tunnel.
///
/// Whatever depends on whether there is such a share is said only to who knows its password.
final class LoginHandler: VisitHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// The startup option that names a share. Source: `PROTOCOL.md` 11.
    private static let shareOption = "pgshare.share"

    /// What the client is asked a password for.
    private struct Target {
        var key: ShareKey
        /// The share's id, or the text typed where there is no such share: what failures count for.
        var throttleName: String
        /// The real verifier, or a mock.
        var verifier: SCRAMVerifier
        /// Whether no password is right.
        var isMock: Bool
        var method: Share.AuthMethod
    }

    let visit: Visit
    private var request: StartupRequest
    private var unread: ByteBuffer
    private var target: Target?
    private var machine: ServerLoginMachine?
    /// Whether a password is being checked: what arrives now waits, and the machine bounds nothing.
    private var isVerifying = false

    /// - Parameters:
    ///   - visit: The connection.
    ///   - request: As the client wrote it.
    ///   - early: What came behind it.
    init(_ visit: Visit, _ request: StartupRequest, early: ByteBuffer) {
        self.visit = visit
        self.request = request
        self.unread = early
    }

    func handlerAdded(context: ChannelHandlerContext) {
        do {
            try self.begin(context)
        } catch {
            self.visit.refuse(error, context: context)
        }
        self.proceed(context)
        self.unread.compact()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.visit.isOver else { return }
        self.unread.append(Self.unwrapInboundIn(data))
        self.proceed(context)
        self.unread.compact()
    }

    func deadlinePassed(context: ChannelHandlerContext) {
        self.visit.deadlinePassed(context: context, canBeTold: true)
    }

    /// Asks for the password, in one write with what is owed about the version.
    private func begin(_ context: ChannelHandlerContext) throws(Refusal) {
        let target = try self.findTarget(now: context.eventLoop.now)
        self.target = target
        var machine = ServerLoginMachine(method: self.method(of: target))
        var flight = ByteBuffer()
        self.request.negotiation?.write(into: &flight)
        var random = SystemRandomNumberGenerator()
        flight.append(machine.start(using: &random))
        self.machine = machine
        context.writeAndFlush(Self.wrapOutboundOut(flight), promise: nil)
    }

    private func findTarget(now: NIODeadline) throws(Refusal) -> Target {
        let services = self.visit.services
        let resolution = try ShareAddress.resolve(
            serverName: self.visit.serverName,
            domain: services.configuration.domain,
            option: self.request.takeOption(Self.shareOption),
            user: self.request.user
        ).get()
        if let user = resolution.loginUser {
            self.request.setUser(user)
        }
        let entry = services.directory.find(resolution.key)
        let throttleName = entry?.share.id.rawValue ?? resolution.key.text
        guard
            services.admission.mayTry(share: throttleName, source: self.visit.source, now: now)
        else { throw Self.lockedOut }
        let isLive = entry?.isLive(now: services.configuration.wallClock()) ?? false
        // Made for every client, so that its time tells nothing.
        let mock = SCRAMVerifier.mock(
            name: resolution.key.text, secret: services.configuration.mockSecret)
        // An ended share keeps its salt: another one would tell that it has ended.
        let verifier = entry?.verifier
        return Target(
            key: resolution.key,
            throttleName: throttleName,
            verifier: verifier ?? mock,
            isMock: verifier == nil || !isLive,
            method: entry?.share.authMethod ?? .scram
        )
    }

    private func method(of target: Target) -> ServerLoginMachine.Method {
        switch target.method {
        case .scram:
            .scram(
                target.verifier,
                isMock: target.isMock,
                channelBinding: self.visit.channelBinding
            )
        case .password:
            .password
        }
    }

    /// Feeds the machine until it wants more bytes.
    private func proceed(_ context: ChannelHandlerContext) {
        do throws(LoginViolation) {
            var random = SystemRandomNumberGenerator()
            while !self.visit.isOver {
                let action = try self.machine?.receive(&self.unread, using: &random) ?? .readMore
                guard self.perform(action, context) else { break }
            }
        } catch {
            let refusal = Refusal(error)
            if refusal.reason == .invalidPassword {
                self.failed(refusal.detail, context)
            } else {
                self.visit.refuse(refusal, share: self.target?.key, context: context)
            }
        }
        let maximumBytes = self.visit.services.configuration.maximumEarlyBytes
        if self.isVerifying, self.unread.readableBytes > maximumBytes {
            let refusal = Refusal(.protocolViolation, detail: "too many bytes before the answer")
            self.visit.refuse(refusal, share: self.target?.key, context: context)
        }
    }

    /// Returns whether there may be more to do straight away.
    private func perform(
        _ action: ServerLoginMachine.OnReceive,
        _ context: ChannelHandlerContext
    ) -> Bool {
        switch action {
        case .readMore:
            return false
        case .send(let message):
            context.writeAndFlush(Self.wrapOutboundOut(message), promise: nil)
            return true
        case .verify(let password):
            self.verify(password, context)
            return false
        case .succeeded(let reply):
            self.succeeded(reply, context)
            return false
        case .failed:
            self.failed("wrong password, or no such share", context)
            return false
        }
    }

    /// Checks a password on another thread: PBKDF2 takes a millisecond and more.
    private func verify(_ password: Secret, _ context: ChannelHandlerContext) {
        guard let target = self.target else { return }
        self.isVerifying = true
        let verifier = target.verifier
        let isMock = target.isMock
        let eventLoop = context.eventLoop
        let bound = NIOLoopBound((handler: self, context: context), eventLoop: eventLoop)
        self.visit.services.threads.submit { state in
            let isRight = state == .active && verifier.verifies(password: password) && !isMock
            eventLoop.execute {
                bound.value.handler.verified(isRight, bound.value.context)
            }
        }
    }

    private func verified(_ isRight: Bool, _ context: ChannelHandlerContext) {
        self.isVerifying = false
        guard !self.visit.isOver, let action = self.machine?.verified(isRight) else { return }
        _ = self.perform(action, context)
    }

    private func failed(_ detail: String, _ context: ChannelHandlerContext) {
        let services = self.visit.services
        services.metrics.loginFailures.add()
        var refusal = Refusal(.invalidPassword, detail: detail)
        switch self.tried(isRight: false, now: context.eventLoop.now) {
        case .locked: refusal = Self.lockedOut
        case .wrong(isAlarming: true): self.alarm()
        case .wrong, .right: break
        }
        self.visit.refuse(refusal, share: self.target?.key, context: context)
    }

    private static var lockedOut: Refusal { Refusal(.tooManyAttempts, detail: "locked out") }

    private func tried(isRight: Bool, now: NIODeadline) -> Admission.OnTry {
        guard let target = self.target else { return .locked }
        return self.visit.services.admission.tried(
            isRight: isRight, share: target.throttleName, source: self.visit.source, now: now)
    }

    /// Says that somebody guesses. Of names that no share has it is said, too: what is counted for
    /// all to see must not tell which names there are.
    private func alarm() {
        let services = self.visit.services
        services.metrics.guessingAlarms.add()
        services.logger.log(
            .warning, "many logins to one name have failed, from many addresses",
            [.share: self.target?.throttleName ?? "", .address: self.visit.addressText])
    }

    /// The password was right: admits the client, or says what stands in its way.
    private func succeeded(_ reply: ByteBuffer, _ context: ChannelHandlerContext) {
        guard let target = self.target else { return }
        let services = self.visit.services
        // Locked out meanwhile: the right password is told from a wrong one by nothing.
        guard case .right = self.tried(isRight: true, now: context.eventLoop.now) else {
            return self.visit.refuse(Self.lockedOut, share: target.key, context: context)
        }
        do throws(Refusal) {
            let (entry, acceptor) = try self.findTunnel(target, now: context.eventLoop.now)
            let share = entry.share
            switch services.admission.arrived(at: share, open: services.metrics.clientsOpen) {
            case .refused(let reason):
                throw Refusal(reason, detail: "limit \(share.limits.maximumClients)")
            case .admitted(let lease):
                self.admit(to: share.id, target.verifier, acceptor, lease, reply, context)
            }
        } catch {
            // As Postgres does it: the login is over, so its end comes first.
            self.visit.refuse(error, behind: reply, share: target.key, context: context)
        }
    }

    /// Asks again: the share may have ended while its client looked for the password.
    private func findTunnel(
        _ target: Target, now: NIODeadline
    ) throws(Refusal) -> (ShareDirectory.Entry, any ClientAcceptor) {
        let services = self.visit.services
        guard !services.isStopping else {
            throw Refusal(.relayStopping, detail: "the relay stops")
        }
        guard let entry = services.directory.find(target.key),
            entry.isLive(now: services.configuration.wallClock())
        else {
            throw Refusal(.shareEnded, detail: "ended during the login")
        }
        guard entry.share.limits.admits(address: self.visit.address?.ipAddress) else {
            throw Refusal(.addressNotAllowed, detail: "not in the share's networks")
        }
        guard let acceptor = services.directory.acceptor(for: entry, now: now) else {
            throw Refusal(.agentOffline, detail: "no tunnel")
        }
        return (entry, acceptor)
    }

    private func admit(
        to shareID: ShareID,
        _ verifier: SCRAMVerifier,
        _ acceptor: any ClientAcceptor,
        _ lease: ClientLease,
        _ reply: ByteBuffer,
        _ context: ChannelHandlerContext
    ) {
        self.unread.compact()
        let client = AdmittedClient(
            shareID: shareID,
            request: self.request,
            remoteAddress: self.visit.address,
            serverName: self.visit.serverName,
            bufferedLoginReply: reply,
            earlyBytes: self.unread,
            lease: lease,
            verifier: verifier
        )
        self.unread = ByteBuffer()
        self.visit.admitted(to: shareID, now: context.eventLoop.now)
        let channel = context.channel
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
        acceptor.accept(client, channel: channel)
    }
}

extension StartupRequest {
    /// Replaces the user, in every place where one is named.
    fileprivate mutating func setUser(_ user: String) {
        for index in self.parameters.indices where self.parameters[index].name == "user" {
            self.parameters[index].value = user
        }
    }
}
