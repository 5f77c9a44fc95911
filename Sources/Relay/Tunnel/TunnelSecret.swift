import Crypto

/// A secret that one end hands to the other to recognise it by: 128 random bits as hex.
///
/// It is never logged, and compared in constant time.
struct TunnelSecret: Sendable, CustomStringConvertible {
    let reveal: String

    /// Makes one from the system's randomness.
    init() {
        self.reveal = Self.random()
    }

    /// One that was made before.
    init(_ reveal: String) {
        self.reveal = reveal
    }

    /// 128 random bits as 32 hex digits.
    static func random() -> String {
        SymmetricKey(size: .bits128).withUnsafeBytes { bytes in
            bytes.map { byte in
                let digits = String(byte, radix: 16)
                return digits.count == 1 ? "0" + digits : digits
            }.joined()
        }
    }

    /// Whether `text` is this secret; takes the same time for every text of its length.
    func matches(_ text: String) -> Bool {
        let mine = Array(self.reveal.utf8)
        let theirs = Array(text.utf8)
        guard mine.count == theirs.count else { return false }
        return zip(mine, theirs).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }

    var description: String { "…" }
}
