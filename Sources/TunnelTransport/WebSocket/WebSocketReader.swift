import NIOCore

/// What a peer may send, and what is told of it.
package struct WebSocketLimits: Sendable, Hashable {
    /// Whether the ends of messages are told.
    package var tellsMessages: Bool
    /// Bytes of a frame's payload.
    package var maximumFrameBytes: Int
    /// Bytes of a message, however it is cut into frames; nil for any.
    package var maximumMessageBytes: Int?

    /// A stream of bytes, cut into messages anyhow.
    package static let stream = WebSocketLimits(
        tellsMessages: false, maximumFrameBytes: WebSocketFrameHeader.maximumPayloadBytes,
        maximumMessageBytes: nil)

    /// Messages with a meaning of their own, of at most so many bytes. They are not gathered.
    package static func messages(atMost bytes: Int) -> WebSocketLimits {
        WebSocketLimits(
            tellsMessages: true, maximumFrameBytes: bytes, maximumMessageBytes: bytes)
    }
}

/// Takes WebSocket frames apart as a stream: part of a payload is handed on at once.
///
///            header/readMore          payload or part of it/payload
///     between ─────────────▶ payload ──────────────────────────────▶ between
///        │ ▲ ping, pong                        (part: stays in payload)
///        │ └────┐
///        └──▶ control ── close/close ──▶ finished
///
/// Where one binary message ends and the next begins is told only where that was asked for: a
/// tunnel is a stream of bytes. Anything else is a violation and ends in finished.
///
/// Pure: no channel, no clock, no logger.
/// Source: RFC 6455, 5 "Data Framing".
struct WebSocketReader {
    /// What the channel must do next.
    enum OnReceive: Equatable {
        /// Nothing whole is left.
        case readMore
        /// Payload bytes of binary messages, in order, unmasked; never empty.
        case payload(ByteBuffer)
        /// A binary message is whole. Told by a reader that was asked to.
        case messageEnd
        /// Answer with a pong of the same payload, at most 125 bytes.
        case ping(ByteBuffer)
        /// The peer lives.
        case pong
        /// The peer closes. nil if it gave no reason. Nothing is read after it.
        case close(WebSocketClose?)
    }

    private enum Phase {
        case between
        case payload(remaining: Int, mask: WebSocketMask?)
        case control(WebSocketFrameHeader)
        case finished
    }

    private let sender: WebSocketRole
    private let limits: WebSocketLimits
    private var phase = Phase.between
    /// Whether a fragmented message has begun and not ended.
    private var isInsideMessage = false
    /// Bytes of the message so far, by the headers of its frames.
    private var messageBytes = 0

    /// Creates a reader at the first byte behind the handshake.
    ///
    /// - Parameters:
    ///   - role: The end that reads.
    ///   - limits: What the peer may send.
    init(role: WebSocketRole, limits: WebSocketLimits = .stream) {
        self.limits = limits
        switch role {
        case .client: self.sender = .server
        case .server: self.sender = .client
        }
    }

    /// Takes the next frame, or the part of it that is there, off the front of `bytes`.
    ///
    /// - Parameter bytes: What has arrived. ``OnReceive/readMore`` leaves less than 14 + 125 bytes.
    /// - Throws: ``WebSocketViolation`` if the peer broke the protocol. The reader is then
    ///   finished.
    /// - Returns: What to do; call again unless it is ``OnReceive/readMore``.
    mutating func receive(_ bytes: inout ByteBuffer) throws(WebSocketViolation) -> OnReceive {
        do {
            while true {
                switch self.phase {
                case .between:
                    guard let next = try self.header(&bytes) else { return .readMore }
                    self.phase = next
                case .payload(remaining: 0, _):
                    self.phase = .between
                    if self.limits.tellsMessages, !self.isInsideMessage { return .messageEnd }
                case .payload(let remaining, let mask):
                    return self.payload(&bytes, remaining: remaining, mask: mask)
                case .control(let header):
                    guard let payload = bytes.readSlice(length: header.payloadBytes) else {
                        return .readMore
                    }
                    return try self.control(header, payload: payload)
                case .finished:
                    // The peer has said goodbye or broken the protocol: what still comes is
                    // dropped.
                    bytes.clear()
                    return .readMore
                }
            }
        } catch {
            self.phase = .finished
            throw error
        }
    }

    private mutating func header(_ bytes: inout ByteBuffer) throws(WebSocketViolation) -> Phase? {
        let limits = self.limits
        guard
            let header = try WebSocketFrameHeader.read(
                from: &bytes, sentBy: self.sender, maximumPayloadBytes: limits.maximumFrameBytes)
        else { return nil }
        switch header.opcode {
        case .close, .ping, .pong:
            return .control(header)
        case .text:
            throw .textMessage
        case .binary where self.isInsideMessage:
            throw .messageInsideMessage
        case .continuation where !self.isInsideMessage:
            throw .continuationOfNothing
        case .binary, .continuation:
            if header.opcode == .binary { self.messageBytes = 0 }
            self.messageBytes += header.payloadBytes
            if let most = limits.maximumMessageBytes, self.messageBytes > most {
                throw .frameTooLong(UInt64(self.messageBytes))
            }
            self.isInsideMessage = !header.isFinal
            return .payload(
                remaining: header.payloadBytes, mask: header.maskKey.map(WebSocketMask.init(key:)))
        }
    }

    private mutating func payload(
        _ bytes: inout ByteBuffer,
        remaining: Int,
        mask: WebSocketMask?
    ) -> OnReceive {
        guard let part = bytes.readSlice(length: min(remaining, bytes.readableBytes)),
            part.readableBytes > 0
        else {
            return .readMore
        }
        guard var mask else {
            self.phase = .payload(remaining: remaining - part.readableBytes, mask: nil)
            return .payload(part)
        }
        let unmasked = part.masked(with: &mask)
        self.phase = .payload(remaining: remaining - part.readableBytes, mask: mask)
        return .payload(unmasked)
    }

    private mutating func control(
        _ header: WebSocketFrameHeader,
        payload: ByteBuffer
    ) throws(WebSocketViolation) -> OnReceive {
        var payload = payload
        if let key = header.maskKey {
            var mask = WebSocketMask(key: key)
            payload = payload.masked(with: &mask)
        }
        self.phase = .between
        switch header.opcode {
        case .ping:
            return .ping(payload)
        case .close:
            self.phase = .finished
            return .close(try Self.close(payload))
        case .pong, .binary, .continuation, .text:
            return .pong
        }
    }

    private static func close(
        _ payload: ByteBuffer
    ) throws(WebSocketViolation) -> WebSocketClose? {
        var payload = payload
        guard payload.readableBytes > 0 else { return nil }
        guard let code: UInt16 = payload.readInteger(), WebSocketClose.isSendable(code) else {
            throw .badCloseCode
        }
        guard let reason = String(validating: payload.readableBytesView, as: UTF8.self) else {
            throw .badCloseReason
        }
        return WebSocketClose(code: code, reason: reason)
    }
}

extension ByteBuffer {
    /// A copy with the mask over it: one pass, and the shared storage of the original stays as it
    /// is.
    func masked(with mask: inout WebSocketMask) -> ByteBuffer {
        var copy = ByteBuffer()
        copy.reserveCapacity(self.readableBytes)
        copy.writeMasked(self, mask: &mask)
        return copy
    }

    /// Appends `source` with the mask over it.
    mutating func writeMasked(_ source: ByteBuffer, mask: inout WebSocketMask) {
        self.writeWithUnsafeMutableBytes(minimumWritableBytes: source.readableBytes) { target in
            source.withUnsafeReadableBytes { bytes in
                mask.apply(from: bytes, to: target)
                return bytes.count
            }
        }
    }
}
