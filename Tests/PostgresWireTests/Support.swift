import Foundation
import NIOCore
import Testing

@testable import PostgresWire

/// SplitMix64: small, fast, the same on every machine.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        self.state = seed
    }

    mutating func next() -> UInt64 {
        self.state &+= 0x9e37_79b9_7f4a_7c15
        var word = self.state
        word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
        return word ^ (word >> 31)
    }
}

/// Every way to cut `whole` in two, and byte by byte at the end.
func everyCut(of whole: ByteBuffer) -> [[ByteBuffer]] {
    let bytes = Array(whole.readableBytesView)
    let inTwo = (0...bytes.count).map { cut in
        [ByteBuffer(bytes: bytes[..<cut]), ByteBuffer(bytes: bytes[cut...])]
    }
    return inTwo + [bytes.map { ByteBuffer(bytes: [$0]) }]
}

/// One buffer after the other.
func joined(_ parts: ByteBuffer...) -> ByteBuffer {
    parts.reduce(into: ByteBuffer()) { $0.writeImmutableBuffer($1) }
}

extension ByteBuffer {
    var array: [UInt8] { Array(self.readableBytesView) }
}
