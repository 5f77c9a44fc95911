import NIOCore

@testable import Relay

/// However the bytes are cut, the same header or the same refusal, and what is behind it stays.
func checkProxyHeader(_ bytes: ByteBuffer, _ pattern: UInt8) throws(Broken) {
    let whole = proxied([bytes])
    let cut = proxied(bytes.parts(pattern))
    try check(whole == cut, "a cut changed a proxy's header: \(whole) \(cut)")
    try check(whole == proxied(bytes.parts(1)), "a byte at a time changed a proxy's header")
    switch whole {
    case .header(let header, let left):
        let taken = bytes.readableBytes - left
        try check(
            taken >= 15 && taken <= ProxyHeader.maximumBinaryBytes, "a header of \(taken) bytes")
        if let client = header.client {
            try check(client.ipAddress != nil && client.port != nil, "a client from nowhere")
        }
    case .waiting:
        try check(bytes.readableBytes < ProxyHeader.maximumBinaryBytes, "it waits without end")
    case .violation: break
    }
}

private enum Proxied: Equatable {
    case waiting
    case header(ProxyHeader, left: Int)
    case violation(ProxyHeader.Violation)
}

private func proxied(_ parts: [ByteBuffer]) -> Proxied {
    var unread = ByteBuffer()
    var found: ProxyHeader?
    do throws(ProxyHeader.Violation) {
        for part in parts {
            unread.writeImmutableBuffer(part)
            guard found == nil else { continue }
            if case .header(let header) = try ProxyHeader.read(from: &unread) { found = header }
        }
    } catch {
        return .violation(error)
    }
    guard let found else { return .waiting }
    return .header(found, left: unread.readableBytes)
}
