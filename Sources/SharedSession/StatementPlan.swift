import NIOCore

/// A text of SQL as the engine gets it: names of statements are the engine's, and what would touch
/// other clients is replaced.
struct StatementPlan: Sendable {
    /// One for each statement of the text.
    struct Statement: Sendable {
        var range: Range<Int>
        var kind: SQLStatement.Kind
        var effect: StatementEffect
    }

    /// What stands in place of a statement that is done by us: it does nothing, and fails where
    /// every statement does, in a transaction that failed.
    static let harmless = "DISCARD PLANS"
    /// A channel that nobody listens to.
    static let nobody = "\"pgs_nobody\""

    private(set) var original: ByteBuffer
    private(set) var statements: [Statement] = []
    private(set) var flags: SQLStatement.Flags = []
    private(set) var customSettings: [String] = []
    /// Whether it may change what an engine reports of its settings.
    private(set) var changesSettings = false
    /// What its client set at its start, which RESET gives it.
    private let defaults: [String: String]
    private var edits: [(range: Range<Int>, text: String)] = []

    /// Whether any of it is COPY … FROM STDIN.
    var copiesIn: Bool { self.statements.contains { $0.effect.copyText != nil } }
    var effects: [StatementEffect] { self.statements.map(\.effect) }
    /// The whole text, rewritten.
    var text: ByteBuffer {
        self.edits.isEmpty
            ? self.original
            : SQLRewrite.replacing(self.original, self.edits.map { ($0.range, $0.text) })
    }

    /// Plans a text without its NUL; names that it prepares are announced in the table. `isIdle`
    /// where no transaction is open, `defaults` are the settings of the client's start.
    init(
        _ text: ByteBuffer, standardConformingStrings: Bool, isIdle: Bool,
        defaults: SessionSettings, table: inout StatementTable
    ) {
        self.original = text
        self.defaults = Dictionary(
            defaults.values.map { ($0.lowercased(), $1) }, uniquingKeysWith: { first, _ in first })
        let analysis = SQLAnalysis(text, standardConformingStrings: standardConformingStrings)
        let isSole = analysis.statements.count == 1
        for statement in analysis.statements {
            self.flags.formUnion(statement.flags)
            self.customSettings += statement.customSettings
            let effect = self.plan(statement, isSole && isIdle, &table)
            self.noteSetting(statement)
            self.statements.append(
                Statement(range: statement.range, kind: statement.kind, effect: effect))
        }
    }

    private mutating func plan(
        _ statement: SQLStatement, _ isAlone: Bool, _ table: inout StatementTable
    ) -> StatementEffect {
        switch statement.kind {
        case .prepare(let name):
            return self.prepare(statement, name, &table)
        case .execute(let name):
            self.edit(name.range, table.engineName(table.resolve(name.name).number))
            return .none
        case .deallocate(let name):
            self.edit(name.range, table.engineName(table.resolve(name.name).number))
            table.retire(name.name)
            return .deallocate(name.name)
        case .deallocateAll:
            self.edit(statement.range, Self.harmless)
            table.hideAll()
            return .deallocateAll
        case .discardAll:
            // In a transaction or beside other statements it fails, and so says Postgres itself.
            guard isAlone else { return .none }
            self.edit(statement.range, Self.harmless)
            return .discardAll
        case .unlisten(let name):
            self.edit(name.range, Self.nobody)
            return .unlisten(name.name)
        case .unlistenAll(let range):
            self.edit(range, Self.nobody)
            return .unlistenAll
        case .listen(let name): return .listen(name.name)
        case .begin: return .begin
        case .commit: return .commit
        case .rollback, .prepareTransaction: return .rollback
        case .savepoint: return .savepoint(self.lastName(statement))
        case .rollbackToSavepoint: return .rollbackTo(self.lastName(statement))
        case .releaseSavepoint: return .release(self.lastName(statement))
        case .notify: return .notify
        case .resetAll: return self.resetAll(statement, isAlone)
        case .copyFromStdin: return .copyIn(self.slice(statement.range))
        case .other, .set, .reset: return self.setDefault(statement)
        case .finishPrepared, .discardOther, .copyToStdout, .declareCursor, .closeCursor:
            return .none
        }
    }

    /// A client's default is what it set at its start: it is set where the default is asked for.
    private mutating func setDefault(_ statement: SQLStatement) -> StatementEffect {
        guard !self.defaults.isEmpty,
            let setting = SQLSettingStatement(self.slice(statement.range)), setting.isToDefault,
            let value = self.defaults[setting.name]
        else { return .none }
        let start = statement.range.lowerBound
        guard let range = setting.defaultRange else {
            self.edit(statement.range, SQLSettingStatement.text(setting: setting.name, to: value))
            return .tagged("RESET")
        }
        self.edit(
            start + range.lowerBound..<start + range.upperBound,
            SQLSettingStatement.value(value, of: setting.name))
        return .none
    }

    /// Alone, it is followed by a change of settings; within a transaction it must bring them
    /// itself.
    private mutating func resetAll(
        _ statement: SQLStatement, _ isAlone: Bool
    ) -> StatementEffect {
        guard !isAlone, !self.defaults.isEmpty else { return .resetAll }
        let calls = self.defaults.sorted { $0.key < $1.key }.map { name, value in
            "PERFORM pg_catalog.set_config(\(SQLRewrite.literal(name)), "
                + "\(SQLRewrite.literal(value)), false); "
        }
        let code = "BEGIN RESET ALL; \(calls.joined())END"
        self.edit(statement.range, "DO LANGUAGE plpgsql \(SQLRewrite.literal(code))")
        return .tagged("RESET")
    }

    private mutating func noteSetting(_ statement: SQLStatement) {
        switch statement.kind {
        case .set, .reset, .resetAll, .discardAll: self.changesSettings = true
        case .other:
            // set_config, and SET LOCAL.
            let stated = statement.statedFlags
            let calls = stated.contains(.mayChangeSettings) && !stated.contains(.mayChangeSchema)
            if calls || SQLSettingStatement(self.slice(statement.range)) != nil {
                self.changesSettings = true
            }
        case .begin, .commit, .rollback, .savepoint, .rollbackToSavepoint, .releaseSavepoint,
            .prepareTransaction, .finishPrepared, .prepare, .execute, .deallocate, .deallocateAll,
            .discardOther, .listen, .unlisten, .unlistenAll, .notify, .copyFromStdin,
            .copyToStdout, .declareCursor, .closeCursor:
            break
        }
    }

    private mutating func prepare(
        _ statement: SQLStatement, _ name: SQLName, _ table: inout StatementTable
    ) -> StatementEffect {
        let number = table.numberToPrepare(name.name)
        let engineName = table.engineName(number)
        self.edit(name.range, engineName)
        let start = statement.range.lowerBound
        let nameInStatement = name.range.lowerBound - start..<name.range.upperBound - start
        let text = SQLRewrite.replacing(
            self.slice(statement.range), [(nameInStatement, engineName)])
        let entry = StatementTable.Entry(
            number: number, kept: .prepare(text), flags: statement.flags, effect: .none)
        table.announce(name.name, entry)
        return .prepare(name.name, entry)
    }

    private mutating func edit(_ range: Range<Int>, _ text: String) {
        self.edits.append((range, text))
    }

    private func slice(_ range: Range<Int>) -> ByteBuffer {
        self.original.getSlice(
            at: self.original.readerIndex + range.lowerBound, length: range.count) ?? ByteBuffer()
    }

    /// The name at the end of SAVEPOINT, RELEASE and ROLLBACK TO.
    private func lastName(_ statement: SQLStatement) -> String {
        let text = self.slice(statement.range).text
        if text.hasSuffix("\"") {
            let inner = text.dropLast()
            return inner.lastIndex(of: "\"").map { String(inner[inner.index(after: $0)...]) } ?? ""
        }
        return text.split(whereSeparator: \.isWhitespace).last?.lowercased() ?? ""
    }
}

// MARK: Parts

extension StatementPlan {
    /// One statement after the other, each where it stood: what was before it is white space, so
    /// that the positions in errors stay true.
    func parts() -> [(text: ByteBuffer, effect: StatementEffect)] {
        self.statements.map { statement in
            let inside = self.edits.filter { statement.range.contains($0.range.lowerBound) }
            let start = statement.range.lowerBound
            let text = SQLRewrite.replacing(
                self.slice(statement.range),
                inside.map { edit in
                    (edit.range.lowerBound - start..<edit.range.upperBound - start, edit.text)
                })
            let before = self.slice(0..<start).text.unicodeScalars.count
            var padded = ByteBuffer()
            padded.writeRepeatingByte(UInt8(ascii: " "), count: before)
            padded.writeImmutableBuffer(text)
            return (padded, statement.effect)
        }
    }

    /// Whether it is not sent as it came.
    var isRewritten: Bool { !self.edits.isEmpty }

    /// Whether any of it begins or ends a transaction by itself.
    var controlsTransactions: Bool {
        self.statements.contains { statement in
            switch statement.effect {
            case .begin, .commit, .rollback: true
            case .none, .savepoint, .rollbackTo, .release, .listen, .unlisten, .unlistenAll,
                .prepare, .deallocate, .deallocateAll, .discardAll, .resetAll, .tagged, .notify,
                .copyIn:
                false
            }
        }
    }

    /// Where a character of the rewritten text stood in the original one, both counted from 1.
    func originalPosition(_ position: Int) -> Int {
        var position = position
        for edit in self.edits.sorted(by: { $0.range.lowerBound < $1.range.lowerBound }) {
            let start = self.slice(0..<edit.range.lowerBound).text.unicodeScalars.count
            guard position > start + 1 else { break }
            let old = self.slice(edit.range).text.unicodeScalars.count
            let new = edit.text.unicodeScalars.count
            position = max(start + 1, position - new + old)
        }
        return position
    }
}
