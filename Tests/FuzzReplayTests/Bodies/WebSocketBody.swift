import NIOCore

@testable import TunnelTransport

/// The first byte chooses the role and the limits, the second how the bytes are cut.
func fuzzWebSocket(_ bytes: ByteBuffer) throws(Broken) {
    var bytes = bytes
    let choice = bytes.choice()
    let pattern = bytes.choice()
    if choice % 8 == 7 { return try checkMask(&bytes) }
    let role: WebSocketRole = choice & 1 == 0 ? .server : .client
    let limits: WebSocketLimits = choice & 2 == 0 ? .stream : .messages(atMost: 200)
    var whole = try talk([bytes], role, limits)
    var cut = try talk(bytes.parts(pattern), role, limits)
    // What came before a violation in the same bytes was told; nothing else differs.
    if whole.violation != nil {
        whole.left = 0
        cut.left = 0
    }
    try check(whole == cut, "a cut changed what was read: \(whole) \(cut)")
    try checkHeader(bytes, role)
}

private struct Talk: Equatable {
    /// Payloads between two other events are one.
    var events: [WebSocketReader.OnReceive] = []
    var violation: WebSocketViolation?
    var left = 0
}

private func talk(
    _ parts: [ByteBuffer], _ role: WebSocketRole, _ limits: WebSocketLimits
) throws(Broken) -> Talk {
    var reader = WebSocketReader(role: role, limits: limits)
    var talk = Talk()
    var unread = ByteBuffer()
    var messageBytes = 0
    do throws(WebSocketViolation) {
        for part in parts {
            unread.writeImmutableBuffer(part)
            reading: while true {
                let event = try reader.receive(&unread)
                switch event {
                case .readMore: break reading
                case .payload(let bytes):
                    messageBytes += bytes.readableBytes
                    if case .payload(var before) = talk.events.last {
                        before.writeImmutableBuffer(bytes)
                        talk.events[talk.events.count - 1] = .payload(before)
                    } else {
                        talk.events.append(event)
                    }
                case .messageEnd:
                    talk.events.append(event)
                    if limits.maximumMessageBytes.map({ messageBytes > $0 }) ?? false {
                        talk.left = -1
                    }
                    messageBytes = 0
                case .ping, .pong, .close: talk.events.append(event)
                }
            }
            if unread.readableBytes >= 14 + 125 { talk.left = -2 }
        }
    } catch {
        talk.violation = error
    }
    try check(talk.left != -1, "a message is over its limit")
    try check(talk.left != -2, "too much waits")
    talk.left = unread.readableBytes
    if case .close(let close?) = talk.events.last {
        try check(WebSocketClose.isSendable(close.code), "a code that must not be sent")
        try check(
            close.reasonThatFits.utf8.count <= WebSocketClose.maximumReasonBytes, "a long reason")
    }
    return talk
}

/// A header that is written again is read as the same.
private func checkHeader(_ bytes: ByteBuffer, _ role: WebSocketRole) throws(Broken) {
    var rest = bytes
    let sender: WebSocketRole = role == .server ? .client : .server
    guard let header = try? WebSocketFrameHeader.read(from: &rest, sentBy: sender) else { return }
    var again = ByteBuffer()
    header.write(into: &again)
    try check(again.readableBytes <= WebSocketFrameHeader.maximumBytes, "a long header")
    let taken = bytes.readableBytes - rest.readableBytes
    try check(again.readableBytes == taken, "a header of another length")
    let read = try? WebSocketFrameHeader.read(from: &again, sentBy: sender)
    try check(read == header, "a header changed")
}

/// Against a mask of one byte at a time, over a payload in two parts.
private func checkMask(_ bytes: inout ByteBuffer) throws(Broken) {
    let key = bytes.readInteger(as: UInt32.self) ?? 0
    let place = bytes.wideChoice() % (bytes.readableBytes + 1)
    let keyBytes = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: key >> UInt32($0)) }
    let expected = bytes.readableBytesView.enumerated().map { $1 ^ keyBytes[$0 % 4] }
    var mask = WebSocketMask(key: key)
    var rest = bytes
    var masked = rest.upTo(place).masked(with: &mask)
    masked.writeMasked(rest, mask: &mask)
    try check(Array(masked.readableBytesView) == expected, "a wrong mask")
}
