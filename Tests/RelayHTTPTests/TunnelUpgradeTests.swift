import NIOCore
import Relay
import SharePolicy
import Testing

@Suite(.timeLimit(.minutes(1)))
struct TunnelUpgradeTests {
    private static let key = "dGhlIHNhbXBsZSBub25jZQ=="
    /// Source: RFC 6455, section 1.3, for the key above.
    private static let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

    private func raw(_ token: String?) -> String {
        let head = [
            "GET /v1/tunnel HTTP/1.1", "Host: localhost", "Connection: Upgrade",
            "Upgrade: pgshare/1",
        ]
        let authorization = token.map { ["Authorization: Bearer \($0)"] } ?? []
        return (head + authorization).joined(separator: "\r\n") + "\r\n\r\n"
    }

    private func webSocket(_ subprotocols: String, authorization: String? = nil) -> String {
        let head = [
            "GET /v1/tunnel HTTP/1.1", "Host: localhost", "Connection: keep-alive, Upgrade",
            "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: \(Self.key)",
            "Sec-WebSocket-Protocol: \(subprotocols)",
        ]
        let more = authorization.map { ["Authorization: \($0)"] } ?? []
        return (head + more).joined(separator: "\r\n") + "\r\n\r\n"
    }

    @Test func `a raw upgrade becomes a tunnel of the token's owner`() async throws {
        try await RunningDoor.with { door in
            let answer = try await door.talk(
                [self.raw(door.token.reveal), "hello"], until: "hello")
            #expect(answer.hasPrefix("HTTP/1.1 101 Switching Protocols\r\n"))
            #expect(answer.contains("Upgrade: pgshare/1\r\n"))
            #expect(answer.hasSuffix("\r\n\r\n[alice raw]hello"))
            #expect(door.metrics.httpResponses.value(.upgraded) == 1)
        }
    }

    @Test func `bytes right behind the upgrade request are not lost`() async throws {
        try await RunningDoor.with { door in
            // Far more than one read, in the same writes as the request.
            let early = (0..<20_000).map { "\($0)," }.joined() + "end"
            let answer = try await door.talk(
                [self.raw(door.token.reveal) + early], until: "end")
            #expect(answer.hasSuffix("[alice raw]" + early))
        }
    }

    @Test(arguments: 1...40)
    func `early bytes survive however the request is cut`(cut: Int) async throws {
        try await RunningDoor.with { door in
            let whole = self.raw(door.token.reveal) + "early bytes"
            let at = whole.index(whole.startIndex, offsetBy: whole.count * cut / 41)
            let pieces = [String(whole[..<at]), String(whole[at...])]
            let answer = try await door.talk(pieces, until: "early bytes")
            #expect(answer.hasSuffix("[alice raw]early bytes"))
        }
    }

    @Test func `a WebSocket is answered with pgshare.v1 and nothing else`() async throws {
        try await RunningDoor.with { door in
            let token = "pgshare.token.\(door.token.reveal)"
            let answer = try await door.talk(
                [self.webSocket("pgshare.v1, \(token)"), "frames"], until: "frames")
            let lines = answer.lowercased().split(separator: "\r\n")
            #expect(lines.first == "http/1.1 101 switching protocols")
            #expect(lines.contains("sec-websocket-accept: \(Self.accept.lowercased())"))
            #expect(
                lines.filter { $0.hasPrefix("sec-websocket-protocol") }
                    == ["sec-websocket-protocol: pgshare.v1"])
            #expect(answer.hasSuffix("[alice webSocket]frames"))
        }
    }

    @Test func `a WebSocket may carry its token in a header`() async throws {
        try await RunningDoor.with { door in
            let head = self.webSocket(
                "pgshare.v1", authorization: "bearer \(door.token.reveal)")
            let answer = try await door.talk([head], until: "[")
            #expect(answer.contains(" 101 "))
        }
    }

    @Test(arguments: [nil, "pgs_wrong", "pgs_" + String(repeating: "B", count: 43)])
    func `a bad token is told 401 and gets no tunnel`(token: String?) async throws {
        try await RunningDoor.with { door in
            let answer = try await door.talk([self.raw(token)], until: "}}")
            #expect(answer.hasPrefix("HTTP/1.1 401 Unauthorized\r\n"))
            #expect(answer.hasSuffix(APIError(.unauthorized).json))
        }
    }

    @Test func `two tokens in one request are refused`() async throws {
        try await RunningDoor.with { door in
            let head = self.webSocket(
                "pgshare.v1, pgshare.token.\(door.token.reveal)",
                authorization: "Bearer \(door.token.reveal)")
            let answer = try await door.talk([head], until: "}}")
            #expect(answer.contains(" 401 "))
        }
    }

    @Test func `a store that fails gets no tunnel and says 500`() async throws {
        try await RunningDoor.with(storeIsDown: true) { door in
            let answer = try await door.talk([self.raw(door.token.reveal)], until: "}}")
            #expect(answer.contains(" 500 "))
        }
    }

    @Test func `an open relay takes tunnels without a token, each its own owner`() async throws {
        try await RunningDoor.with(isOpen: true) { door in
            let first = try await door.talk([self.raw(nil)], until: "]")
            let second = try await door.talk([self.raw(nil)], until: "]")
            #expect(first.contains("[~"))
            #expect(first != second)
            let known = try await door.talk([self.raw(door.token.reveal)], until: "]")
            #expect(known.hasSuffix("[alice raw]"))
        }
    }

    @Test(arguments: [
        "GET /v1/tunnel HTTP/1.1\r\nHost: x\r\nTOKEN\r\n\r\n",
        "GET /v1/tunnel HTTP/1.1\r\nHost: x\r\n"
            + "Upgrade: pgshare/2\r\nConnection: upgrade\r\nTOKEN\r\n\r\n",
        "GET /v1/tunnel HTTP/1.1\r\nHost: x\r\n"
            + "Upgrade: websocket\r\nConnection: upgrade\r\nTOKEN\r\n\r\n",
        "GET /v1/tunnel HTTP/1.1\r\nHost: x\r\nUpgrade: pgshare/1\r\nTOKEN\r\n\r\n",
    ])
    func `a good token without a good upgrade is told 426`(head: String) async throws {
        try await RunningDoor.with { door in
            let token = "Authorization: Bearer \(door.token.reveal)"
            let answer = try await door.talk(
                [head.replacing("TOKEN", with: token)], until: "}}")
            #expect(answer.contains(" 426 "))
            #expect(answer.lowercased().contains("upgrade: pgshare/1, websocket"))
        }
    }

    @Test func `an upgrade of another address is not a tunnel`() async throws {
        try await RunningDoor.with { door in
            let head = self.raw(door.token.reveal).replacing("/v1/tunnel", with: "/healthz")
            let answer = try await door.talk([head], until: "}")
            #expect(answer.hasPrefix("HTTP/1.1 200 OK"))
        }
    }
}
