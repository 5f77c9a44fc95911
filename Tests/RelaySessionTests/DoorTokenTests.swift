import Crypto
import Foundation
import JWTKit
import NIOConcurrencyHelpers
import NIOCore
import SharePolicy
import Testing

@testable import Relay

@Suite(.timeLimit(.minutes(1)))
struct DoorTokenTests {
    private static let no = "unauthorized"

    /// Asks an issuer with a shared secret.
    private func verdict(_ claims: String, secret: Data = TestIssuer.secret) async throws -> String
    {
        try await withFolder { folder in
            let file = try TestIssuer.file(TestIssuer.secret, in: folder)
            let issuer = try await TestIssuer.make(secretFile: file)
            return try await TestIssuer.verdict(TestKey.shared(secret).token(claims), issuer)
        }
    }

    @Test func `a good token of a shared secret speaks for its subject`() async throws {
        #expect(try await self.verdict(TestIssuer.claims()) == "jwt:anna")
    }

    @Test func `a wrong secret is refused`() async throws {
        let wrong = Data("another secret of more than 32 bytes".utf8)
        #expect(try await self.verdict(TestIssuer.claims(), secret: wrong) == Self.no)
    }

    /// Now is 1,800,000,000; clocks may be a minute apart.
    @Test(arguments: [
        ("exp", "1799999941", "jwt:anna"), ("exp", "1799999940", Self.no),
        ("exp", "1", Self.no), ("exp", nil, Self.no), ("exp", #""1800003600""#, Self.no),
        ("exp", "1e300", "jwt:anna"), ("exp", "-1e300", Self.no), ("exp", "null", Self.no),
        ("nbf", "1800000060", "jwt:anna"), ("nbf", "1800000061", Self.no),
        ("nbf", "1700000000", "jwt:anna"), ("nbf", #""soon""#, Self.no),
        ("iss", #""https://other.example""#, Self.no), ("iss", nil, Self.no),
        ("iss", #""https://issuer.example/auth/v1/""#, Self.no),
        ("aud", #""else""#, Self.no), ("aud", nil, Self.no), ("aud", "[]", Self.no),
        ("aud", #"["else","pgshare"]"#, "jwt:anna"), ("aud", #"["else"]"#, Self.no),
        ("aud", "7", Self.no), ("aud", #"{"pgshare":1}"#, Self.no),
        ("sub", nil, Self.no), ("sub", #""""#, Self.no), ("sub", "1", Self.no),
    ])
    func `every claim is checked`(name: String, value: String?, wanted: String) async throws {
        #expect(try await self.verdict(TestIssuer.claims([name: value])) == wanted)
    }

    @Test func `claims that are no object are refused`() async throws {
        for claims in ["", "[]", "null", "{", "\u{0}"] where !claims.isEmpty {
            #expect(try await self.verdict(claims) == Self.no)
        }
    }

    @Test func `a long subject or one of other characters becomes a hash`() async throws {
        let mail = try await self.verdict(TestIssuer.claims(["sub": #""anna@example.com""#]))
        let digest = SHA256.hash(data: Data("anna@example.com".utf8))
        let hex = digest.map { String(UInt16($0) | 0x100, radix: 16).dropFirst() }.joined()
        #expect(mail == "jwt:~" + hex)
        let long = String(repeating: "a", count: 255)
        let hashed = try await self.verdict(TestIssuer.claims(["sub": #""\#(long)""#]))
        #expect(hashed.hasPrefix("jwt:~"))
        let longer = try await self.verdict(TestIssuer.claims(["sub": #""\#(long)a""#]))
        #expect(longer == Self.no)
    }

    @Test(arguments: ["anna", "~00", "jwt:anna", "jwt:~00", ":", "\u{301}a", "a\u{0}b", "ä"])
    func `a subject is never the owner of a token, nor another subject's`(sub: String) throws {
        let owner = try #require(OwnerID(issuedSubject: sub))
        #expect(OwnerID(tokenName: owner.rawValue) == nil)
        #expect(OwnerID(rawValue: owner.rawValue) == owner)
        #expect(!owner.hasToken)
        #expect(!owner.isAnonymous)
        #expect(OwnerID(issuedSubject: owner.rawValue) != owner)
    }

    @Test(arguments: [
        "jwt:", "jwt:a b", "jwt:~", "jwt:~00", "jwt:\u{301}a", "JWT:a",
        "jwt:~" + String(repeating: "G", count: 64),
    ])
    func `what no subject becomes is no owner`(text: String) {
        #expect(OwnerID(rawValue: text) == nil)
    }

    // MARK: Form

    @Test func `a token has three parts of base64url and at most 8 KiB`() throws {
        let token = try TestKey.shared(TestIssuer.secret).token(TestIssuer.claims())
        #expect(IssuedToken(token) != nil)
        #expect("\(try #require(IssuedToken(token)))" == "…")
        let noSignature = token[..<(try #require(token.lastIndex(of: ".")))]
        for text in [
            "", "..", "a.b", "a.b.c.d", "a.b.", token + " ", token + "=", token + "\u{0}",
            String(noSignature), String(noSignature) + ".",
        ] {
            #expect(IssuedToken(text) == nil, "\(text)")
        }
        #expect(IssuedToken("a.b." + String(repeating: "c", count: 8_188)) != nil)
        #expect(IssuedToken("a.b." + String(repeating: "c", count: 8_189)) == nil)
        #expect(AccessToken("pgs_" + String(repeating: "A", count: 43))?.reveal.count == 47)
    }

    @Test func `a token is not taken for what it is not`() async throws {
        try await withFolder { folder in
            let file = try TestIssuer.file(TestIssuer.secret, in: folder)
            let issuer = try await TestIssuer.make(secretFile: file)
            let key = TestKey.shared(TestIssuer.secret)
            let claims = TestIssuer.claims()
            let none = try key.token(claims, algorithm: "none")
            let critical = try key.token(claims, header: #","crit":["b64"],"b64":false"#)
            for token in [none, critical, "a.b.c", "e30.e30.AAAA"] {
                #expect(try await TestIssuer.verdict(token, issuer) == Self.no)
            }
            for algorithm in ["None", "HS512", "hs256", "RS256", "ES256", ""] {
                let token = try key.token(claims, algorithm: algorithm)
                #expect(try await TestIssuer.verdict(token, issuer) == Self.no)
            }
        }
    }

    // MARK: Public keys

    @Test func `keys of every kind are read from a file, each for its own algorithm`() async throws
    {
        try await withFolder { folder in
            let rsa = try await TestKey.rsa(id: "r", in: folder)
            let curve = TestKey.p256(id: "c", alg: nil)
            let edwards = TestKey.ed25519(id: "e")
            let file = "\(folder)/keys.json"
            let set = TestKey.keySet(rsa, curve, edwards)
            try set.write(toFile: file, atomically: true, encoding: .utf8)
            let secret = try TestIssuer.file(TestIssuer.secret, in: folder)
            let issuer = try await TestIssuer.make(keySet: .file(file), secretFile: secret)
            let claims = TestIssuer.claims()
            for (key, id) in [(rsa, "r"), (curve, "c"), (edwards, "e")] {
                let named = try key.token(claims, kid: id)
                #expect(try await TestIssuer.verdict(named, issuer) == "jwt:anna")
                let unnamed = try key.token(claims)
                #expect(try await TestIssuer.verdict(unnamed, issuer) == "jwt:anna")
                for other in ["r", "c", "e", "x"] where other != id {
                    let token = try key.token(claims, kid: other)
                    #expect(try await TestIssuer.verdict(token, issuer) == Self.no)
                }
            }
            let shared = try TestKey.shared(TestIssuer.secret).token(claims, kid: "r")
            #expect(try await TestIssuer.verdict(shared, issuer) == "jwt:anna")
        }
    }

    @Test func `a public key is no secret of HS256, whatever a token says`() async throws {
        try await withFolder { folder in
            let rsa = try await TestKey.rsa(id: "r", in: folder)
            let set = TestKey.keySet(rsa)
            let file = "\(folder)/keys.json"
            try set.write(toFile: file, atomically: true, encoding: .utf8)
            let issuer = try await TestIssuer.make(keySet: .file(file))
            let pem = try String(contentsOfFile: "\(folder)/rsa-r.pem", encoding: .utf8)
            let publicKey = try Insecure.RSA.PrivateKey(pem: pem).publicKey
            let secrets = [
                Data(publicKey.pemRepresentation.utf8), publicKey.derRepresentation,
                try publicKey.getKeyPrimitives().modulus, Data(set.utf8),
                Data(try #require(rsa.jwk).utf8), Data(),
            ]
            for secret in secrets {
                for algorithm in ["HS256", "RS256", "none"] {
                    let forged = try TestKey.shared(secret)
                        .token(TestIssuer.claims(), algorithm: algorithm, kid: "r")
                    #expect(try await TestIssuer.verdict(forged, issuer) == Self.no)
                }
            }
        }
    }

    @Test func `what is no public key for signatures is skipped`() async throws {
        let good = TestKey.p256(id: "good")
        let odd = [
            #"{"kty":"oct","k":"c2VjcmV0","alg":"HS256","kid":"o"}"#, #"{"kty":"XX"}"#, "7",
            #"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#, #"{"kty":"RSA","n":"AQAB","e":"AQ"}"#,
            #"{"kty":"RSA","alg":"RSA-OAEP","n":"AQAB","e":"AQAB"}"#, "null", "{}",
        ]
        let set = #"{"keys":[\#((odd + [try #require(good.jwk)]).joined(separator: ","))]}"#
        let keys = try await IssuerKeys(keySet: Data(set.utf8))
        let token = try good.token(TestIssuer.claims(), kid: "good")
        try keys.check(SignedToken(try #require(IssuedToken(token))))
        for bad in [#"{"keys":[\#(odd.joined(separator: ","))]}"#, "", "[]", #"{"keys":7}"#] {
            await #expect(throws: UnusableKeySet.self) {
                try await IssuerKeys(keySet: Data(bad.utf8))
            }
        }
        let encryption = try #require(good.jwk).replacing(#""use":"sig""#, with: #""use":"enc""#)
        await #expect(throws: UnusableKeySet.self) {
            try await IssuerKeys(keySet: Data(#"{"keys":[\#(encryption)]}"#.utf8))
        }
    }

    // MARK: Keys from a server

    @Test func `a new key is asked for at most once a minute`() async throws {
        try await KeyServer.with { server in
            let (old, new) = (TestKey.p256(id: "old"), TestKey.p256(id: "new"))
            server.state.withLockedValue { $0.body = TestKey.keySet(old) }
            let clock = HandClock()
            let issuer = try await TestIssuer.make(keySet: .url(server.url), clock: clock)
            let claims = TestIssuer.claims()
            #expect(server.asked == 0)
            for _ in 0..<3 {
                let token = try old.token(claims, kid: "old")
                #expect(try await TestIssuer.verdict(token, issuer) == "jwt:anna")
            }
            #expect(server.asked == 1)
            server.state.withLockedValue { $0.body = TestKey.keySet(old, new) }
            let token = try new.token(claims, kid: "new")
            #expect(try await TestIssuer.verdict(token, issuer) == Self.no)
            #expect(server.asked == 1)
            clock.advance(.minutes(1))
            #expect(try await TestIssuer.verdict(token, issuer) == "jwt:anna")
            for id in 0..<20 {
                let guess = try new.token(claims, kid: "guess-\(id)")
                #expect(try await TestIssuer.verdict(guess, issuer) == Self.no)
            }
            #expect(server.asked == 2)
        }
    }

    @Test(arguments: [500, 301, 200])
    func `keys stay where a later fetch fails`(status: Int) async throws {
        try await KeyServer.with { server in
            let key = TestKey.ed25519(id: "k")
            server.state.withLockedValue { $0.body = TestKey.keySet(key) }
            let clock = HandClock()
            let issuer = try await TestIssuer.make(keySet: .url(server.url), clock: clock)
            let token = try key.token(TestIssuer.claims(), kid: "k")
            #expect(try await TestIssuer.verdict(token, issuer) == "jwt:anna")
            server.state.withLockedValue { state in
                state.status = status
                state.body = String(repeating: " ", count: 300 * 1_024)
            }
            clock.advance(.minutes(11))
            let unknown = try key.token(TestIssuer.claims(), kid: "other")
            #expect(try await TestIssuer.verdict(unknown, issuer) == Self.no)
            #expect(server.asked == 2)
            #expect(try await TestIssuer.verdict(token, issuer) == "jwt:anna")
            try await server.stop()
            clock.advance(.minutes(11))
            #expect(try await TestIssuer.verdict(unknown, issuer) == Self.no)
            #expect(try await TestIssuer.verdict(token, issuer) == "jwt:anna")
        }
    }

    @Test func `while there are no keys at all the answer is to try again`() async throws {
        try await KeyServer.with { server in
            let key = TestKey.p256(id: "k")
            server.state.withLockedValue { state in
                state.manner = .notAtAll
                state.body = TestKey.keySet(key)
            }
            let clock = HandClock()
            let issuer = try await TestIssuer.make(keySet: .url(server.url), clock: clock)
            let token = try key.token(TestIssuer.claims(), kid: "k")
            #expect(try await TestIssuer.verdict(token, issuer) == "not_ready")
            server.state.withLockedValue { $0.manner = .whole }
            #expect(try await TestIssuer.verdict(token, issuer) == "not_ready")
            clock.advance(.seconds(5))
            #expect(try await TestIssuer.verdict(token, issuer) == "jwt:anna")
        }
    }

    /// Whoever waits for a slow issuer waits for 5 s, and nobody else does.
    @Test(arguments: [KeyServer.Manner.silent, .stalled, .dripping, .endless])
    func `an issuer that does not come to an end keeps nobody for long`(
        manner: KeyServer.Manner
    ) async throws {
        try await KeyServer.with { server in
            let key = TestKey.p256(id: "k")
            let body = TestKey.keySet(key)
            server.state.withLockedValue { $0.manner = manner }
            try await withFolder { folder in
                let clock = HandClock()
                let file = try TestIssuer.file(TestIssuer.secret, in: folder)
                let issuer = try await TestIssuer.make(
                    keySet: .url(server.url), secretFile: file, clock: clock)
                let token = try key.token(TestIssuer.claims(), kid: "k")
                let shared = try TestKey.shared(TestIssuer.secret).token(TestIssuer.claims())
                let start = ContinuousClock.now
                async let slow = TestIssuer.verdict(token, issuer)
                #expect(try await TestIssuer.verdict(shared, issuer) == "jwt:anna")
                #expect(try await slow == "not_ready")
                #expect(ContinuousClock.now - start < .seconds(30))
                // It is asked again, and believed again.
                server.state.withLockedValue { state in
                    state.manner = .whole
                    state.body = body
                }
                clock.advance(.seconds(5))
                #expect(try await TestIssuer.verdict(token, issuer) == "jwt:anna")
                // Keys that are old are renewed beside the work.
                server.state.withLockedValue { $0.manner = manner }
                clock.advance(.minutes(11))
                let again = ContinuousClock.now
                #expect(try await TestIssuer.verdict(token, issuer) == "jwt:anna")
                #expect(ContinuousClock.now - again < .seconds(4))
            }
        }
    }

    @Test func `a redirect is not followed, to keys that are good neither`() async throws {
        try await KeyServer.with { thief in
            let key = TestKey.p256(id: "k")
            thief.state.withLockedValue { $0.body = TestKey.keySet(key) }
            try await KeyServer.with { server in
                server.state.withLockedValue { state in
                    state.status = 302
                    state.location = thief.url
                }
                let issuer = try await TestIssuer.make(keySet: .url(server.url))
                let token = try key.token(TestIssuer.claims(), kid: "k")
                #expect(try await TestIssuer.verdict(token, issuer) == "not_ready")
                #expect(server.asked == 1)
                #expect(thief.asked == 0)
            }
        }
    }

    // MARK: Configuration

    @Test(arguments: [
        "http://example.com/keys", "https://user:word@example.com/keys", "ftp://localhost/keys",
        "https:///keys", "http://127.0.0.1.example.com/", "https://example.com/#keys", "",
    ])
    func `a URL that others could change is refused`(text: String) {
        #expect(IssuerConfiguration.KeySet(text) == nil)
    }

    @Test(arguments: [
        "https://example.com/keys", "http://localhost:1/keys", "http://127.0.0.1:1/keys",
        "http://[::1]:1/keys",
    ])
    func `HTTPS, and HTTP on this machine, is asked`(text: String) {
        #expect(IssuerConfiguration.KeySet(text) == .url(text))
        #expect(IssuerConfiguration.KeySet("keys.json") == .file("keys.json"))
    }

    @Test func `a relay does not start with what it cannot use`() async throws {
        try await withFolder { folder in
            let short = try TestIssuer.file(Data(repeating: 65, count: 31) + [10, 10], in: folder)
            await #expect(throws: RelayError.self) { try await TestIssuer.make(secretFile: short) }
            await #expect(throws: RelayError.self) {
                try await TestIssuer.make(secretFile: "\(folder)/none")
            }
            await #expect(throws: RelayError.self) {
                try await TestIssuer.make(keySet: .file("\(folder)/none"))
            }
            await #expect(throws: RelayError.self) {
                try await TestIssuer.make(keySet: .file(short))
            }
            await #expect(throws: RelayError.self) { try await TestIssuer.make() }
        }
    }
}
