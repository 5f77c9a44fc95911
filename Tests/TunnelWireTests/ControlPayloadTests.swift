import NIOCore
import Testing

@testable import TunnelWire

/// The payloads that have keys, with an example of each.
enum PayloadExamples {
    static let share = Hello.ShareRequest(
        id: "0123456789abcdef", name: "demo", verifier: "SCRAM-SHA-256$4096:c2FsdA==$YQ==:Yg==",
        database: "app", user: "ann", maxConnections: 20, expiresIn: 28_800,
        expiresAt: 1_800_000_000, readOnly: true, allow: ["192.0.2.0/24"])
    static let hello = Hello(agent: "pgshare 1.0.0", share: share)
    static let join = Hello(
        agent: "pgshare 1.0.0", join: Hello.Join(tunnel: "t1", secret: "s1"))
    static let helloOK = HelloOK(
        share: "0123456789abcdef", name: nil, host: "localhost", port: 15_432,
        domain: "localhost", expiresAt: 1_800_000_000, generation: 3, tunnel: "t1",
        tunnelSecret: "s1", links: 2, isSpare: false, session: "l1", resumeSecret: "r1",
        graceSeconds: 30, replayBytes: 4_194_304)
    static let resume = Resume(session: "l1", secret: "r1", received: 1_048_576)
    static let resumeOK = ResumeOK(received: 77, resumeSecret: "r2")
    static let error = LinkError(code: "unauthorized", message: "no such token", retry: false)
    static let goAway = GoAway(reason: "restarting")
    static let session = Open(
        window: 262_144, client: "192.0.2.1", parameters: [["user", "ann"], ["database", "app"]])
    static let cancel = Open(window: 16_384, cancel: 7, after: 1_234)
    static let openOK = OpenOK(window: 262_144)
}

extension ControlPayload {
    /// The same from a peer that knows of no minor.
    func older(_ minor: WritableKeyPath<Self, Int?>) -> Self {
        var older = self
        older[keyPath: minor] = nil
        return older
    }
}

struct ControlPayloadTests {
    @Test func `a peer that tells no minor is one of minor 0, and is understood`() throws {
        let hello = try Hello(payload: PayloadExamples.hello.older(\.minor).payload)
        #expect(hello.minor == nil)
        #expect(PayloadExamples.hello.minor == 1)
        #expect(TunnelProtocol.minor == 1)
    }

    /// Writes a payload, reads it, and reads it again with a key of a newer peer in it, and
    /// without each of its keys.
    private func check<Payload: ControlPayload & Equatable>(
        _ example: Payload, optional: Set<String>
    ) throws {
        let json = String(buffer: example.payload)
        #expect(try Payload(payload: ByteBuffer(string: json)) == example)

        let newer = "{\"zzz\":{\"deep\":[1,null]}," + json.dropFirst()
        #expect(try Payload(payload: ByteBuffer(string: newer)) == example)

        for key in try JSONKeys.top(of: json) {
            let poorer = try JSONKeys.removing(key, from: json)
            let read = Result { () throws(LinkViolation) -> Payload in
                try Payload(payload: ByteBuffer(string: poorer))
            }
            if optional.contains(key) {
                #expect(throws: Never.self) { try read.get() }
            } else {
                #expect(throws: LinkViolation.badPayload(Payload.frameType), "\(key)") {
                    try read.get()
                }
            }
        }
    }

    @Test func `HELLO ignores unknown keys and refuses missing ones`() throws {
        try self.check(PayloadExamples.hello, optional: ["share", "join", "minor"])
        try self.check(PayloadExamples.join, optional: ["share", "join", "minor"])
    }

    @Test func `HELLO_OK ignores unknown keys and refuses missing ones`() throws {
        try self.check(PayloadExamples.helloOK, optional: ["name", "minor"])
    }

    @Test func `RESUME and RESUME_OK ignore unknown keys and refuse missing ones`() throws {
        try self.check(PayloadExamples.resume, optional: ["minor"])
        try self.check(PayloadExamples.resumeOK, optional: [])
    }

    @Test func `ERROR and GOAWAY ignore unknown keys and refuse missing ones`() throws {
        try self.check(PayloadExamples.error, optional: [])
        try self.check(PayloadExamples.goAway, optional: [])
    }

    @Test func `OPEN and OPEN_OK ignore unknown keys and refuse missing ones`() throws {
        let optional: Set = ["client", "parameters", "stream", "after"]
        try self.check(PayloadExamples.session, optional: optional)
        try self.check(PayloadExamples.cancel, optional: optional)
        try self.check(PayloadExamples.openOK, optional: [])
    }

    @Test(arguments: [
        "", "{}", "[]", "null", "{", "\u{0}", "{\"window\":\"5\"}", "{\"window\":1.5}",
        "{\"window\":99999999999999999999}", "{\"kind\":\"other\",\"window\":5}",
    ])
    func `what is not the JSON of OPEN is a violation`(text: String) {
        #expect(throws: LinkViolation.badPayload(.open)) {
            try Open(payload: ByteBuffer(string: text))
        }
    }

    @Test func `brackets without end are a violation`() {
        let deep = String(repeating: "[", count: FrameHeader.maximumControlPayloadBytes)
        #expect(throws: LinkViolation.badPayload(.hello)) {
            try Hello(payload: ByteBuffer(string: deep))
        }
    }

    @Test func `a violation becomes an error frame with its code`() {
        let error = LinkError(.tooManyStreams(limit: 3))
        #expect(error.code == "too_many_streams")
        #expect(error.retry)
    }
}
