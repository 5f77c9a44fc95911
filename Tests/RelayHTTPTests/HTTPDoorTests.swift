import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Relay
import SharePolicy
import Testing

@Suite(.timeLimit(.minutes(1)))
struct HTTPDoorTests {
    /// What a client got.
    private struct Answer {
        var status: Int
        var body: String
        var headers: HTTPHeaders
    }

    private func ask(
        _ door: RunningDoor, _ method: HTTPMethod, _ path: String, token: String? = nil,
        change: (inout HTTPClientRequest) -> Void = { _ in }
    ) async throws -> Answer {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(door.caFile))
        let client = HTTPClient(configuration: .init(tlsConfiguration: tls))
        var request = HTTPClientRequest(url: door.url + path)
        request.method = method
        if let token { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
        change(&request)
        do {
            let response = try await client.execute(request, timeout: .minutes(2))
            let body = String(buffer: try await response.body.collect(upTo: 1 << 20))
            try await client.shutdown()
            return Answer(
                status: Int(response.status.code), body: body, headers: response.headers)
        } catch {
            try? await client.shutdown()
            throw error
        }
    }

    @Test func `health, readiness and metrics need no token`() async throws {
        try await RunningDoor.with { door in
            let health = try await self.ask(door, .GET, "/healthz")
            let ready = try await self.ask(door, .GET, "/readyz")
            let metrics = try await self.ask(door, .GET, "/metrics")
            #expect(health.status == 200)
            #expect(health.body == #"{"status":"ok"}"#)
            #expect(ready.body == #"{"status":"ready"}"#)
            #expect(metrics.headers["content-type"] == ["text/plain; version=0.0.4; charset=utf-8"])
            #expect(metrics.body.contains("pgshare_http_responses_total{status=\"2xx\"} 2\n"))
            // The door may not have seen yet that those before are closed.
            #expect(
                (1...3).contains {
                    metrics.body.contains("pgshare_http_connections_open \($0)\n")
                })
        }
    }

    @Test func `a relay that is not ready says 503`() async throws {
        try await RunningDoor.with(isReady: false) { door in
            let ready = try await self.ask(door, .GET, "/readyz")
            #expect(ready.status == 503)
            #expect(ready.body == APIError(.notReady).json)
        }
    }

    @Test func `an owner lists, sees and revokes shares`() async throws {
        try await RunningDoor.with { door in
            let token = door.token.reveal
            let list = try await self.ask(door, .GET, "/v1/shares", token: token)
            let shares = try APIJSON.decode(ShareList.self, from: Data(list.body.utf8)).shares
            #expect(shares.map(\.id) == [OneShare.id])
            let path = "/v1/shares/\(OneShare.id)"
            let revoked = try await self.ask(door, .DELETE, path, token: token)
            #expect(revoked.status == 200)
            let shown = try await self.ask(door, .GET, path, token: token)
            let share = try APIJSON.decode(ShareStatus.self, from: Data(shown.body.utf8))
            #expect(share.state == .revoked)
        }
    }

    @Test(arguments: [nil, "pgs_", "wrong", "pgs_" + String(repeating: "A", count: 43)])
    func `the API answers 401 to a bad token`(token: String?) async throws {
        try await RunningDoor.with { door in
            for path in ["/v1/shares", "/v1/shares/\(OneShare.id)", "/v1/tunnel"] {
                let answer = try await self.ask(door, .GET, path, token: token)
                #expect(answer.status == 401)
                #expect(answer.body == APIError(.unauthorized).json)
                #expect(answer.headers["www-authenticate"] == ["Bearer"])
            }
        }
    }

    @Test(arguments: ["/", "/v1/shares/no%20name", "/v1/shares/fedcba9876543210", "/v2/shares"])
    func `what is not there answers 404 as JSON`(path: String) async throws {
        try await RunningDoor.with { door in
            let answer = try await self.ask(door, .GET, path, token: door.token.reveal)
            #expect(answer.status == 404)
            #expect(answer.body == APIError(.notFound).json)
        }
    }

    @Test func `a store that fails is our fault and says nothing of itself`() async throws {
        try await RunningDoor.with(storeIsDown: true) { door in
            let answer = try await self.ask(
                door, .GET, "/v1/shares", token: door.token.reveal)
            #expect(answer.status == 500)
            #expect(answer.body == APIError(.internalFailure).json)
        }
    }

    @Test func `on an open relay strangers see their own shares only`() async throws {
        try await RunningDoor.with(isOpen: true) { door in
            let stranger = "pgs_" + String(repeating: "A", count: 43)
            let answer = try await self.ask(door, .GET, "/v1/shares", token: stranger)
            #expect(answer.body == #"{"shares":[]}"#)
            let nobody = try await self.ask(door, .GET, "/v1/shares")
            #expect(nobody.status == 401)
        }
    }

    @Test func `oversized headers answer 431`() async throws {
        try await RunningDoor.with { door in
            let answer = try await self.ask(door, .GET, "/healthz") { request in
                request.headers.add(
                    name: "X-Long", value: String(repeating: "a", count: 20 * 1024))
            }
            #expect(answer.status == 431)
            #expect(answer.body == APIError(.headersTooLarge).json)
        }
    }

    @Test func `a long URL answers 431`() async throws {
        try await RunningDoor.with { door in
            let path = "/" + String(repeating: "a", count: 20 * 1024)
            let answer = try await self.ask(door, .GET, path)
            #expect(answer.status == 431)
        }
    }

    @Test func `too many headers answer 431`() async throws {
        try await RunningDoor.with { door in
            let answer = try await self.ask(door, .GET, "/healthz") { request in
                for index in 0..<70 { request.headers.add(name: "X-\(index)", value: "a") }
            }
            #expect(answer.status == 431)
        }
    }

    @Test func `a body over the limit answers 413`() async throws {
        try await RunningDoor.with { door in
            let answer = try await door.talk(
                [
                    request("POST /v1/shares HTTP/1.1", "Host: x", "Content-Length: 100000"),
                    String(repeating: "a", count: 20_000),
                ], until: "}}")
            #expect(answer.contains("413"))
        }
    }

    @Test func `what is not HTTP answers 400`() async throws {
        try await RunningDoor.with { door in
            let answer = try await door.talk(["\u{1}\u{2}nonsense\r\n\r\n"], until: "}}")
            #expect(answer.hasPrefix("HTTP/1.1 400 "))
            #expect(answer.hasSuffix(APIError(.badRequest).json))
        }
    }

    @Test func `a connection that sends no whole request is closed`() async throws {
        var limits = HTTPDoorLimits()
        limits.handshakeTimeout = .milliseconds(50)
        try await RunningDoor.with(limits: limits) { [limits] door in
            #expect(limits.handshakeTimeout == .milliseconds(50))
            let answer = try await door.talk(["GET /healthz HTTP/1.1\r\nHost:"], until: "never")
            #expect(answer.isEmpty)
        }
    }

    @Test(arguments: [
        ("PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n", true), ("PROXY UNKNOWN\r\n", true),
        ("", false), ("PROXY TCP4 nonsense\r\n", false),
    ])
    func `a proxy must send a header in front of TLS`(header: String, isServed: Bool) async throws {
        let proxies = TrustedProxies([try #require(CIDR("127.0.0.0/8"))])
        try await RunningDoor.with(proxies: proxies) { door in
            let answer = try await door.talk(
                [request("GET /healthz HTTP/1.1", "Host: x", "Connection: close")],
                until: "never", header: header.isEmpty ? nil : ByteBuffer(string: header))
            #expect(answer.hasPrefix("HTTP/1.1 200 OK") == isServed)
            #expect(answer.isEmpty != isServed)
        }
    }

    @Test func `a header of a stranger is not interpreted`() async throws {
        try await RunningDoor.with { door in
            let header = ByteBuffer(string: "PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n")
            let answer = try await door.talk(
                [request("GET /healthz HTTP/1.1", "Host: x")], until: "never", header: header)
            #expect(answer.isEmpty)
        }
    }

    /// Loopback counts as a proxy of all the world: only the total bounds it.
    @Test func `silent connections make room for who has something to say`() async throws {
        var limits = HTTPDoorLimits.patient
        limits.maximumUnadmitted = 3
        try await RunningDoor.with(limits: limits) { door in
            var silent: [any Channel] = []
            for _ in 0..<10 {
                let group = MultiThreadedEventLoopGroup.singleton
                silent.append(
                    try await ClientBootstrap(group: group)
                        .connect(host: "127.0.0.1", port: door.port).get())
            }
            let answer = try await door.talk(
                [request("GET /healthz HTTP/1.1", "Host: x", "Connection: close")], until: "never")
            #expect(answer.hasPrefix("HTTP/1.1 200 OK"))
            // Connections are set up on several event loops: which seven go is not said.
            let (closed, isClosed) = AsyncStream.makeStream(of: Void.self)
            for channel in silent {
                channel.closeFuture.whenComplete { _ in isClosed.yield() }
            }
            var endings = closed.makeAsyncIterator()
            for _ in 0..<7 { await endings.next() }
            #expect(door.metrics.socketsDisplaced.value >= 7)
            for channel in silent { channel.close(promise: nil) }
        }
    }

    @Test func `requests on one connection are answered in order`() async throws {
        try await RunningDoor.with { door in
            let one = request("GET /healthz HTTP/1.1", "Host: x")
            let two = request("GET /nothing HTTP/1.1", "Host: x", "Connection: close")
            let answer = try await door.talk([one + two], until: "never")
            let first = try #require(answer.range(of: "200 OK"))
            let second = try #require(answer.range(of: "404 Not Found"))
            #expect(first.lowerBound < second.lowerBound)
        }
    }
}
