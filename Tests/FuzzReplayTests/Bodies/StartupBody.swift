import NIOCore

@testable import PostgresWire
@testable import Relay

/// The first byte chooses the reader, the second how the bytes are cut.
func fuzzStartup(_ bytes: ByteBuffer) throws(Broken) {
    var bytes = bytes
    let choice = bytes.choice()
    let pattern = bytes.choice()
    switch choice % 5 {
    case 0: try checkStartup(&bytes, pattern)
    case 1: try checkLocalStartup(bytes, pattern)
    case 2: try checkClientHello(bytes)
    case 4: try checkProxyHeader(bytes, pattern)
    default: try checkOptions(&bytes)
    }
}

// MARK: The machine of the front door

/// A talk of two flights: what comes in clear, and what comes once TLS stands.
private func checkStartup(_ bytes: inout ByteBuffer, _ pattern: UInt8) throws(Broken) {
    let clear = bytes.upTo(bytes.wideChoice())
    let whole = try talk(clear: [clear], encrypted: [bytes])
    // In clear it must matter whether bytes came behind a request in the same flight.
    if case .violation(.plaintextBehindTLSRequest) = whole.last { return }
    for case .route(let request) in whole { try checkRequest(request) }
    let cut = try talk(clear: clear.parts(pattern), encrypted: bytes.parts(pattern))
    if case .violation(.plaintextBehindTLSRequest) = cut.last { return }
    try check(whole == cut, "a cut changed the talk: \(whole) \(cut)")
}

private enum Said: Equatable {
    case declined, startTLS, directTLS
    case route(StartupRequest)
    case cancel(CancelKey)
    case violation(StartupViolation)
}

private func talk(clear: [ByteBuffer], encrypted: [ByteBuffer]) throws(Broken) -> [Said] {
    var machine = StartupMachine()
    var said: [Said] = []
    try feed(clear, to: &machine, &said)
    switch said.last {
    case .startTLS, .directTLS: machine.tlsEstablished()
    case .violation, .route, .cancel: return said
    case .declined, nil: break
    }
    try feed(encrypted, to: &machine, &said)
    return said
}

private func feed(
    _ parts: [ByteBuffer], to machine: inout StartupMachine, _ said: inout [Said]
) throws(Broken) {
    var unread = ByteBuffer()
    do throws(StartupViolation) {
        for part in parts {
            unread.writeImmutableBuffer(part)
            reading: while true {
                switch try machine.receive(&unread) {
                case .readMore: break reading
                case .declineEncryption: said.append(.declined)
                case .startTLS: said.append(.startTLS)
                case .startDirectTLS:
                    said.append(.directTLS)
                    return
                case .route(let request):
                    said.append(.route(request))
                    return
                case .cancel(let key):
                    said.append(.cancel(key))
                    return
                }
            }
        }
    } catch {
        said.append(.violation(error))
        return
    }
    try check(unread.readableBytes < StartupMachine.maximumPacketBytes, "too much waits")
}

/// A request that is written again is read as the same.
private func checkRequest(_ request: StartupRequest) throws(Broken) {
    var bytes = PostgresMessage.startup(request.parameters, version: request.version)
    var machine = LocalStartupMachine()
    let again = try? machine.receive(&bytes)
    var expected = request
    expected.protocolOptions = []
    try check(again == .start(expected), "a StartupMessage changed: \(request)")
    var stripped = request
    _ = stripped.takeOption("pgshare.share")
    try check(stripped.takeOption("PGSHARE.share") == nil, "an option was left: \(request)")
    if let negotiation = request.negotiation {
        var answer = ByteBuffer()
        negotiation.write(into: &answer)
        try check(
            MessageHeader(in: answer)?.totalBytes == answer.readableBytes, "a wrong length")
    }
    _ = (request.user, request.database, request.isReplication)
}

// MARK: The machine of the owner's own socket

private func checkLocalStartup(_ bytes: ByteBuffer, _ pattern: UInt8) throws(Broken) {
    func run(_ parts: [ByteBuffer]) -> [Said] {
        var machine = LocalStartupMachine()
        var said: [Said] = []
        var unread = ByteBuffer()
        do throws(StartupViolation) {
            for part in parts {
                unread.writeImmutableBuffer(part)
                reading: while true {
                    switch try machine.receive(&unread) {
                    case .readMore: break reading
                    case .declineEncryption: said.append(.declined)
                    case .start(let request): said.append(.route(request))
                    case .cancel(let key): said.append(.cancel(key))
                    }
                }
            }
        } catch {
            said.append(.violation(error))
        }
        return said
    }
    let said = run([bytes])
    try check(said == run(bytes.parts(pattern)), "a cut changed the talk")
    for case .route(let request) in said { try checkRequest(request) }
    for case .cancel(let key) in said {
        var machine = LocalStartupMachine()
        var again = PostgresMessage.cancelRequest(key)
        let read = try? machine.receive(&again)
        try check(read == .cancel(key), "a CancelRequest changed")
    }
}

// MARK: The reader of ClientHello

/// Every front of a hello that is whole is not whole yet, and what is behind it changes nothing.
private func checkClientHello(_ bytes: ByteBuffer) throws(Broken) {
    guard case .found(let hello) = ClientHello.peek(bytes) else { return }
    var whole = bytes
    let length = 5 + Int(bytes.getInteger(at: bytes.readerIndex + 3, as: UInt16.self) ?? 0)
    let record = whole.upTo(length)
    try check(ClientHello.peek(record) == .found(hello), "bytes behind a record changed it")
    var front = record
    for count in stride(from: 0, to: length, by: max(1, length / 50)) {
        front = record
        let cut = ClientHello.peek(front.upTo(count))
        try check(cut == .incomplete, "\(count) of \(length) bytes are \(cut)")
    }
    if let name = hello.serverName {
        try check((0...255).contains(name.utf8.count), "a long name")
        try check(name.utf8.allSatisfy { (0x21...0x7E).contains($0) }, "a name that is no text")
    }
}

// MARK: The options of a client

/// A setting of ours is taken out whole, and what is left is left as it was.
private func checkOptions(_ bytes: inout ByteBuffer) throws(Broken) {
    let text = String(buffer: bytes)
    var request = StartupRequest(parameters: [.init(name: "options", value: text)])
    let before = request
    let taken = request.takeOption("pgshare.share")
    if taken == nil {
        try check(request == before, "options changed though nothing was taken: \(text)")
    }
    try check(request.takeOption("pgshare.share") == nil, "an option was left: \(text)")
    let left = request.parameter("options") ?? ""
    try check(left.utf8.count <= text.utf8.count + 1, "options grew: \(text)")
}
