package import NIOCore

/// One write: bytes of ours in front, and a large payload behind them that was not copied.
///
/// It ends where a frame ends. It begins where a frame begins, except right after a resume.
package struct Chunk: Hashable, Sendable {
    package var head: ByteBuffer
    package var payload: ByteBuffer?

    package init(head: ByteBuffer, payload: ByteBuffer? = nil) {
        self.head = head
        self.payload = payload
    }

    /// Bytes in both parts.
    package var readableBytes: Int { self.head.readableBytes + (self.payload?.readableBytes ?? 0) }

    /// The same without its first `count` bytes.
    func dropping(_ count: Int) -> Chunk {
        var rest = self
        let ofHead = min(count, rest.head.readableBytes)
        rest.head.moveReaderIndex(forwardBy: ofHead)
        rest.payload?.moveReaderIndex(forwardBy: count - ofHead)
        return rest
    }
}

/// The counted bytes that the peer has not acknowledged, by reference.
///
/// Offsets count the bytes of stream frames since the link began.
struct ReplayBuffer: Sendable {
    /// Bytes kept before the sender must wait for an ACK. Full means back-pressure, not death.
    let capacity: Int
    /// The first byte kept: everything before it was acknowledged.
    private(set) var acknowledged: UInt64 = 0
    /// The byte after the last one handed out for the first time.
    private(set) var sent: UInt64 = 0
    private var chunks = CircularBuffer<Chunk>(initialCapacity: 2)
    /// Where the first chunk began.
    private var firstOffset: UInt64 = 0
    /// Index of the next chunk to send again; nil when nothing is.
    private var again: Int?
    /// Bytes of that chunk which the peer has already.
    private var againSkip = 0

    init(capacity: Int) {
        self.capacity = capacity
    }

    var isFull: Bool { self.sent - self.acknowledged >= UInt64(self.capacity) }
    /// Whether something is to be sent again first.
    var isReplaying: Bool { self.again != nil }
    /// Whether the next replayed chunk starts inside a frame, as far as this side can tell.
    var isInsideFrame: Bool { self.again != nil && self.againSkip > 0 }

    /// Appends before the bytes go to the socket, so that no byte is sent and not kept.
    mutating func append(_ chunk: Chunk) {
        self.chunks.append(chunk)
        self.sent += UInt64(chunk.readableBytes)
    }

    /// The peer has everything before `offset`.
    mutating func acknowledge(_ offset: UInt64) throws(LinkViolation) {
        guard offset >= self.acknowledged, offset <= self.sent else {
            throw .badOffset(
                claimed: offset, acknowledged: self.acknowledged, sent: self.sent)
        }
        self.acknowledged = offset
        while let first = self.chunks.first {
            let end = self.firstOffset + UInt64(first.readableBytes)
            guard end <= offset else { break }
            // A chunk that is still to be sent again cannot have been acknowledged on this
            // connection, but its bytes may have been taken before: nothing to send then.
            if let next = self.again {
                if next > 0 { self.again = next - 1 } else { self.againSkip = 0 }
            }
            self.chunks.removeFirst()
            self.firstOffset = end
        }
        if self.again == self.chunks.count { self.again = nil }
    }

    /// A new connection: everything from `offset` on goes out again.
    mutating func rewind(to offset: UInt64) throws(LinkViolation) {
        self.again = nil
        self.againSkip = 0
        try self.acknowledge(offset)
        guard !self.chunks.isEmpty else { return }
        self.again = 0
        self.againSkip = Int(offset - self.firstOffset)
    }

    /// The next chunk to send again.
    mutating func nextReplay() -> Chunk? {
        guard let index = self.again else { return nil }
        let chunk = self.chunks[offset: index].dropping(self.againSkip)
        self.againSkip = 0
        self.again = index + 1 < self.chunks.count ? index + 1 : nil
        return chunk
    }
}

extension CircularBuffer {
    fileprivate subscript(offset index: Int) -> Element {
        self[self.index(self.startIndex, offsetBy: index)]
    }
}
