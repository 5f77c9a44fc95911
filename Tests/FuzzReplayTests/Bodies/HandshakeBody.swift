import NIOCore

@testable import TunnelWire

/// The first byte chooses the machine or the payload that the rest is for, the second how it is
/// cut.
func fuzzHandshake(_ bytes: ByteBuffer) throws(Broken) {
    var bytes = bytes
    let choice = bytes.choice()
    switch choice % 12 {
    case 0, 1, 2: try checkMachines(bytes, choice % 12)
    case 3: try checkRoundTrip(Hello.self, bytes)
    case 4: try checkRoundTrip(HelloOK.self, bytes)
    case 5: try checkRoundTrip(Resume.self, bytes)
    case 6: try checkRoundTrip(ResumeOK.self, bytes)
    case 7: try checkRoundTrip(LinkError.self, bytes)
    case 8: try checkRoundTrip(GoAway.self, bytes)
    case 9: try checkRoundTrip(Open.self, bytes)
    case 10: try checkRoundTrip(OpenOK.self, bytes)
    default: try checkReset(bytes)
    }
}

/// However the bytes are cut, the verdict is the same, and what is behind the answer stays.
private func checkMachines(_ bytes: ByteBuffer, _ machine: UInt8) throws(Broken) {
    var bytes = bytes
    let pattern = bytes.choice()
    func run(_ parts: [ByteBuffer]) -> Verdict {
        switch machine {
        case 0:
            var relay = RelayHandshake()
            return verdict(of: parts) { bytes throws(LinkViolation) in
                switch try relay.receive(&bytes) {
                case .readMore: nil
                case .hello(let hello): hello.payload
                case .resume(let resume): resume.payload
                }
            }
        case 1: return agentVerdict(AgentHandshake(hello: Hello(agent: "fuzz")), parts)
        default:
            let resume = Resume(session: "s", secret: "t", received: 7)
            return agentVerdict(AgentHandshake(resume: resume), parts)
        }
    }
    try check(run([bytes]) == run(bytes.parts(pattern)), "a cut changed the handshake")
}

/// What a machine said, and the bytes it left to the link.
private enum Verdict: Equatable {
    case waiting
    case said(ByteBuffer, left: ByteBuffer)
    case violation(LinkViolation)
}

private func agentVerdict(_ machine: AgentHandshake, _ parts: [ByteBuffer]) -> Verdict {
    var agent = machine
    return verdict(of: parts) { bytes throws(LinkViolation) in
        switch try agent.receive(&bytes) {
        case .readMore: nil
        case .welcomed(let answer): answer.payload
        case .resumed(let answer): answer.payload
        case .refused(let answer): answer.payload
        }
    }
}

private func verdict(
    of parts: [ByteBuffer],
    _ receive: (inout ByteBuffer) throws(LinkViolation) -> ByteBuffer?
) -> Verdict {
    var unread = ByteBuffer()
    var said: ByteBuffer?
    do throws(LinkViolation) {
        for part in parts {
            unread.writeImmutableBuffer(part)
            if said == nil { said = try receive(&unread) }
        }
    } catch {
        return .violation(error)
    }
    guard let said else { return .waiting }
    return .said(said, left: unread)
}

/// What was understood is written as something that means the same.
private func checkRoundTrip<Payload: ControlPayload & Equatable>(
    _ type: Payload.Type, _ bytes: ByteBuffer
) throws(Broken) {
    guard let value = try? Payload(payload: bytes) else { return }
    let written = value.payload
    let again = try? Payload(payload: written)
    try check(again == value, "\(type) is not what it was: \(String(buffer: written))")
}

/// A RESET is read as what was written, and always fits its frame.
private func checkReset(_ bytes: ByteBuffer) throws(Broken) {
    guard let reset = StreamReset(payload: bytes) else { return }
    let written = reset.payload
    try check(
        FrameType.reset.payloadLengths.contains(written.readableBytes), "RESET does not fit")
    let again = StreamReset(payload: written)
    try check(again?.code == reset.code && again?.sqlState == reset.sqlState, "RESET changed")
    try check(again.map { reset.text.hasPrefix($0.text) } ?? false, "the text of RESET changed")
}
