import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import TunnelTransport

struct TunnelDialerTests {
    private var loop: any EventLoop { MultiThreadedEventLoopGroup.singleton.any() }

    private func isRaw(_ request: String) -> Bool {
        request.contains("pgshare/1")
    }

    private func dialError(_ dialer: TunnelDialer) async throws -> DialError? {
        do {
            let tunnel = try await dialer.dial(on: self.loop).get()
            try await tunnel.channel.close()
            return nil
        } catch {
            return error as? DialError
        }
    }

    @Test func `a raw tunnel keeps the bytes that came with the answer`() async throws {
        let relay = try await ScriptedRelay.start { _ in .send(ScriptedRelay.raw101 + "early") }
        let tunnel = try await relay.dialer().dial(on: self.loop).get()

        #expect(tunnel.transport == .raw)
        #expect(String(buffer: tunnel.early) == "early")
        #expect(try await tunnel.channel.getOption(.autoRead).get() == false)
        let request = try #require(relay.requests.first)
        #expect(request.hasPrefix("GET /v1/tunnel HTTP/1.1\r\n"))
        #expect(request.contains("\r\nAuthorization: Bearer pgs_secret\r\n"))
        #expect(request.contains("\r\nHost: 127.0.0.1:\(relay.port)\r\n"))
        try await tunnel.channel.close()
        try await relay.stop()
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", "HTTP/1.1 400 Bad Request\r\n\r\n",
        "HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 501 Not Implemented\r\ncontent-length: 0\r\n\r\n", "garbage\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    ])
    func `a refused raw upgrade becomes a WebSocket, and the next dial knows`(
        answer: String
    ) async throws {
        let relay = try await ScriptedRelay.start { request in
            if request.contains("pgshare/1") {
                .sendAndClose(answer)
            } else {
                .send(ScriptedRelay.webSocket101(for: request) + "\u{02}\u{03}abc")
            }
        }
        let dialer = try relay.dialer()
        for _ in 0..<2 {
            let tunnel = try await dialer.dial(on: self.loop).get()
            #expect(tunnel.transport == .webSocket)
            #expect(String(buffer: tunnel.early) == "abc")
            try await tunnel.channel.pipeline.containsHandler(
                type: WebSocketTransportHandler.self
            ).get()
            try await tunnel.channel.close()
        }
        let requests = relay.requests
        #expect(requests.map(self.isRaw) == [true, false, false])
        try await relay.stop()
    }

    @Test func `one that is hung up on becomes a WebSocket, and the next dial is raw again`()
        async throws
    {
        let relay = try await ScriptedRelay.start { request in
            request.contains("pgshare/1")
                ? .hangUp : .send(ScriptedRelay.webSocket101(for: request))
        }
        let dialer = try relay.dialer()
        for _ in 0..<2 {
            let tunnel = try await dialer.dial(on: self.loop).get()
            #expect(tunnel.transport == .webSocket)
            try await tunnel.channel.close()
        }
        #expect(relay.requests.map(self.isRaw) == [true, false, true, false])
        try await relay.stop()
    }

    /// Dials with a question behind the request, which the relay answers as it is told.
    private func ask(
        early relay: ScriptedRelay, _ dialer: TunnelDialer
    ) async throws -> DialedTunnel {
        var plan = DialPlan()
        plan.opening = { ByteBuffer(string: "RESUME\r\n\r\n") }
        return try await dialer.attempt(plan, on: self.loop).tunnel.get()
    }

    @Test(arguments: [true, false])
    func `an early question has its answer though the connection ends with it`(
        isEncrypted: Bool
    ) async throws {
        let certificate = try TestCertificate(for: "localhost")
        let relay = try await ScriptedRelay.start(tls: isEncrypted ? certificate.context : nil) {
            request in
            if request.contains("websocket") {
                .send(ScriptedRelay.webSocket101(for: request))
            } else if request.hasSuffix("RESUME\r\n\r\n") {
                .sendAndClose(ScriptedRelay.raw101 + "no")
            } else {
                .silence
            }
        }
        let dialer = try relay.dialer(
            host: "localhost", trust: isEncrypted ? .certificateFile(certificate.file) : nil)
        // Whether the end is noticed with the answer, or later, is chance.
        for _ in 0..<30 {
            let tunnel = try await self.ask(early: relay, dialer)
            #expect(tunnel.transport == .raw && tunnel.hasOpened)
            #expect(String(buffer: tunnel.early) == "no")
            tunnel.channel.close(promise: nil)
        }
        #expect(!relay.requests.contains { $0.contains("websocket") })
        try await relay.stop()
        try certificate.remove()
    }

    @Test func `an early question that is hung up on is not asked by WebSocket`() async throws {
        let relay = try await ScriptedRelay.start { request in
            request.contains("websocket")
                ? .send(ScriptedRelay.webSocket101(for: request)) : .hangUp
        }
        let dialer = try relay.dialer()
        let error = await #expect(throws: DialError.self) {
            try await self.ask(early: relay, dialer)
        }
        #expect(error?.isCut == true)
        #expect(!relay.requests.contains { $0.contains("websocket") })
        try await relay.stop()
    }

    @Test func `a WebSocket that is refused is no better than raw any more`() async throws {
        let works = Mutex(true)
        let relay = try await ScriptedRelay.start { request in
            request.contains("pgshare/1") || !works.withLock { $0 }
                ? .sendAndClose(ScriptedRelay.answer("503 Service Unavailable"))
                : .send(ScriptedRelay.webSocket101(for: request))
        }
        let dialer = try relay.dialer()
        let tunnel = try await dialer.attempt(DialPlan(), on: self.loop).tunnel.get()
        try await tunnel.channel.close()
        works.withLock { $0 = false }
        for _ in 0..<2 {
            await #expect(throws: DialError.self) {
                try await dialer.attempt(DialPlan(), on: self.loop).tunnel.get()
            }
        }
        #expect(relay.requests.map(self.isRaw) == [true, false, false, true, false])
        try await relay.stop()
    }

    @Test func `a HELLO that is lost on raw twice in a row is said by WebSocket, which is kept`()
        async throws
    {
        let relay = try await ScriptedRelay.start { request in
            request.contains("pgshare/1")
                ? .send(ScriptedRelay.raw101)
                : .send(ScriptedRelay.webSocket101(for: request))
        }
        let dialer = try relay.dialer()
        func dial(isAnswered: Bool) async throws -> TunnelTransportKind {
            let tunnel = try await dialer.dial(on: self.loop).get()
            dialer.hello(isAnswered: isAnswered, over: tunnel.transport)
            try await tunnel.channel.close()
            return tunnel.transport
        }
        // A relay that is being restarted loses one as well.
        #expect(try await dial(isAnswered: false) == .raw)
        #expect(try await dial(isAnswered: true) == .raw)
        #expect(try await dial(isAnswered: false) == .raw)
        #expect(try await dial(isAnswered: false) == .raw)
        // Nor does WebSocket help.
        #expect(try await dial(isAnswered: false) == .webSocket)
        #expect(try await dial(isAnswered: false) == .raw)
        #expect(try await dial(isAnswered: false) == .raw)
        #expect(try await dial(isAnswered: true) == .webSocket)
        #expect(try await dial(isAnswered: true) == .webSocket)
        try await relay.stop()
    }

    @Test func `a raw upgrade that nobody answers leaves time for WebSocket`() async throws {
        let relay = try await ScriptedRelay.start { request in
            request.contains("pgshare/1")
                ? .silence : .send(ScriptedRelay.webSocket101(for: request))
        }
        // Half of the time is for the raw upgrade. The other half must do on a busy machine.
        let dialer = try relay.dialer(timeout: .seconds(20))
        let tunnel = try await dialer.dial(on: self.loop).get()
        #expect(tunnel.transport == .webSocket)
        try await tunnel.channel.close()
        try await relay.stop()
    }

    @Test(arguments: ["401 Unauthorized", "403 Forbidden"])
    func `a refused token is not tried twice and never printed`(status: String) async throws {
        let body = #"{"error":{"code":"unauthorized","message":"no such token: pgs_secret"}}"#
        let relay = try await ScriptedRelay.start { _ in
            .send(ScriptedRelay.answer(status, body: body))
        }
        let error = try await self.dialError(relay.dialer())
        #expect(error == .unauthorized(message: "no such token: …"))
        #expect(relay.requests.count == 1)
        try await relay.stop()
    }

    @Test func `a relay that refuses both transports is quoted`() async throws {
        let body = #"{"error":{"code":"stopping","message":"the relay is restarting"}}"#
        let relay = try await ScriptedRelay.start { _ in
            .send(ScriptedRelay.answer("503 Service Unavailable", body: body))
        }
        let error = try await self.dialError(relay.dialer())
        #expect(error == .rejected(status: 503, message: "the relay is restarting"))
        try await relay.stop()
    }

    @Test func `a WebSocket that breaks the rules right behind its answer is told and given up`()
        async throws
    {
        let relay = try await ScriptedRelay.start { request in
            request.contains("pgshare/1")
                ? .hangUp : .send(ScriptedRelay.webSocket101(for: request) + "\u{03}\u{00}")
        }
        #expect(try await self.dialError(relay.dialer()) != nil)
        try await relay.stop()
    }

    @Test func `a WebSocket whose accept is wrong is refused`() async throws {
        let relay = try await ScriptedRelay.start { _ in
            .send(ScriptedRelay.webSocket101(for: "sec-websocket-key: another\r\n"))
        }
        let error = try await self.dialError(relay.dialer())
        #expect(error == .notARelay(reason: "its Sec-WebSocket-Accept is wrong"))
        try await relay.stop()
    }

    @Test func `a silent relay is given up at the deadline`() async throws {
        let relay = try await ScriptedRelay.start { _ in .silence }
        let error = try await self.dialError(relay.dialer(timeout: .milliseconds(200)))
        #expect(error == .timedOut)
        try await relay.stop()
    }

    @Test func `a closed port is unreachable`() async throws {
        let relay = try await ScriptedRelay.start { _ in .silence }
        let dialer = try relay.dialer()
        try await relay.stop()
        #expect(try await self.dialError(dialer) == .unreachable(reason: "connection refused"))
    }

    @Test func `TLS carries a tunnel to the host that its certificate names`() async throws {
        let certificate = try TestCertificate(for: "localhost")
        let relay = try await ScriptedRelay.start(tls: certificate.context) { _ in
            .send(ScriptedRelay.raw101 + "early")
        }
        let dialer = try relay.dialer(
            host: "localhost", trust: .certificateFile(certificate.file))
        let tunnel = try await dialer.dial(on: self.loop).get()
        #expect(tunnel.transport == .raw)
        #expect(String(buffer: tunnel.early) == "early")
        try await tunnel.channel.close()
        try await relay.stop()
        try certificate.remove()
    }

    @Test func `a certificate of another authority, or for another host, ends the dial`()
        async throws
    {
        let certificate = try TestCertificate(for: "localhost")
        let other = try TestCertificate(for: "localhost")
        let elsewhere = try TestCertificate(for: "relay.example")
        let relay = try await ScriptedRelay.start(tls: certificate.context) { _ in
            .send(ScriptedRelay.raw101)
        }
        let wrongHost = try await ScriptedRelay.start(tls: elsewhere.context) { _ in
            .send(ScriptedRelay.raw101)
        }
        let untrusted = try await self.dialError(
            relay.dialer(host: "localhost", trust: .certificateFile(other.file)))
        let misnamed = try await self.dialError(
            wrongHost.dialer(host: "localhost", trust: .certificateFile(elsewhere.file)))
        let byAddress = try await self.dialError(
            relay.dialer(host: "127.0.0.1", trust: .certificateFile(certificate.file)))

        #expect(
            untrusted
                == .tlsFailed(
                    reason: "its certificate is not trusted; is the CA file the right one?"))
        #expect(misnamed == .tlsFailed(reason: "its certificate is for another host"))
        #expect(byAddress == .tlsFailed(reason: "its certificate is for another host"))
        #expect(relay.requests.isEmpty)
        #expect(wrongHost.requests.isEmpty)
        try await relay.stop()
        try await wrongHost.stop()
        for made in [certificate, other, elsewhere] {
            try made.remove()
        }
    }

    @Test func `a port that waits where TLS should answer is given up at the deadline`()
        async throws
    {
        let certificate = try TestCertificate(for: "localhost")
        let relay = try await ScriptedRelay.start { _ in .silence }
        let dialer = try relay.dialer(
            host: "localhost", trust: .certificateFile(certificate.file),
            timeout: .milliseconds(200))
        #expect(try await self.dialError(dialer) == .timedOut)
        try await relay.stop()
        try certificate.remove()
    }

    @Test func `settings that cannot work are said at once`() throws {
        let endpoint = RelayEndpoint(host: "localhost", port: 1, usesTLS: true)
        #expect(throws: DialError.self) {
            try TunnelDialer(relay: endpoint, token: "a\r\nb", trust: .system)
        }
        #expect(
            throws: DialError.badSettings(
                reason: "the CA file /nowhere.pem holds no certificate we can read")
        ) {
            try TunnelDialer(
                relay: endpoint, token: "t", trust: .certificateFile("/nowhere.pem"))
        }
    }

    @Test func `a proxy is asked to connect, and TLS goes through it to the relay`() async throws {
        let proxy = try await ScriptedRelay.start { request in
            request.hasPrefix("CONNECT relay.example:443 HTTP/1.1\r\n")
                && request.contains("\r\nProxy-Authorization: Basic dTpwOnc=\r\n")
                ? .sendAndClose("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                : .hangUp
        }
        let settings = try ProxySettings(environment: [
            "HTTPS_PROXY": "http://u:p%3Aw@127.0.0.1:\(proxy.port)"
        ])
        let dialer = try TunnelDialer(
            relay: RelayEndpoint(host: "relay.example", port: 443, usesTLS: true), token: "t",
            trust: .system, proxy: settings)
        let error = try await self.dialError(dialer)
        #expect(error == .proxyFailed(reason: "it answered with HTTP status 407"))
        try await proxy.stop()
    }

    @Test func `a proxy that says yes and hangs up is told at once`() async throws {
        let proxy = try await ScriptedRelay.start { _ in .sendAndClose("HTTP/1.1 200 OK\r\n\r\n") }
        let settings = try ProxySettings(environment: [
            "HTTPS_PROXY": "http://127.0.0.1:\(proxy.port)"
        ])
        let dialer = try TunnelDialer(
            relay: RelayEndpoint(host: "relay.example", port: 443, usesTLS: true), token: "t",
            trust: .system, proxy: settings)
        // Whether the end is noticed with the yes, or later, is chance.
        for _ in 0..<30 {
            #expect(try await self.dialError(dialer)?.isCut == true)
        }
        try await proxy.stop()
    }
}

struct DialSettingsTests {
    @Test func `a relay's URL says host, port and encryption`() {
        #expect(
            RelayEndpoint("https://r.example") == .init(host: "r.example", port: 443, usesTLS: true)
        )
        #expect(
            RelayEndpoint("r.example:8443/") == .init(host: "r.example", port: 8443, usesTLS: true))
        #expect(RelayEndpoint("http://[::1]:80") == .init(host: "::1", port: 80, usesTLS: false))
    }

    @Test(arguments: [
        "", "ftp://x", "https://", "https://u@x", "https://x/y", "https://x:0", "https://x:65536",
        "https://x:", "https://[::1", "https://x\r\ny", "::1", "http://r.example",
    ])
    func `a URL that is not a relay's is refused`(text: String) {
        #expect(RelayEndpoint(text) == nil)
    }

    @Test func `NO_PROXY and this machine are dialled directly`() throws {
        let settings = try ProxySettings(environment: [
            "https_proxy": "http://proxy:3128", "NO_PROXY": ".corp.example, exact.example",
        ])
        func proxy(_ host: String, tls: Bool = true) -> String? {
            settings.proxy(for: RelayEndpoint(host: host, port: 443, usesTLS: tls))?.description
        }
        #expect(proxy("relay.example") == "proxy:3128")
        #expect(proxy("relay.example", tls: false) == nil)
        #expect(proxy("a.corp.example") == nil)
        #expect(proxy("exact.example") == nil)
        #expect(proxy("inexact.example") == "proxy:3128")
        #expect(proxy("localhost") == nil)
        #expect(throws: DialError.self) {
            try ProxySettings(environment: ["ALL_PROXY": "socks5://x:1"])
        }
    }
}
