package import NIOCore

/// Takes frames off a byte stream. DATA is passed on as it comes, never gathered.
///
///              8 bytes, DATA                last payload byte
///     header ────────────────▶ data(left) ───────────────────▶ header
///       │ 8 bytes, any other                 whole payload
///       ├────────────────────▶ control ──────────────────────▶ header
///       │ 8 bytes, extension                 last payload byte
///       └────────────────────▶ skip(left) ───────────────────▶ header
///
/// Pure. What it has *taken* is exact at any byte, so that a link can be resumed in the middle
/// of a DATA payload. Half a header, half a control payload, and the header of a DATA frame of
/// which no payload came are not taken: the peer sends them again.
package struct FrameDecoder: Sendable {
    /// One step.
    package enum Event: Hashable, Sendable {
        /// A whole frame other than DATA.
        case control(FrameHeader, ByteBuffer)
        /// Payload of a DATA frame, all of it or a part.
        ///
        /// `isFirst` and `isLast` tell where in the frame it lies; FIN counts with the last part.
        case data(FrameHeader, ByteBuffer, isFirst: Bool, isLast: Bool)
    }

    private enum Phase: Sendable {
        case header
        case control(FrameHeader)
        case data(FrameHeader, left: Int, isFirst: Bool)
        case skip(left: Int)
    }

    private var phase = Phase.header
    /// Half a header or half a control payload. Bounded by one frame.
    private var partial = ByteBuffer()

    package init() {}

    /// Whether the next byte starts a frame.
    package var isAtFrameBoundary: Bool {
        if case .header = self.phase { self.partial.readableBytes == 0 } else { false }
    }

    /// Takes at most one step's bytes off the front of `bytes`.
    ///
    /// - Returns: nil when more bytes are needed; `bytes` is then empty.
    /// - Throws: ``LinkViolation``; the link cannot go on.
    package mutating func next(_ bytes: inout ByteBuffer) throws(LinkViolation) -> Event? {
        while true {
            switch self.phase {
            case .header:
                guard let word = self.readHeaderWord(&bytes) else { return nil }
                if let event = try self.begin(word) { return event }
            case .data(let header, let left, let isFirst):
                let length = min(left, bytes.readableBytes)
                guard length > 0, let part = bytes.readSlice(length: length) else { return nil }
                let rest = left - length
                self.phase = rest == 0 ? .header : .data(header, left: rest, isFirst: false)
                return .data(header, part, isFirst: isFirst, isLast: rest == 0)
            case .control(let header):
                guard let payload = self.gather(header.length, from: &bytes) else { return nil }
                self.phase = .header
                return .control(header, payload)
            case .skip(let left):
                let length = min(left, bytes.readableBytes)
                bytes.moveReaderIndex(forwardBy: length)
                guard length == left else {
                    self.phase = .skip(left: left - length)
                    return nil
                }
                self.phase = .header
            }
        }
    }

    /// The connection is gone: forgets what was not taken, keeps the place inside a DATA payload.
    package mutating func disconnected() {
        self.partial = ByteBuffer()
        switch self.phase {
        case .header, .data(_, left: _, isFirst: false): break
        // Only the header of that DATA came. It counts with the first part, so it comes again.
        case .control, .skip, .data(_, left: _, isFirst: true): self.phase = .header
        }
    }

    private mutating func readHeaderWord(_ bytes: inout ByteBuffer) -> UInt64? {
        if self.partial.readableBytes == 0, let word: UInt64 = bytes.readInteger() { return word }
        guard var whole = self.gather(FrameHeader.bytes, from: &bytes) else { return nil }
        return whole.readInteger()
    }

    private mutating func gather(_ length: Int, from bytes: inout ByteBuffer) -> ByteBuffer? {
        if self.partial.readableBytes == 0, let whole = bytes.readSlice(length: length) {
            return whole
        }
        let missing = length - self.partial.readableBytes
        let available = min(missing, bytes.readableBytes)
        if var part = bytes.readSlice(length: available) { self.partial.writeBuffer(&part) }
        guard available == missing else { return nil }
        defer { self.partial = ByteBuffer() }
        return self.partial
    }

    /// Decides what a header leads to.
    private mutating func begin(_ word: UInt64) throws(LinkViolation) -> Event? {
        let rawType = UInt8(truncatingIfNeeded: word >> 56)
        let length = Int(UInt16(truncatingIfNeeded: word >> 32))
        let streamID = UInt32(truncatingIfNeeded: word)
        guard let type = FrameType(rawValue: rawType) else {
            guard rawType >= FrameHeader.firstExtensionType, streamID == 0 else {
                throw .unknownFrameType(rawType)
            }
            self.phase = length == 0 ? .header : .skip(left: length)
            return nil
        }
        let flags = UInt8(truncatingIfNeeded: word >> 48)
        let header = FrameHeader(type: type, flags: flags, length: length, streamID: streamID)
        guard type.payloadLengths.contains(length) else { throw .badLength(type, length) }
        guard type.isCounted == (streamID != 0) else { throw .badStreamID(type, streamID) }
        guard type == .data else {
            self.phase = .control(header)
            return nil
        }
        if length == 0 { return .data(header, ByteBuffer(), isFirst: true, isLast: true) }
        self.phase = .data(header, left: length, isFirst: true)
        return nil
    }
}
