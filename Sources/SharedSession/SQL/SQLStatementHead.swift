/// The tokens of a statement outside of its parentheses, as far as they tell what it is.
struct SQLStatementHead {
    typealias Flags = SQLStatement.Flags
    typealias Finding = (kind: SQLStatement.Kind, flags: Flags)

    let tokens: [SQLToken]
    let bytes: [UInt8]

    /// Nothing is known of it.
    private static let unknown: Finding = (.other, .all)

    /// The statement as a whole.
    func statement(range: Range<Int>, calls: SQLStatementReader.Calls) -> SQLStatement {
        let (kind, base) = self.finding(at: 0)
        let stated = base.union(calls.flags)
        let flags = calls.unknownFunction ? .all : stated
        return SQLStatement(
            range: range, kind: kind, flags: flags, statedFlags: stated,
            customSettings: flags.contains(.mayChangeSettings)
                ? SQLCustomSettings.names(in: self.bytes, range) : [])
    }

    /// Whether it begins like CREATE [OR REPLACE] FUNCTION or PROCEDURE.
    var createsFunction: Bool {
        guard self.word(0) == .create else { return false }
        let what = self.word(1) == .or && self.word(2) == .replace ? self.word(3) : self.word(1)
        return what == .function || what == .procedure
    }

    private func token(_ index: Int) -> SQLToken? {
        index < self.tokens.count ? self.tokens[index] : nil
    }

    private func word(_ index: Int) -> SQLWord? { self.token(index)?.word }

    private func isSymbol(_ index: Int, _ byte: UInt8) -> Bool {
        self.token(index)?.kind == .symbol(byte)
    }

    private func name(_ index: Int) -> SQLName? {
        guard let token = self.token(index) else { return nil }
        let constant = self.word(index + 1) == .uescape ? self.token(index + 2) : nil
        let uescape = token.kind == .unicodeName && constant?.kind == .string ? constant : nil
        return SQLName(token, in: self.bytes, uescape: uescape)
    }

    private func named(
        _ index: Int, _ flags: Flags, _ kind: (SQLName) -> SQLStatement.Kind
    ) -> Finding {
        guard let name = self.name(index) else { return Self.unknown }
        return (kind(name), flags)
    }

    /// What the statement is that begins with this token, calls of functions aside.
    ///
    /// What is not here may do anything. Most of that changes the schema, and happens seldom.
    private func finding(at start: Int) -> Finding {
        guard let first = self.word(start) else {
            return self.isSymbol(start, UInt8(ascii: "(")) ? (.other, []) : Self.unknown
        }
        let next = start + 1
        switch first {
        case .select, .values, .table, .with, .insert, .update, .delete, .merge, .show, .lock,
            .checkpoint:
            return (.other, [])
        case .truncate, .fetch, .move:
            return (.other, .mayRunStoredCode)
        case .begin:
            return (.begin, [])
        case .start:
            return self.word(next) == .transaction ? (.begin, []) : Self.unknown
        case .commit, .end, .rollback, .abort, .savepoint, .release:
            return self.transactionEnd(first, next)
        case .prepare, .execute, .deallocate, .create:
            return self.prepared(first, next)
        case .listen:
            return self.named(next, []) { .listen($0) }
        case .unlisten:
            guard let what = self.token(next), what.kind == .symbol(UInt8(ascii: "*")) else {
                return self.named(next, []) { .unlisten($0) }
            }
            return (.unlistenAll(what.range), [])
        case .notify:
            return (.notify, [])
        case .discard:
            // What is gone of the session must be seen, too.
            return (self.word(next) == .all ? .discardAll : .discardOther, .session)
        case .set:
            return self.set(next)
        case .reset:
            return self.reset(next)
        case .copy:
            return self.copy(next)
        case .declare:
            return self.declare(next)
        case .close:
            return (.closeCursor, .mayHoldCursor)
        case .explain:
            return self.explain(next)
        case _:
            return Self.unknown
        }
    }
}

extension SQLStatementHead {
    private func transactionEnd(_ first: SQLWord, _ next: Int) -> Finding {
        switch first {
        case .commit, .end:
            // Triggers may be deferred to here.
            return self.word(next) == .prepared
                ? (.finishPrepared, []) : (.commit, .mayRunStoredCode)
        case .rollback, .abort:
            if self.word(next) == .prepared { return (.finishPrepared, []) }
            let noise = self.word(next) == .work || self.word(next) == .transaction
            return (
                self.word(noise ? next + 1 : next) == .to ? .rollbackToSavepoint : .rollback, []
            )
        case .release:
            return (.releaseSavepoint, [])
        case _:
            return (.savepoint, [])
        }
    }

    private func prepared(_ first: SQLWord, _ next: Int) -> Finding {
        switch first {
        case .prepare:
            if self.word(next) == .transaction, self.token(next + 1)?.kind == .string {
                return (.prepareTransaction, .mayRunStoredCode)
            }
            return self.named(next, []) { .prepare($0) }
        case .execute:
            return self.named(next, .all) { .execute($0) }
        case .deallocate:
            let what = self.word(next) == .prepare && self.token(next + 1) != nil ? next + 1 : next
            guard let token = self.token(what), token.word == .all else {
                return self.named(what, []) { .deallocate($0) }
            }
            return (.deallocateAll(token.range), [])
        case _:
            // CREATE TABLE … AS EXECUTE; no AS stands before that one outside of parentheses.
            guard
                let at = self.tokens.indices.dropFirst(next).first(where: { self.word($0) == .as }),
                self.word(at + 1) == .execute
            else { return Self.unknown }
            return self.named(at + 2, .all) { .execute($0) }
        }
    }

    /// Whether the token is followed by what makes it the name of a setting: `local.x = 1`.
    private func isSettingName(_ index: Int) -> Bool {
        self.isSymbol(index + 1, UInt8(ascii: ".")) || self.isSymbol(index + 1, UInt8(ascii: "="))
            || self.word(index + 1) == .to
    }

    private func set(_ next: Int) -> Finding {
        guard !self.isSettingName(next) else { return (.set, .mayChangeSettings) }
        switch self.word(next) {
        case .local, .transaction:
            return (.other, [])
        case .constraints:
            return (.other, .mayRunStoredCode)
        case _:
            return (.set, .mayChangeSettings)
        }
    }

    private func reset(_ next: Int) -> Finding {
        let flags = Flags.mayChangeSettings
        switch (self.word(next), self.word(next + 1)) {
        case (.all, nil):
            return (.resetAll, flags)
        case (.time, .zone):
            return (.reset("timezone"), flags)
        case (.session, .authorization):
            return (.reset("session_authorization"), flags)
        case _:
            return (.reset(self.settingName(next)), flags)
        }
    }

    /// A name with points in it that is all that follows.
    private func settingName(_ start: Int) -> String? {
        var parts: [String] = []
        var index = start
        while let name = self.name(index) {
            parts.append(name.name.lowercased())
            index += 1
            guard let point = self.token(index) else { return parts.joined(separator: ".") }
            guard point.kind == .symbol(UInt8(ascii: ".")) else { return nil }
            index += 1
        }
        return nil
    }

    private func copy(_ next: Int) -> Finding {
        let words = self.tokens.indices.dropFirst(next)
        guard let at = words.first(where: { self.word($0) == .from || self.word($0) == .to }) else {
            return Self.unknown
        }
        let isStandard = self.word(at + 1) == .stdin || self.word(at + 1) == .stdout
        guard isStandard else { return (.other, .mayRunStoredCode) }
        // Postgres takes STDOUT for STDIN, and the other way round, silently.
        let kind = self.word(at) == .from ? SQLStatement.Kind.copyFromStdin : .copyToStdout
        return (kind, .mayRunStoredCode)
    }

    private func declare(_ next: Int) -> Finding {
        let words = self.tokens.indices.dropFirst(next + 1)
        guard let cursor = words.first(where: { self.word($0) == .cursor }) else {
            return Self.unknown
        }
        let hold = self.word(cursor + 1) == .with && self.word(cursor + 2) == .hold
        return (.declareCursor(hold: hold), hold ? .mayHoldCursor : [])
    }

    private func explain(_ next: Int) -> Finding {
        var start = next
        if self.isSymbol(next, UInt8(ascii: "(")), self.token(next + 1) != nil {
            start += 1
        } else {
            while [.analyze, .analyse, .verbose].contains(self.word(start)) { start += 1 }
        }
        let (kind, flags) = self.finding(at: start)
        guard case .execute = kind else { return (.other, flags) }
        return (kind, flags)
    }
}
