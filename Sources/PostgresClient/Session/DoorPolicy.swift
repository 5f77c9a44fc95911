public import PostgresWire

/// The beginning of a statement that a program sends through a ``SessionDoor``.
///
/// It may hold data and passwords; it is for deciding and for the person at the terminal, not for
/// logs.
public struct StatementText: Hashable, Sendable {
    /// The most bytes that are shown of a statement.
    public static let maximumBytes = 500

    /// At most ``maximumBytes`` of it, cut between two characters.
    public var beginning: String
    /// All of its bytes.
    public var totalBytes: Int

    /// Creates a text.
    public init(beginning: String, totalBytes: Int) {
        self.beginning = beginning
        self.totalBytes = totalBytes
    }

    init(_ bytes: ArraySlice<UInt8>) {
        var end = bytes.startIndex + min(bytes.count, Self.maximumBytes)
        // 10xxxxxx continues a character.
        while end < bytes.endIndex, end > bytes.startIndex, bytes[end] & 0xc0 == 0x80 { end -= 1 }
        self.init(
            beginning: String(decoding: bytes[bytes.startIndex..<end], as: UTF8.self),
            totalBytes: bytes.count)
    }
}

/// What becomes of a statement.
public enum DoorVerdict: Hashable, Sendable {
    /// The server gets it.
    case forward
    /// The program is told that it is done; the server never sees it. The tag is CommandComplete's,
    /// such as `SET`.
    case answer(commandTag: String)
    /// The program is told this error; the transaction goes on.
    case refuse(PostgresError)
}

/// The rules of every ``SessionDoor``, before its owner's: the transaction is not the program's.
enum DoorRules {
    /// What the door itself says to a statement; nil where that is the owner's to say.
    ///
    /// - Parameters:
    ///   - statements: What ``StatementScanner`` saw.
    ///   - serverVersion: As libpq numbers it.
    /// - Returns: The verdict.
    static func verdict(_ statements: [[String]], serverVersion: Int) -> DoorVerdict? {
        if statements.count == 1, let words = statements.first {
            if let tag = self.transactionTag(words) { return .answer(commandTag: tag) }
            // pg_restore 17 and later sends it to every server.
            if words.starts(with: ["SET", "TRANSACTION_TIMEOUT"]), serverVersion < 170_000 {
                return .answer(commandTag: "SET")
            }
            // It would wait for locks of others for ever, and whoever comes after it behind it.
            if words.starts(with: ["SET", "LOCK_TIMEOUT"]) { return .answer(commandTag: "SET") }
        }
        guard let words = statements.first(where: self.endsTransaction) else { return nil }
        return .refuse(
            PostgresError(
                severity: .error, sqlState: SQLState(rawValue: "2D000"),
                message: "\(words.first ?? "") is not allowed here: the transaction belongs to the "
                    + "deployment"))
    }

    /// What `--single-transaction` sends around everything.
    private static func transactionTag(_ words: [String]) -> String? {
        switch words.first {
        case "BEGIN": "BEGIN"
        case "START" where words.dropFirst().first == "TRANSACTION": "START TRANSACTION"
        case "COMMIT" where self.isPlain(words), "END" where self.isPlain(words): "COMMIT"
        default: nil
        }
    }

    /// `COMMIT` and not `COMMIT PREPARED` or `COMMIT AND CHAIN`.
    private static func isPlain(_ words: [String]) -> Bool {
        words.count == 1 || words.dropFirst() == ["WORK"] || words.dropFirst() == ["TRANSACTION"]
    }

    private static func endsTransaction(_ words: [String]) -> Bool {
        switch words.first {
        case "BEGIN", "COMMIT", "END", "ABORT": true
        case "START", "PREPARE": words.dropFirst().first == "TRANSACTION"
        // ROLLBACK TO SAVEPOINT stays within the transaction.
        case "ROLLBACK": !words.contains("TO")
        default: false
        }
    }
}

/// Who watches a ``SessionDoor``. Called on the session's event loop; must not block.
public struct DoorObserver: Sendable {
    /// A statement of the program, before the verdict.
    public var statement: @Sendable (StatementText) -> Void
    /// An error that the program was sent, by the server or by the policy.
    public var error: @Sendable (PostgresError) -> Void
    /// Bytes of rows that the program sent, since the last call.
    public var copiedBytes: @Sendable (Int) -> Void

    /// Creates an observer.
    public init(
        statement: @escaping @Sendable (StatementText) -> Void = { _ in },
        error: @escaping @Sendable (PostgresError) -> Void = { _ in },
        copiedBytes: @escaping @Sendable (Int) -> Void = { _ in }
    ) {
        self.statement = statement
        self.error = error
        self.copiedBytes = copiedBytes
    }
}
