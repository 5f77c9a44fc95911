package import NIOCore

/// The bytes of every simulated stream: known at any offset, different for every stream and
/// direction, so that a byte which is lost, repeated or misplaced is seen.
package enum Pattern {
    /// The longest piece, in bytes.
    package static let maximumPieceBytes = 256 * 1024

    private static let period = 1_048_573
    private static let block: ByteBuffer = {
        var random = SeededGenerator(seed: 0x70_6773_6861_7265)
        var bytes = ByteBuffer()
        while bytes.readableBytes < Self.period { bytes.writeInteger(random.next()) }
        guard let head = bytes.getSlice(at: 0, length: Self.period) else { return bytes }
        var doubled = head
        doubled.writeImmutableBuffer(head.getSlice(at: 0, length: maximumPieceBytes) ?? head)
        return doubled
    }()

    /// `count` bytes of a stream from `offset` on.
    package static func bytes(
        _ side: Side, stream: UInt32, offset: UInt64, count: Int
    ) -> ByteBuffer {
        let start = (UInt64(stream) * 7_919 + UInt64(side.rawValue) * 104_729 + offset)
        let place = Int(start % UInt64(Self.period))
        return Self.block.getSlice(at: place, length: count) ?? ByteBuffer()
    }
}
