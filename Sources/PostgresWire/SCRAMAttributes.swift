/// The fields of a SCRAM message: `a=value,b=value,…`, read one by one and in order.
///
/// Source: RFC 5802, section 7.
struct SCRAMAttributes {
    private var rest: Substring.UTF8View?

    init(_ text: Substring) {
        self.rest = text.utf8
    }

    var isAtEnd: Bool { self.rest == nil }

    /// The letter of the next field, or nil at the end or where there is no `=` behind a letter.
    var nextName: UInt8? {
        guard let rest = self.rest, let name = rest.first else { return nil }
        guard rest.dropFirst().first == UInt8(ascii: "=") else { return nil }
        return name
    }

    /// Takes the next field, which must have this letter; else nil, and nothing is taken.
    mutating func take(_ name: Unicode.Scalar) -> Substring? {
        guard let rest = self.rest, self.nextName == UInt8(ascii: name) else { return nil }
        let field = rest.dropFirst(2)
        let end = field.firstIndex(of: UInt8(ascii: ","))
        self.rest = end.map { field[field.index(after: $0)...] }
        return Substring(field[..<(end ?? field.endIndex)])
    }

    /// Takes fields with whatever letter, for extensions are to be skipped. False where one is not
    /// a field.
    mutating func skip(while isSkipped: (UInt8) -> Bool) -> Bool {
        while self.rest != nil {
            guard let name = self.nextName, Self.isLetter(name) else { return false }
            guard isSkipped(name) else { return true }
            _ = self.take(Unicode.Scalar(name))
        }
        return true
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }

    /// Whether every byte may be in a nonce: printable ASCII without the comma.
    static func isNonce(_ text: Substring) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { (0x21...0x7e).contains($0) && $0 != UInt8(ascii: ",") }
    }
}

/// The bytes in front of a client's first message: what it thinks of channel binding.
///
/// Source: RFC 5802, section 7, `gs2-header`.
enum GS2Header: String {
    /// The client does not do channel binding.
    case unsupported = "n,,"
    /// The client would, and thinks the server would not.
    case notOffered = "y,,"
    /// The client does, with the hash of the server's certificate.
    case endPoint = "p=tls-server-end-point,,"

    /// The value of `c=` in the client's last message.
    func channelBindingField(_ endPoint: [UInt8]) -> String {
        let data = self == .endPoint ? endPoint : []
        return Base64.encode(Array(self.rawValue.utf8) + data)
    }
}
