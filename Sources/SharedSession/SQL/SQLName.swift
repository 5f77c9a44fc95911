/// A name within a text of SQL.
package struct SQLName: Sendable, Hashable {
    /// As Postgres takes it: without quotes, in lower case unless quoted, at most 63 bytes.
    package var name: String
    /// Its bytes in the text, with its quotes (and with the UESCAPE that belongs to a `U&"…"`).
    package var range: Range<Int>

    package init(name: String, range: Range<Int>) {
        self.name = name
        self.range = range
    }
}

extension SQLName {
    /// `NAMEDATALEN` of PostgreSQL, without the NUL.
    private static let maximumBytes = 63

    /// The name that a token is; nil if it is none, or a `U&"…"` that Postgres refuses.
    ///
    /// - Parameters:
    ///   - token: A name, or anything else.
    ///   - bytes: The text that it is in.
    ///   - uescape: The token of the constant behind UESCAPE, if there is one.
    init?(_ token: SQLToken, in bytes: [UInt8], uescape: SQLToken? = nil) {
        var name: [UInt8]
        switch token.kind {
        case .word:
            name = bytes[token.range].map(Self.lowercased)
        case .quotedName:
            name = Self.unquoted(bytes[token.range])
        case .unicodeName:
            var escape = UInt8(ascii: "\\")
            if let uescape {
                guard uescape.range.count == 3 else { return nil }
                escape = bytes[uescape.start + 1]
            }
            let quoted = Self.unquoted(bytes[token.range].dropFirst(2))
            guard let decoded = Self.unescaped(quoted, escape) else { return nil }
            name = decoded
        case .string, .number, .parameter, .cast, .symbol:
            return nil
        }
        if name.count > Self.maximumBytes { Self.truncate(&name) }
        let range = token.start..<(uescape?.end ?? token.end)
        self.init(name: Self.text(name), range: range)
    }

    /// In another encoding than UTF-8 a name stays at least distinct from others.
    private static func text(_ name: [UInt8]) -> String {
        if let text = String(validating: name, as: UTF8.self) { return text }
        return String(String.UnicodeScalarView(name.map { Unicode.Scalar($0) }))
    }

    /// Postgres cuts between characters, not within one.
    private static func truncate(_ name: inout [UInt8]) {
        var count = self.maximumBytes
        while count > self.maximumBytes - 3, name[count] & 0xc0 == 0x80 { count -= 1 }
        name.removeSubrange(count...)
    }

    private static func lowercased(_ byte: UInt8) -> UInt8 {
        (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
    }

    /// Takes away the quotes around, and one of each two within.
    private static func unquoted(_ quoted: ArraySlice<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        var isSecond = false
        for byte in quoted.dropFirst().dropLast() {
            let isQuote = byte == UInt8(ascii: "\"")
            if !isQuote || !isSecond { result.append(byte) }
            isSecond = isQuote && !isSecond
        }
        return result
    }

    /// Resolves `\XXXX` and `\+XXXXXX`. Source: `str_udeescape` in PostgreSQL's `parser.c`.
    private static func unescaped(_ text: [UInt8], _ escape: UInt8) -> [UInt8]? {
        var units: [UInt32] = []
        var result: [UInt8] = []
        func flush() -> [UInt8]? {
            defer { units = [] }
            return self.encoded(units)
        }
        var index = 0
        while index < text.count {
            guard text[index] == escape else {
                guard let encoded = flush() else { return nil }
                result += encoded + [text[index]]
                index += 1
                continue
            }
            index += 1
            if index < text.count, text[index] == escape {
                guard let encoded = flush() else { return nil }
                result += encoded + [escape]
                index += 1
                continue
            }
            let isLong = index < text.count && text[index] == UInt8(ascii: "+")
            let first = isLong ? index + 1 : index
            let digits = text.dropFirst(first).prefix(isLong ? 6 : 4)
            guard digits.count == (isLong ? 6 : 4),
                digits.first.map({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") }) == true,
                let value = UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
            else { return nil }
            units.append(value)
            index = first + digits.count
        }
        guard let encoded = flush() else { return nil }
        return result + encoded
    }

    /// UTF-8 of code points, of which two in a row may be a surrogate pair.
    private static func encoded(_ units: [UInt32]) -> [UInt8]? {
        var result = ""
        var high: UInt32?
        for unit in units {
            var value = unit
            if let first = high {
                guard (0xdc00...0xdfff).contains(unit) else { return nil }
                value = 0x10000 + (first - 0xd800) << 10 + (unit - 0xdc00)
                high = nil
            } else if (0xd800...0xdbff).contains(unit) {
                high = unit
                continue
            }
            guard value != 0, let scalar = Unicode.Scalar(value) else { return nil }
            result.unicodeScalars.append(scalar)
        }
        return high == nil ? Array(result.utf8) : nil
    }
}
