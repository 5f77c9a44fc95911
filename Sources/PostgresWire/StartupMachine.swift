public import NIOCore

/// The relay's half of the Postgres start-up talk, until the client has named a database.
///
///                 SSLRequest/startTLS             tlsEstablished
///     plaintext ──────────────────────▶ upgrading ──────────────▶ encrypted
///       │   ▲ │   ClientHello/startDirectTLS  ▲                     │   ▲ │
///       │   │ └──── (first byte only) ────────┘                     │   │ └ GSSENCRequest/decline
///       │   └ GSSENCRequest/decline                                 │   │   (once a connection)
///       │     (once a connection)           StartupMessage/route    │   │
///       └── CancelRequest/cancel ─────▶ finished ◀──────────────────┘
///                                              CancelRequest/cancel
/// Anything else is a violation and ends in finished.
///
/// SSLRequest and GSSENCRequest come in either order, at most one of each: a client that asks for
/// TLS first gets it, and asks for GSS, if at all, inside.
///
/// Pure: no channel, no clock, no logger. Feed it bytes, run the action it returns.
/// Source: PostgreSQL documentation, "Message Flow", "Start-up" and "SSL Session Encryption".
public struct StartupMachine: Sendable {
    /// The longest packet accepted before authentication, in bytes, its length word included.
    ///
    /// Source: `MAX_STARTUP_PACKET_LENGTH` in PostgreSQL's `pqcomm.h`.
    public static let maximumPacketBytes = 10_000

    /// What the channel must do next. One packet in, one action out.
    public enum OnReceive: Equatable, Sendable {
        /// Not a whole packet yet.
        case readMore
        /// Send the byte `N` and go on as before.
        case declineEncryption
        /// Send the byte `S`, then hand the connection to TLS.
        case startTLS
        /// Hand the connection to TLS, the bytes at hand first: nothing was taken off them. The
        /// client must then have negotiated ALPN `postgresql`, which the channel checks.
        case startDirectTLS
        /// The client asks for a database.
        case route(StartupRequest)
        /// The client asks to cancel a query. Answer nothing and close.
        case cancel(CancelKey)
    }

    private enum Phase: Equatable {
        case plaintext(declinedGSS: Bool)
        case upgrading(declinedGSS: Bool)
        case encrypted(declinedGSS: Bool)
        case finished
    }

    /// The first byte of a TLS record that holds a ClientHello.
    ///
    /// As the top byte of a length it would announce 369 MB, so the two cannot be confused.
    private static let tlsHandshakeRecord: UInt8 = 0x16

    private var phase = Phase.plaintext(declinedGSS: false)

    /// Creates a machine for a connection that was just accepted.
    public init() {}

    /// Takes at most one packet off the front of `bytes`.
    ///
    /// - Throws: ``StartupViolation`` if the client broke the protocol. The machine is then
    ///   finished.
    public mutating func receive(
        _ bytes: inout ByteBuffer
    ) throws(StartupViolation) -> OnReceive {
        do throws(StartupViolation) {
            if self.isDirectTLS(bytes) {
                self.phase = .upgrading(declinedGSS: false)
                return .startDirectTLS
            }
            if case .upgrading = self.phase, bytes.readableBytes > 0 {
                // TLS takes what arrives from here on; what came past it was never encrypted.
                throw StartupViolation.plaintextBehindTLSRequest(bytes: bytes.readableBytes)
            }
            if case .finished = self.phase {
                // We are closing already, or the bytes behind StartupMessage are another's to read.
                return .readMore
            }
            let limit = Self.maximumPacketBytes
            guard let packet = try StartupPacket.read(from: &bytes, maximumBytes: limit) else {
                return .readMore
            }
            let behind = bytes.readableBytes
            let (next, action) = try Self.transition(self.phase, packet, bytesBehind: behind)
            self.phase = next
            return action
        } catch {
            self.phase = .finished
            throw error
        }
    }

    /// Tells a CancelRequest, or the beginning of one, by its first eight bytes.
    ///
    /// - Parameter bytes: What a connection began with.
    /// - Returns: Whether it can still become one.
    public static func mayCancel(_ bytes: ByteBuffer) -> Bool {
        StartupPacket.mayCancel(bytes)
    }

    /// TLS is up. Only the channel can know this.
    public mutating func tlsEstablished() {
        guard case .upgrading(let declinedGSS) = self.phase else {
            preconditionFailure("no startTLS was asked for")
        }
        self.phase = .encrypted(declinedGSS: declinedGSS)
    }

    /// Direct TLS is the first byte of a connection or none at all, as in PostgreSQL.
    private func isDirectTLS(_ bytes: ByteBuffer) -> Bool {
        guard case .plaintext(declinedGSS: false) = self.phase else { return false }
        return bytes.readableBytesView.first == Self.tlsHandshakeRecord
    }

    /// The diagram above, as a table.
    ///
    /// Every pair is listed: a new phase or packet must not compile until someone has decided
    /// what it means here.
    private static func transition(
        _ phase: Phase,
        _ packet: StartupPacket,
        bytesBehind: Int
    ) throws(StartupViolation) -> (next: Phase, action: OnReceive) {
        switch (phase, packet) {
        case (.plaintext, .sslRequest) where bytesBehind > 0,
            (.plaintext, .gssRequest) where bytesBehind > 0:
            // These bytes were never encrypted, so a man in the middle may have written them.
            // CVE-2021-23214 is PostgreSQL itself once lacking this check.
            throw .plaintextBehindTLSRequest(bytes: bytesBehind)
        case (.plaintext(let declinedGSS), .sslRequest):
            (.upgrading(declinedGSS: declinedGSS), .startTLS)
        case (.plaintext(declinedGSS: false), .gssRequest):
            (.plaintext(declinedGSS: true), .declineEncryption)
        case (.encrypted(declinedGSS: false), .gssRequest):
            (.encrypted(declinedGSS: true), .declineEncryption)
        case (.plaintext, .cancel(let key)), (.encrypted, .cancel(let key)):
            (.finished, .cancel(key))
        case (.encrypted, .startup(let request)):
            (.finished, .route(request))
        case (.plaintext, .startup):
            throw .tlsRequired
        case (.plaintext, .gssRequest), (.encrypted, .sslRequest), (.encrypted, .gssRequest),
            (.upgrading, _):
            throw .unexpected(packet.name)
        case (.finished, _):
            (.finished, .readMore)
        }
    }
}

/// How a client broke the start-up talk.
public enum StartupViolation: Error, Equatable, Sendable {
    /// StartupMessage came in plaintext.
    case tlsRequired
    /// A length that no packet of this kind has, in bytes.
    case badLength(Int)
    /// Bytes arrived in clear behind SSLRequest or GSSENCRequest.
    case plaintextBehindTLSRequest(bytes: Int)
    /// The major version is not 3.
    case unsupportedVersion(ProtocolVersion)
    /// The body of StartupMessage does not parse; the text says where, without quoting it.
    case malformed(String)
    /// A packet in a phase where it has no meaning, by name.
    case unexpected(String)
}
