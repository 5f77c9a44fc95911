public import Foundation
public import Logging
import NIOCore
public import NIOSSL
import PostgresWire
import Synchronization

/// The certificate that both doors serve, replaced while connections go on.
///
/// A connection keeps the context it began with; the next one gets the newest. A new pair that
/// cannot be used is logged and the old one stays.
///
/// What one TLS connection keeps in memory is NIOSSL's and BoringSSL's to decide, so the choices
/// here are few. BoringSSL frees its read buffer and its handshake state when they are empty. The
/// outbound buffer of NIOSSL stays as large as the largest flush was, whatever
/// `maximumPreservedOutboundBufferCapacity` says (2.37.6 does not pass it on): who writes must
/// bound
/// what one flush holds. Contexts are shared by all connections of a door, never made for one.
///
/// Resumption stays as BoringSSL has it, with stateless tickets under keys that live and die
/// with a context. So a ticket never outlives its certificate here, and a client that resumes
/// binds SCRAM to the certificate that is still served.
public final class TLSContextBox: Sendable {
    /// What a new connection is served with: taken once, so that its parts belong together.
    public struct Served: Sendable {
        /// For Postgres clients, ALPN `postgresql`.
        public let frontDoor: NIOSSLContext
        /// For agents, browsers and the API, ALPN `http/1.1`.
        public let https: NIOSSLContext
        /// What SCRAM-SHA-256-PLUS binds to; nil where the signature algorithm defines no hash.
        ///
        /// Source: RFC 5929, section 4.
        public let endPointHash: [UInt8]?
        /// When the certificate expires.
        public let expiry: Date
    }

    /// What ``reloadIfChanged()`` did.
    public enum OnReload: Hashable, Sendable {
        /// The files are as they were.
        case unchanged
        /// The new pair is served from now on.
        case replaced
        /// The new pair cannot be used. The old one is still served.
        case kept
    }

    /// How long a closing connection waits for the other side's close_notify.
    ///
    /// A length-framed protocol learns nothing from it, so one second is plenty.
    static let shutdownTimeout = TimeAmount.seconds(1)

    private struct State {
        var served: Served
        var bytes: PairBytes
    }

    private let certificateFile: String
    private let keyFile: String
    private let logger: Logger
    private let metrics: RelayMetrics?
    private let state: Mutex<State>

    /// Reads the pair.
    ///
    /// - Parameters:
    ///   - certificateFile: PEM; the leaf first, then what leads to its authority.
    ///   - keyFile: PEM, not encrypted.
    ///   - logger: Told of every reload.
    ///   - metrics: Counts reloads and shows the expiry.
    /// - Throws: ``CertificateError`` if there is no pair that can be served.
    public init(
        certificateFile: String, keyFile: String, logger: Logger, metrics: RelayMetrics? = nil
    ) throws(CertificateError) {
        self.certificateFile = certificateFile
        self.keyFile = keyFile
        self.logger = logger
        self.metrics = metrics
        let bytes = try PairBytes(certificateFile: certificateFile, keyFile: keyFile)
        let served = try bytes.served(certificateFile: certificateFile, keyFile: keyFile)
        self.state = Mutex(State(served: served, bytes: bytes))
        metrics?.certificateExpiry.set(Int(served.expiry.timeIntervalSince1970))
    }

    /// What the next connection is served with.
    public func current() -> Served {
        self.state.withLock { $0.served }
    }

    /// Reads both files again and serves what they hold now, if that is something new.
    ///
    /// Called on SIGHUP and by a timer; it reads two small files on the calling thread.
    ///
    /// - Returns: What was done.
    @discardableResult
    public func reloadIfChanged() -> OnReload {
        let old = self.state.withLock { $0.bytes }
        do {
            let new = try PairBytes(certificateFile: self.certificateFile, keyFile: self.keyFile)
            guard new != old else { return .unchanged }
            return self.replace(with: new)
        } catch {
            return self.keep(because: error)
        }
    }

    private func replace(with bytes: PairBytes) -> OnReload {
        do {
            let served = try bytes.served(
                certificateFile: self.certificateFile, keyFile: self.keyFile)
            self.state.withLock { $0 = State(served: served, bytes: bytes) }
            self.metrics?.certificateReloads.add(.replaced)
            self.metrics?.certificateExpiry.set(Int(served.expiry.timeIntervalSince1970))
            self.logger.log(.info, "the certificate was replaced", [.file: self.certificateFile])
            return .replaced
        } catch {
            // Said once: the next look compares with these bytes.
            self.state.withLock { $0.bytes = bytes }
            return self.keep(because: error)
        }
    }

    private func keep(because error: CertificateError) -> OnReload {
        self.metrics?.certificateReloads.add(.kept)
        self.logger.log(
            .error, "the new certificate cannot be used; the old one is kept",
            [.error: "\(error)"])
        return .kept
    }
}

/// A certificate file and its key file as they are on disk.
private struct PairBytes: Hashable {
    let certificate: [UInt8]
    let key: [UInt8]

    init(certificateFile: String, keyFile: String) throws(CertificateError) {
        self.certificate = try PrivateFile.read(certificateFile)
        self.key = try PrivateFile.read(keyFile)
    }

    /// Makes contexts of the pair. NIOSSL checks that the key belongs to the certificate.
    func served(
        certificateFile: String, keyFile: String
    ) throws(CertificateError) -> TLSContextBox.Served {
        do {
            let chain = try NIOSSLCertificate.fromPEMBytes(self.certificate)
            let key = try NIOSSLPrivateKey(bytes: self.key, format: .pem)
            guard let leaf = chain.first else {
                throw CertificateError.signing(detail: "the file holds no certificate")
            }
            return TLSContextBox.Served(
                frontDoor: try Self.context(chain, key, alpn: "postgresql"),
                https: try Self.context(chain, key, alpn: "http/1.1"),
                endPointHash: TLSServerEndPoint.hash(certificateDER: try leaf.toDERBytes()),
                expiry: Date(timeIntervalSince1970: TimeInterval(leaf.notValidAfter)))
        } catch {
            throw .unusablePair(
                certificate: certificateFile, key: keyFile, detail: "\(error)")
        }
    }

    private static func context(
        _ chain: [NIOSSLCertificate], _ key: NIOSSLPrivateKey, alpn: String
    ) throws -> NIOSSLContext {
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
        configuration.minimumTLSVersion = .tlsv12
        configuration.applicationProtocols = [alpn]
        configuration.shutdownTimeout = TLSContextBox.shutdownTimeout
        return try NIOSSLContext(configuration: configuration)
    }
}
