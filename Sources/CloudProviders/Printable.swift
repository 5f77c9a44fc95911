/// Text of others that a person will see on a terminal.
package enum Printable {
    /// Characters of a provider's sentence that are shown.
    package static let maximumCharacters = 500

    /// The text without control characters and invisible directions, and bounded.
    package static func text(_ text: String, atMost limit: Int = maximumCharacters) -> String {
        let scalars = text.unicodeScalars.lazy.filter { scalar in
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse,
                .unassigned:
                false
            default: true
            }
        }
        return String(String.UnicodeScalarView(scalars.prefix(limit)))
    }
}

extension String {
    /// Replaces scalars, not `Character`s: a quote with an accent behind it is one `Character`, no
    /// quote to `replacing(_:with:)`, and a quote to everybody else.
    func replacingScalars(_ old: String, with new: String) -> String {
        String(self.unicodeScalars.replacing(old.unicodeScalars, with: new.unicodeScalars))
    }
}
