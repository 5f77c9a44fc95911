/// How names and values become SQL. Every session of ours has `standard_conforming_strings = on`.
public enum SQLText {
    /// A name, always quoted.
    ///
    /// Source: PostgreSQL documentation, "Identifiers and Key Words".
    public static func identifier(_ name: String) -> String {
        "\"" + name.replacingScalars("\"", with: "\"\"") + "\""
    }

    /// A name within a schema, both quoted.
    public static func identifier(_ schema: String, _ name: String) -> String {
        self.identifier(schema) + "." + self.identifier(name)
    }

    /// A text constant. A NUL, which Postgres cannot hold, is left out.
    ///
    /// Source: PostgreSQL documentation, "String Constants".
    public static func literal(_ text: String) -> String {
        "'" + text.replacingScalars("\0", with: "").replacingScalars("'", with: "''") + "'"
    }

    /// A list of text constants for `any(array[…])`; typed, so that an empty one is legal.
    public static func array(_ texts: some Sequence<String>) -> String {
        "array[" + texts.map(self.literal).joined(separator: ", ") + "]::text[]"
    }
}

extension String {
    /// Replaces scalars, not `Character`s: a quote with an accent behind it is one `Character`, no
    /// quote to `replacing(_:with:)`, and a quote to everybody else.
    func replacingScalars(_ old: String, with new: String) -> String {
        String(self.unicodeScalars.replacing(old.unicodeScalars, with: new.unicodeScalars))
    }
}
