/// How names and values become SQL. Every session of ours has `standard_conforming_strings = on`.
public enum SQLText {
    /// A name, always quoted.
    ///
    /// Source: PostgreSQL documentation, "Identifiers and Key Words".
    public static func identifier(_ name: String) -> String {
        "\"" + name.replacing("\"", with: "\"\"") + "\""
    }

    /// A name within a schema, both quoted.
    public static func identifier(_ schema: String, _ name: String) -> String {
        self.identifier(schema) + "." + self.identifier(name)
    }

    /// A text constant. A NUL, which Postgres cannot hold, is left out.
    ///
    /// Source: PostgreSQL documentation, "String Constants".
    public static func literal(_ text: String) -> String {
        "'" + text.replacing("\0", with: "").replacing("'", with: "''") + "'"
    }

    /// A list of text constants for `any(array[…])`; typed, so that an empty one is legal.
    public static func array(_ texts: some Sequence<String>) -> String {
        "array[" + texts.map(self.literal).joined(separator: ", ") + "]::text[]"
    }
}
