import Foundation
import NIOCore

@testable import Relay
@testable import SharePolicy

#if canImport(Glibc)
    import Glibc
#endif

/// Texts of strangers: tokens, names of shares, networks, what goes into a log. The first byte
/// chooses the reader.
func fuzzNames(_ bytes: ByteBuffer) throws(Broken) {
    var bytes = bytes
    let choice = bytes.choice()
    let text = String(buffer: bytes)
    switch choice % 6 {
    case 0: try checkToken(text)
    case 1: try checkAddress(&bytes)
    case 2: try checkIPAddress(text)
    case 3: try checkNetwork(text)
    case 4: try checkNames(text)
    default: try checkLog(text)
    }
}

// MARK: Tokens

private func checkToken(_ text: String) throws(Broken) {
    guard let token = AccessToken(text) else { return }
    try check(token.reveal == text, "a token changed")
    try check("\(token)" == "…" && String(reflecting: token) == "…", "a token was printed")
    switch token {
    case .own(let token):
        try check(TunnelToken(text) == token, "a token is not itself")
        try check(TokenHash(hex: token.hash.hex) == token.hash, "a hash changed")
    case .issued(let token):
        guard let signed = try? SignedToken(token) else { return }
        try check(
            text.utf8.starts(with: signed.signedBytes), "the signature is over something else")
        guard let claims = try? signed.readClaims() else { return }
        let now = Date(timeIntervalSince1970: 1_000)
        let owner = try? claims.owner(issuer: "i", audience: "a", now: now)
        if let owner {
            try check(OwnerID(rawValue: owner.rawValue) == owner, "an owner changed")
            try check(!owner.hasToken && !owner.isAnonymous, "an owner of another kind")
        }
    }
}

// MARK: Which share a client means

private func checkAddress(_ bytes: inout ByteBuffer) throws(Broken) {
    func place() -> String? {
        let length = bytes.choice()
        return length == 255 ? nil : String(buffer: bytes.upTo(Int(length)))
    }
    let (serverName, option, user) = (place(), place(), place())
    let result = ShareAddress.resolve(
        serverName: serverName, domain: "db.example", option: option, user: user)
    guard case .success(let resolution) = result else { return }
    try check(ShareKey(resolution.key.text) == resolution.key, "a share changed")
    try check(resolution.key.text.utf8.count <= ShareName.maximumLength, "a long share")
    if let loginUser = resolution.loginUser {
        let whole = "\(loginUser).\(resolution.key.text)"
        try check(whole.lowercased() == user?.lowercased(), "another user: \(user ?? "")")
    }
    let again = ShareAddress.resolve(
        serverName: "\(resolution.key.text.uppercased()).DB.example.", domain: "db.example",
        option: option, user: user)
    try check((try? again.get())?.key == resolution.key, "one share under two names")
}

// MARK: Addresses and networks

/// Against the C library's reader.
private func checkIPAddress(_ text: String) throws(Broken) {
    guard !text.utf8.contains(0), !text.contains("%") else { return }
    var four = in_addr()
    var six = in6_addr()
    let expected: IPAddress? =
        if inet_pton(AF_INET, text, &four) == 1 {
            .v4(UInt32(bigEndian: four.s_addr))
        } else if inet_pton(AF_INET6, text, &six) == 1 {
            withUnsafeBytes(of: six) { raw in
                let value = raw.reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
                return value >> 32 == 0xFFFF
                    ? IPAddress.v4(UInt32(truncatingIfNeeded: value)) : .v6(value)
            }
        } else {
            nil
        }
    try check(IPAddress(text) == expected, "another address: \(text)")
}

private func checkNetwork(_ text: String) throws(Broken) {
    guard let network = CIDR(text) else { return }
    try check(CIDR(network.text) == network, "a network changed: \(text)")
    let address = String(text.prefix { $0 != "/" })
    try check(network.contains(address: address), "a network without its own address: \(text)")
    try check(SourceAddress(address) == SourceAddress(address), "a source is not itself")
    try check(!network.contains(address: "nowhere"), "a network of everything")
}

// MARK: Names

private func checkNames(_ text: String) throws(Broken) {
    if let key = ShareKey(text) {
        try check(key.text == text.lowercased(), "a name changed: \(text)")
        try check(
            key.text.utf8.allSatisfy { $0 < 0x80 }, "a name that is no host: \(text)")
    }
    let isBoth = ShareID(rawValue: text) != nil && ShareName(rawValue: text) != nil
    try check(!isBoth, "a name with the form of an id")
    if let owner = OwnerID(rawValue: text) {
        try check(owner.rawValue == text, "an owner changed")
        try check(
            owner.rawValue.utf8.allSatisfy { (0x21...0x7E).contains($0) }, "an owner to print")
    }
    if let owner = OwnerID(issuedSubject: text) {
        try check(OwnerID(rawValue: owner.rawValue) == owner, "an owner of no form: \(owner)")
    }
}

// MARK: Logs

/// A line stays a line, whatever a stranger wrote, and has an end.
private func checkLog(_ text: String) throws(Broken) {
    for quoting in [true, false] {
        let line = LogText.escaped(text, quoting: quoting)
        try check(line.unicodeScalars.allSatisfy(isHarmless), "a terminal is moved: \(line)")
        try check(line.utf8.count <= 16 * LogText.maximumCharacters, "a line without an end")
    }
    let json = LogText.json(text)
    try check(json.unicodeScalars.allSatisfy(isHarmless), "a terminal is moved: \(json)")
    let read = try? JSONDecoder().decode(String.self, from: Data(json.utf8))
    let count = read?.unicodeScalars.count ?? .max
    try check(count <= LogText.maximumCharacters + 1, "JSON that is none, or too long: \(json)")
    guard text.unicodeScalars.count <= LogText.maximumCharacters else { return }
    try check(read?.unicodeScalars.elementsEqual(text.unicodeScalars) == true, "JSON: \(json)")
}

private func isHarmless(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .lineSeparator, .paragraphSeparator: false
    default: !scalar.properties.isBidiControl
    }
}
