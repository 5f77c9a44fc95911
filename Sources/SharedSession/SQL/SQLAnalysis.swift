package import NIOCore

/// What the text of a simple Query or a Parse does, as far as a session that is shared must know.
///
/// It never says that a statement is legal. Where it sees less than Postgres does, it takes the
/// statement for one that may do anything.
package struct SQLAnalysis: Sendable, Hashable {
    /// The most statements that are told apart in one text. A file of inserts that an ORM sends at
    /// once has some ten thousand.
    package static let maximumStatements = 100_000

    /// The statements of the text in their order; empty ones are left out.
    package var statements: [SQLStatement]
    /// Whether there are more than ``maximumStatements``; those in front are listed.
    package private(set) var hasTooMany = false

    /// What any of the statements may do.
    package var flags: SQLStatement.Flags {
        self.statements.reduce(into: []) { $0.formUnion($1.flags) }
    }

    /// Looks at a text.
    ///
    /// A text with a quote or a comment that is not closed is one statement that may do anything.
    /// To Postgres it is an error, and nothing of it is run.
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
        self.init(
            Array(text.readableBytesView),
            standardConformingStrings: standardConformingStrings,
            knownFunctions: knownFunctions)
    }

    /// Looks at the bytes of a text.
    init(
        _ bytes: [UInt8],
        standardConformingStrings: Bool = true,
        knownFunctions: KnownFunctions = .assumed
    ) {
        var scanner = SQLScanner(bytes, backslashEscapes: !standardConformingStrings)
        var reader = SQLStatementReader(bytes, knownFunctions: knownFunctions)
        self.statements = []
        while let token = scanner.next() {
            guard let statement = reader.take(token) else { continue }
            guard self.statements.count < Self.maximumStatements else {
                self.hasTooMany = true
                return
            }
            self.statements.append(statement)
        }
        if let statement = reader.finish() { self.statements.append(statement) }
        if scanner.isBroken { self.statements = [Self.unknown(bytes)] }
    }

    private static func unknown(_ bytes: [UInt8]) -> SQLStatement {
        SQLStatement(
            range: 0..<bytes.count, kind: .other, flags: .all,
            customSettings: SQLCustomSettings.names(in: bytes, 0..<bytes.count))
    }
}
