package import Foundation
package import SharePolicy

/// Why a token of an issuer is not believed. For the relay's log: who showed it is told
/// "unauthorized" and nothing else.
package enum IssuedTokenFault: String, Error, Hashable, Sendable, CaseIterable {
    /// It cannot be read, or asks for an extension that nobody here knows.
    case malformed
    /// No key of that name and algorithm is known. `none` never has one.
    case unknownKey = "unknown_key"
    /// The signature is not that of the key.
    case signature
    /// It does not say until when it is good.
    case noExpiry = "no_expiry"
    /// It was good until a minute ago or longer.
    case expired
    /// It is not good yet.
    case notYetValid = "not_yet_valid"
    /// Another issuer.
    case issuer
    /// It was made for another service.
    case audience
    /// It names nobody, or in too many words.
    case subject
}

/// A token of an issuer, taken apart; nothing of it is checked.
///
/// Source: RFC 7515 (the parts), RFC 7519 (the claims).
struct SignedToken: Sendable {
    /// The algorithm that the token claims to be signed with.
    let algorithm: String
    /// Which of the issuer's keys; nil where it does not say.
    let keyID: String?
    /// What the signature is over.
    let signedBytes: [UInt8]
    let signature: [UInt8]
    private let claims: Data

    private struct Header: Decodable {
        var alg: String
        var kid: String?
        var crit: [String]?
    }

    init(_ token: IssuedToken) throws(IssuedTokenFault) {
        let parts = token.reveal.utf8.split(separator: UInt8(ascii: "."))
        guard parts.count == 3, let header = Base64URL.decode(parts[0]),
            let claims = Base64URL.decode(parts[1]), let signature = Base64URL.decode(parts[2]),
            let fields = try? JSONDecoder().decode(Header.self, from: header),
            // Extensions that must be understood are not: RFC 7515, 4.1.11.
            fields.crit == nil
        else { throw .malformed }
        self.algorithm = fields.alg
        self.keyID = fields.kid
        self.signedBytes = Array(parts[0]) + [UInt8(ascii: ".")] + Array(parts[1])
        self.signature = Array(signature)
        self.claims = claims
    }

    /// What it says. Ask once the signature is known to be good.
    func readClaims() throws(IssuedTokenFault) -> TokenClaims {
        guard let claims = try? JSONDecoder().decode(TokenClaims.self, from: self.claims) else {
            throw .malformed
        }
        return claims
    }
}

/// What a token says of its bearer.
package struct TokenClaims: Decodable, Hashable, Sendable {
    /// How far the issuer's clock and ours may be apart, in seconds.
    package static let leeway: TimeInterval = 60

    private var iss: String?
    private var aud: Audience?
    private var sub: String?
    private var exp: Double?
    private var nbf: Double?

    /// One service, or a list of them. Source: RFC 7519, 4.1.3.
    private struct Audience: Decodable, Hashable, Sendable {
        var names: [String]

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let name = try? container.decode(String.self) {
                self.names = [name]
            } else {
                self.names = try container.decode([String].self)
            }
        }
    }

    /// Checks every claim.
    ///
    /// - Returns: Whom the token speaks for.
    package func owner(
        issuer: String, audience: String, now: Date
    ) throws(IssuedTokenFault) -> OwnerID {
        guard self.iss == issuer else { throw .issuer }
        guard self.aud?.names.contains(audience) == true else { throw .audience }
        guard let exp = self.exp else { throw .noExpiry }
        let seconds = now.timeIntervalSince1970
        guard seconds < exp + Self.leeway else { throw .expired }
        if let nbf = self.nbf, seconds < nbf - Self.leeway { throw .notYetValid }
        guard let owner = self.sub.flatMap({ OwnerID(issuedSubject: $0) }) else { throw .subject }
        return owner
    }
}

/// Base64 with the alphabet of URLs and without padding. Source: RFC 4648, 5; RFC 7515, 2.
enum Base64URL {
    static func decode(_ text: some Collection<UInt8>) -> Data? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count + 3)
        for byte in text {
            switch byte {
            case UInt8(ascii: "-"): bytes.append(UInt8(ascii: "+"))
            case UInt8(ascii: "_"): bytes.append(UInt8(ascii: "/"))
            case UInt8(ascii: "+"), UInt8(ascii: "/"), UInt8(ascii: "="): return nil
            default: bytes.append(byte)
            }
        }
        while !bytes.count.isMultiple(of: 4) { bytes.append(UInt8(ascii: "=")) }
        return Data(base64Encoded: Data(bytes))
    }
}
