import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import NIOSSL
import SharePolicy

/// The relay's HTTP API, as a command sees it.
struct RelayAPI {
    /// What a command may ask for.
    enum Method: Sendable {
        case get
        case delete
        case post
    }

    /// Bytes of the longest answer that is read: a list of some thousand shares.
    private static let maximumAnswerBytes = 4 << 20
    private let base: String
    private let token: AccessToken?
    private let tls: TLSConfiguration
    /// How long an answer may take.
    private let timeout: TimeAmount

    /// Checks the settings; nothing is sent yet.
    ///
    /// - Throws: ``SettingsError`` if the URL or the authority cannot be used.
    init(relay: String, token: AccessToken, caFile: String?) throws(SettingsError) {
        guard let url = URLComponents(string: relay), url.scheme == "https", url.host != nil,
            url.path.isEmpty || url.path == "/", url.query == nil
        else {
            throw .unusableValue(.relay, expected: "a URL such as https://relay.example.com:8443")
        }
        self.token = token
        self.base = Self.base(relay)
        self.timeout = .seconds(15)
        self.tls = try Self.tls(caFile)
    }

    /// For questions that need no token: health.
    ///
    /// On this machine the door may be without TLS, and its certificate, which names the relay's
    /// public domain, is not checked unless an authority is named: nobody is in between, and
    /// nothing is sent that must stay secret.
    ///
    /// - Throws: ``SettingsError`` if the URL or the authority cannot be used.
    init(health relay: String, caFile: String?) throws(SettingsError) {
        let url = URLComponents(string: relay)
        let host = url?.host?.lowercased() ?? ""
        let isHere = ["localhost", "127.0.0.1", "::1", "[::1]"].contains(host)
        guard let url, !host.isEmpty, url.path.isEmpty || url.path == "/", url.query == nil,
            url.scheme == "https" || url.scheme == "http" && isHere
        else {
            throw .unusableValue(.relay, expected: "a URL such as https://relay.example.com:8443")
        }
        self.token = nil
        self.base = Self.base(relay)
        self.timeout = .seconds(5)
        var tls = try Self.tls(caFile)
        if isHere, caFile == nil { tls.certificateVerification = .none }
        self.tls = tls
    }

    private static func base(_ relay: String) -> String {
        relay.hasSuffix("/") ? String(relay.dropLast()) : relay
    }

    private static func tls(_ caFile: String?) throws(SettingsError) -> TLSConfiguration {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.minimumTLSVersion = .tlsv12
        if let caFile {
            guard let roots = try? NIOSSLCertificate.fromPEMFile(caFile), !roots.isEmpty else {
                throw .unusableValue(.caFile, expected: "a file of PEM certificates")
            }
            tls.trustRoots = .certificates(roots)
        }
        return tls
    }

    /// Asks, and returns the body of a good answer.
    ///
    /// - Throws: ``CommandFailure`` with a sentence for the user.
    func ask(_ method: Method, _ path: String) async throws -> Data {
        var configuration = HTTPClient.Configuration(tlsConfiguration: self.tls)
        configuration.redirectConfiguration = .disallow
        configuration.httpVersion = .http1Only
        let client = HTTPClient(configuration: configuration)
        let result: Result<Data, any Error>
        do {
            result = .success(try await self.ask(method, path, client: client))
        } catch {
            result = .failure(error)
        }
        try await client.shutdown()
        return try result.get()
    }

    private func ask(_ method: Method, _ path: String, client: HTTPClient) async throws -> Data {
        var request = HTTPClientRequest(url: self.base + path)
        switch method {
        case .get: request.method = .GET
        case .delete: request.method = .DELETE
        case .post: request.method = .POST
        }
        if let token = self.token {
            request.headers.add(name: "Authorization", value: "Bearer \(token.reveal)")
        }
        let status: HTTPResponseStatus
        let body: ByteBuffer
        do {
            let response = try await client.execute(request, timeout: self.timeout)
            status = response.status
            body = try await response.body.collect(upTo: Self.maximumAnswerBytes)
        } catch {
            throw CommandFailure(
                "the relay at \(self.base) cannot be asked: \(Self.sentence(error)); "
                    + "check --relay, "
                    + "and that it runs")
        }
        let data = Data(body.readableBytesView)
        guard status != .unauthorized else {
            throw CommandFailure(
                "the relay at \(self.base) does not know the token; `pgshare token create NAME` "
                    + "on its machine makes one, for PGSHARE_TOKEN")
        }
        guard status == .ok else { throw Self.failure(status, data) }
        return data
    }

    /// The end of a chain of errors is what the system said.
    private static func sentence(_ error: any Error) -> String {
        let text = "\(error)"
        return text.contains("Connection refused") ? "connection refused" : text
    }

    private struct Refused: Decodable {
        struct Reason: Decodable {
            var message: String
        }

        var error: Reason
    }

    private static func failure(_ status: HTTPResponseStatus, _ body: Data) -> CommandFailure {
        guard let refused = try? JSONDecoder().decode(Refused.self, from: body) else {
            return CommandFailure("the relay answered with status \(status.code); check --relay")
        }
        // The relay's text is printed on a terminal: nothing but printable characters.
        let scalars = refused.error.message.unicodeScalars.prefix(500)
        let safe = scalars.filter { $0.value >= 0x20 && !(0x7F..<0xA0).contains($0.value) }
        return CommandFailure("the relay refused: \(String(String.UnicodeScalarView(safe)))")
    }
}
