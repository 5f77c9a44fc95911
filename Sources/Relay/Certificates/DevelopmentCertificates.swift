import Crypto
public import Foundation
import SwiftASN1
import X509

/// Certificates for a relay that has none from a real authority: made here, trusted by `ca.pem`.
///
/// The authority's key exists only while its one leaf is signed and is then forgotten: whoever
/// trusts `ca.pem` trusts this leaf and nothing that could be signed later. So a new leaf comes
/// with a new `ca.pem`.
public struct DevelopmentCertificates: Hashable, Sendable {
    /// How long a pair is good for. Browsers and Apple's TLS accept at most 398 days.
    public static let lifetimeDays = 397
    /// A pair with less than this left is made anew.
    public static let renewalDays = 30

    /// What clients and agents trust.
    public let caFile: String
    /// What the relay serves.
    public let certificateFile: String
    /// The leaf's key, readable by its owner only.
    public let keyFile: String

    /// Names the three files of a folder, whether they exist or not.
    ///
    /// - Parameter folder: Usually `STATE/certs`.
    public init(folder: String) {
        self.caFile = "\(folder)/ca.pem"
        self.certificateFile = "\(folder)/cert.pem"
        self.keyFile = "\(folder)/key.pem"
    }

    /// Whether `domain` is a domain name, so that a pair can be made for it.
    public static func canName(_ domain: String) -> Bool {
        (try? CertificateNames(domain: domain)) != nil
    }

    /// Makes sure that `folder` holds a pair for `domain` that is good for a while.
    ///
    /// - Parameters:
    ///   - folder: Made when missing, mode 0700.
    ///   - domain: The relay's domain; the leaf is also good for `*.domain` and this machine.
    ///   - now: Today.
    /// - Returns: Where the files are, and whether they were made just now.
    /// - Throws: ``CertificateError`` if the domain is no domain or a file cannot be written.
    public static func ensure(
        in folder: String, domain: String, now: Date
    ) throws(CertificateError) -> (files: DevelopmentCertificates, made: Bool) {
        let files = DevelopmentCertificates(folder: folder)
        if files.areGood(for: domain, at: now) { return (files, false) }
        return (try self.make(in: folder, domain: domain, now: now), true)
    }

    /// Makes a new authority and a leaf, whatever was there before.
    ///
    /// - Parameters:
    ///   - folder: Made when missing, mode 0700.
    ///   - domain: The relay's domain.
    ///   - now: Today.
    /// - Returns: Where the files are.
    /// - Throws: ``CertificateError`` if the domain is no domain or a file cannot be written.
    public static func make(
        in folder: String, domain: String, now: Date
    ) throws(CertificateError) -> DevelopmentCertificates {
        let names = try CertificateNames(domain: domain)
        let files = DevelopmentCertificates(folder: folder)
        let pair: SignedPair
        do {
            pair = try SignedPair(names: names, now: now, lifetimeDays: self.lifetimeDays)
        } catch {
            throw .signing(detail: "\(error)")
        }
        try PrivateFile.makeFolder(folder)
        // The certificate comes last: a relay that re-reads in between finds a pair that does not
        // match, keeps its own, and looks again.
        try PrivateFile.write(pair.authorityPEM, to: files.caFile, mode: 0o644)
        try PrivateFile.write(pair.keyPEM, to: files.keyFile, mode: 0o600)
        try PrivateFile.write(pair.leafPEM, to: files.certificateFile, mode: 0o644)
        return files
    }

    /// Whether all three files are there, name the domain and last a while.
    private func areGood(for domain: String, at now: Date) -> Bool {
        guard let names = try? CertificateNames(domain: domain),
            let certificate = try? PrivateFile.read(self.certificateFile),
            let leaf = try? Certificate(pemEncoded: String(decoding: certificate, as: UTF8.self)),
            FileManager.default.isReadableFile(atPath: self.caFile),
            FileManager.default.isReadableFile(atPath: self.keyFile),
            let subjects = try? leaf.extensions.subjectAlternativeNames
        else { return false }
        let renewal = now.addingTimeInterval(Double(Self.renewalDays) * 86_400)
        return leaf.notValidBefore <= now && leaf.notValidAfter > renewal
            && Set(names.general).isSubset(of: Set(subjects))
    }
}

/// The names that a development leaf is good for.
struct CertificateNames: Hashable {
    /// The names, the domain first.
    let general: [GeneralName]
    /// The domain, in lower case.
    let domain: String

    init(domain: String) throws(CertificateError) {
        let lowered = domain.lowercased()
        guard Self.isDomain(lowered) else { throw .unusableDomain(domain) }
        self.domain = lowered
        var dnsNames = [lowered, "*.\(lowered)"]
        if lowered != "localhost" { dnsNames.append("localhost") }
        let addresses: [[UInt8]] = [[127, 0, 0, 1], [UInt8](repeating: 0, count: 15) + [1]]
        self.general =
            dnsNames.map { .dnsName($0) }
            + addresses.map { .ipAddress(ASN1OctetString(contentBytes: $0[...])) }
    }

    /// Source: RFC 1123, section 2.1; a name has at most 253 characters, a label 63.
    private static func isDomain(_ name: String) -> Bool {
        guard (1...253).contains(name.utf8.count) else { return false }
        let labels = name.split(separator: ".", omittingEmptySubsequences: false)
        return labels.allSatisfy { label in
            (1...63).contains(label.utf8.count) && label.first != "-" && label.last != "-"
                && label.utf8.allSatisfy {
                    (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D
                }
        } && !(labels.last?.allSatisfy(\.isNumber) ?? true)
    }
}

/// A fresh authority, and the one leaf it signs. ECDSA P-256: the fastest handshake of those that
/// every client understands.
private struct SignedPair {
    let authorityPEM: String
    let leafPEM: String
    let keyPEM: String

    init(names: CertificateNames, now: Date, lifetimeDays: Int) throws {
        // Clocks differ: an hour back keeps a client that is behind from refusing.
        let start = now.addingTimeInterval(-3_600)
        let end = now.addingTimeInterval(Double(lifetimeDays) * 86_400)
        let authorityKey = Certificate.PrivateKey(P256.Signing.PrivateKey())
        let leafKey = Certificate.PrivateKey(P256.Signing.PrivateKey())
        let authority = try Self.authority(
            key: authorityKey, domain: names.domain, from: start, to: end)
        let leaf = try Certificate(
            version: .v3,
            serialNumber: .init(),
            publicKey: leafKey.publicKey,
            notValidBefore: start,
            notValidAfter: end,
            issuer: authority.subject,
            subject: try DistinguishedName { CommonName(names.domain) },
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.serverAuth])
                SubjectAlternativeNames(names.general)
                AuthorityKeyIdentifier(
                    keyIdentifier: SubjectKeyIdentifier(hash: authorityKey.publicKey)
                        .keyIdentifier)
                SubjectKeyIdentifier(hash: leafKey.publicKey)
            },
            issuerPrivateKey: authorityKey)
        self.authorityPEM = try authority.serializeAsPEM().pemString + "\n"
        self.leafPEM = try leaf.serializeAsPEM().pemString + "\n"
        self.keyPEM = try leafKey.serializeAsPEM().pemString + "\n"
    }

    private static func authority(
        key: Certificate.PrivateKey, domain: String, from start: Date, to end: Date
    ) throws -> Certificate {
        let name = try DistinguishedName {
            OrganizationName("pgshare development")
            CommonName("pgshare development CA for \(domain)".prefix(64).description)
        }
        return try Certificate(
            version: .v3,
            serialNumber: .init(),
            publicKey: key.publicKey,
            notValidBefore: start,
            notValidAfter: end,
            issuer: name,
            subject: name,
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                Critical(KeyUsage(keyCertSign: true))
                SubjectKeyIdentifier(hash: key.publicKey)
            },
            issuerPrivateKey: key)
    }
}
