import Crypto
import SwiftASN1

/// The channel binding that Postgres uses: a hash of the server's certificate.
///
/// Source: RFC 5929, section 4; `X509_get_signature_info` in `be_tls_get_certificate_hash`.
public enum TLSServerEndPoint {
    private enum Hash {
        case sha256
        case sha384
        case sha512
    }

    /// Hashes a certificate with the hash of its own signature; SHA-256 stands in for MD5 and
    /// SHA-1.
    ///
    /// - Parameter certificateDER: The leaf that is served, whole.
    /// - Returns: The channel binding data, or nil where it is not defined (Ed25519, Ed448), where
    ///   the hash is one that nobody uses (SHA-224, SHA-3), or where this is not a certificate.
    public static func hash(certificateDER: [UInt8]) -> [UInt8]? {
        guard let hash = self.signatureHash(certificateDER) else { return nil }
        return switch hash {
        case .sha256: Array(SHA256.hash(data: certificateDER))
        case .sha384: Array(SHA384.hash(data: certificateDER))
        case .sha512: Array(SHA512.hash(data: certificateDER))
        }
    }

    private static func signatureHash(_ certificateDER: [UInt8]) -> Hash? {
        do {
            return try DER.sequence(try DER.parse(certificateDER), identifier: .sequence) { parts in
                _ = parts.next()  // TBSCertificate
                let algorithm = try Algorithm(parts.next())
                _ = parts.next()  // signatureValue
                return try algorithm.hash()
            }
        } catch {
            return nil
        }
    }

    /// An AlgorithmIdentifier: what it is, and its parameters where it has any.
    private struct Algorithm {
        var identifier: ASN1ObjectIdentifier
        var parameters: ASN1Node?

        init(_ node: ASN1Node?) throws {
            guard let node else { throw ASN1Error.truncatedASN1Field() }
            (self.identifier, self.parameters) = try DER.sequence(node, identifier: .sequence) {
                (try ASN1ObjectIdentifier(derEncoded: &$0), $0.next())
            }
        }

        func hash() throws -> Hash? {
            if self.identifier == TLSServerEndPoint.rsaPSS {
                return try self.hashOfPSS()
            }
            return TLSServerEndPoint.hashes[self.identifier]
        }

        /// RSASSA-PSS names its hash in its parameters, `[0]`; the default is SHA-1.
        ///
        /// Source: RFC 4055, section 3.1.
        private func hashOfPSS() throws -> Hash? {
            guard let parameters = self.parameters else { return .sha256 }
            let named = try DER.sequence(parameters, identifier: .sequence) { fields in
                let hash = try DER.optionalExplicitlyTagged(
                    &fields, tagNumber: 0, tagClass: .contextSpecific
                ) { try Algorithm($0) }
                while fields.next() != nil {}
                return hash
            }
            guard let named else { return .sha256 }
            return TLSServerEndPoint.hashes[named.identifier]
        }
    }

    private static let rsaPSS: ASN1ObjectIdentifier = [1, 2, 840, 113549, 1, 1, 10]

    /// Signature algorithms and, for the parameters of RSASSA-PSS, hashes.
    private static let hashes: [ASN1ObjectIdentifier: Hash] = [
        [1, 2, 840, 113549, 1, 1, 4]: .sha256,  // md5WithRSAEncryption
        [1, 2, 840, 113549, 1, 1, 5]: .sha256,  // sha1WithRSAEncryption
        [1, 2, 840, 113549, 1, 1, 11]: .sha256,  // sha256WithRSAEncryption
        [1, 2, 840, 113549, 1, 1, 12]: .sha384,  // sha384WithRSAEncryption
        [1, 2, 840, 113549, 1, 1, 13]: .sha512,  // sha512WithRSAEncryption
        [1, 2, 840, 10040, 4, 3]: .sha256,  // dsa-with-sha1
        [2, 16, 840, 1, 101, 3, 4, 3, 2]: .sha256,  // dsa-with-sha256
        [1, 2, 840, 10045, 4, 1]: .sha256,  // ecdsa-with-SHA1
        [1, 2, 840, 10045, 4, 3, 2]: .sha256,  // ecdsa-with-SHA256
        [1, 2, 840, 10045, 4, 3, 3]: .sha384,  // ecdsa-with-SHA384
        [1, 2, 840, 10045, 4, 3, 4]: .sha512,  // ecdsa-with-SHA512
        [1, 2, 840, 113549, 2, 5]: .sha256,  // md5
        [1, 3, 14, 3, 2, 26]: .sha256,  // sha1
        [2, 16, 840, 1, 101, 3, 4, 2, 1]: .sha256,  // sha256
        [2, 16, 840, 1, 101, 3, 4, 2, 2]: .sha384,  // sha384
        [2, 16, 840, 1, 101, 3, 4, 2, 3]: .sha512,  // sha512
    ]
}
