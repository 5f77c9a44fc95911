package import NIOCore

/// Makes and changes texts of SQL.
package enum SQLRewrite {
    /// The text with some of its ranges replaced; all else stays, byte for byte.
    ///
    /// - Parameters:
    ///   - text: The text.
    ///   - edits: Ranges of the readable bytes, in any order, none within another, and what stands
    ///     there instead.
    /// - Returns: The new text.
    package static func replacing(
        _ text: ByteBuffer, _ edits: [(Range<Int>, String)]
    ) -> ByteBuffer {
        let source = text.readableBytesView
        var result = ByteBuffer()
        var position = 0
        for (range, replacement) in edits.sorted(by: { $0.0.lowerBound < $1.0.lowerBound }) {
            precondition(position <= range.lowerBound && range.upperBound <= source.count)
            result.writeBytes(source.dropFirst(position).prefix(range.lowerBound - position))
            result.writeString(replacement)
            position = range.upperBound
        }
        result.writeBytes(source.dropFirst(position))
        return result
    }

    /// A name, quoted.
    ///
    /// Source: PostgreSQL documentation, "Identifiers and Key Words".
    package static func identifier(_ name: String) -> String {
        "\"" + name.replacingScalars("\"", with: "\"\"") + "\""
    }

    /// A text constant of ASCII alone, which means the same whatever `client_encoding` and
    /// `standard_conforming_strings` are. A NUL, which Postgres cannot hold, is left out.
    ///
    /// Source: PostgreSQL documentation, "String Constants with C-Style Escapes".
    package static func literal(_ text: String) -> String {
        var result = "E'"
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\0": break
            case "'": result += "''"
            case "\\": result += "\\\\"
            case _ where scalar.isASCII: result.unicodeScalars.append(scalar)
            default:
                let digits = String(scalar.value, radix: 16)
                result += "\\U" + String(repeating: "0", count: 8 - digits.count) + digits
            }
        }
        return result + "'"
    }
}

extension String {
    /// Replaces scalars, not `Character`s: a quote with an accent behind it is one `Character`, no
    /// quote to `replacing(_:with:)`, and a quote to everybody else.
    func replacingScalars(_ old: String, with new: String) -> String {
        String(self.unicodeScalars.replacing(old.unicodeScalars, with: new.unicodeScalars))
    }
}
