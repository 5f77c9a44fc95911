import Crypto

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What the two ends of a WebSocket prove to each other.
///
/// Source: RFC 6455, 1.3 "Opening Handshake".
package enum WebSocketHandshake {
    /// The GUID that the RFC gives every server.
    private static let guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

    /// The value of `Sec-WebSocket-Accept` for a client's `Sec-WebSocket-Key`.
    ///
    /// SHA-1 proves here only that the server read the request; nothing is kept secret by it.
    package static func accept(key: String) -> String {
        Data(Insecure.SHA1.hash(data: Data((key + Self.guid).utf8))).base64EncodedString()
    }

    /// A new `Sec-WebSocket-Key`: 16 random bytes in base64.
    static func makeKey(using random: inout some RandomNumberGenerator) -> String {
        Data((0..<16).map { _ in UInt8.random(in: .min ... .max, using: &random) })
            .base64EncodedString()
    }
}
