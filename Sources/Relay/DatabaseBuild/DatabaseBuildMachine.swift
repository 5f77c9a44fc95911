import NIOCore
import PostgresWire

/// The relay's half of what database.build's page speaks: calls in, one frontend message a frame
/// out; one reply a frame in, the replies of a call out.
///
///     absent ──attached──▶ resting ──message due/Startup──▶ active
///       ▲                     ▲ │                             │ last client gone, nothing under
///       │ lost                │ └──── lost ────────┐          │ way/Terminate
///       └─────────────────────┼────────────────────┴── lost ──┤
///                             └───────────────────────────────┘
///
/// - Every frame is 16 ASCII characters, which never change, and a payload.
/// - The page runs frames one after the other and answers each with one frame, in order; the
///   synthetic Startup and Terminate get none. A frame before Startup is dropped by it.
/// - Terminate rolls back and resets the session, and is not asked whose it is: it is sent where
///   no client is there, and before a page that has just come, whose session may hold anything.
/// - Its engine takes a COPY FROM STDIN and all of its data in one call, or hangs: those are one
///   frame. The page hands on what a frame holds and looks at its first message only.
/// - An older PGlite runs an extended message though the one before it failed. What Postgres would
///   skip until Sync is not sent; what was on its way already is answered by errors, which are
///   dropped, and so is every ReadyForQuery but that of Sync.
///
/// Pure: no channel, no clock, no logger. After each verb run ``nextAction()`` until it is nil.
/// Source: FIELD-NOTES 1, "Tunnel".
struct DatabaseBuildMachine: Sendable {
    /// The connection id of all frames. Clients share one session, so they share it too.
    static let connectionID = "pgsharesession01"
    /// Bytes of the id in front of every payload.
    static let idBytes = 16
    /// Bytes of a call that are gathered before it runs. What is more fails with 54000.
    static let maximumCallBytes = 16 * 1_024 * 1_024

    enum Action: Equatable, Sendable {
        /// One frame for the page.
        case send(ByteBuffer)
        /// Part of the reply to the call at work; never empty.
        case reply(ByteBuffer)
        /// The call is over.
        case done
        /// The session is new.
        case restarted
    }

    private struct Message: Sendable {
        let type: UInt8
        let bytes: ByteBuffer
    }

    private enum Phase {
        /// No page is there.
        case absent
        /// A page is there and waits for Startup.
        case resting
        /// It takes messages.
        case active
    }

    private var phase = Phase.absent
    private var wasAttached = false
    private var actions = CircularBuffer<Action>()
    /// Clients that are here, in the order they came, with their addresses.
    private var clients: [(id: UInt32, address: String)] = []
    /// What the page shows as the client's address.
    private var shownAddress = ""

    private var gathered = ByteBuffer()
    private var isTooLong = false
    /// Messages of each call that was not over yet; the first one is at work.
    private var calls: [[Message]] = []
    private var exchange = BuildExchange()
    private var frame = FrameReader()

    // MARK: Clients and calls

    /// A client came.
    mutating func clientCame(_ id: UInt32, address: String?) {
        self.clients.append((id, address ?? "unknown"))
    }

    /// A client left.
    mutating func clientLeft(_ id: UInt32) {
        self.clients.removeAll { $0.id == id }
        guard self.phase == .active, let first = self.clients.first?.address,
            !self.clients.contains(where: { $0.address == self.shownAddress })
        else { return }
        self.start(first)
    }

    /// More bytes of the next call: frontend messages, cut anywhere.
    mutating func data(_ bytes: ByteBuffer) {
        guard self.gathered.readableBytes + bytes.readableBytes <= Self.maximumCallBytes else {
            self.isTooLong = true
            self.gathered = ByteBuffer()
            return
        }
        if !self.isTooLong { self.gathered.writeImmutableBuffer(bytes) }
    }

    /// Run what was gathered.
    mutating func run() {
        let messages = self.isTooLong ? [Self.tooLong] : Self.messages(self.gathered)
        self.drop()
        self.calls.append(messages)
        self.pump()
    }

    /// Forget what was gathered.
    mutating func drop() {
        self.gathered = ByteBuffer()
        self.isTooLong = false
    }

    /// Nothing more will be asked for right now: where nobody is there, the session is reset.
    mutating func rest() {
        guard self.phase == .active, self.clients.isEmpty, self.calls.isEmpty,
            self.gathered.readableBytes == 0, !self.isTooLong
        else { return }
        self.send(Self.terminate)
        self.phase = .resting
        self.actions.append(.restarted)
    }

    // MARK: The page

    /// A page is there, the first one or another. Its session is made new.
    mutating func attached() {
        self.lost()
        self.phase = .resting
        self.send(Self.terminate)
        if self.wasAttached { self.actions.append(.restarted) }
        self.wasAttached = true
    }

    /// The page is gone, perhaps to come back, and what was under way with it.
    mutating func lost() {
        self.phase = .absent
        self.drop()
        self.calls = []
        self.exchange = BuildExchange()
        self.frame = FrameReader()
    }

    /// Bytes of a frame's payload, cut anywhere.
    mutating func received(_ bytes: ByteBuffer) throws(DatabaseBuildViolation) {
        var bytes = bytes
        let passed = try self.frame.read(&bytes, fate: self.exchange.due)
        if passed.readableBytes > 0 { self.actions.append(.reply(passed)) }
    }

    /// A frame is whole.
    mutating func frameEnded() throws(DatabaseBuildViolation) {
        try self.frame.end(expectsReply: !self.exchange.isIdle)
        let frame = self.frame
        self.frame = FrameReader()
        if self.exchange.answered(frame) {
            self.send(PostgresMessage.sync())
            self.exchange.passOwn(UInt8(ascii: "S"))
        }
        self.pump()
    }

    /// What to do next; nil until the next verb.
    mutating func nextAction() -> Action? {
        self.actions.popFirst()
    }

    var hasActions: Bool { !self.actions.isEmpty }

    // MARK: Sending

    /// Sends what may be sent of the call at work, and ends it where all is answered.
    private mutating func pump() {
        guard self.phase != .absent else { return }
        while let call = self.calls.first {
            while self.exchange.next < call.count,
                self.exchange.mayPass(call[self.exchange.next].type)
            {
                self.pass(call[self.exchange.next])
            }
            guard self.exchange.next == call.count, self.exchange.isIdle else { return }
            self.calls.removeFirst()
            self.exchange.ended()
            self.actions.append(.done)
        }
    }

    private mutating func pass(_ message: Message) {
        guard self.exchange.isWanted(message.type) else { return self.exchange.skip() }
        if self.phase == .resting {
            self.start(self.clients.first?.address ?? "")
            self.phase = .active
        }
        if message.type == UInt8(ascii: "B"), self.exchange.hasPortal {
            self.send(BuildExchange.closePortal)
            self.exchange.passOwn(UInt8(ascii: "C"))
        }
        self.send(BuildExchange.named(message.type, message.bytes))
        self.exchange.pass(message.type)
    }

    private mutating func start(_ address: String) {
        self.shownAddress = address
        self.send(Self.startup(address))
    }

    private mutating func send(_ payload: ByteBuffer) {
        var frame = ByteBuffer()
        frame.reserveCapacity(Self.idBytes + payload.readableBytes)
        frame.writeString(Self.connectionID)
        frame.writeImmutableBuffer(payload)
        self.actions.append(.send(frame))
    }

    // MARK: Texts

    private static let terminate = ByteBuffer(bytes: [0x58, 0, 0, 0, 4])

    private static func startup(_ address: String) -> ByteBuffer {
        var body = ByteBuffer()
        body.writeBytes([0, 3, 0, 0])
        for text in ["user", "postgres", "database", "postgres", "client_ip", address, ""] {
            body.writeString(text)
            body.writeInteger(UInt8(0))
        }
        var message = ByteBuffer()
        message.writeInteger(UInt32(body.readableBytes + 4))
        message.writeImmutableBuffer(body)
        return message
    }

    /// Fails in the engine, so that a transaction is aborted as it would be.
    private static let tooLong: Message = {
        let text = """
            DO $$BEGIN RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded', MESSAGE = \
            'a message is too long for a database in a browser'; END$$
            """
        var bytes = ByteBuffer(bytes: [UInt8(ascii: "Q")])
        bytes.writeInteger(UInt32(text.utf8.count + 5))
        bytes.writeString(text)
        bytes.writeInteger(UInt8(0))
        return Message(type: UInt8(ascii: "Q"), bytes: bytes)
    }()

    /// Takes a call apart. What is no whole message is left out: it is made by the relay.
    private static func messages(_ call: ByteBuffer) -> [Message] {
        var call = call
        var messages: [Message] = []
        while let length = self.length(call),
            let bytes = call.getSlice(at: call.readerIndex, length: length),
            let type: UInt8 = bytes.getInteger(at: bytes.readerIndex)
        {
            let whole =
                length + (self.mayCopy(type, bytes) ? self.copyBytes(call, behind: length) : 0)
            guard let frame = call.readSlice(length: whole) else { break }
            messages.append(Message(type: type, bytes: frame))
        }
        return messages
    }

    /// Bytes of the first message; nil where it is not whole.
    private static func length(_ bytes: ByteBuffer) -> Int? {
        guard let length: UInt32 = bytes.getInteger(at: bytes.readerIndex + 1), length >= 4,
            Int(length) < bytes.readableBytes
        else { return nil }
        return Int(length) + 1
    }

    /// Bytes of the messages with data of a COPY behind the first message, which has so many.
    private static func copyBytes(_ call: ByteBuffer, behind first: Int) -> Int {
        var rest = call
        rest.moveReaderIndex(forwardBy: first)
        var total = 0
        while let length = self.length(rest),
            let type: UInt8 = rest.getInteger(at: rest.readerIndex),
            BuildExchange.isOfCopy(type)
        {
            total += length
            rest.moveReaderIndex(forwardBy: length)
        }
        return total
    }

    /// Whether a Query may be a COPY FROM STDIN: these words can be written in no other way. Where
    /// it is none, what is behind it does nothing.
    private static func mayCopy(_ type: UInt8, _ message: ByteBuffer) -> Bool {
        guard type == UInt8(ascii: "Q") else { return false }
        let text = message.readableBytesView.dropFirst(5)
        return self.holds("copy", text) && self.holds("stdin", text)
    }

    private static func holds(_ word: StaticString, _ text: ByteBufferView) -> Bool {
        word.withUTF8Buffer { word in
            guard let first = word.first else { return true }
            var rest = text
            while let at = rest.firstIndex(where: { $0 | 0x20 == first }) {
                rest = rest[at...]
                if rest.count >= word.count, zip(rest, word).allSatisfy({ $0 | 0x20 == $1 }) {
                    return true
                }
                rest = rest.dropFirst()
            }
            return false
        }
    }
}

/// What a page did that it must not. Its WebSocket is closed, and so is the share's session.
enum DatabaseBuildViolation: String, Error, Hashable, Sendable {
    /// Less than a connection id.
    case short = "a message is shorter than its connection id"
    /// Another id than that of all frames.
    case unknownID = "a message has another connection id"
    /// Nothing was asked.
    case unasked = "a message came that answers nothing"
    /// A reply that is not whole messages of Postgres.
    case malformed = "a reply is not made of whole messages"
}
