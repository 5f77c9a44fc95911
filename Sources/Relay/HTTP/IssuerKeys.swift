package import Foundation
import JWTKit

/// The keys of an issuer, each with the one algorithm that it is for.
///
/// A token chooses among them by the name of a key and of an algorithm, and nothing else: so a
/// public RSA key never serves as a secret of HS256, and `none` has no key.
package struct IssuerKeys: Sendable {
    /// The most keys of a set that are looked at. Issuers have two or three.
    package static let maximumKeys = 32
    /// The shortest secret of HS256, in bytes: as long as what it makes. Source: RFC 7518, 3.2.
    package static let minimumSecretBytes = 32

    private struct Key: Sendable {
        let id: String?
        let algorithm: any JWTAlgorithm
    }

    private let keys: [Key]

    private init(_ keys: [Key]) {
        self.keys = keys
    }

    /// The one key that a shared secret is.
    package init(secret: Data) async throws {
        let signer = try await JWTKeyCollection()
            .add(hmac: HMACKey(from: secret), digestAlgorithm: .sha256).getKey()
        self.keys = [Key(id: nil, algorithm: signer)]
    }

    /// Reads a JSON Web Key Set. What is not a public key for signatures of a kind known here is
    /// skipped. Source: RFC 7517.
    ///
    /// - Throws: ``UnusableKeySet`` where nothing is left.
    package init(keySet: Data) async throws {
        guard let set = try? JSONDecoder().decode(KeySet.self, from: keySet) else {
            throw UnusableKeySet(reason: "it is no JSON Web Key Set")
        }
        var keys: [Key] = []
        for field in set.keys.prefix(Self.maximumKeys) {
            guard let jwk = field.key, let signer = try? await jwk.algorithm() else { continue }
            keys.append(Key(id: jwk.kid, algorithm: signer))
        }
        guard !keys.isEmpty else {
            throw UnusableKeySet(
                reason: "it holds no public key for RS256, PS256, ES256, ES384 or EdDSA")
        }
        self.keys = keys
    }

    /// Whether one of the keys made the token's signature.
    func check(_ token: SignedToken) throws(IssuedTokenFault) {
        let fitting = self.keys.filter { key in
            key.algorithm.name == token.algorithm
                && (key.id == nil || token.keyID == nil || key.id == token.keyID)
        }
        guard !fitting.isEmpty else { throw .unknownKey }
        let isGood = fitting.contains { key in
            (try? key.algorithm.verify(token.signature, signs: token.signedBytes)) == true
        }
        if isGood { return }
        // Where neither side names its keys, a new key looks like a wrong one.
        let isNamed = fitting.contains { $0.id != nil && $0.id == token.keyID }
        throw isNamed ? .signature : .unknownKey
    }
}

/// Why a key set cannot be used.
package struct UnusableKeySet: Error, Sendable, CustomStringConvertible {
    /// A sentence for the operator.
    let reason: String

    package var description: String { self.reason }
}

private struct KeySet: Decodable {
    /// A key, or what is in its place and cannot be read.
    struct Field: Decodable {
        var key: PublicKey?

        init(from decoder: any Decoder) throws {
            self.key = try? PublicKey(from: decoder)
        }
    }

    var keys: [Field]
}

/// One key of a set. Of private keys only the public half is read.
private struct PublicKey: Decodable {
    var kty: String
    var kid: String?
    var use: String?
    var alg: String?
    var crv: String?
    var n: String?
    var e: String?
    var x: String?
    var y: String?

    enum CodingKeys: String, CodingKey {
        case kty, kid, use, alg, crv, n, e, x, y
        case operations = "key_ops"
    }

    private var operations: [String]?

    /// The key's one algorithm; nil where it is for something else, or unknown.
    ///
    /// - Throws: What the library says of numbers that are no key, or of RSA below 2048 bits.
    func algorithm() async throws -> (any JWTAlgorithm)? {
        guard self.use == nil || self.use == "sig",
            self.operations.map({ $0.contains("verify") }) ?? true
        else { return nil }
        let keys = JWTKeyCollection()
        switch (self.kty, self.crv) {
        case ("RSA", _):
            guard let n, let e else { return nil }
            return try await Self.rsa(
                Insecure.RSA.PublicKey(modulus: n, exponent: e), self.alg ?? "RS256", keys)
        case ("EC", "P-256"):
            guard self.isFor("ES256"), let x, let y else { return nil }
            return try await keys.add(ecdsa: ES256PublicKey(parameters: (x: x, y: y))).getKey()
        case ("EC", "P-384"):
            guard self.isFor("ES384"), let x, let y else { return nil }
            return try await keys.add(ecdsa: ES384PublicKey(parameters: (x: x, y: y))).getKey()
        case ("OKP", "Ed25519"):
            guard self.isFor("EdDSA"), let x else { return nil }
            return try await keys.add(eddsa: EdDSA.PublicKey(x: x, curve: .ed25519)).getKey()
        default:
            return nil
        }
    }

    private func isFor(_ name: String) -> Bool { self.alg == nil || self.alg == name }

    private static func rsa(
        _ key: Insecure.RSA.PublicKey, _ name: String, _ keys: JWTKeyCollection
    ) async throws -> (any JWTAlgorithm)? {
        switch name {
        case "RS256": try await keys.add(rsa: key, digestAlgorithm: .sha256).getKey()
        case "RS384": try await keys.add(rsa: key, digestAlgorithm: .sha384).getKey()
        case "RS512": try await keys.add(rsa: key, digestAlgorithm: .sha512).getKey()
        case "PS256": try await keys.add(pss: key, digestAlgorithm: .sha256).getKey()
        case "PS384": try await keys.add(pss: key, digestAlgorithm: .sha384).getKey()
        case "PS512": try await keys.add(pss: key, digestAlgorithm: .sha512).getKey()
        default: nil
        }
    }
}
