import Crypto
import CryptoExtras

/// What a password becomes with a salt. Making one is slow on purpose (PBKDF2): about a millisecond
/// at 4,096 iterations. A login with keys at hand takes a few microseconds.
///
/// Keys are as good as the password for logging in. They are never printed.
///
/// Source: RFC 5802, section 3.
public struct SCRAMKeys: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible,
    CustomReflectable
{
    /// Bytes of every SHA-256 value.
    static let keyBytes = 32

    /// The salt they were made with.
    public let salt: [UInt8]
    /// The iterations they were made with.
    public let iterations: Int

    let clientKey: [UInt8]
    let storedKey: [UInt8]
    let serverKey: [UInt8]

    /// Derives the keys. Slow: not on an event loop where many wait.
    ///
    /// - Parameters:
    ///   - password: Any text; it goes through SASLprep as in Postgres.
    ///   - salt: At least one byte; Postgres uses 16.
    ///   - iterations: 1 or more.
    public init(password: Secret, salt: [UInt8], iterations: Int) {
        let salted = Self.saltedPassword(password, salt: salt, iterations: iterations)
        self.salt = salt
        self.iterations = iterations
        self.clientKey = hmacSHA256("Client Key".utf8, key: salted)
        self.storedKey = Array(SHA256.hash(data: self.clientKey))
        self.serverKey = hmacSHA256("Server Key".utf8, key: salted)
    }

    /// Always `…`.
    public var description: String { "…" }

    /// Always `…`.
    public var debugDescription: String { "…" }

    /// Shows no children.
    public var customMirror: Mirror { Mirror(self, children: [:]) }

    private static func saltedPassword(
        _ password: Secret,
        salt: [UInt8],
        iterations: Int
    ) -> SymmetricKey {
        precondition(!salt.isEmpty && iterations > 0, "checked where they were read")
        var bytes = saslPrepared(password.reveal)
        // HMAC pads its key with zeros, so one zero byte is the empty password. The library wants
        // the address of a first byte.
        if bytes.isEmpty { bytes = [0] }
        do {
            return try KDF.Insecure.PBKDF2.deriveKey(
                from: bytes,
                salt: salt,
                using: .sha256,
                outputByteCount: self.keyBytes,
                unsafeUncheckedRounds: iterations
            )
        } catch {
            preconditionFailure("PBKDF2 fails only for a lack of memory")
        }
    }
}

/// HMAC-SHA-256 of `message`.
func hmacSHA256(_ message: some Sequence<UInt8>, key: SymmetricKey) -> [UInt8] {
    Array(HMAC<SHA256>.authenticationCode(for: Array(message), using: key))
}

/// HMAC-SHA-256 of `message`.
func hmacSHA256(_ message: some Sequence<UInt8>, key: [UInt8]) -> [UInt8] {
    hmacSHA256(message, key: SymmetricKey(data: key))
}
