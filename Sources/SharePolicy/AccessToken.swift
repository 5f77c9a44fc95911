/// What a request shows to be let in, not checked yet: a token of ours, or one of an issuer.
///
/// Its descriptions hide it.
public enum AccessToken: Sendable {
    /// One that the operator of the relay made, or an agent for itself.
    case own(TunnelToken)
    /// One of an issuer that the relay is told to believe.
    case issued(IssuedToken)

    /// Reads a token; nil unless it has the form of either. No text has both forms.
    public init?(_ text: String) {
        if let token = TunnelToken(text) {
            self = .own(token)
        } else if let token = IssuedToken(text) {
            self = .issued(token)
        } else {
            return nil
        }
    }

    /// The token's text. For the `Authorization` header alone.
    public var reveal: String {
        switch self {
        case .own(let token): token.reveal
        case .issued(let token): token.reveal
        }
    }
}

/// A JSON Web Token as it travels: three parts of base64url with dots between.
///
/// Whether its signature and its claims are good is not said. Source: RFC 7515, 7.1.
public struct IssuedToken: Sendable, CustomStringConvertible, CustomDebugStringConvertible {
    /// The longest token, in bytes. Tokens with many claims have 2 or 3 KiB; a request's headers
    /// may have 16 KiB in all.
    public static let maximumLength = 8 * 1_024

    /// The token's text. For checking it and for the `Authorization` header.
    public let reveal: String

    /// Reads a token; nil unless it has the form of one. An empty signature is no signature.
    public init?(_ text: String) {
        guard text.utf8.count <= Self.maximumLength else { return nil }
        let parts = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3, parts.allSatisfy({ !$0.isEmpty && $0.allSatisfy(Self.isLegal) })
        else { return nil }
        self.reveal = text
    }

    private static func isLegal(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default:
            false
        }
    }

    /// Hides the token.
    public var description: String { "…" }

    /// Hides the token.
    public var debugDescription: String { "…" }
}

extension AccessToken: CustomStringConvertible, CustomDebugStringConvertible {
    /// Hides the token.
    public var description: String { "…" }

    /// Hides the token.
    public var debugDescription: String { "…" }
}
