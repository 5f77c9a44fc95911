import AsyncHTTPClient
package import Foundation
import NIOCore
import NIOHTTP1
import NIOSSL

/// How one provider's API differs from another's on the HTTP level.
package struct ProviderDialect: Sendable {
    /// Adds what proves who we are. Called for every attempt: signatures hold the time.
    package var authorize: @Sendable (_ call: inout ProviderCall, _ now: Date) -> Void
    /// The provider's own sentence in the body of a refusal; nil if there is none.
    package var explain: @Sendable (_ body: Data) -> String?
    /// Whether a refusal means "too many requests" although its status is not 429.
    package var isThrottled: @Sendable (_ status: Int, _ body: Data) -> Bool

    /// Creates a dialect.
    package init(
        authorize: @escaping @Sendable (_ call: inout ProviderCall, _ now: Date) -> Void,
        explain: @escaping @Sendable (_ body: Data) -> String?,
        isThrottled: @escaping @Sendable (_ status: Int, _ body: Data) -> Bool = { _, _ in false }
    ) {
        self.authorize = authorize
        self.explain = explain
        self.isThrottled = isThrottled
    }

    /// `Authorization: Bearer`, and errors as `{"message": …}`.
    package static func bearer(_ token: ProviderSecret) -> ProviderDialect {
        ProviderDialect(
            authorize: { call, _ in
                call.headers.append(("Authorization", "Bearer \(token.reveal)"))
                call.secrets.append(token)
            },
            explain: { body in
                struct Refused: Decodable {
                    var message: String?
                    var error: String?
                }
                let refused = try? JSONDecoder().decode(Refused.self, from: body)
                return refused?.message ?? refused?.error
            })
    }
}

/// Sends the requests of one provider, again where ``RetryPolicy`` says so. Follows no redirect: a
/// token is for one host.
package struct ProviderHTTP: Sendable {
    private let base: String
    private let dialect: ProviderDialect
    private let limits: ProviderLimits
    private let clock: ProviderClock

    /// Creates a sender. `base` is a URL that ``ProviderSettings`` has checked.
    package init(
        base: String, dialect: ProviderDialect, limits: ProviderLimits, clock: ProviderClock
    ) {
        self.base = base.hasSuffix("/") ? String(base.dropLast()) : base
        self.dialect = dialect
        self.limits = limits
        self.clock = clock
    }

    /// Sends a request and reads its answer.
    ///
    /// - Parameters:
    ///   - call: The request.
    ///   - read: Makes the body a value. Where it throws the answer counts as unreadable.
    /// - Returns: What `read` made.
    /// - Throws: ``ProviderCallFailure``.
    package func send<Value: Sendable>(
        _ call: ProviderCall, read: @Sendable (ProviderAnswer) throws -> Value
    ) async throws(ProviderCallFailure) -> Value {
        let policy = RetryPolicy(self.limits)
        var attempt = 1
        while true {
            guard !Task.isCancelled else { throw .cancelled }
            let arrived = await self.attempt(call)
            // Cancelled in mid-request: it is not known whether it was done, and nobody waits.
            guard !Task.isCancelled else { throw .cancelled }
            var outcome = arrived.outcome
            var value: Value?
            if case .answered(200...299, _, isThrottled: false) = outcome {
                value = try? read(ProviderAnswer(status: arrived.status, body: arrived.body))
                if value == nil { outcome = .unreadable }
            }
            let verdict = policy.verdict(
                outcome, attempt: attempt, safety: call.safety, now: self.clock.now(),
                jitter: self.clock.jitter())
            switch verdict {
            case .accept:
                if let value { return value }
                throw .unanswered(reason: "the answer cannot be read")
            case .again(let seconds): try await self.wait(seconds)
            case .refused:
                throw .refused(status: arrived.status, message: self.message(arrived, of: call))
            case .unknown: throw .unknown(reason: self.reason(outcome, arrived, of: call))
            case .exhausted: throw .unanswered(reason: self.reason(outcome, arrived, of: call))
            case .busy(let seconds): throw .busy(retryAfterSeconds: seconds)
            }
            attempt += 1
        }
    }

    private func wait(_ seconds: Double) async throws(ProviderCallFailure) {
        do {
            try await self.clock.sleep(seconds)
        } catch {
            throw .cancelled
        }
    }

    /// What one attempt brought.
    private struct Arrived {
        var outcome: RetryPolicy.Outcome
        var status = 0
        var body = Data()
        var trouble = ""
    }

    private func attempt(_ call: ProviderCall) async -> Arrived {
        var configuration = HTTPClient.Configuration(
            tlsConfiguration: .makeClientConfiguration(),
            redirectConfiguration: .disallow)
        configuration.httpVersion = .http1Only
        // Retries are ours, with a bound and a reason.
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.timeout.connect = .seconds(15)
        // A client an attempt: between two polls an idle connection would be cut, and the next
        // request with it.
        let client = HTTPClient(configuration: configuration)
        let arrived: Arrived
        do {
            arrived = try await self.execute(call, client)
        } catch {
            arrived = Arrived(outcome: .lost, trouble: Self.trouble(error))
        }
        try? await client.shutdown()
        return arrived
    }

    private func execute(_ call: ProviderCall, _ client: HTTPClient) async throws -> Arrived {
        var signed = call
        self.dialect.authorize(&signed, self.clock.now())
        var request = HTTPClientRequest(url: self.base + signed.target)
        request.method = HTTPMethod(rawValue: signed.method.rawValue)
        request.headers.add(name: "Accept", value: "application/json")
        request.headers.add(name: "User-Agent", value: "pgshare")
        for header in signed.headers {
            request.headers.replaceOrAdd(name: header.name, value: header.value)
        }
        if let body = signed.body { request.body = .bytes(ByteBuffer(bytes: body)) }
        let milliseconds = Int64(self.limits.answerSeconds * 1_000)
        let response = try await client.execute(request, timeout: .milliseconds(milliseconds))
        let collected = try await response.body.collect(upTo: self.limits.maximumAnswerBytes)
        let status = Int(response.status.code)
        let body = Data(collected.readableBytesView)
        return Arrived(
            outcome: .answered(
                status: status, retryAfter: response.headers.first(name: "Retry-After"),
                isThrottled: self.dialect.isThrottled(status, body)),
            status: status, body: body)
    }

    /// Errors of the client are a closed list of its own; those of the network name only hosts.
    private static func trouble(_ error: any Error) -> String {
        switch error {
        case is NIOTooManyBytesError: "the answer is too long"
        case let known as HTTPClientError where known == .deadlineExceeded: "no answer in time"
        case let known as HTTPClientError where known == .readTimeout: "no answer in time"
        case let known as HTTPClientError where known == .connectTimeout: "no connection in time"
        case let known as HTTPClientError where known == .remoteConnectionClosed:
            "the connection was cut"
        case is NIOSSLError, is NIOSSLExtraError: "no TLS connection with a certificate we trust"
        default: "no connection (\(Printable.text("\(error)", atMost: 160)))"
        }
    }

    private func reason(
        _ outcome: RetryPolicy.Outcome, _ arrived: Arrived, of call: ProviderCall
    ) -> String {
        switch outcome {
        case .answered: self.message(arrived, of: call)
        case .unreadable: "the answer cannot be read"
        case .lost: Self.redacted(arrived.trouble, call.secrets)
        }
    }

    private func message(_ arrived: Arrived, of call: ProviderCall) -> String {
        var signed = call
        self.dialect.authorize(&signed, self.clock.now())
        guard let said = self.dialect.explain(arrived.body), !said.isEmpty else {
            return "status \(arrived.status)"
        }
        return Printable.text(Self.redacted(said, signed.secrets))
    }

    private static func redacted(_ text: String, _ secrets: [ProviderSecret]) -> String {
        secrets.reduce(text) { text, secret in
            secret.reveal.isEmpty ? text : text.replacingScalars(secret.reveal, with: "…")
        }
    }
}
