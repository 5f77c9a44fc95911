import NIOCore
import PostgresWire

/// The one handler of a session's channel: walks what the server sends, gives it to the occupant,
/// and lets in the next one. Reads only when the occupant wants more.
final class SessionHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let facts = SessionFacts()
    let eventLoop: any EventLoop
    private let connector: DatabaseConnector
    private let isEncrypted: Bool
    private var context: ChannelHandlerContext?
    private var walker = MessageWalker()
    private var occupant: (any SessionOccupant)?
    private var waiting: [any SessionOccupant] = []
    /// A cancel request on its way could hit the next statement: nobody begins before it is done.
    private var cancelsOnTheirWay = 0
    private var isWalking = false
    private var lastFatal: PostgresError?
    private var end: SessionError?

    init(_ backend: Backend, _ connector: DatabaseConnector) {
        self.eventLoop = backend.channel.eventLoop
        self.connector = connector
        self.isEncrypted = backend.isEncrypted
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.over(.connectionLost(detail: "the connection was closed"))
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.received(Self.unwrapInboundIn(data))
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.occupant?.readComplete()
        self.readIfWanted()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { self.occupant?.becameWritable() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        let said = self.lastFatal.map { $0.sentence } ?? "the server closed the connection"
        self.over(.connectionLost(detail: said))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // The server's last words may be there still; they say more than a reset does.
        let said = self.lastFatal.map { $0.sentence } ?? "\(error)"
        self.over(.connectionLost(detail: said))
        context.close(promise: nil)
    }
}

// MARK: - For occupants

extension SessionHandler {
    /// Whether the connection takes more bytes without piling them up.
    var isWritable: Bool { self.context?.channel.isWritable ?? false }

    func send(_ bytes: ByteBuffer) {
        self.context?.writeAndFlush(Self.wrapOutboundOut(bytes), promise: nil)
    }

    func readIfWanted() {
        guard self.occupant?.wantsRead ?? true else { return }
        self.context?.read()
    }

    /// Queues for the session; begins at once where it is free.
    func enter(_ occupant: any SessionOccupant) {
        if let end = self.end { return occupant.lost(end) }
        guard !occupant.ticket.isCancelled else { return occupant.lost(.cancelled) }
        self.waiting.append(occupant)
        self.admitNext()
    }

    /// The occupant has read its ReadyForQuery.
    func leave(_ occupant: any SessionOccupant) {
        guard self.occupant === occupant else { return }
        self.occupant = nil
        self.admitNext()
        self.readIfWanted()
    }

    /// Asks the server to cancel what the occupant does.
    func sendCancel() {
        guard self.end == nil, let key = self.facts.key else { return }
        self.cancelsOnTheirWay += 1
        let sent = self.connector.cancel(key, isEncrypted: self.isEncrypted, on: self.eventLoop)
        sent.assumeIsolated().whenComplete { _ in
            self.cancelsOnTheirWay -= 1
            self.admitNext()
        }
    }

    /// Cancels for the task with this ticket: what waits leaves, what runs is told.
    func cancel(_ ticket: SessionTicket) {
        if let index = self.waiting.firstIndex(where: { $0.ticket === ticket }) {
            return self.waiting.remove(at: index).lost(.cancelled)
        }
        guard let occupant = self.occupant, occupant.ticket === ticket else { return }
        occupant.cancel()
    }

    /// Takes back one that has not begun. Returns whether it was waiting.
    func withdraw(_ occupant: any SessionOccupant) -> Bool {
        guard let index = self.waiting.firstIndex(where: { $0 === occupant }) else { return false }
        self.waiting.remove(at: index).lost(.cancelled)
        return true
    }

    /// Cancels the statement that runs now, if any.
    func cancelCurrent() {
        guard self.occupant != nil else { return }
        self.sendCancel()
    }

    /// Ends the session at once; everybody who waits for it is told why.
    func abort(_ error: SessionError) {
        self.over(error)
        self.context?.close(promise: nil)
    }
}

// MARK: - Walking

extension SessionHandler {
    func received(_ bytes: ByteBuffer) {
        self.walker.receive(bytes)
        guard !self.isWalking else { return }
        self.isWalking = true
        defer { self.isWalking = false }
        do throws(MessageViolation) {
            while self.end == nil, try self.step() {}
        } catch {
            self.abort(.protocolViolation(detail: "\(error)"))
        }
    }

    /// Returns whether there may be more.
    private func step() throws(MessageViolation) -> Bool {
        let before = self.walker.passedMessages
        let types = self.occupant?.inspected ?? .all
        switch try self.walker.next(
            inspecting: types, maximumBytes: PostgresSession.maximumResultBytes)
        {
        case .readMore:
            return false
        case .run(let bytes):
            self.occupant?.run(
                bytes, cutBytes: self.walker.cutBytes,
                messages: self.walker.passedMessages - before)
        case .message(let type, let whole):
            self.note(type, whole)
            guard let occupant = self.occupant else {
                self.receivedByNobody(type)
                return true
            }
            occupant.message(type, whole)
        }
        return true
    }

    /// What the session itself remembers of a message, whoever it is for.
    private func note(_ type: MessageType, _ whole: ByteBuffer) {
        switch type {
        case .parameterStatus:
            var body = whole.messageBody
            guard let name = body.readNullTerminatedString(),
                let value = body.readNullTerminatedString()
            else { return }
            self.facts.set(name, value)
        case .backendKeyData:
            if let key = CancelKey(messageBody: whole.messageBody) { self.facts.set(key: key) }
        case .readyForQuery:
            guard let byte = whole.messageBody.readableBytesView.first,
                let status = TransactionStatus(rawValue: byte)
            else { return }
            self.facts.set(status: status)
        case .errorResponse:
            let error = PostgresError.parse(body: whole.messageBody)
            if SessionError.server(error).endsSession { self.lastFatal = error }
        default:
            break
        }
    }

    /// Between statements a server may tell of settings, notices and its own end.
    private func receivedByNobody(_ type: MessageType) {
        switch type {
        case .parameterStatus, .noticeResponse, .notificationResponse, .errorResponse: break
        default: self.abort(.protocolViolation(detail: "message \(type) between statements"))
        }
    }

    private func admitNext() {
        guard self.end == nil, self.occupant == nil, self.cancelsOnTheirWay == 0,
            !self.waiting.isEmpty
        else { return }
        let next = self.waiting.removeFirst()
        self.occupant = next
        next.begin(self)
    }

    private func over(_ error: SessionError) {
        guard self.end == nil else { return }
        self.end = error
        self.facts.setOver()
        let left = [self.occupant].compactMap { $0 } + self.waiting
        self.occupant = nil
        self.waiting = []
        for occupant in left { occupant.lost(error) }
    }
}
