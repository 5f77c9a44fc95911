/// Passwords that nobody chose: what an agent gives a share, and what a relay makes where no agent
/// knows of passwords.
public enum SharePassword {
    /// Characters of a password: 62^24 is 143 bits, so that a stolen verifier is of no use.
    public static let length = 24

    private static let letters = Array(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789".utf8)

    /// Makes a password from `generator`, which must be the system's outside of tests.
    public static func make(using generator: inout some RandomNumberGenerator) -> Secret {
        let bytes = (0..<Self.length).map { _ in
            Self.letters[Int.random(in: 0..<Self.letters.count, using: &generator)]
        }
        return Secret(String(decoding: bytes, as: UTF8.self))
    }
}
