import Foundation
import NIOConcurrencyHelpers
import NIOCore
import PostgresWire
import SharePolicy
import ShareStore
import Testing
import TunnelTransport

@testable import Relay

/// Real relays on free ports; the page is a double, and so is its engine.
@Suite(.timeLimit(.minutes(2)))
struct DoorTests {
    private static let id = "0123456789abcdef"

    private static func select(_ text: String) -> ByteBuffer {
        PostgresMessage.query("select " + text)
    }

    // MARK: Clients

    @Test func `two clients have their turns at the same time`() async throws {
        try await DoorRelay.with { relay in
            let token = try await relay.token("anna")
            let (page, login) = try await relay.share(id: Self.id, token: token)
            let one = try await DoorClient.logIn(relay, login)
            let two = try await DoorClient.logIn(relay, login)
            #expect(try await one.ask(PostgresMessage.query("begin")) == "C:OK Z:T")
            two.socket.send(Self.select("1"))
            #expect(try await one.ask(Self.select("2")) == "T D:2 C:SELECT 1 Z:T")
            #expect(try await one.ask(PostgresMessage.query("commit")) == "C:OK Z:I")
            #expect(try await two.answer() == "T D:1 C:SELECT 1 Z:I")
            #expect(page.page.dropped == 0)
        }
    }

    @Test func `the page shows the client's address, and is reset when the last one has left`()
        async throws
    {
        try await DoorRelay.with { relay in
            let token = try await relay.token("anna")
            let (page, login) = try await relay.share(id: Self.id, token: token)
            try await relay.until { page.page.resets == 1 }
            let client = try await DoorClient.logIn(relay, login)
            #expect(page.page.shown == "127.0.0.1")
            #expect(page.page.active == DatabaseBuildMachine.connectionID)
            try await client.leave()
            try await relay.until { page.page.resets == 2 }
            #expect(page.page.active == nil)
            #expect(page.page.dropped == 0)
        }
    }

    @Test func `a large result reaches a client whole`() async throws {
        try await DoorRelay.with { relay in
            let token = try await relay.token("anna")
            let (_, login) = try await relay.share(id: Self.id, token: token)
            let client = try await DoorClient.logIn(relay, login)
            let bytes = 3 * DatabaseBuildLink.windowBytes
            let answer = try await client.ask(Self.select("large \(bytes)"))
            #expect(answer.utf8.count > bytes)
            #expect(answer.hasSuffix("x C:SELECT 1 Z:I"))
        }
    }

    // MARK: Passwords

    @Test func `nobody knows a password before the owner has had one made`() async throws {
        try await DoorRelay.with { relay in
            let token = try await relay.token("anna")
            let (_, first) = try await relay.share(id: Self.id, token: token)
            let second = try await relay.password(of: Self.id, token: token)
            #expect(first.password != second.password)
            #expect(second.password.utf8.count == SharePassword.length)
            for wrong in ["", "postgres", first.password] {
                await #expect(throws: LoginFailure.self) {
                    try await DoorClient.logIn(relay, user: second.user, password: wrong)
                }
            }
            let client = try await DoorClient.logIn(relay, second)
            #expect(try await client.ask(Self.select("1")) == "T D:1 C:SELECT 1 Z:I")
        }
    }

    @Test func `nobody but the owner has a password made`() async throws {
        try await DoorRelay.with { relay in
            let token = try await relay.token("anna")
            let (_, login) = try await relay.share(id: Self.id, token: token)
            let path = "/v1/shares/\(Self.id)/password"
            let stranger = try await relay.token("eve")
            #expect(try await relay.api("POST", path, token: stranger).status == 404)
            #expect(try await relay.api("GET", path, token: token).status == 404)
            #expect(try await relay.api("POST", path, token: "none").status == 401)
            _ = try await DoorClient.logIn(relay, login)
            #expect(
                try await relay.api("DELETE", "/v1/shares/\(Self.id)", token: token).status == 200)
            let late = try await relay.api("POST", path, token: token)
            #expect(late.status == 409)
            #expect(late.body.contains("share_ended"))
        }
    }

    // MARK: Coming and going

    @Test(arguments: [WebSocketClose.Code.goingAway, nil])
    func `clients wait for a page that is loaded anew or cut off`(
        code: WebSocketClose.Code?
    ) async throws {
        try await DoorRelay.with { relay in
            let token = try await relay.token("anna")
            let (page, login) = try await relay.share(id: Self.id, token: token)
            let client = try await DoorClient.logIn(relay, login)
            if let code { try await page.leave(code) } else { try await page.cut() }
            try await relay.until {
                let metrics = try await relay.api("GET", "/metrics", token: token)
                return metrics.body.contains("links_open{transport=\"websocket\"} 0\n")
            }
            client.socket.send(Self.select("1"))
            let next = try await DoorPage.connect(relay, id: Self.id, token: token)
            #expect(try await client.answer() == "T D:1 C:SELECT 1 Z:I")
            #expect(next.page.resets == 1)
            _ = try await DoorClient.logIn(relay, login)
        }
    }

    @Test func `a page that stops sharing ends its clients, and may share again`() async throws {
        try await DoorRelay.with { relay in
            let token = try await relay.token("anna")
            let (page, login) = try await relay.share(id: Self.id, token: token)
            let client = try await DoorClient.logIn(relay, login)
            try await page.leave(.normal)
            #expect(try await client.answer() == "E:57P01 closed")
            _ = try await DoorPage.connect(relay, id: Self.id, token: token)
            try await relay.until { try await relay.isOnline(Self.id, token) }
            let again = try await DoorClient.logIn(relay, login)
            #expect(try await again.ask(Self.select("1")) == "T D:1 C:SELECT 1 Z:I")
        }
    }

    @Test func `what a page was working on when it was lost has failed`() async throws {
        try await DoorRelay.with { relay in
            let token = try await relay.token("anna")
            let (page, login) = try await relay.share(id: Self.id, token: token)
            let one = try await DoorClient.logIn(relay, login)
            let two = try await DoorClient.logIn(relay, login)
            page.state.withLockedValue { $0.freezesAt = "select 1" }
            one.socket.send(Self.select("1"))
            try await relay.until { page.state.withLockedValue { $0.isFrozen } }
            try await page.cut()
            _ = try await DoorPage.connect(relay, id: Self.id, token: token)
            #expect(try await one.answer() == "E:58000 closed")
            #expect(try await two.ask(Self.select("2")) == "T D:2 C:SELECT 1 Z:I")
        }
    }

    @Test func `another page of the same owner takes over, and clients stay`() async throws {
        try await DoorRelay.with { relay in
            let token = try await relay.token("anna")
            let (page, login) = try await relay.share(id: Self.id, token: token)
            let client = try await DoorClient.logIn(relay, login)
            let next = try await DoorPage.connect(relay, id: Self.id, token: token)
            let close = try await page.closed()
            #expect(close?.code == WebSocketClose.Code.policyViolation.rawValue)
            #expect(close?.reason == TunnelRefusal.Reason.takenOver.message)
            #expect(try await client.ask(Self.select("1")) == "T D:1 C:SELECT 1 Z:I")
            #expect(next.page.engine.ran.contains("Q:select 1"))
            #expect(!page.page.engine.ran.contains("Q:select 1"))
        }
    }

    @Test func `the id of another owner's share is not to be had`() async throws {
        try await DoorRelay.with { relay in
            let token = try await relay.token("anna")
            let (page, login) = try await relay.share(id: Self.id, token: token)
            let eve = try await DoorPage.connect(
                relay, id: Self.id, token: try await relay.token("eve"))
            let close = try await eve.closed()
            #expect(close?.code == WebSocketClose.Code.policyViolation.rawValue)
            #expect(close?.reason == TunnelRefusal.Reason.idTaken.message)
            #expect(eve.page.engine.ran.isEmpty)
            let client = try await DoorClient.logIn(relay, login)
            #expect(try await client.ask(Self.select("1")) == "T D:1 C:SELECT 1 Z:I")
            #expect(page.page.engine.ran.contains("Q:select 1"))
        }
    }

    // MARK: Ends

    @Test func `a share that expires ends its page and its clients`() async throws {
        try await DoorRelay.with { relay in
            let token = try await relay.token("anna")
            let (page, login) = try await relay.share(id: Self.id, token: token)
            let client = try await DoorClient.logIn(relay, login)
            var share = try #require(await relay.store.share(try DoorRelay.id(Self.id)))
            let asked = try #require(share.expiresAt).timeIntervalSince(share.createdAt)
            #expect((1...8 * 3_600).contains(asked.rounded()))
            share.expiresAt = Date().addingTimeInterval(1)
            _ = try await relay.store.upsert(share, now: Date())
            #expect(try await client.answer() == "E:57P01 closed")
            let close = try await page.closed()
            #expect(close?.code == WebSocketClose.Code.policyViolation.rawValue)
            #expect(close?.reason == Refusal.Reason.shareEnded.message)
            // The owner may share that database again; who knew the old password is not let in.
            _ = try await DoorPage.connect(relay, id: Self.id, token: token)
            try await relay.until { try await relay.isOnline(Self.id, token) }
            await #expect(throws: LoginFailure.self) {
                try await DoorClient.logIn(relay, login)
            }
        }
    }

    @Test(
        arguments: [
            "", "short", "0123456789abcdefZ\0\0\0\u{5}I", "pgsharesession01Z\0\0\0\u{5}I",
        ].map { Array($0.utf8) })
    func `a page that breaks the rules is cut off, and its clients are told`(
        frame: [UInt8]
    ) async throws {
        try await DoorRelay.with { relay in
            let token = try await relay.token("anna")
            let (page, login) = try await relay.share(id: Self.id, token: token)
            let client = try await DoorClient.logIn(relay, login)
            page.send(ByteBuffer(bytes: frame))
            let close = try await page.closed()
            #expect(close?.code == WebSocketClose.Code.policyViolation.rawValue)
            #expect(try await client.answer() == "E:08006 closed")
        }
    }

    // MARK: Tokens and hosts

    @Test(arguments: [
        "", "pgs_", "token", "a.b.c", "e30.e30.AAAA",
        "pgs_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ])
    func `a page without a good token is refused, and the token is told to nobody`(
        token: String
    ) async throws {
        let secrets = NIOLockedValueBox(token.isEmpty ? [] : ["=" + token, "." + token])
        try await DoorRelay.with(secrets: secrets) { relay in
            let caught = await #expect(throws: DoorPage.Refused.self) {
                try await DoorPage.connect(relay, id: Self.id, token: token)
            }
            #expect(caught?.head.hasPrefix("HTTP/1.1 401 ") == true)
            #expect(caught?.head.contains("pgs_") == false)
        }
    }

    @Test func `a token that is good is told to nobody either`() async throws {
        let secrets = NIOLockedValueBox<[String]>([])
        try await DoorRelay.with(secrets: secrets) { relay in
            let token = try await relay.token("anna")
            secrets.withLockedValue { $0 = [token, String(token.dropFirst(4))] }
            let (page, login) = try await relay.share(id: Self.id, token: token)
            secrets.withLockedValue { $0.append(login.password) }
            let metrics = try await relay.api("GET", "/metrics", token: token)
            #expect(metrics.status == 200)
            #expect(!metrics.body.contains(token))
            let plain = try await relay.api("GET", "/?token=\(token)", token: token)
            #expect(plain.status == 404)
            #expect(!(plain.head + plain.body).contains(token))
            page.send(ByteBuffer(string: "garbage"))
            #expect(try await page.closed()?.reason.contains(token) == false)
            for query in ["token=\(token)&token=\(token)", "token=%\(token)", "tokens=\(token)"] {
                let head = try await DoorPage.ask(relay, host: Self.id + ".localhost", query)
                #expect(head.hasPrefix("HTTP/1.1 401 "), "\(query)")
                #expect(!head.contains(token))
            }
        }
    }

    /// Only one label of 16 letters and digits names a share, and only once.
    @Test(arguments: [
        "0123456789abcdef", "0123456789abcde.localhost", "0123456789abcdefg.localhost",
        "..localhost", ".localhost", "[::1]", "0123456789abcde%66.localhost", "127.0.0.1:1",
        "0123456789abcdef.localhost\r\nHost: 0123456789abcdeg.localhost",
    ])
    func `a host that names no share is no page's`(host: String) async throws {
        try await DoorRelay.with { relay in
            let token = try await relay.token("anna")
            let head = try await DoorPage.ask(relay, host: host, "token=\(token)")
            #expect(!head.hasPrefix("HTTP/1.1 101 "))
            #expect(try await relay.store.allShares().isEmpty)
        }
    }

    @Test func `a host is read as clients read it, whatever its case or port`() async throws {
        try await DoorRelay.with { relay in
            let token = try await relay.token("anna")
            let host = "0123456789ABCDEF.LocalHost:443"
            let head = try await DoorPage.ask(relay, host: host, "token=\(token)")
            #expect(head.hasPrefix("HTTP/1.1 101 "))
            try await relay.until { try await relay.store.share(DoorRelay.id(Self.id)) != nil }
        }
    }

    /// The subject of a token and the name of a token are two people, though they read the same.
    @Test func `a subject of the issuer is not the owner of that name`() async throws {
        try await withFolder { folder in
            let file = try TestIssuer.file(TestIssuer.secret, in: folder)
            try await DoorRelay.with(change: { configuration in
                configuration.issuer = IssuerConfiguration(
                    issuer: TestIssuer.name, audience: TestIssuer.audience, keySet: nil,
                    secretFile: file)
            }) { relay in
                let claims = TestIssuer.claims(["exp": "99999999999"])
                let issued = try TestKey.shared(TestIssuer.secret).token(claims)
                let own = try await relay.token("anna")
                let (_, login) = try await relay.share(id: Self.id, token: issued)
                let share = try await relay.store.share(DoorRelay.id(Self.id))
                #expect(share?.owner.rawValue == "jwt:anna")
                let other = try await DoorPage.connect(relay, id: Self.id, token: own)
                #expect(try await other.closed()?.reason == TunnelRefusal.Reason.idTaken.message)
                let path = "/v1/shares/\(Self.id)/password"
                #expect(try await relay.api("POST", path, token: own).status == 404)
                _ = try await DoorClient.logIn(relay, login)
            }
        }
    }
}
