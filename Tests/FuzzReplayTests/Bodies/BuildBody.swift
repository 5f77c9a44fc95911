import NIOCore
import PostgresWire

@testable import Relay

/// Verbs in any order, of clients, of the relay and of database.build's page.
func fuzzBuild(_ bytes: ByteBuffer) throws(Broken) {
    var bytes = bytes
    let pattern = bytes.choice()
    let input = bytes
    var whole = try run(input, pattern: 0)
    var cut = try run(input, pattern: max(2, pattern))
    // What was passed on before a violation depends on where it came.
    if whole.violation != nil {
        whole.replies = ByteBuffer()
        cut.replies = ByteBuffer()
    }
    try check(whole == cut, "a cut changed what came of it")
}

/// What came of it: frames for the page, and replies put end to end.
private struct Outcome: Equatable {
    var sent: [ByteBuffer] = []
    var replies = ByteBuffer()
    var done = 0
    var violation: DatabaseBuildViolation?
}

private func run(_ input: ByteBuffer, pattern: UInt8) throws(Broken) -> Outcome {
    var input = input
    var machine = DatabaseBuildMachine()
    var outcome = Outcome()
    var calls = 0
    var came = 0
    machine.attached()
    machine.clientCame(1, address: "192.0.2.1")
    while input.readableBytes > 0, outcome.violation == nil {
        let verb = input.choice()
        do throws(DatabaseBuildViolation) {
            switch verb & 15 {
            case 0...2: machine.data(frontend(verb, &input))
            case 3, 4:
                machine.run()
                calls += 1
            case 5: machine.drop()
            case 6:
                for part in input.upTo(Int(input.choice())).parts(pattern) {
                    came += part.readableBytes
                    try machine.received(part)
                }
            case 7...10:
                for part in reply(verb).parts(pattern) {
                    came += part.readableBytes
                    try machine.received(part)
                }
                try machine.frameEnded()
            case 11: try machine.frameEnded()
            case 12: machine.clientCame(UInt32(verb >> 4), address: nil)
            case 13: machine.clientLeft(UInt32(verb >> 4))
            case 14: machine.rest()
            default:
                if verb >> 4 < 8 { machine.attached() } else { machine.lost() }
            }
        } catch {
            outcome.violation = error
        }
        take(&machine, &outcome)
    }
    try check(outcome.done <= calls, "a call ended twice")
    try check(outcome.replies.readableBytes <= came, "a reply was made up")
    for frame in outcome.sent {
        try check(
            frame.readableBytesView.starts(with: DatabaseBuildMachine.connectionID.utf8),
            "a frame without its id")
    }
    return outcome
}

private func take(_ machine: inout DatabaseBuildMachine, _ outcome: inout Outcome) {
    while let action = machine.nextAction() {
        switch action {
        case .send(let frame): outcome.sent.append(frame)
        case .reply(let bytes): outcome.replies.writeImmutableBuffer(bytes)
        case .done: outcome.done += 1
        case .restarted: break
        }
    }
}

/// A message of a client: of a type that there is, with a body of the input.
private func frontend(_ verb: UInt8, _ input: inout ByteBuffer) -> ByteBuffer {
    let types = Array("QPBDECHSdcfFXpA?".utf8)
    let body = input.upTo(Int(input.choice()) % 40)
    var message = ByteBuffer(bytes: [types[Int(verb >> 4)]])
    message.writeInteger(UInt32(body.readableBytes + 4))
    message.writeImmutableBuffer(body)
    return message
}

/// A frame of the page with a reply such as an engine gives.
private func reply(_ verb: UInt8) -> ByteBuffer {
    var frame = ByteBuffer(string: DatabaseBuildMachine.connectionID)
    switch verb >> 4 {
    case 0...3: frame.writeImmutableBuffer(PostgresMessage.commandComplete("SELECT 1"))
    case 4...6:
        let code = verb >> 4 == 4 ? "34000" : "42601"
        let error = PostgresError(
            severity: .error, sqlState: SQLState(rawValue: code), message: "no")
        error.write(into: &frame)
    case 7...8: frame.writeImmutableBuffer(PostgresMessage.parameterStatus("a", "b"))
    default: break
    }
    if verb & 1 == 0 {
        frame.writeImmutableBuffer(PostgresMessage.readyForQuery(verb >> 4 > 10 ? "T" : "I"))
    }
    return frame
}
