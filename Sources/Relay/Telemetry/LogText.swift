/// Makes text that a stranger may have written fit for one log line.
enum LogText {
    /// Characters of one value; what is longer is cut, so that a stranger cannot fill the disk.
    static let maximumCharacters = 1_024

    /// Escapes controls, and with `quoting` wraps the text in quotes where it would not read as
    /// one word.
    static func escaped(_ text: String, quoting: Bool) -> String {
        var result = ""
        var mustQuote = text.isEmpty
        for scalar in self.cut(text).unicodeScalars {
            switch scalar {
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case "\\" where quoting: result += "\\\\"
            case "\"" where quoting:
                result += "\\\""
                mustQuote = true
            case " ", "=":
                mustQuote = true
                result.unicodeScalars.append(scalar)
            default:
                if Self.isUnsafe(scalar) {
                    result += "\\u{\(String(scalar.value, radix: 16))}"
                } else {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
        return quoting && mustQuote ? "\"\(result)\"" : result
    }

    /// A JSON string, its quotes included. Source: RFC 8259, section 7.
    static func json(_ text: String) -> String {
        var result = "\""
        for scalar in self.cut(text).unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            default:
                if Self.isUnsafe(scalar) {
                    for unit in String(scalar).utf16 {
                        let hex = String(unit, radix: 16)
                        result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
                    }
                } else {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
        return result + "\""
    }

    /// Counted in scalars: one visible character may have thousands of accents.
    private static func cut(_ text: String) -> String {
        let scalars = text.unicodeScalars
        let end = scalars.index(
            scalars.startIndex, offsetBy: self.maximumCharacters, limitedBy: scalars.endIndex)
        guard let end, end < scalars.endIndex else { return text }
        return String(scalars[..<end]) + "…"
    }

    /// Controls move the cursor or colour a terminal, separators start a new line in some readers,
    /// and bidirectional overrides make a line read other than it is (CVE-2021-42574).
    private static func isUnsafe(_ scalar: Unicode.Scalar) -> Bool {
        if (0x20..<0x7F).contains(scalar.value) { return false }
        return switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate: true
        default: false
        }
    }
}
