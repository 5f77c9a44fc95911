import NIOCore

/// Reads one frame of a page as it comes: its id, then messages of Postgres, of which it looks at
/// the heads.
struct FrameReader: Sendable {
    /// Whether there was an ErrorResponse in it.
    private(set) var hasError = false
    /// Bytes of the id that were not there yet.
    private var idLeft = DatabaseBuildMachine.idBytes
    /// The beginning of a message's head.
    private var head = ByteBuffer()
    /// Bytes of the message's body that were not there yet.
    private var bodyLeft = 0
    private var isDropped = false

    /// Takes all of `bytes`.
    ///
    /// - Parameters:
    ///   - bytes: Part of the frame.
    ///   - expectsReply: Whether a reply is due.
    ///   - isVoid: Whether nobody wants this one.
    ///   - dropsReady: Whether a ReadyForQuery in it is one too many.
    /// - Throws: ``DatabaseBuildViolation``.
    /// - Returns: What is to be passed on.
    mutating func read(
        _ bytes: inout ByteBuffer, expectsReply: Bool, isVoid: Bool, dropsReady: Bool
    ) throws(DatabaseBuildViolation) -> ByteBuffer {
        try self.readID(&bytes)
        guard bytes.readableBytes > 0 else { return ByteBuffer() }
        guard expectsReply else { throw .unasked }
        var passed = ByteBuffer()
        while bytes.readableBytes > 0 {
            if self.bodyLeft > 0 {
                let count = min(self.bodyLeft, bytes.readableBytes)
                guard let part = bytes.readSlice(length: count) else { break }
                self.bodyLeft -= count
                if !self.isDropped { passed.writeImmutableBuffer(part) }
            } else if try self.readHead(&bytes, isVoid: isVoid, dropsReady: dropsReady) {
                if !self.isDropped { passed.writeImmutableBuffer(self.head) }
                self.head = ByteBuffer()
            }
        }
        return passed
    }

    /// The frame is over.
    mutating func end(expectsReply: Bool) throws(DatabaseBuildViolation) {
        guard self.idLeft == 0 else { throw .short }
        guard expectsReply else { throw .unasked }
        guard self.bodyLeft == 0, self.head.readableBytes == 0 else { throw .malformed }
    }

    private mutating func readID(_ bytes: inout ByteBuffer) throws(DatabaseBuildViolation) {
        guard self.idLeft > 0 else { return }
        let count = min(self.idLeft, bytes.readableBytes)
        let id = DatabaseBuildMachine.connectionID.utf8.suffix(self.idLeft).prefix(count)
        guard let part = bytes.readSlice(length: count), part.readableBytesView.elementsEqual(id)
        else { throw .unknownID }
        self.idLeft -= count
    }

    /// Returns whether ``head`` is whole.
    private mutating func readHead(
        _ bytes: inout ByteBuffer, isVoid: Bool, dropsReady: Bool
    ) throws(DatabaseBuildViolation) -> Bool {
        let missing = min(5 - self.head.readableBytes, bytes.readableBytes)
        guard var part = bytes.readSlice(length: missing) else { return false }
        self.head.writeBuffer(&part)
        guard self.head.readableBytes == 5,
            let type: UInt8 = self.head.getInteger(at: self.head.readerIndex),
            let length: UInt32 = self.head.getInteger(at: self.head.readerIndex + 1)
        else { return false }
        guard length >= 4, length < 1 << 30 else { throw .malformed }
        self.bodyLeft = Int(length) - 4
        if type == UInt8(ascii: "E") { self.hasError = true }
        self.isDropped = isVoid || (dropsReady && type == UInt8(ascii: "Z"))
        return true
    }
}
