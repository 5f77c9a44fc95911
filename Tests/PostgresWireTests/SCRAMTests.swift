import NIOCore
import Testing

@testable import PostgresWire

/// The example of RFC 7677, section 3: user `user`, password `pencil`.
private enum RFC7677 {
    static let clientNonce = "rOprNGfwEbeRWgbNEkqO"
    static let serverFirst =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        + "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    static let clientFinal =
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        + "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    static let serverFinal = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
}

struct SCRAMTests {
    @Test func `the exchange of RFC 7677 comes out to the byte`() throws {
        let client = SCRAMClient(
            mechanism: .plain, header: .unsupported, endPoint: [], nonce: RFC7677.clientNonce,
            user: "user")
        #expect(client.first == "n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
        let response = try client.respond(
            to: RFC7677.serverFirst, password: Secret("pencil"), cached: nil)
        #expect(response.message == RFC7677.clientFinal)
        try SCRAMClient.check(RFC7677.serverFinal, response)
        #expect(throws: LoginFailure.serverSignatureInvalid) {
            let zeros = "v=" + Base64.encode(Array(repeating: 0, count: 32))
            try SCRAMClient.check(zeros, response)
        }
    }

    @Test func `cached keys give the same answer, for their salt only`() throws {
        let client = SCRAMClient(
            mechanism: .plain, header: .unsupported, endPoint: [], nonce: RFC7677.clientNonce,
            user: "user")
        let first = try client.respond(
            to: RFC7677.serverFirst, password: Secret("pencil"), cached: nil)
        let again = try client.respond(
            to: RFC7677.serverFirst, password: Secret("not looked at"), cached: first.keys)
        #expect(again.message == RFC7677.clientFinal)
        let otherSalt = RFC7677.serverFirst.replacing("W22Z", with: "W22Y")
        let other = try client.respond(
            to: otherSalt, password: Secret("pencil"), cached: first.keys)
        #expect(other.keys != first.keys)
    }

    @Test(arguments: [
        "", "r=other,s=QUFB,i=1", "r=rOprNGfwEbeRWgbNEkqO,s=QUFB,i=1",
        "m=x,r=rOprNGfwEbeRWgbNEkqOx,s=QUFB,i=1", "r=rOprNGfwEbeRWgbNEkqOx,s=,i=1",
        "r=rOprNGfwEbeRWgbNEkqOx,s=!!!!,i=1", "r=rOprNGfwEbeRWgbNEkqOx,s=QUFB,i=0",
        "r=rOprNGfwEbeRWgbNEkqOx,s=QUFB,i=-1", "r=rOprNGfwEbeRWgbNEkqOx,s=QUFB,i=2000000000",
        "r=rOprNGfwEbeRWgbNEkqOx,s=QUFB", "r=rOprNGfwEbeRWgbNEkqOx,s=QUFB,i=1,1",
    ])
    func `a hostile server's first message is refused`(message: String) {
        let client = SCRAMClient(
            mechanism: .plain, header: .unsupported, endPoint: [], nonce: RFC7677.clientNonce)
        #expect(throws: LoginFailure.self) {
            try client.respond(to: message, password: Secret("p"), cached: nil)
        }
    }

    @Test func `a verifier survives its text`() throws {
        var random = SeededGenerator(seed: 1)
        let verifier = SCRAMVerifier(password: Secret("pencil"), using: &random)
        #expect(SCRAMVerifier(verifier.text) == verifier)
        #expect(verifier.text.hasPrefix("SCRAM-SHA-256$4096:"))
        #expect(verifier.verifies(password: Secret("pencil")))
        #expect(!verifier.verifies(password: Secret("pencils")))
        #expect("\(verifier)" == "…")
    }

    @Test func `an empty password has a verifier like any other`() {
        let verifier = SCRAMVerifier(password: Secret(""), salt: [1], iterations: 1)
        #expect(verifier.verifies(password: Secret("")))
        #expect(!verifier.verifies(password: Secret(" ")))
    }

    @Test(arguments: [
        "", "md5abc", "SCRAM-SHA-256$0:QUFB$QQ==:QQ==", "SCRAM-SHA-256$4096$a:b",
        "SCRAM-SHA-256$4096:QUFB$QQ==:QQ==", "SCRAM-SHA-1$4096:QUFB$QQ==:QQ==",
    ])
    func `text that is no verifier is none`(text: String) {
        #expect(SCRAMVerifier(text) == nil)
    }

    @Test func `a mock is the same for one name and differs between names and secrets`() {
        let mock = SCRAMVerifier.mock(name: "a", secret: [1, 2, 3])
        #expect(mock == SCRAMVerifier.mock(name: "a", secret: [1, 2, 3]))
        #expect(mock.salt != SCRAMVerifier.mock(name: "b", secret: [1, 2, 3]).salt)
        #expect(mock.salt != SCRAMVerifier.mock(name: "a", secret: [1, 2, 4]).salt)
        #expect(mock.salt.count == SCRAMVerifier.saltBytes)
        #expect(mock.iterations == 4_096)
    }

    @Test(arguments: [
        ("plain", "plain"), ("a\u{7}b", "a\u{7}b"), ("I\u{ad}X", "IX"), ("\u{aa}", "a"),
        ("\u{2168}", "IX"), ("a\u{a0}b", "a b"), ("e\u{301}", "\u{e9}"), ("ä", "ä"),
        ("\u{e9}\u{7}", "\u{e9}\u{7}"), ("\u{ad}", "\u{ad}"), ("\u{627}1", "\u{627}1"),
        ("\u{2168}\u{1f600}", "\u{2168}\u{1f600}"),
    ])
    func `passwords are prepared as Postgres does`(password: String, prepared: String) {
        #expect(saslPrepared(password) == Array(prepared.utf8))
    }

    @Test(arguments: UInt64(0)..<50)
    func `base64 comes back as it went`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let bytes = random.bytes(Int(seed))
        #expect(Base64.decode(Base64.encode(bytes)) == bytes)
    }

    @Test(arguments: ["A", "AA", "AAA", "AB==", "A===", "====", "AA=A", "AA\n=", "AAB="])
    func `what is not base64 is refused`(text: String) {
        #expect(Base64.decode(text) == nil)
    }
}
