import NIOCore

@testable import PostgresWire

/// The first byte chooses the machine, the second how its bytes are cut, the third how it asks.
func fuzzLogin(_ bytes: ByteBuffer) throws(Broken) {
    var bytes = bytes
    let choice = bytes.choice()
    let pattern = bytes.choice()
    switch choice % 7 {
    case 0, 1: try checkServer(&bytes, pattern)
    case 2, 3: try checkClient(&bytes, pattern)
    case 4: try checkPassword(bytes)
    case 5: try checkVerifier(bytes)
    default: try checkTexts(bytes)
    }
}

/// Of one iteration, so that a run takes microseconds.
private let verifier = SCRAMVerifier(password: Secret("p"), salt: [1, 2, 3], iterations: 1)
private let endPoint: [UInt8] = [1, 2, 3, 4]

// MARK: The relay's machine under a stranger

/// However the bytes are cut, the talk is the same; nobody gets in without the password.
private func checkServer(_ bytes: inout ByteBuffer, _ pattern: UInt8) throws(Broken) {
    let how = bytes.choice()
    let method: ServerLoginMachine.Method =
        how % 4 == 3
        ? .password
        : .scram(
            verifier, isMock: how & 1 == 1, channelBinding: how & 2 == 0 ? nil : endPoint)
    let whole = serverTalk(method, [bytes])
    try check(whole == serverTalk(method, bytes.parts(pattern)), "a cut changed the login")
    try check(!whole.contains(.succeeded), "a stranger is in")
}

private enum ServerSaid: Equatable {
    case sent(ByteBuffer)
    case asked(Secret)
    case succeeded, failed
    case violation(LoginViolation)
}

private func serverTalk(
    _ method: ServerLoginMachine.Method, _ parts: [ByteBuffer]
) -> [ServerSaid] {
    var machine = ServerLoginMachine(method: method)
    var random = SmallRandom(seed: 1)
    var said: [ServerSaid] = [.sent(machine.start(using: &random))]
    var unread = ByteBuffer()
    do throws(LoginViolation) {
        for part in parts {
            unread.writeImmutableBuffer(part)
            reading: while true {
                switch try machine.receive(&unread, using: &random) {
                case .readMore: break reading
                case .send(let bytes): said.append(.sent(bytes))
                case .verify(let password):
                    said.append(.asked(password))
                    guard case .failed = machine.verified(false) else { return said }
                    said.append(.failed)
                case .succeeded:
                    said.append(.succeeded)
                    return said
                case .failed:
                    said.append(.failed)
                    return said
                }
            }
        }
    } catch {
        said.append(.violation(error))
    }
    return said
}

// MARK: The agent's machine under a hostile database

private func checkClient(_ bytes: inout ByteBuffer, _ pattern: UInt8) throws(Broken) {
    let how = bytes.choice()
    // A million iterations are allowed, and take a quarter of a second.
    if bytes.readableBytesView.firstRange(of: Array("i=".utf8)) != nil,
        bytes.readableBytesView.reduce(0, { $0 + ((0x30...0x39).contains($1) ? 1 : 0) }) > 40
    {
        return
    }
    let whole = try clientTalk(how, [bytes])
    try check(whole == clientTalk(how, bytes.parts(pattern)), "a cut changed the login")
}

private enum ClientSaid: Equatable {
    case sent(ByteBuffer)
    case authenticated
    case failed(LoginFailure)
}

private func clientTalk(_ how: UInt8, _ parts: [ByteBuffer]) throws(Broken) -> [ClientSaid] {
    let onlyScram = how & 1 == 1
    let policies: [ClientLoginMachine.ChannelBindingPolicy] = [.disable, .prefer, .require]
    let policy = policies[Int(how >> 1) % 3]
    var machine = ClientLoginMachine(
        startup: [],
        credentials: .init(
            user: "u", password: how & 8 == 0 ? Secret("p") : nil, channelBindingPolicy: policy,
            requireAuth: onlyScram ? [.scramSHA256] : nil),
        channelBinding: how & 16 == 0 ? endPoint : nil)
    var random = SmallRandom(seed: 2)
    var said: [ClientSaid] = [.sent(machine.start())]
    var unread = ByteBuffer()
    for part in parts {
        unread.writeImmutableBuffer(part)
        reading: while true {
            switch machine.receive(&unread, using: &random) {
            case .readMore: break reading
            case .send(let bytes): said.append(.sent(bytes))
            case .authenticated:
                // It would need the keys of the password.
                try check(!onlyScram, "a server that proved nothing was believed")
                try check(policy != .require, "a channel that is not bound was taken")
                return said + [.authenticated]
            case .failed(let failure): return said + [.failed(failure)]
            }
        }
        try check(
            unread.readableBytes <= ClientLoginMachine.maximumMessageBytes, "too much waits")
    }
    return said
}

// MARK: Both

/// Whatever the password is, who has it gets in, and who has another does not.
private func checkPassword(_ bytes: ByteBuffer) throws(Broken) {
    let text = String(buffer: bytes)
    guard !text.isEmpty, !text.utf8.contains(0) else { return }
    let prepared = saslPrepared(text)
    if text.utf8.allSatisfy({ $0 < 0x80 }) {
        try check(prepared == Array(text.utf8), "SASLprep changed ASCII")
    }
    try check(
        prepared == Array(text.utf8) || String(validating: prepared, as: UTF8.self) != nil,
        "SASLprep made what is no text")
    let made = SCRAMVerifier(password: Secret(text), salt: [9], iterations: 1)
    try check(try logsIn(Secret(text), made), "the right password was refused")
    try check(try !logsIn(Secret(text + "x"), made), "a wrong password was taken")
}

private func logsIn(_ password: Secret, _ verifier: SCRAMVerifier) throws(Broken) -> Bool {
    var random = SmallRandom(seed: 3)
    var server = ServerLoginMachine(
        method: .scram(verifier, isMock: false, channelBinding: endPoint))
    var client = ClientLoginMachine(
        startup: [],
        credentials: .init(user: "u", password: password, channelBindingPolicy: .require),
        channelBinding: endPoint)
    _ = client.start()
    var toClient = server.start(using: &random)
    for _ in 0..<4 {
        guard case .send(var toServer) = client.receive(&toClient, using: &random) else { break }
        switch try? server.receive(&toServer, using: &random) {
        case .send(let bytes): toClient = bytes
        case .succeeded(let bytes):
            toClient = bytes
            let end = client.receive(&toClient, using: &random)
            try check(end == .authenticated, "the server's proof was refused")
            return true
        case .failed: return false
        case .readMore, .verify, nil: throw Broken("the two do not understand each other")
        }
    }
    throw Broken("the two never end")
}

// MARK: Texts

private func checkVerifier(_ bytes: ByteBuffer) throws(Broken) {
    let text = String(buffer: bytes)
    guard let verifier = SCRAMVerifier(text) else { return }
    try check(SCRAMVerifier(verifier.text) == verifier, "a verifier changed: \(text)")
    try check("\(verifier)" == "…", "a verifier was printed")
}

/// Base64 has one spelling a value; fields and certificates are read without a trap.
private func checkTexts(_ bytes: ByteBuffer) throws(Broken) {
    let raw = Array(bytes.readableBytesView)
    try check(Base64.decode(Base64.encode(raw)) == raw, "base64 lost bytes")
    let text = String(buffer: bytes)
    if let decoded = Base64.decode(text) {
        try check(Base64.encode(decoded) == text, "base64 has two spellings")
    }
    var attributes = SCRAMAttributes(text[...])
    _ = attributes.skip { _ in true }
    if let hash = TLSServerEndPoint.hash(certificateDER: raw) {
        try check([32, 48, 64].contains(hash.count), "no hash has that length")
    }
}
