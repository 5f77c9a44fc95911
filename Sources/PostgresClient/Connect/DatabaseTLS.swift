import NIOCore
import NIOSSL
import PostgresWire

extension DatabaseTLSSettings {
    /// What Postgres is called in a TLS handshake.
    ///
    /// Source: PostgreSQL documentation, "SSL Session Encryption".
    static let applicationProtocol = "postgresql"

    /// How long a TLS goodbye may take. Nothing is lost without it: Postgres's messages have
    /// lengths.
    private static let shutdownTimeout = TimeAmount.seconds(1)

    /// The one context that every connection shares.
    func makeContext() throws(DatabaseSettingsError) -> NIOSSLContext {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        configuration.applicationProtocols = [Self.applicationProtocol]
        configuration.shutdownTimeout = Self.shutdownTimeout
        switch self.rootCertificate {
        case nil where self.mode == .verifyCA || self.mode == .verifyFull:
            throw .invalid(key: "sslrootcert", problem: "sslmode=\(self.mode.rawValue) needs one")
        case nil:
            configuration.certificateVerification = .none
        case .system:
            configuration.trustRoots = .default
            configuration.certificateVerification = .fullVerification
        case .file(let path):
            configuration.trustRoots = .file(path)
            // As in libpq: with a root certificate at hand, every mode checks the chain.
            configuration.certificateVerification =
                self.mode == .verifyFull ? .fullVerification : .noHostnameVerification
        }
        if let path = self.certificatePath {
            let chain = try Self.reading("sslcert") { try NIOSSLCertificate.fromPEMFile(path) }
            configuration.certificateChain = chain.map { .certificate($0) }
            configuration.privateKey = .privateKey(try self.readKey(certificatePath: path))
        }
        let checked = configuration
        return try Self.reading("sslrootcert") { try NIOSSLContext(configuration: checked) }
    }

    private func readKey(certificatePath: String) throws(DatabaseSettingsError) -> NIOSSLPrivateKey
    {
        guard let path = self.keyPath else {
            throw .invalid(key: "sslkey", problem: "\(certificatePath) has no key")
        }
        let passPhrase = self.keyPassword
        return try Self.reading("sslkey") {
            do {
                return try NIOSSLPrivateKey(file: path, format: .pem) { setter in
                    setter((passPhrase?.reveal ?? "").utf8)
                }
            } catch {
                return try NIOSSLPrivateKey(file: path, format: .der)
            }
        }
    }

    private static func reading<Value>(
        _ key: String,
        _ body: () throws -> Value
    ) throws(DatabaseSettingsError) -> Value {
        do {
            return try body()
        } catch {
            throw .invalid(key: key, problem: "\(error)")
        }
    }
}
