package import NIOCore

/// What the text of a simple Query or a Parse does, as far as a session that is shared must know.
package struct SQLAnalysis: Sendable, Hashable {
    /// The statements of the text in their order; empty ones are left out.
    package var statements: [SQLStatement]

    /// What any of the statements may do.
    package var flags: SQLStatement.Flags {
        self.statements.reduce(into: []) { $0.formUnion($1.flags) }
    }

    /// Looks at a text.
    ///
    /// - Parameters:
    ///   - text: The text, without the NUL behind it. Ranges of statements and names count from
    ///     the first of its readable bytes.
    ///   - standardConformingStrings: The session's setting of that name: whether a backslash in
    ///     `'…'` is a character like others.
    ///   - knownFunctions: Functions that leave nothing behind in a session.
    package init(
        _ text: ByteBuffer,
        standardConformingStrings: Bool = true,
        knownFunctions: KnownFunctions = .assumed
    ) {
        self.statements = [
            SQLStatement(range: 0..<text.readableBytes, kind: .other, flags: .all)
        ]
    }
}
