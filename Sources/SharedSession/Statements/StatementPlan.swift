import NIOCore

/// A text of SQL as the engine gets it: names of statements are the engine's, and what would touch
/// other clients is replaced.
struct StatementPlan: Sendable {
    /// One for each statement of the text.
    struct Statement: Sendable {
        var range: Range<Int>
        var kind: SQLStatement.Kind
        var effect: StatementEffect
        /// Its places among the plan's edits.
        var edits: Range<Int>
    }

    /// What stands in place of a statement that is done by us: it does nothing, and fails where
    /// every statement does, in a transaction that failed.
    static let harmless = "DISCARD PLANS"
    /// A channel that nobody listens to.
    static let nobody = "\"pgs_nobody\""

    private(set) var original: ByteBuffer
    /// What of it is sent: all, or one of its statements.
    private var sent: Range<Int>
    private(set) var statements: [Statement] = []
    private(set) var flags: SQLStatement.Flags = []
    private(set) var customSettings: [String] = []
    /// Whether it may change what an engine reports of its settings.
    private(set) var changesSettings = false
    /// What its client set at its start, which RESET gives it.
    private let defaults: [String: String]
    private var edits: [(range: Range<Int>, text: String)] = []

    /// Whether any of it is COPY … FROM STDIN.
    private(set) var copiesIn = false
    /// Whether it has more statements than are looked at; then none is listed.
    private(set) var hasTooMany = false
    var effects: [StatementEffect] { self.statements.map(\.effect) }
    /// What is sent, rewritten.
    var text: ByteBuffer {
        let start = self.sent.lowerBound
        let text = self.slice(self.sent)
        guard !self.edits.isEmpty else { return text }
        return SQLRewrite.replacing(
            text,
            self.edits.map { edit in
                (edit.range.lowerBound - start..<edit.range.upperBound - start, edit.text)
            })
    }

    /// Plans a text without its NUL; names that it prepares are announced in the table. `isIdle`
    /// where no transaction is open, `defaults` are the settings of the client's start.
    init(
        _ text: ByteBuffer, standardConformingStrings: Bool, isIdle: Bool,
        isPrepared: Bool = false, defaults: SessionSettings, table: inout StatementTable
    ) {
        self.original = text
        self.sent = 0..<text.readableBytes
        self.defaults = Dictionary(
            defaults.values.map { ($0.lowercased(), $1) }, uniquingKeysWith: { first, _ in first })
        let analysis = SQLAnalysis(text, standardConformingStrings: standardConformingStrings)
        self.flags = Self.otherReading(of: text, analysis, standardConformingStrings)
        guard !analysis.hasTooMany else {
            self.hasTooMany = true
            self.flags = .all
            return
        }
        let isSole = analysis.statements.count == 1
        for statement in analysis.statements {
            let firstEdit = self.edits.count
            self.flags.formUnion(statement.flags)
            self.customSettings += statement.customSettings
            let isAlone =
                isSole && (isIdle || isPrepared && statement.kind == .discardAll)
            let effect = self.plan(statement, isAlone, &table)
            self.noteSetting(statement)
            if effect.copyText != nil { self.copiesIn = true }
            self.statements.append(
                Statement(
                    range: statement.range, kind: statement.kind, effect: effect,
                    edits: firstEdit..<self.edits.count))
        }
    }

    /// What a text may do where the setting is not what we believe: a pipeline may change it.
    private static func otherReading(
        of text: ByteBuffer, _ analysis: SQLAnalysis, _ standardConformingStrings: Bool
    ) -> SQLStatement.Flags {
        guard text.readableBytesView.contains(UInt8(ascii: "\\")) else { return [] }
        let other = SQLAnalysis(text, standardConformingStrings: !standardConformingStrings)
        guard other.statements != analysis.statements else { return [] }
        let isAlike = other.statements.map(\.range) == analysis.statements.map(\.range)
        return isAlike ? other.flags : .all
    }

    /// A COPY of the extended protocol, whose names were rewritten by its Parse.
    init(copy text: ByteBuffer) {
        self.original = text
        self.sent = 0..<text.readableBytes
        self.defaults = [:]
        self.copiesIn = true
        self.statements = [
            Statement(
                range: self.sent, kind: .copyFromStdin, effect: .copyIn(text), edits: 0..<0)
        ]
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
    /// One of its statements alone. Positions in its errors are those of the whole text.
    func part(_ index: Int) -> StatementPlan {
        var part = self
        let statement = self.statements[index]
        part.sent = statement.range
        part.edits = Array(self.edits[statement.edits])
        part.statements = [statement]
        part.statements[0].edits = 0..<part.edits.count
        part.copiesIn = statement.effect.copyText != nil
        return part
    }

    /// Whether it is not sent as it came.
    var isRewritten: Bool { !self.edits.isEmpty || self.sent.count != self.original.readableBytes }

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

    /// Where a character of what was sent stood in the original text, both counted from 1.
    func originalPosition(_ position: Int) -> Int {
        // Characters of the original in front of what is looked at, which begins at a byte.
        var before = self.characters(0..<self.sent.lowerBound)
        var byte = self.sent.lowerBound
        var position = position + before
        for edit in self.edits {
            before += self.characters(byte..<edit.range.lowerBound)
            byte = edit.range.upperBound
            guard position > before + 1 else { break }
            let old = self.characters(edit.range)
            position = max(before + 1, position - edit.text.unicodeScalars.count + old)
            before += old
        }
        return position
    }

    private func characters(_ range: Range<Int>) -> Int {
        self.slice(range).text.unicodeScalars.count
    }
}
