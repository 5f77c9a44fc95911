import NIOCore

/// Reads one frame of a page as it comes: its id, then messages of Postgres, of which it looks at
/// the heads.
struct FrameReader: Sendable {
    /// What is to become of a reply.
    enum Fate: Sendable {
        case passed
        /// Its ReadyForQuery is one too many.
        case passedWithoutReady
        /// The same; but if it begins with the error that there is no such portal, it is dropped.
        case passedUnlessLost
        /// It was told before; errors were not.
        case told
        /// Nobody wants it.
        case dropped
    }

    /// Whether there was an ErrorResponse in it.
    private(set) var hasError = false
    /// Of the last ReadyForQuery in it.
    private(set) var status: UInt8?
    /// It was the error that there is no such portal.
    private(set) var isPortalLost = false

    /// Bytes of an error that is looked into.
    private static let maximumErrorBytes = 8 * 1_024
    /// As it stands in an ErrorResponse: invalid_cursor_name.
    private static let noPortal = Array("C34000\0".utf8)

    /// Bytes of the id that were not there yet.
    private var idLeft = DatabaseBuildMachine.idBytes
    /// The beginning of a message's head.
    private var head = ByteBuffer()
    /// Of the message whose body comes.
    private var type = UInt8(0)
    /// Bytes of the message's body that were not there yet.
    private var bodyLeft = 0
    private var isDropped = false
    private var isFirst = true
    /// An error that is looked into once it is whole.
    private var held: ByteBuffer?

    /// Takes all of `bytes`.
    ///
    /// - Parameters:
    ///   - bytes: Part of the frame.
    ///   - fate: What is to become of the reply; nil where none is due.
    /// - Throws: ``DatabaseBuildViolation``.
    /// - Returns: What is to be passed on.
    mutating func read(
        _ bytes: inout ByteBuffer, fate: Fate?
    ) throws(DatabaseBuildViolation) -> ByteBuffer {
        try self.readID(&bytes)
        guard bytes.readableBytes > 0 else { return ByteBuffer() }
        guard let fate else { throw .unasked }
        var passed = ByteBuffer()
        while bytes.readableBytes > 0 {
            if self.bodyLeft > 0 {
                let count = min(self.bodyLeft, bytes.readableBytes)
                guard let part = bytes.readSlice(length: count) else { break }
                self.bodyLeft -= count
                self.take(part, &passed)
            } else if try self.readHead(&bytes, fate) {
                let head = self.head
                self.head = ByteBuffer()
                self.take(head, &passed)
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
        _ bytes: inout ByteBuffer, _ fate: Fate
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
        self.type = type
        self.begin(fate)
        return true
    }

    /// A message begins.
    private mutating func begin(_ fate: Fate) {
        let isError = self.type == UInt8(ascii: "E")
        let isReady = self.type == UInt8(ascii: "Z")
        if isError { self.hasError = true }
        switch fate {
        case .passed: self.isDropped = false
        case .passedWithoutReady: self.isDropped = isReady
        case .passedUnlessLost:
            self.isDropped = isReady || self.isPortalLost
            let isShort = self.bodyLeft <= Self.maximumErrorBytes
            if isError, self.isFirst, isShort { self.held = ByteBuffer() }
        case .told: self.isDropped = !isError
        case .dropped: self.isDropped = true
        }
        self.isFirst = false
    }

    /// Part of a message: its head, or bytes of its body.
    private mutating func take(_ part: ByteBuffer, _ passed: inout ByteBuffer) {
        if self.type == UInt8(ascii: "Z"), self.bodyLeft == 0 {
            self.status = part.readableBytesView.last
        }
        guard var held = self.held else {
            if !self.isDropped { passed.writeImmutableBuffer(part) }
            return
        }
        self.held = nil
        held.writeImmutableBuffer(part)
        guard self.bodyLeft == 0 else {
            self.held = held
            return
        }
        if held.readableBytesView.firstRange(of: Self.noPortal) != nil {
            self.isPortalLost = true
        } else {
            passed.writeImmutableBuffer(held)
        }
    }
}
