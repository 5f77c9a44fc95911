/// Gathers tokens into statements, and notes what a statement calls on the way.
///
/// Postgres's grammar ends a statement at each semicolon, those in parentheses (CREATE RULE) and in
/// the body of an SQL function (BEGIN ATOMIC … END) aside. A body ends with an END right behind a
/// semicolon; that of CASE never stands there.
struct SQLStatementReader {
    private let bytes: [UInt8]
    private let knownFunctions: KnownFunctions

    /// Tokens outside of parentheses, as many as tell statements apart; an opening parenthesis
    /// stands for all that is in it.
    private var head: [SQLToken] = []
    private var end = 0
    private var parentheses = 0
    /// Open BEGIN ATOMIC.
    private var bodies = 0
    private var previous: SQLToken?
    private var name = QualifiedName()
    private var calls = Calls()
    private var setConfig = SetConfig.none

    /// How far a call of set_config was read: its name should be a constant and no more.
    private enum SetConfig { case none, opened, named }

    /// CREATE TEMP TABLE with every option and AS EXECUTE, below EXPLAIN, has some 30.
    private static let maximumHead = 36

    init(_ bytes: [UInt8], knownFunctions: KnownFunctions) {
        self.bytes = bytes
        self.knownFunctions = knownFunctions
    }

    /// Names with points between them that the last tokens are: `b` of `a.b`, in schema `a`.
    private struct QualifiedName {
        /// The token before the first of the names.
        var before: SQLToken?
        var schema: SQLToken?
        var name: SQLToken?
        /// How many tokens it has, points included.
        var count = 0
    }

    /// What is noticed in the midst of a statement.
    struct Calls {
        /// What the text itself says.
        var flags: SQLStatement.Flags = []
        /// Whether it calls a function that is not known.
        var unknownFunction = false
        /// Whether the word UPDATE was in it.
        var update = false
    }

    /// Takes the next token; returns a statement that it ends.
    mutating func take(_ token: SQLToken) -> SQLStatement? {
        if token.kind == .symbol(UInt8(ascii: ";")), self.parentheses == 0, self.bodies == 0 {
            return self.finish()
        }
        if self.parentheses == 0, self.head.count < Self.maximumHead,
            token.kind != .symbol(UInt8(ascii: ")"))
        {
            self.head.append(token)
        }
        self.checkSetConfig(token)
        switch token.kind {
        case .word:
            if let word = token.word { self.notice(word) }
            self.takeName(token)
        case .quotedName, .unicodeName:
            // `"pg_settings"`, perhaps.
            if self.calls.update, token.range.count >= 13 { self.notice(.pgSettings) }
            self.takeName(token)
        case .symbol(let byte):
            self.takeSymbol(byte)
        case .cast:
            self.calls.flags.insert(.mayRunStoredCode)
        case .string:
            // A constant of a type of the user's: `positive '1'`.
            if let previous = self.previous, previous.isName, previous.word == nil {
                self.calls.flags.insert(.mayRunStoredCode)
            }
        case .number, .parameter:
            break
        }
        self.previous = token
        self.end = token.end
        return nil
    }

    /// Returns the statement that the last tokens are; nil if there were none.
    mutating func finish() -> SQLStatement? {
        defer {
            self.head.removeAll(keepingCapacity: true)
            self.parentheses = 0
            self.bodies = 0
            self.previous = nil
            self.name = QualifiedName()
            self.calls = Calls()
            self.setConfig = .none
        }
        guard let first = self.head.first else { return nil }
        let head = SQLStatementHead(tokens: self.head, bytes: self.bytes)
        return head.statement(range: first.start..<self.end, calls: self.calls)
    }

    private mutating func checkSetConfig(_ token: SQLToken) {
        switch (self.setConfig, token.kind) {
        case (.none, _): return
        case (.opened, .string): self.setConfig = .named
        case (.named, .symbol(UInt8(ascii: ","))): self.setConfig = .none
        case (.opened, _), (.named, _):
            self.setConfig = .none
            self.calls.flags.insert(.mayNameSettings)
        }
    }

    private mutating func takeName(_ token: SQLToken) {
        if self.previous?.kind == .symbol(UInt8(ascii: ".")), self.name.name != nil {
            self.name.schema = self.name.name
            self.name.count += 2
        } else {
            self.name = QualifiedName(before: self.previous, count: 1)
        }
        self.name.name = token
    }

    private mutating func takeSymbol(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "("):
            if self.previous?.isName == true { self.call() }
            self.parentheses += 1
        case UInt8(ascii: ")"):
            self.parentheses = max(0, self.parentheses - 1)
        case UInt8(ascii: "~"), UInt8(ascii: "!"), UInt8(ascii: "@"), UInt8(ascii: "#"),
            UInt8(ascii: "^"), UInt8(ascii: "&"), UInt8(ascii: "|"), UInt8(ascii: "?"),
            UInt8(ascii: "`"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "*"),
            UInt8(ascii: "/"), UInt8(ascii: "%"), UInt8(ascii: "<"), UInt8(ascii: ">"),
            UInt8(ascii: "="):
            // Operators: somebody's function may be behind.
            self.calls.flags.insert(.mayRunStoredCode)
        case _:
            break
        }
    }

    private mutating func notice(_ word: SQLWord) {
        switch word {
        case .from, .table, .insert, .delete, .merge, .cast:
            self.calls.flags.insert(.mayRunStoredCode)
        case .update:
            self.calls.flags.insert(.mayRunStoredCode)
            self.calls.update = true
        case .uescape:
            // It makes a name or a text of the token before it, and we did not.
            self.calls.flags.formUnion(.all)
        case .pgSettings where self.calls.update:
            // A rule of that view calls set_config.
            self.calls.flags.insert(.mayChangeSettings)
        case .into where self.previous?.word != .insert && self.previous?.word != .merge:
            // SELECT … INTO makes a table, and if `search_path` says so, a temporary one.
            self.calls.flags.formUnion([.mayMakeTemp, .mayChangeSchema, .mayRunStoredCode])
        case .atomic where self.previous?.word == .begin && self.parentheses == 0:
            if SQLStatementHead(tokens: self.head, bytes: self.bytes).createsFunction {
                self.bodies += 1
            }
        case .end where self.bodies > 0 && self.parentheses == 0:
            let isBehindStatement =
                self.previous?.kind == .symbol(UInt8(ascii: ";"))
                || self.previous?.word == .atomic
            if isBehindStatement { self.bodies -= 1 }
        case _:
            break
        }
    }
}

extension SQLStatementReader {
    /// An opening parenthesis stands behind a name.
    private mutating func call() {
        guard let token = self.name.name, !self.isColumnList(token) else { return }
        let function = SQLName(token, in: self.bytes)?.name ?? ""
        let effect = SQLFunctions.effect(
            of: function, schema: self.name.schema.map { SQLName($0, in: self.bytes)?.name ?? "" },
            isQuoted: token.kind != .word, known: self.knownFunctions)
        switch effect {
        case .none: break
        case .unknown: self.calls.unknownFunction = true
        case .flags(let flags):
            self.calls.flags.formUnion(flags)
            if function == "set_config" { self.setConfig = .opened }
        }
    }

    /// Whether what follows the name are columns or the modifier of a type, or the name is a word
    /// of the grammar there.
    private func isColumnList(_ token: SQLToken) -> Bool {
        guard let before = self.name.before else { return false }
        if before.kind == .cast || token.word == .set { return true }
        switch before.word {
        case .into, .as, .with, .recursive: return true
        case .copy, .prepare: return self.head.first?.start == before.start
        case .binary: return self.head.first?.word == .copy && self.head[1].start == before.start
        case .on: return token.word == .conflict
        case .grouping: return token.word == .sets
        case .then: return token.word == .insert
        case .not: return token.word == .materialized
        case .none:
            let closes = before.kind == .symbol(UInt8(ascii: ")"))
            return closes && (token.word == .over || token.word == .filter)
        case .some: return false
        }
    }
}
