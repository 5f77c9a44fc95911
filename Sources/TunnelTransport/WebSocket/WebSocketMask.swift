/// The XOR that a WebSocket client puts over its payloads, eight bytes at a time.
///
/// The mask remembers how far it has come, so that a payload may arrive in any number of parts.
///
/// Source: RFC 6455, 5.3 "Client-to-Server Masking".
struct WebSocketMask: Hashable {
    /// The key twice over, byte 0 in the lowest eight bits; turned as payload bytes go by.
    private var word: UInt64

    /// Creates the mask at the first byte of a payload.
    ///
    /// - Parameter key: The key as it stands in the header, read as a big-endian number.
    init(key: UInt32) {
        let bytes = UInt64(key.byteSwapped)
        self.word = bytes << 32 | bytes
    }

    /// Copies `source` to `target` with the mask over it, and moves on by as many bytes.
    ///
    /// - Parameters:
    ///   - source: The bytes to mask or unmask.
    ///   - target: At least as long as `source`; may be the same memory.
    mutating func apply(
        from source: UnsafeRawBufferPointer, to target: UnsafeMutableRawBufferPointer
    ) {
        precondition(target.count >= source.count, "the target is too short")
        guard let from = source.baseAddress, let to = target.baseAddress else { return }
        let word = self.word
        var offset = 0
        while offset &+ 8 <= source.count {
            let bytes = UInt64(
                littleEndian: from.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            to.storeBytes(of: (bytes ^ word).littleEndian, toByteOffset: offset, as: UInt64.self)
            offset &+= 8
        }
        while offset < source.count {
            let key = UInt8(truncatingIfNeeded: word >> UInt64(offset & 7 &* 8))
            let byte = from.load(fromByteOffset: offset, as: UInt8.self) ^ key
            to.storeBytes(of: byte, toByteOffset: offset, as: UInt8.self)
            offset &+= 1
        }
        self.turn(by: source.count)
    }

    /// Makes the key byte after `count` payload bytes the first one.
    private mutating func turn(by count: Int) {
        let bits = UInt64(count & 3) &* 8
        guard bits > 0 else { return }
        self.word = self.word >> bits | self.word << (64 &- bits)
    }
}
