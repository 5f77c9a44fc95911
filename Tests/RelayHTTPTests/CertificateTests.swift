import Crypto
import Foundation
import Logging
import NIOSSL
import Relay
import Subprocess
import Testing

@Suite(.timeLimit(.minutes(1)))
struct CertificateTests {
    private static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    private static let today = Date()

    private func openssl(_ arguments: [String]) async throws -> (isGood: Bool, text: String) {
        let result = try await Subprocess.run(
            .name("openssl"), arguments: Arguments(arguments), output: .string(limit: 65_536),
            error: .combinedWithOutput)
        return (result.terminationStatus.isSuccess, result.standardOutput)
    }

    @Test(arguments: ["share.example.com", "a.share.example.com", "localhost"])
    func `openssl accepts the leaf for every name it was made for`(name: String) async throws {
        try await withFolder { folder in
            let files = try DevelopmentCertificates.make(
                in: folder, domain: "Share.Example.com", now: Self.today)
            let verdict = try await self.openssl([
                "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", name,
                "-CAfile", files.caFile, files.certificateFile,
            ])
            #expect(verdict.isGood, "\(verdict.text)")
        }
    }

    @Test(arguments: ["127.0.0.1", "::1"])
    func `openssl accepts the leaf for this machine's addresses`(address: String) async throws {
        try await withFolder { folder in
            let files = try DevelopmentCertificates.make(
                in: folder, domain: "localhost", now: Self.today)
            let verdict = try await self.openssl([
                "verify", "-x509_strict", "-verify_ip", address, "-CAfile", files.caFile,
                files.certificateFile,
            ])
            #expect(verdict.isGood, "\(verdict.text)")
        }
    }

    @Test func `openssl refuses the leaf for another name`() async throws {
        try await withFolder { folder in
            let files = try DevelopmentCertificates.make(
                in: folder, domain: "share.example.com", now: Self.today)
            let verdict = try await self.openssl([
                "verify", "-verify_hostname", "example.com", "-CAfile", files.caFile,
                files.certificateFile,
            ])
            #expect(!verdict.isGood)
        }
    }

    @Test func `nobody else can read the key, and the authority's key is not kept`() async throws {
        try await withFolder { folder in
            let inner = "\(folder)/state/certs"
            let files = try DevelopmentCertificates.make(
                in: inner, domain: "localhost", now: Self.today)
            let key = try FileManager.default.attributesOfItem(atPath: files.keyFile)
            let above = try FileManager.default.attributesOfItem(atPath: inner)
            #expect(key[.posixPermissions] as? Int == 0o600)
            #expect(above[.posixPermissions] as? Int == 0o700)
            let names = try FileManager.default.contentsOfDirectory(atPath: inner).sorted()
            #expect(names == ["ca.pem", "cert.pem", "key.pem"])
        }
    }

    @Test func `a good pair is kept, one near its end is made anew`() async throws {
        try await withFolder { folder in
            let first = try DevelopmentCertificates.ensure(
                in: folder, domain: "localhost", now: Self.today)
            let again = try DevelopmentCertificates.ensure(
                in: folder, domain: "localhost", now: Self.today)
            let days = DevelopmentCertificates.lifetimeDays - DevelopmentCertificates.renewalDays
            let late = Self.today.addingTimeInterval(Double(days) * 86_400 + 60)
            let renewed = try DevelopmentCertificates.ensure(
                in: folder, domain: "localhost", now: late)
            #expect([first.made, again.made, renewed.made] == [true, false, true])
        }
    }

    @Test(arguments: ["ca.pem", "cert.pem", "key.pem"])
    func `a pair with a missing file is made anew`(name: String) async throws {
        try await withFolder { folder in
            _ = try DevelopmentCertificates.make(
                in: folder, domain: "localhost", now: Self.today)
            try FileManager.default.removeItem(atPath: "\(folder)/\(name)")
            let made = try DevelopmentCertificates.ensure(
                in: folder, domain: "localhost", now: Self.today
            ).made
            #expect(made)
        }
    }

    @Test func `another domain gets another pair`() async throws {
        try await withFolder { folder in
            _ = try DevelopmentCertificates.make(
                in: folder, domain: "localhost", now: Self.today)
            let made = try DevelopmentCertificates.ensure(
                in: folder, domain: "example.com", now: Self.today
            ).made
            #expect(made)
        }
    }

    @Test(arguments: [
        "", ".", "a..b", "-a.b", "a-.b", "a b", "*.example.com", "1.2.3.4", "über.de",
        String(repeating: "a", count: 64), "a/../b",
    ])
    func `what is no domain gets no certificate`(domain: String) async throws {
        try await withFolder { folder in
            #expect(throws: CertificateError.unusableDomain(domain)) {
                try DevelopmentCertificates.make(in: folder, domain: domain, now: Self.today)
            }
        }
    }

    @Test func `a changed pair is served, and what was served before stays valid`() async throws {
        try await withFolder { folder in
            let files = try DevelopmentCertificates.make(
                in: folder, domain: "localhost", now: Self.today)
            let metrics = RelayMetrics()
            let box = try TLSContextBox(
                certificateFile: files.certificateFile, keyFile: files.keyFile,
                logger: Self.quiet, metrics: metrics)
            let old = box.current()
            #expect(box.reloadIfChanged() == .unchanged)
            _ = try DevelopmentCertificates.make(
                in: folder, domain: "localhost", now: Self.today)
            #expect(box.reloadIfChanged() == .replaced)
            #expect(box.reloadIfChanged() == .unchanged)
            #expect(box.current().frontDoor !== old.frontDoor)
            #expect(box.current().https !== old.https)
            #expect(box.current().endPointHash != old.endPointHash)
            #expect(metrics.certificateReloads.value(.replaced) == 1)
        }
    }

    @Test(arguments: ["cert.pem", "key.pem"], ["", "no PEM at all"])
    func `a broken new file leaves the old pair served`(
        name: String, content: String
    ) async throws {
        try await withFolder { folder in
            let files = try DevelopmentCertificates.make(
                in: folder, domain: "localhost", now: Self.today)
            let metrics = RelayMetrics()
            let box = try TLSContextBox(
                certificateFile: files.certificateFile, keyFile: files.keyFile,
                logger: Self.quiet, metrics: metrics)
            let old = box.current()
            try content.write(
                toFile: "\(folder)/\(name)", atomically: true, encoding: .utf8)
            #expect(box.reloadIfChanged() == .kept)
            #expect(box.reloadIfChanged() == .unchanged)
            #expect(box.current().frontDoor === old.frontDoor)
            #expect(metrics.certificateReloads.value(.kept) == 1)
        }
    }

    @Test func `a key of another certificate is refused`() async throws {
        try await withFolder { folder in
            let one = try DevelopmentCertificates.make(
                in: "\(folder)/1", domain: "localhost", now: Self.today)
            let two = try DevelopmentCertificates.make(
                in: "\(folder)/2", domain: "localhost", now: Self.today)
            #expect(throws: CertificateError.self) {
                try TLSContextBox(
                    certificateFile: one.certificateFile, keyFile: two.keyFile,
                    logger: Self.quiet)
            }
        }
    }

    @Test func `the end-point hash is SHA-256 of the leaf as served`() async throws {
        try await withFolder { folder in
            let files = try DevelopmentCertificates.make(
                in: folder, domain: "localhost", now: Self.today)
            let box = try TLSContextBox(
                certificateFile: files.certificateFile, keyFile: files.keyFile,
                logger: Self.quiet)
            let leaf = try #require(
                try NIOSSLCertificate.fromPEMFile(files.certificateFile).first)
            let expected = Array(SHA256.hash(data: try leaf.toDERBytes()))
            #expect(box.current().endPointHash == expected)
        }
    }
}
