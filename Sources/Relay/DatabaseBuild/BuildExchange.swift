import NIOCore

/// How the call at work fares: what was sent of it and awaits its reply, and what Postgres would
/// skip by now.
///
/// The page asks for its tables in the same session, 50 ms behind the last ReadyForQuery, and knows
/// nothing of exchanges: between a Bind and its Execute it ends the transaction, and with it the
/// portal. So unnamed portals get a name, which keeps them apart from the page's within a
/// transaction; and where one is lost before it ran, everything from its Bind on is sent again.
struct BuildExchange: Sendable {
    /// A message on its way.
    struct Sent: Sendable {
        let type: UInt8
        /// Which of the call; nil for one of ours, whose reply nobody wants.
        let index: Int?
    }

    /// The unnamed portal's name.
    static let portal = "pgs_portal"
    /// How often one call is begun again at its Bind.
    private static let maximumRedos = 3

    /// The next message of the call.
    private(set) var next = 0
    private var awaited = CircularBuffer<Sent>()
    /// A message failed: nothing more of the exchange until Sync.
    private var hasFailed = false
    /// The last Bind whose portal has not run yet.
    private var bound: Int?
    /// The portal was lost: what is under way is void, then it goes on from ``bound``.
    private var isRedoing = false
    private var redos = 0
    /// Messages before this one were answered before the portal was lost.
    private var toldBefore = 0
    /// Of the last ReadyForQuery.
    private var status = UInt8(ascii: "I")
    /// Whether the name is taken, as far as is known.
    private(set) var hasPortal = false

    var isIdle: Bool { self.awaited.isEmpty }

    // MARK: Sending

    /// Whether the next message may be looked at. Behind an Execute only Sync may follow at once:
    /// another statement must not run where that one failed.
    func mayPass(_ type: UInt8) -> Bool {
        guard !self.isRedoing else { return false }
        guard let last = self.awaited.last?.type else { return true }
        switch last {
        case UInt8(ascii: "E"): return type == UInt8(ascii: "S")
        case let last where Self.isExtended(last):
            return Self.isExtended(type) || type == UInt8(ascii: "S")
        default: return false
        }
    }

    /// Whether Postgres would do something with it.
    func isWanted(_ type: UInt8) -> Bool {
        switch type {
        case UInt8(ascii: "X"): false
        case let type where Self.isOfCopy(type): false
        case let type where Self.isExtended(type): !self.hasFailed
        default: true
        }
    }

    /// The next message is of no use.
    mutating func skip() { self.next += 1 }

    /// The next message is sent.
    mutating func pass(_ type: UInt8) {
        if type == UInt8(ascii: "B") {
            self.bound = self.next
            self.hasPortal = true
        }
        self.awaited.append(Sent(type: type, index: self.next))
        self.next += 1
    }

    /// One of ours is sent.
    mutating func passOwn(_ type: UInt8) {
        self.awaited.append(Sent(type: type, index: nil))
    }

    /// The call is over.
    mutating func ended() {
        self.next = 0
        self.hasFailed = false
        self.bound = nil
        self.redos = 0
        self.toldBefore = 0
    }

    // MARK: Replies

    /// What is to become of the reply that comes now; nil where none is due.
    var due: FrameReader.Fate? {
        guard let sent = self.awaited.first else { return nil }
        guard let index = sent.index, !self.isRedoing else { return .dropped }
        guard Self.isExtended(sent.type) else { return .passed }
        if self.hasFailed { return .dropped }
        if index < self.toldBefore { return .told }
        return self.mayBeLost(sent) ? .passedUnlessLost : .passedWithoutReady
    }

    private func mayBeLost(_ sent: Sent) -> Bool {
        let usesPortal = sent.type == UInt8(ascii: "E") || sent.type == UInt8(ascii: "D")
        return usesPortal && self.bound != nil && self.redos < Self.maximumRedos
            && self.status != UInt8(ascii: "T")
    }

    /// A reply was whole.
    ///
    /// - Returns: Whether a Sync of ours is needed, so that the engine listens again.
    mutating func answered(_ frame: FrameReader) -> Bool {
        let sent = self.awaited.removeFirst()
        if let status = frame.status {
            self.status = status
            if status == UInt8(ascii: "I") { self.hasPortal = false }
        }
        if frame.isPortalLost {
            self.isRedoing = true
            self.toldBefore = sent.index ?? 0
            return !self.awaited.contains { $0.type == UInt8(ascii: "S") }
        }
        if self.isRedoing {
            self.redo()
        } else if sent.index != nil {
            self.note(sent.type, hasError: frame.hasError)
        }
        return false
    }

    private mutating func redo() {
        guard self.awaited.isEmpty, let bound else { return }
        self.isRedoing = false
        self.redos += 1
        self.next = bound
    }

    private mutating func note(_ type: UInt8, hasError: Bool) {
        switch type {
        case UInt8(ascii: "S"), UInt8(ascii: "Q"), UInt8(ascii: "F"):
            self.hasFailed = false
            self.bound = nil
        case UInt8(ascii: "E"):
            if hasError { self.hasFailed = true }
            self.bound = nil
        default:
            if hasError { self.hasFailed = true }
        }
    }

    // MARK: Types

    static func isExtended(_ type: UInt8) -> Bool { "PBDECH".utf8.contains(type) }
    static func isOfCopy(_ type: UInt8) -> Bool { "dcf".utf8.contains(type) }

    // MARK: Portals

    /// Closes the portal, if there is one.
    static let closePortal: ByteBuffer = {
        var bytes = ByteBuffer(bytes: [UInt8(ascii: "C")])
        bytes.writeInteger(UInt32(6 + Self.portal.utf8.count))
        bytes.writeInteger(UInt8(ascii: "P"))
        bytes.writeString(Self.portal + "\0")
        return bytes
    }()

    /// A message with the portal's name where it named the unnamed one.
    static func named(_ type: UInt8, _ message: ByteBuffer) -> ByteBuffer {
        let at: Int
        switch type {
        case UInt8(ascii: "B"), UInt8(ascii: "E"): at = 5
        case UInt8(ascii: "D"), UInt8(ascii: "C"):
            let kind: UInt8? = message.getInteger(at: message.readerIndex + 5)
            guard kind == UInt8(ascii: "P") else { return message }
            at = 6
        default: return message
        }
        let start = message.readerIndex
        guard message.getInteger(at: start + at, as: UInt8.self) == 0,
            let length: UInt32 = message.getInteger(at: start + 1)
        else { return message }
        var named = ByteBuffer()
        named.reserveCapacity(message.readableBytes + Self.portal.utf8.count)
        named.writeInteger(type)
        named.writeInteger(length + UInt32(Self.portal.utf8.count))
        if at == 6 { named.writeInteger(UInt8(ascii: "P")) }
        named.writeString(Self.portal)
        named.writeBytes(message.readableBytesView.dropFirst(at))
        return named
    }
}
