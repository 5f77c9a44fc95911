import Crypto

/// What a server keeps of a password: enough to check a login, not enough to make one.
///
/// Source: RFC 5803; the text form is that of `pg_authid.rolpassword`.
public struct SCRAMVerifier: Hashable, Sendable, CustomStringConvertible,
    CustomDebugStringConvertible, CustomReflectable
{
    /// Postgres's default, `scram_iterations`.
    public static let defaultIterations = 4_096

    /// Iterations a verifier or a server may ask for.
    ///
    /// The upper end bounds how long a hostile server can keep us busy: a million takes about a
    /// quarter of a second, and OWASP advises 600,000.
    public static let allowedIterations = 1...1_000_000

    /// Bytes of salt. Postgres makes 16 (`SCRAM_DEFAULT_SALT_LEN`).
    public static let saltBytes = 16

    /// Bytes of salt that are taken from others.
    static let allowedSaltBytes = 1...256

    /// The salt, in the clear in every login.
    public let salt: [UInt8]
    /// PBKDF2 rounds.
    public let iterations: Int

    let storedKey: [UInt8]
    let serverKey: [UInt8]

    /// Makes a verifier. Slow: about a millisecond for 4,096 iterations.
    ///
    /// - Parameters:
    ///   - password: Any text; it goes through SASLprep as in Postgres.
    ///   - salt: 1 to 256 random bytes; ``saltBytes`` is usual.
    ///   - iterations: In ``allowedIterations``.
    public init(
        password: Secret,
        salt: [UInt8],
        iterations: Int = SCRAMVerifier.defaultIterations
    ) {
        let keys = SCRAMKeys(password: password, salt: salt, iterations: iterations)
        self.init(
            salt: salt,
            iterations: iterations,
            storedKey: keys.storedKey,
            serverKey: keys.serverKey
        )
    }

    /// Makes a verifier with a fresh salt of ``saltBytes``. Slow, see
    /// ``init(password:salt:iterations:)``.
    public init(password: Secret, using generator: inout some RandomNumberGenerator) {
        self.init(password: password, salt: generator.bytes(Self.saltBytes))
    }

    /// Reads `SCRAM-SHA-256$4096:SALT$STOREDKEY:SERVERKEY`; nil where it is anything else.
    public init?(_ text: String) {
        let parts = text.split(separator: "$", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == SCRAMMechanism.plain.rawValue else { return nil }
        let head = parts[1].split(separator: ":", omittingEmptySubsequences: false)
        let keys = parts[2].split(separator: ":", omittingEmptySubsequences: false)
        guard
            head.count == 2, keys.count == 2,
            let iterations = Int(head[0]), Self.allowedIterations.contains(iterations),
            let salt = Base64.decode(head[1]), Self.allowedSaltBytes.contains(salt.count),
            let storedKey = Base64.decode(keys[0]), storedKey.count == SCRAMKeys.keyBytes,
            let serverKey = Base64.decode(keys[1]), serverKey.count == SCRAMKeys.keyBytes
        else { return nil }
        self.init(salt: salt, iterations: iterations, storedKey: storedKey, serverKey: serverKey)
    }

    private init(salt: [UInt8], iterations: Int, storedKey: [UInt8], serverKey: [UInt8]) {
        self.salt = salt
        self.iterations = iterations
        self.storedKey = storedKey
        self.serverKey = serverKey
    }

    /// The form that is stored. It allows guessing offline, so it does not go into a log.
    public var text: String {
        let salt = Base64.encode(self.salt)
        let keys = "\(Base64.encode(self.storedKey)):\(Base64.encode(self.serverKey))"
        return "\(SCRAMMechanism.plain.rawValue)$\(self.iterations):\(salt)$\(keys)"
    }

    /// Whether this is the password. Slow (PBKDF2): run it off the event loop.
    public func verifies(password: Secret) -> Bool {
        let keys = SCRAMKeys(password: password, salt: self.salt, iterations: self.iterations)
        return constantTimeEqual(keys.serverKey, self.serverKey)
    }

    /// A verifier that no password fits, always the same for the same name and secret.
    ///
    /// An unknown name then answers as a known one does: with a salt that never changes. Source:
    /// `mock_scram_secret` in PostgreSQL's `auth-scram.c`.
    ///
    /// - Parameters:
    ///   - name: What the client named, in any case and of any length.
    ///   - secret: Random bytes of the relay's own, kept across restarts: a salt that changes with
    ///     a
    ///     restart would tell.
    /// - Returns: A verifier with a salt of ``saltBytes`` and ``defaultIterations``.
    public static func mock(name: String, secret: [UInt8]) -> SCRAMVerifier {
        let key = SymmetricKey(data: secret)
        func part(_ label: String) -> [UInt8] {
            hmacSHA256("\(label)\0\(name)".utf8, key: key)
        }
        return SCRAMVerifier(
            salt: Array(part("salt").prefix(self.saltBytes)),
            iterations: self.defaultIterations,
            storedKey: part("stored key"),
            serverKey: part("server key")
        )
    }

    /// Always `…`.
    public var description: String { "…" }

    /// Always `…`.
    public var debugDescription: String { "…" }

    /// Shows no children.
    public var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// The two mechanisms, by the names that go over the wire.
enum SCRAMMechanism: String, Sendable {
    case plain = "SCRAM-SHA-256"
    case plus = "SCRAM-SHA-256-PLUS"
}
