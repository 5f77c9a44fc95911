/// Keeps passwords out of what is written down, whatever a caller passes on.
public enum SecretText {
    /// `text` with `…` for the password of every URL and every `password=…`.
    ///
    /// The last guard, not the first: who makes a text leaves secrets out of it. So it would rather
    /// take too much than too little.
    public static func redacted(_ text: String) -> String {
        let bytes = Array(text.utf8)
        var kept: [UInt8] = []
        var at = 0
        while at < bytes.count {
            guard let secret = Self.urlPassword(bytes, at) ?? Self.keyword(bytes, at) else {
                kept.append(bytes[at])
                at += 1
                continue
            }
            kept += bytes[at..<secret.lowerBound]
            kept += Array("…".utf8)
            at = secret.upperBound
        }
        return String(decoding: kept, as: UTF8.self)
    }

    /// The longest part of a text that can be a URL, in bytes.
    private static let maximumURLBytes = 8_192

    /// `://user:HERE@`, also where JSON wrote `:\/\/`. Up to the last `@`: one may be in it.
    private static func urlPassword(_ bytes: [UInt8], _ at: Int) -> Range<Int>? {
        guard bytes[at] == UInt8(ascii: ":") else { return nil }
        var index = at + 1
        for _ in 0..<2 {
            if index < bytes.count, bytes[index] == UInt8(ascii: "\\") { index += 1 }
            guard index < bytes.count, bytes[index] == UInt8(ascii: "/") else { return nil }
            index += 1
        }
        let rest = bytes[index..<min(bytes.count, index + Self.maximumURLBytes)]
        let word = rest.prefix { !Self.endsWord($0) }
        guard let colon = word.firstIndex(of: UInt8(ascii: ":")),
            let end = word.lastIndex(of: UInt8(ascii: "@")), colon < end
        else { return nil }
        return (colon + 1)..<end
    }

    /// `password=HERE`, `password='HERE it is'`, `"password":"HERE"`.
    private static func keyword(_ bytes: [UInt8], _ at: Int) -> Range<Int>? {
        let name = Array("password".utf8)
        guard at + name.count < bytes.count, bytes[at] | 0x20 == name[0],
            zip(bytes[at...], name).allSatisfy({ $0 | 0x20 == $1 })
        else { return nil }
        let space = UInt8(ascii: " ")
        let quotes = [UInt8(ascii: "\\"), UInt8(ascii: "\"")]
        var rest = bytes[(at + name.count)...]
        let isQuoted = rest.first.map(quotes.contains) == true
        rest = rest.drop(while: quotes.contains).drop { $0 == space }
        guard let sign = rest.first,
            sign == UInt8(ascii: "=") || (isQuoted && sign == UInt8(ascii: ":"))
        else { return nil }
        rest = rest.dropFirst().drop { $0 == space }.drop(while: quotes.contains)
        var end = rest.startIndex
        if rest.first == UInt8(ascii: "'") {
            rest = rest.dropFirst()
            end = Self.endOfQuoted(rest)
        } else {
            end = rest.firstIndex { Self.endsWord($0) || $0 == UInt8(ascii: "&") } ?? rest.endIndex
        }
        return rest.startIndex < end ? rest.startIndex..<end : nil
    }

    /// Where a quoted value ends: at the first quote that is neither escaped nor doubled.
    private static func endOfQuoted(_ bytes: ArraySlice<UInt8>) -> Int {
        let quote = UInt8(ascii: "'")
        var at = bytes.startIndex
        while at < bytes.endIndex {
            let isDoubled = bytes[at] == quote && at + 1 < bytes.endIndex && bytes[at + 1] == quote
            if bytes[at] == UInt8(ascii: "\\") || isDoubled {
                at += 2
            } else if bytes[at] == quote {
                return at
            } else {
                at += 1
            }
        }
        return bytes.endIndex
    }

    private static func endsWord(_ byte: UInt8) -> Bool {
        byte <= 0x20 || [UInt8(ascii: "\""), UInt8(ascii: "<"), UInt8(ascii: ">")].contains(byte)
    }
}
