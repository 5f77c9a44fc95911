import NIOCore

@testable import PostgresWire

/// The first byte chooses the reader, the second how the bytes are cut.
func fuzzGreeting(_ bytes: ByteBuffer) throws(Broken) {
    var bytes = bytes
    let choice = bytes.choice()
    let pattern = bytes.choice()
    switch choice % 3 {
    case 0: try checkGreeting(bytes, pattern)
    case 1: try checkWalker(&bytes, pattern)
    default: try checkError(bytes)
    }
}

// MARK: The greeting

private struct Greeting: Equatable {
    var forwarded = ByteBuffer()
    var key: CancelKey?
    var error: PostgresError?
    var isOver = false
    var violation: GreetingViolation?
}

/// However the bytes are cut, the same goes on to the client, and never the backend's key.
private func checkGreeting(_ bytes: ByteBuffer, _ pattern: UInt8) throws(Broken) {
    var whole = try greeting([bytes])
    var cut = try greeting(bytes.parts(pattern))
    // What was sent on before a violation depends on where it came.
    if whole.violation != nil {
        whole.forwarded = ByteBuffer()
        cut.forwarded = ByteBuffer()
        cut.key = whole.key
    }
    try check(whole == cut, "a cut changed the greeting")
}

private func greeting(_ parts: [ByteBuffer]) throws(Broken) -> Greeting {
    let minted = CancelKey(processID: 77, secret: [7, 7, 7, 7])
    var machine = GreetingMachine(replacement: minted)
    var result = Greeting()
    var unread = ByteBuffer()
    do throws(GreetingViolation) {
        for part in parts {
            unread.writeImmutableBuffer(part)
            reading: while true {
                switch try machine.receive(&unread) {
                case .readMore: break reading
                case .forward(let run): result.forwarded.writeImmutableBuffer(run)
                case .finished(let run, let key):
                    result.forwarded.writeImmutableBuffer(run)
                    result.key = key
                    result.isOver = true
                case .failed(let error, let run):
                    result.forwarded.writeImmutableBuffer(run)
                    result.error = error
                    result.isOver = true
                }
                if result.isOver { break reading }
            }
            if result.isOver { break }
        }
    } catch {
        result.violation = error
    }
    try checkForwarded(result)
    return result
}

/// What goes on is whole messages, and their only key is the relay's.
private func checkForwarded(_ greeting: Greeting) throws(Broken) {
    var rest = greeting.forwarded
    while let header = MessageHeader(in: rest) {
        guard let whole = rest.readSlice(length: header.totalBytes) else {
            throw Broken("half a message went on")
        }
        if header.type == .backendKeyData {
            let key = CancelKey(messageBody: whole.messageBody)
            try check(key?.processID == 77, "the backend's own key went on")
        }
    }
    try check(rest.readableBytes == 0, "half a header went on")
    try check(
        greeting.forwarded.readableBytes <= GreetingMachine.maximumGreetingBytes + 13,
        "a greeting without end")
}

// MARK: Messages

/// Against a reader that has everything at once and goes message by message.
private func checkWalker(_ bytes: inout ByteBuffer, _ pattern: UInt8) throws(Broken) {
    let inspected: MessageTypes =
        switch bytes.choice() % 4 {
        case 0: []
        case 1: [.errorResponse, .readyForQuery, .copyData]
        case 2: ([.copyData] as MessageTypes).inverted()
        default: .all
        }
    let longest = 300
    let expected = walkSlowly(bytes, inspected, longest)
    let walked = walk(bytes.parts(pattern), inspected, longest)
    try check(walked.messages == expected.messages, "other messages were found")
    try check(walked.isViolated == expected.isViolated, "another verdict")
    guard !expected.isViolated else { return }
    try check(walked.passed == expected.passed, "other bytes were passed on")
    try check(walked.count == expected.count, "the messages passed on were not counted right")
}

private struct Walked {
    var messages: [ByteBuffer] = []
    var passed = ByteBuffer()
    var count: Int64 = 0
    var isViolated = false
}

private func walk(
    _ parts: [ByteBuffer], _ inspected: MessageTypes, _ longest: Int
) -> Walked {
    var walker = MessageWalker()
    var walked = Walked()
    do throws(MessageViolation) {
        for part in parts {
            walker.receive(part)
            walking: while true {
                switch try walker.next(inspecting: inspected, maximumBytes: longest) {
                case .readMore: break walking
                case .run(let run): walked.passed.writeImmutableBuffer(run)
                case .message(_, let whole): walked.messages.append(whole)
                }
            }
        }
    } catch {
        walked.isViolated = true
    }
    walked.count = walker.passedMessages
    return walked
}

private func walkSlowly(
    _ bytes: ByteBuffer, _ inspected: MessageTypes, _ longest: Int
) -> Walked {
    var rest = bytes
    var walked = Walked()
    while let header = MessageHeader(in: rest) {
        let isInspected = inspected.contains(header.type.rawValue)
        guard header.length >= 4, !isInspected || header.totalBytes <= longest else {
            walked.isViolated = true
            break
        }
        guard isInspected else {
            walked.count += 1
            walked.passed.writeImmutableBuffer(rest.upTo(header.totalBytes))
            continue
        }
        guard let whole = rest.readSlice(length: header.totalBytes) else { break }
        walked.messages.append(whole)
    }
    return walked
}

// MARK: Errors

/// What is understood of an error is written so that it is understood again.
private func checkError(_ bytes: ByteBuffer) throws(Broken) {
    var error = PostgresError.parse(body: bytes)
    error.context = nil
    let encoded = error.encoded()
    try check(MessageHeader(in: encoded)?.totalBytes == encoded.readableBytes, "a wrong length")
    let again = PostgresError.parse(body: encoded.messageBody)
    try check(again == error, "an error changed: \(error) \(again)")
}
