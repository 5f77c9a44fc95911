import NIOCore

@testable import SharedSession

/// What a page writes on its engine's stream, and questions between: the first byte is how the
/// bytes are cut, the second how many questions come first.
func fuzzEngine(_ bytes: ByteBuffer) throws(Broken) {
    var bytes = bytes
    let pattern = bytes.choice()
    let questions = bytes.choice()
    let whole = try read([bytes], questions)
    let cut = try read(bytes.parts(pattern), questions)
    try check(whole == cut, "a cut changed what was read")
    for case .notify(let message) in whole.events {
        try check(
            message.readableBytes <= EngineRecord.maximumGatheredBytes, "a long notification")
    }
}

private struct Read: Equatable {
    /// Parts of a reply are one, and so is what is void.
    var events: [EngineRecordDecoder.Event] = []
    var violation: EngineRecordViolation?
}

private func read(_ parts: [ByteBuffer], _ questions: UInt8) throws(Broken) -> Read {
    var decoder = EngineRecordDecoder()
    for place in 0..<4 {
        switch questions >> UInt8(2 * place) & 3 {
        case 0: decoder.askedToRun()
        case 1: decoder.askedToHold()
        case 2: decoder.askedToRestart()
        default: break
        }
    }
    var found = Read()
    var taken = 0
    do throws(EngineRecordViolation) {
        for part in parts {
            var part = part
            while let event = try decoder.next(&part) {
                switch (event, found.events.last) {
                case (.reply(let more), .reply(var before)?):
                    before.writeImmutableBuffer(more)
                    found.events[found.events.count - 1] = .reply(before)
                case (.void(let more), .void(let before)?):
                    found.events[found.events.count - 1] = .void(before + more)
                default: found.events.append(event)
                }
            }
            taken += part.readableBytes
        }
    } catch {
        found.violation = error
    }
    try check(taken == 0, "bytes were left though nothing is to be told")
    return found
}
