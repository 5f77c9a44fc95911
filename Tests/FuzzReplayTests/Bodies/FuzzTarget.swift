package import NIOCore

/// What is fuzzed. The names are those of the folders in `Fuzz/Corpora` and `Fuzz/Crashes`.
package enum FuzzTarget: String, CaseIterable, Sendable {
    /// Frames, and both ends of a link under a hostile peer.
    case link
    /// HELLO to OPEN_OK: JSON payloads and the two machines that start a link.
    case handshake
    /// What a client sends before TLS and before its password.
    case startup
    /// Passwords: the relay's machine under a stranger, the agent's under a hostile database.
    case login
    /// What a backend says from its greeting on: messages and errors.
    case greeting
    /// WebSocket frames, both roles.
    case webSocket = "websocket"
    /// Three clients, an engine and the clock on one shared session.
    case session
    /// SQL of clients, and settings that an engine names.
    case sql
    /// The records of a browser's engine.
    case engine
    /// The page of database.build.
    case build
    /// Tokens, names of shares, addresses, texts for logs.
    case names
    /// What a hostile source of a deploy sends: an archive, a COPY.
    case deploy

    /// Runs one input.
    ///
    /// - Throws: ``Broken`` where a property does not hold. Nothing may trap.
    package func run(_ bytes: ByteBuffer) throws(Broken) {
        switch self {
        case .link: try fuzzLink(bytes)
        case .handshake: try fuzzHandshake(bytes)
        case .startup: try fuzzStartup(bytes)
        case .login: try fuzzLogin(bytes)
        case .greeting: try fuzzGreeting(bytes)
        case .webSocket: try fuzzWebSocket(bytes)
        case .session: try fuzzSession(bytes)
        case .sql: try fuzzSQL(bytes)
        case .engine: try fuzzEngine(bytes)
        case .build: try fuzzBuild(bytes)
        case .names: try fuzzNames(bytes)
        case .deploy: try fuzzDeploy(bytes)
        }
    }
}

/// A property that an input has broken.
package struct Broken: Error, CustomStringConvertible {
    package var description: String

    init(_ description: String) { self.description = description }
}

func check(
    _ condition: Bool, _ property: @autoclosure () -> String
) throws(Broken) {
    guard condition else { throw Broken(property()) }
}

extension ByteBuffer {
    /// A byte that chooses; 0 where the input has no more.
    mutating func choice() -> UInt8 { self.readInteger() ?? 0 }

    /// A larger number that chooses; 0 where the input has no more.
    mutating func wideChoice() -> Int { Int(self.readInteger(as: UInt16.self) ?? 0) }

    /// Takes up to that many bytes.
    mutating func upTo(_ count: Int) -> ByteBuffer {
        self.readSlice(length: min(count, self.readableBytes)) ?? ByteBuffer()
    }

    /// The same bytes in parts: 0 is whole, 1 is byte by byte, anything else is a pattern.
    func parts(_ pattern: UInt8) -> [ByteBuffer] {
        guard pattern > 0 else { return [self] }
        var sizes = SmallRandom(seed: UInt64(pattern))
        let longest = [1, 3, 9, 40, 200, 1_500][Int(pattern) % 6]
        var rest = self
        var parts: [ByteBuffer] = []
        while rest.readableBytes > 0 {
            parts.append(rest.upTo(pattern == 1 ? 1 : Int.random(in: 1...longest, using: &sizes)))
        }
        return parts
    }
}

/// The same input must do the same each time: xorshift64*.
struct SmallRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { self.state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

    mutating func next() -> UInt64 {
        self.state ^= self.state >> 12
        self.state ^= self.state << 25
        self.state ^= self.state >> 27
        return self.state &* 0x2545_F491_4F6C_DD1D
    }
}
