import NIOCore
import Testing

@testable import TunnelWire

struct HandshakeTests {
    private static let answers: [(ByteBuffer, AgentHandshake.OnReceive)] = [
        (PayloadExamples.helloOK.frame, .welcomed(PayloadExamples.helloOK)),
        (PayloadExamples.error.frame, .refused(PayloadExamples.error)),
    ]

    @Test func `an agent says HELLO, a relay hears it`() throws {
        let agent = AgentHandshake(hello: PayloadExamples.hello)
        var relay = RelayHandshake()
        var bytes = agent.start()
        #expect(try relay.receive(&bytes) == .hello(PayloadExamples.hello))
    }

    @Test func `an agent says RESUME, a relay hears it`() throws {
        let agent = AgentHandshake(resume: PayloadExamples.resume)
        var relay = RelayHandshake()
        var bytes = agent.start()
        #expect(try relay.receive(&bytes) == .resume(PayloadExamples.resume))
    }

    @Test func `the first frame means the same at every cut, and what is behind it stays`() throws {
        let whole = PayloadExamples.hello.frame + .data("select 1")
        for cut in 0...whole.readableBytes {
            var (front, rest) = whole.cut(at: cut)
            var relay = RelayHandshake()
            var said = try relay.receive(&front)
            if said == .readMore {
                #expect(front.readableBytes == 0)
                said = try relay.receive(&rest)
            }
            #expect(said == .hello(PayloadExamples.hello))
            #expect(front + rest == .data("select 1"))
        }
    }

    @Test(arguments: [0, 1])
    func `the answer means the same at every cut, and what is behind it stays`(
        index: Int
    ) throws {
        let (frame, meaning) = Self.answers[index]
        let whole = frame + .data("x")
        for cut in 0...whole.readableBytes {
            var (front, rest) = whole.cut(at: cut)
            var agent = AgentHandshake(hello: PayloadExamples.hello)
            var said = try agent.receive(&front)
            if said == .readMore { said = try agent.receive(&rest) }
            #expect(said == meaning)
            #expect(front + rest == .data("x"))
        }
    }

    @Test func `of a connection that is closed a whole ERROR counts and nothing else`() throws {
        let agent = AgentHandshake(resume: PayloadExamples.resume)
        let refusal = PayloadExamples.error.frame
        #expect(try agent.refusal(in: refusal) == PayloadExamples.error)
        #expect(try agent.refusal(in: PayloadExamples.resumeOK.frame) == nil)
        for cut in 0..<refusal.readableBytes {
            #expect(try agent.refusal(in: refusal.cut(at: cut).0) == nil)
        }
    }

    @Test func `RESUME is answered by RESUME_OK or ERROR`() throws {
        var agent = AgentHandshake(resume: PayloadExamples.resume)
        var bytes = PayloadExamples.resumeOK.frame
        #expect(try agent.receive(&bytes) == .resumed(PayloadExamples.resumeOK))
    }

    @Test func `an answer to another question is a violation`() {
        var greeter = AgentHandshake(hello: PayloadExamples.hello)
        var resumeOK = PayloadExamples.resumeOK.frame
        #expect(throws: LinkViolation.unexpected(.resumeOK)) { try greeter.receive(&resumeOK) }
        var resumer = AgentHandshake(resume: PayloadExamples.resume)
        var helloOK = PayloadExamples.helloOK.frame
        #expect(throws: LinkViolation.unexpected(.helloOK)) { try resumer.receive(&helloOK) }
    }

    @Test(arguments: FrameType.allCases)
    func `a relay takes nothing but HELLO or RESUME first`(type: FrameType) {
        guard type != .hello, type != .resume else { return }
        let stream: UInt32 = type.isCounted ? 1 : 0
        let payload = ByteBuffer(repeating: 0x30, count: 8)
        var bytes = ByteBuffer.frame(type, stream: stream, payload)
        var relay = RelayHandshake()
        #expect(throws: LinkViolation.unexpected(type)) { try relay.receive(&bytes) }
    }

    @Test func `an extension of a newer peer may come first`() throws {
        var bytes =
            ByteBuffer.header(type: 0x81, length: 2, stream: 0) + ByteBuffer(string: "hi")
            + PayloadExamples.resume.frame
        var relay = RelayHandshake()
        #expect(try relay.receive(&bytes) == .resume(PayloadExamples.resume))
    }
}
