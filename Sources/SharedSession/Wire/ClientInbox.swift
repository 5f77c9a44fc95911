import NIOCore
import PostgresWire

/// What a client has sent and nobody has taken yet, cut into messages.
///
/// Messages come out whole, but one may be *passed*: its front was taken and changed, the rest is
/// handed out as it comes, or *skipped*: what comes of it is dropped.
struct ClientInbox: Sendable {
    /// What lies in front.
    enum Front: Equatable {
        /// No whole header yet.
        case nothing
        /// No message: a length no message has.
        case malformed(String)
        /// A message, of which that many bytes are here; header and all.
        case message(MessageType, totalBytes: Int, hereBytes: Int)
    }

    /// The most a message may have.
    ///
    /// Source: `PQ_LARGE_MESSAGE_LIMIT` in PostgreSQL's `libpq.h`, 1 GiB - 1.
    static let maximumBytes = 1 << 30

    private var bytes = ByteBuffer()
    /// Bytes still to come of a message whose front was taken.
    private(set) var passingBytes = 0
    private var skippingBytes = 0

    var readableBytes: Int { self.bytes.readableBytes }
    /// Whether it stands between two messages, with nothing of the next one.
    var isEmpty: Bool {
        self.bytes.readableBytes == 0 && self.passingBytes == 0 && self.skippingBytes == 0
    }
    /// Whether a message's front is gone and its end is not there yet.
    var isWithinMessage: Bool { self.passingBytes > 0 || self.skippingBytes > 0 }

    mutating func receive(_ received: ByteBuffer) {
        var received = received
        let skipped = min(self.skippingBytes, received.readableBytes)
        received.moveReaderIndex(forwardBy: skipped)
        self.skippingBytes -= skipped
        guard received.readableBytes > 0 else { return }
        if self.bytes.readableBytes == 0 {
            self.bytes = received
        } else {
            self.bytes.writeImmutableBuffer(received)
        }
    }

    var front: Front {
        guard self.passingBytes == 0, let header = MessageHeader(in: self.bytes) else {
            return .nothing
        }
        guard header.length >= 4, header.totalBytes <= Self.maximumBytes else {
            return .malformed("invalid message length")
        }
        return .message(
            header.type, totalBytes: header.totalBytes,
            hereBytes: min(header.totalBytes, self.bytes.readableBytes))
    }

    /// Takes that many bytes, which are there.
    mutating func take(_ count: Int) -> ByteBuffer {
        let taken = self.bytes.readSlice(length: min(count, self.bytes.readableBytes))
        if self.bytes.readableBytes == 0 { self.bytes = ByteBuffer() }
        return taken ?? ByteBuffer()
    }

    /// A look at the first bytes.
    func peek(_ count: Int) -> ByteBuffer {
        let there = min(count, self.bytes.readableBytes)
        return self.bytes.getSlice(at: self.bytes.readerIndex, length: there) ?? ByteBuffer()
    }

    /// The next `count` bytes are passed on as they come.
    mutating func pass(_ count: Int) { self.passingBytes = count }

    /// More of the message that is passed on, or nil.
    mutating func takePassing() -> ByteBuffer? {
        let count = min(self.passingBytes, self.bytes.readableBytes)
        guard count > 0 else { return nil }
        self.passingBytes -= count
        return self.take(count)
    }

    /// Drops the message in front, also what is still to come of it.
    mutating func skipMessage() {
        guard case .message(_, let total, let here) = self.front else { return }
        _ = self.take(here)
        self.skippingBytes = total - here
    }

    /// Drops the rest of the message that is passed on.
    mutating func skipPassing() {
        let here = min(self.passingBytes, self.bytes.readableBytes)
        _ = self.take(here)
        self.skippingBytes = self.passingBytes - here
        self.passingBytes = 0
    }

    mutating func removeAll() { self = ClientInbox() }
}
