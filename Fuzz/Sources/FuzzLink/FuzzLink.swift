import NIOCore
import TunnelWire

/// libFuzzer calls this with bytes of its own making.
///
/// The first byte chooses the role and where the rest is cut; the rest is what a peer sends.
@_cdecl("LLVMFuzzerTestOneInput")
func fuzzLink(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let input = UnsafeBufferPointer(start: start, count: count)
    guard let choice = input.first else { return 0 }
    let bytes = ByteBuffer(bytes: input.dropFirst())
    let cut = bytes.readableBytes * Int(choice >> 1) / 127
    checkDecoder(bytes, cut: cut)
    checkMachine(bytes, cut: cut, role: choice & 1 == 0 ? .relay : .agent)
    return 0
}

/// However the bytes are cut, as many are counted.
private func checkDecoder(_ bytes: ByteBuffer, cut: Int) {
    let (front, rest) = split(bytes, at: cut)
    precondition(counted([bytes]) == counted([front, rest]), "a cut changed the meaning")
}

/// Frames and payload bytes before the end or the first violation.
private func counted(_ parts: [ByteBuffer]) -> [Int] {
    var decoder = FrameDecoder()
    var control = 0
    var ends = 0
    var payload = 0
    do {
        for part in parts {
            var part = part
            while let event = try decoder.next(&part) {
                switch event {
                case .control: control += 1
                case .data(_, let bytes, _, let isLast):
                    payload += bytes.readableBytes
                    ends += isLast ? 1 : 0
                }
            }
        }
    } catch {
        return [control, ends, payload, 1]
    }
    return [control, ends, payload, 0]
}

/// A machine behind which everything is accepted, read and echoed; a drop at the cut.
private func checkMachine(_ bytes: ByteBuffer, cut: Int, role: LinkMachine.Role) {
    let now = NIODeadline.uptimeNanoseconds(1_000_000_000)
    var limits = LinkLimits()
    limits.maximumStreams = 100
    var machine = LinkMachine(role: role, limits: limits, now: now)
    if role == .relay {
        for _ in 0..<3 { _ = machine.open(now: now) { OpenOK(window: $0).payload } }
    }
    let (front, rest) = split(bytes, at: cut)
    do {
        try feed(&machine, front, now: now)
        machine.disconnected()
        try machine.resumed(peerReceived: 0, now: now)
        try feed(&machine, rest, now: now)
    } catch {
        _ = machine.expire()
    }
    let least = machine.streamCount * limits.minimumWindowBytes
    precondition(machine.windowBytesInUse <= limits.windowBudgetBytes + least, "over the budget")
    _ = machine.expire()
    precondition(machine.streamCount == 0 && machine.windowBytesInUse == 0, "something is left")
}

private func feed(
    _ machine: inout LinkMachine, _ bytes: ByteBuffer, now: NIODeadline
) throws(LinkViolation) {
    var bytes = bytes
    while let event = try machine.receive(&bytes, now: now) {
        switch event {
        case .opened(let handle, let payload):
            let window = (try? Open(payload: payload))?.window ?? 1_000
            machine.granted(handle, windowBytes: UInt64(max(0, window)))
            machine.accept(handle, payload: OpenOK(window: 1_000).payload)
        case .accepted(let handle, let payload):
            let window = (try? OpenOK(payload: payload))?.window ?? 1_000
            machine.granted(handle, windowBytes: UInt64(max(0, window)))
        case .data(let handle, let part):
            _ = machine.send(handle, part)
            machine.consumed(handle, bytes: part.readableBytes, now: now)
        case .finished(let handle): machine.finish(handle)
        case .reset, .goAway, .failed: break
        }
        while machine.nextChunk() != nil {}
        while machine.popClosed() != nil {}
        while machine.popResumable() != nil {}
    }
}

private func split(_ bytes: ByteBuffer, at count: Int) -> (ByteBuffer, ByteBuffer) {
    var rest = bytes
    let front = rest.readSlice(length: count) ?? ByteBuffer()
    return (front, rest)
}
