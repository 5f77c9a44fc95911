package import NIOCore

/// The agent's half of the talk that starts a link, or brings it back.
///
///     start() HELLO  ──▶ asked ──▶ HELLO_OK / welcomed
///     start() RESUME ──▶ asked ──▶ RESUME_OK / resumed
///                          └─────▶ ERROR / refused
///
/// Pure. What is behind the answer stays in the bytes: it is the link's.
package struct AgentHandshake: Sendable {
    /// What the relay answered.
    package enum OnReceive: Hashable, Sendable {
        case readMore
        case welcomed(HelloOK)
        case resumed(ResumeOK)
        case refused(LinkError)
    }

    private enum Question: Sendable {
        case hello(Hello)
        case resume(Resume)
    }

    private let question: Question
    private var decoder = FrameDecoder()

    package init(hello: Hello) { self.question = .hello(hello) }
    package init(resume: Resume) { self.question = .resume(resume) }

    /// The first frame.
    package func start() -> ByteBuffer {
        switch self.question {
        case .hello(let hello): hello.frame
        case .resume(let resume): resume.frame
        }
    }

    /// Takes the answer off the front of `bytes`.
    package mutating func receive(
        _ bytes: inout ByteBuffer
    ) throws(LinkViolation) -> OnReceive {
        guard let event = try self.decoder.next(&bytes) else { return .readMore }
        guard case .control(let header, let payload) = event else { throw .unexpected(.data) }
        switch (self.question, header.type) {
        case (.hello, .helloOK): return .welcomed(try HelloOK(payload: payload))
        case (.resume, .resumeOK): return .resumed(try ResumeOK(payload: payload))
        case (_, .error): return .refused(try LinkError(payload: payload))
        case (.hello, _), (.resume, _): throw .unexpected(header.type)
        }
    }

    /// What a connection that was closed meanwhile has brought, if it is an ERROR: a yes is worth
    /// nothing on it.
    package func refusal(in bytes: ByteBuffer) throws(LinkViolation) -> LinkError? {
        var (machine, bytes) = (self, bytes)
        guard case .refused(let error) = try machine.receive(&bytes) else { return nil }
        return error
    }
}

/// The relay's half: the first frame decides what a connection is.
package struct RelayHandshake: Sendable {
    /// What the agent asked for.
    package enum OnReceive: Hashable, Sendable {
        case readMore
        case hello(Hello)
        case resume(Resume)
    }

    private var decoder = FrameDecoder()

    package init() {}

    /// Takes the first frame off the front of `bytes`.
    package mutating func receive(
        _ bytes: inout ByteBuffer
    ) throws(LinkViolation) -> OnReceive {
        guard let event = try self.decoder.next(&bytes) else { return .readMore }
        guard case .control(let header, let payload) = event else { throw .unexpected(.data) }
        switch header.type {
        case .hello: return .hello(try Hello(payload: payload))
        case .resume: return .resume(try Resume(payload: payload))
        case .helloOK, .resumeOK, .ack, .ping, .pong, .goAway, .error, .open, .openOK, .data,
            .window, .reset:
            throw .unexpected(header.type)
        }
    }
}
