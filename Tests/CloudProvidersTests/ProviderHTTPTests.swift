import CloudProviders
import Foundation
import Synchronization
import Testing

@Suite(.serialized, .timeLimit(.minutes(1)))
struct ProviderHTTPTests {
    private static let token = "sbp_0123456789secret"

    /// What came of one call against an API that answers `said` in order, the last one for ever.
    private struct Outcome {
        var result: Result<String, ProviderCallFailure>
        var requests: [Heard]
        var slept: [Double]
    }

    private func ask(
        _ call: ProviderCall, _ said: [Said]
    ) async throws -> Outcome {
        var limits = Self.limits
        if case .silence = said[0] { limits.answerSeconds = 3 }
        let heard = Mutex<[Heard]>([])
        let clock = JumpingClock()
        let answer: @Sendable (Heard) -> Said = { request in
            let number = heard.withLock { list in
                list.append(request)
                return list.count
            }
            return said[min(number, said.count) - 1]
        }
        let result = try await APIServer.with(answer) { server in
            let http = ProviderHTTP(
                base: server.url, dialect: .bearer(ProviderSecret(Self.token)), limits: limits,
                clock: clock.clock)
            return await Self.send(http, call)
        }
        return Outcome(
            result: result, requests: heard.withLock { $0 }, slept: clock.slept)
    }

    /// An answer must be an object of JSON to be read.
    private static func send(
        _ http: ProviderHTTP, _ call: ProviderCall
    ) async -> Result<String, ProviderCallFailure> {
        do {
            return .success(
                try await http.send(call) { answer in
                    _ = try JSONSerialization.jsonObject(with: answer.body)
                    return String(decoding: answer.body, as: UTF8.self)
                })
        } catch {
            return .failure(error)
        }
    }

    private static let limits: ProviderLimits = {
        var limits = ProviderLimits()
        limits.answerSeconds = 30
        limits.maximumAnswerBytes = 10_000
        limits.maximumAttempts = 3
        return limits
    }()

    private static let get = ProviderCall(.get, "/a", query: [(name: "q r", value: "ü/&")])
    private static let post = ProviderCall.json(
        .post, "/b", ["x": "y/z"], safety: .once(alsoAfter: []))

    @Test func `a request has the token, the encoded query and the body`() async throws {
        let got = try await self.ask(Self.get, [.answer(200, "{}")])
        let posted = try await self.ask(Self.post, [.answer(201, "{}")])
        #expect(got.requests.map(\.method) == ["GET"])
        #expect(got.requests.first?.path == "/a")
        #expect(got.requests.first?.query == "q%20r=%C3%BC%2F%26")
        #expect(got.requests.first?.token == "Bearer \(Self.token)")
        #expect(posted.requests.first?.string("x") == "y/z")
        #expect(posted.result == .success("{}"))
    }

    @Test(arguments: [
        Said.answer(500, "{}"), .answer(502, "<html>"), .answer(429, "{}"), .cut,
        .half("{"), .silence, .answer(200, "no JSON"),
        .answer(200, String(repeating: " ", count: 10_001)),
    ])
    func `a read that fails once is repeated`(said: Said) async throws {
        let outcome = try await self.ask(Self.get, [said, .answer(200, "{}")])
        #expect(outcome.result == .success("{}"))
        #expect(outcome.requests.count == 2)
        #expect(outcome.slept == [0.5])
    }

    @Test(arguments: [
        Said.answer(500, "{}"), .cut, .half("{"), .silence, .answer(200, "no JSON"),
        .answer(200, String(repeating: " ", count: 10_001)),
    ])
    func `a read that always fails ends, and waits in between`(said: Said) async throws {
        let outcome = try await self.ask(Self.get, [said])
        guard case .failure(.unanswered) = outcome.result else {
            Issue.record("\(outcome.result)")
            return
        }
        #expect(outcome.requests.count == 3)
        #expect(outcome.slept == [0.5, 1])
    }

    @Test(arguments: [
        Said.answer(500, "{}"), .answer(503, "{}"), .cut, .half("{"), .silence,
        .answer(201, "no JSON"),
    ])
    func `a request that makes something is never repeated blindly`(said: Said) async throws {
        let outcome = try await self.ask(Self.post, [said, .answer(201, "{}")])
        guard case .failure(.unknown) = outcome.result else {
            Issue.record("\(outcome.result)")
            return
        }
        #expect(outcome.requests.count == 1)
    }

    @Test func `429 is waited out as long as it says, for every request`() async throws {
        let busy = Said.answer(429, "{}", headers: ["Retry-After": "17"])
        let date = Said.answer(
            429, "{}", headers: ["Retry-After": "Fri, 15 Jan 2027 08:17:40 GMT"])
        let posted = try await self.ask(Self.post, [busy, .answer(201, "{}")])
        let dated = try await self.ask(Self.get, [date, .answer(200, "{}")])
        let endless = try await self.ask(
            Self.get, [.answer(429, "{}", headers: ["Retry-After": "86400"])])
        #expect(posted.slept == [17])
        #expect(posted.requests.count == 2)
        #expect(dated.slept == [60])
        #expect(endless.result == .failure(.busy(retryAfterSeconds: 86_400)))
        #expect(endless.requests.count == 1)
    }

    @Test(arguments: [400, 401, 403, 404, 422])
    func `a refusal is final and has the provider's words`(status: Int) async throws {
        let outcome = try await self.ask(
            Self.get, [.answer(status, #"{"message":"no\u001b[31m \#(Self.token)"}"#)])
        #expect(
            outcome.result == .failure(.refused(status: status, message: "no[31m …")))
        #expect(outcome.requests.count == 1)
    }

    @Test func `what a refusal echoes of the body's secrets is not shown`() async throws {
        let password = ProviderSecret("pa55word")
        let call = ProviderCall.json(
            .post, "/b", ["db_pass": password.reveal], safety: .once(alsoAfter: []),
            secrets: [password])
        let refused = try await self.ask(call, [.answer(400, #"{"message":"bad pa55word"}"#)])
        let unknown = try await self.ask(call, [.answer(500, #"{"message":"bad pa55word"}"#)])
        #expect(refused.result == .failure(.refused(status: 400, message: "bad …")))
        #expect(unknown.result == .failure(.unknown(reason: "bad …")))
    }

    @Test func `the words of a refusal are bounded`() async throws {
        let long = String(repeating: "a", count: 5_000)
        let outcome = try await self.ask(Self.get, [.answer(400, #"{"message":"\#(long)"}"#)])
        guard case .failure(.refused(400, let message)) = outcome.result else {
            Issue.record("\(outcome.result)")
            return
        }
        #expect(message.count == Printable.maximumCharacters)
    }

    @Test func `a redirect is not followed: the token is for one host`() async throws {
        let elsewhere = try await APIServer.with({ _ in .answer(200, "{}") }) { other in
            try await self.ask(
                Self.get, [.answer(302, "", headers: ["Location": "\(other.url)/x"])])
        }
        #expect(
            elsewhere.result == .failure(.refused(status: 302, message: "status 302")))
    }

    @Test func `a host that nobody listens on is a failure without secrets`() async throws {
        let url = try await APIServer.with({ _ in .cut }) { $0.url }
        let http = ProviderHTTP(
            base: url, dialect: .bearer(ProviderSecret(Self.token)), limits: Self.limits,
            clock: JumpingClock().clock)
        let result = await Self.send(http, Self.get)
        guard case .failure(.unanswered(let reason)) = result else {
            Issue.record("\(result)")
            return
        }
        #expect(!reason.contains(Self.token))
        #expect(reason.count < 200)
    }

    @Test func `a cancelled task sends nothing more`() async throws {
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            let http = ProviderHTTP(
                base: "http://127.0.0.1:1", dialect: .bearer(ProviderSecret(Self.token)),
                limits: Self.limits, clock: JumpingClock().clock)
            return await Self.send(http, Self.get)
        }
        let result = await task.value
        #expect(result == .failure(.cancelled))
    }
}

struct ReachabilityTests {
    @Test func `a listening port is reached and a closed one is not`() async throws {
        let port = try await APIServer.with({ _ in .cut }) { server in
            let port = try #require(URLComponents(string: server.url)?.port)
            #expect(await Reachability.probe(host: "127.0.0.1", port: port))
            return port
        }
        #expect(await Reachability.probe(host: "127.0.0.1", port: port) == false)
        #expect(await Reachability.probe(host: "db.none.invalid", port: port) == false)
    }
}
