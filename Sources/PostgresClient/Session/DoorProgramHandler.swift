import NIOCore
import PostgresWire

/// The connection of one program at a ``SessionDoor``. Reads only what the session takes.
final class DoorProgramHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// The longest statement or function call that is taken, in bytes: it is kept whole. Rows of
    /// a COPY are not.
    static let maximumStatementBytes = 64 * 1024 * 1024

    /// What must be seen whole.
    private static let inspected: MessageTypes = [
        .query, .parse, .sync, .functionCall, .terminate, .passwordMessage, .copyDone, .copyFail,
    ]

    private let door: DoorState
    private var context: ChannelHandlerContext?
    private var startup = LocalStartupMachine()
    private var unread = ByteBuffer()
    private var walker = MessageWalker()
    /// A statement that waits until everything before it is answered.
    private var held: (type: MessageType, whole: ByteBuffer)?
    private var run: DoorRun?
    private var request: StartupRequest?
    private var isJoined = false

    init(_ door: DoorState) {
        self.door = door
    }

    var isWritable: Bool { self.context?.channel.isWritable ?? true }

    func channelActive(context: ChannelHandlerContext) {
        self.context = context
        context.read()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = Self.unwrapInboundIn(data)
        guard self.request != nil else {
            self.unread.writeImmutableBuffer(bytes)
            return self.startUp()
        }
        self.walker.receive(bytes)
        self.walk()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.readIfWanted()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { self.door.line.readIfWanted() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        self.left()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .inputClosed? = event as? ChannelEvent { context.close(promise: nil) }
    }

    private func left() {
        let run = self.run
        self.run = nil
        self.held = nil
        run?.programGone()
    }
}

// MARK: - For the session's side

extension DoorProgramHandler {
    /// The session is this program's from here on.
    func joined(_ facts: SessionFacts) {
        var greeting = ByteBuffer()
        self.request?.negotiation?.write(into: &greeting)
        greeting.writeImmutableBuffer(PostgresMessage.authenticationOk())
        for (name, value) in facts.parameters.sorted(by: { $0.key < $1.key }) {
            greeting.writeImmutableBuffer(PostgresMessage.parameterStatus(name, value))
        }
        let version = self.request?.agreedVersion ?? .v3_0
        greeting.writeImmutableBuffer(PostgresMessage.backendKeyData(self.door.makeKey(version)))
        self.isJoined = true
        self.write(greeting)
        self.ready(facts.status)
        self.proceed()
    }

    func write(_ bytes: ByteBuffer) {
        self.context?.write(Self.wrapOutboundOut(bytes), promise: nil)
    }

    func flush() {
        self.context?.flush()
    }

    func answer(_ commandTag: String, _ status: TransactionStatus) {
        self.write(PostgresMessage.commandComplete(commandTag))
        self.ready(status)
    }

    func answer(_ error: PostgresError, _ status: TransactionStatus) {
        self.write(error.encoded())
        self.ready(status)
    }

    /// Says no and closes.
    func refuse(_ error: PostgresError) {
        var error = error
        error.severity = .fatal
        self.run = nil
        self.write(error.encoded())
        self.flush()
        self.context?.close(promise: nil)
    }

    /// Says why the door closes, and leaves.
    func leave(_ error: PostgresError) {
        let run = self.run
        self.refuse(error)
        run?.programGone()
    }

    /// The session takes bytes again, or has answered.
    func proceed() {
        guard self.isJoined else { return }
        if let held = self.held {
            guard self.run?.takesStatements == true else { return }
            self.held = nil
            self.take(held.type, held.whole)
        }
        self.walk()
        self.readIfWanted()
    }

    private func ready(_ status: TransactionStatus) {
        self.write(PostgresMessage.readyForQuery(Unicode.Scalar(status.rawValue)))
        self.flush()
    }
}

// MARK: - Reading

extension DoorProgramHandler {
    private func startUp() {
        do throws(StartupViolation) {
            while self.request == nil {
                switch try self.startup.receive(&self.unread) {
                case .readMore: return
                case .declineEncryption:
                    self.write(ByteBuffer(bytes: [UInt8(ascii: "N")]))
                    self.flush()
                case .cancel(let key):
                    self.door.cancel(key)
                    self.context?.close(promise: nil)
                    return
                case .start(let request): self.start(request)
                }
            }
        } catch {
            self.refuse(PostgresError(sqlState: .protocolViolation, message: "\(error)"))
        }
    }

    private func start(_ request: StartupRequest) {
        self.request = request
        self.walker.receive(self.unread)
        self.unread = ByteBuffer()
        guard !request.isReplication else {
            return self.refuse(DoorState.noReplication)
        }
        self.run = self.door.enter(self)
    }

    private func walk() {
        do throws(MessageViolation) {
            while self.isJoined, self.held == nil, let run = self.run {
                let step = try self.walker.next(
                    inspecting: Self.inspected, maximumBytes: Self.maximumStatementBytes)
                switch step {
                case .readMore: return
                case .run(let bytes): run.forward(bytes, cutBytes: self.walker.cutBytes)
                case .message(let type, let whole):
                    if Self.waits(type), !run.takesStatements {
                        self.held = (type, whole)
                    } else {
                        self.take(type, whole)
                    }
                }
            }
        } catch {
            self.leave(PostgresError(sqlState: .protocolViolation, message: "\(error)"))
        }
    }

    /// What begins something new, and so waits for what came before.
    private static func waits(_ type: MessageType) -> Bool {
        switch type {
        case .query, .parse, .functionCall, .terminate: true
        default: false
        }
    }

    private func take(_ type: MessageType, _ whole: ByteBuffer) {
        switch type {
        case .terminate:
            self.context?.close(promise: nil)
            self.left()
        case .passwordMessage:
            self.leave(PostgresError(sqlState: .protocolViolation, message: "a stray password"))
        default:
            self.run?.take(type, whole)
        }
    }

    private func readIfWanted() {
        guard let context = self.context else { return }
        // Before it is its turn nothing is read; that it left is noticed without.
        guard self.request == nil || (self.held == nil && self.run?.takesBytes == true) else {
            return
        }
        context.read()
    }
}
