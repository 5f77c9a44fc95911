import NIOCore

/// A SET or RESET of one setting, as far as a session must know it that gives each client defaults
/// of its own.
///
/// Source: `VariableSetStmt` and `VariableResetStmt` in PostgreSQL's `gram.y`.
struct SQLSettingStatement {
    /// In lower case.
    var name: String
    var isReset: Bool
    /// The word that asks for the default, in the statement; nil where another value is set, and
    /// with RESET.
    var defaultRange: Range<Int>?

    /// Whether the setting gets its default.
    var isToDefault: Bool { self.isReset || self.defaultRange != nil }

    /// Reads a statement without white space around it; nil for any other one.
    init?(_ statement: ByteBuffer) {
        // Nearly all statements end here.
        let start = statement.readableBytesView.prefix(3).lazy.map { $0 | 0x20 }
        guard start.elementsEqual("set".utf8) || start.elementsEqual("res".utf8) else { return nil }
        let bytes = Array(statement.readableBytesView.prefix(Self.maximumBytes))
        var scanner = SQLScanner(bytes, backslashEscapes: false)
        var tokens: [SQLToken] = []
        while tokens.count < Self.maximumTokens, let token = scanner.next() {
            tokens.append(token)
        }
        guard let verb = tokens.first?.word, verb == .set || verb == .reset else { return nil }
        var reader = Reader(bytes: bytes, tokens: tokens.dropFirst())
        self.isReset = verb == .reset
        if !self.isReset, reader.next == .session || reader.next == .local, !reader.isNamed(1) {
            reader.skip()
        }
        guard let name = reader.settingName() else { return nil }
        self.name = name
        self.defaultRange = self.isReset ? nil : reader.defaultRange(of: name)
    }

    /// Enough of any statement that sets a default.
    private static let maximumBytes = 1_000
    private static let maximumTokens = 12

    private struct Reader {
        let bytes: [UInt8]
        var tokens: ArraySlice<SQLToken>

        var next: SQLWord? { self.tokens.first?.word }

        mutating func skip() { self.tokens = self.tokens.dropFirst() }

        private func token(_ offset: Int) -> SQLToken? { self.tokens.dropFirst(offset).first }

        private func text(_ token: SQLToken?) -> String? {
            token.map { String(decoding: self.bytes[$0.range], as: UTF8.self).lowercased() }
        }

        /// Whether the token before `offset` is the name of a setting: `session.x = 1`.
        func isNamed(_ offset: Int) -> Bool {
            let behind = self.token(offset)
            return behind?.kind == .symbol(UInt8(ascii: ".")) || self.isAssignment(behind)
        }

        private func isAssignment(_ token: SQLToken?) -> Bool {
            token?.kind == .symbol(UInt8(ascii: "=")) || token?.word == .to
        }

        /// The name, in front; what is behind it is in front then.
        mutating func settingName() -> String? {
            if self.next == .time, self.token(1)?.word == .zone {
                self.tokens = self.tokens.dropFirst(2)
                return "timezone"
            }
            if self.text(self.tokens.first) == "names", !self.isNamed(1) {
                self.skip()
                return "client_encoding"
            }
            var parts: [String] = []
            while let token = self.tokens.first, let name = SQLName(token, in: self.bytes) {
                parts.append(name.name.lowercased())
                self.skip()
                guard self.tokens.first?.kind == .symbol(UInt8(ascii: ".")) else { break }
                self.skip()
            }
            return parts.isEmpty ? nil : parts.joined(separator: ".")
        }

        /// The word DEFAULT (or LOCAL, of a time zone) where it is all the value there is.
        mutating func defaultRange(of name: String) -> Range<Int>? {
            if self.isAssignment(self.tokens.first) { self.skip() }
            guard self.tokens.count == 1, let value = self.tokens.first, value.kind == .word else {
                return nil
            }
            let isDefault = self.text(value) == "default"
            return isDefault || name == "timezone" && value.word == .local ? value.range : nil
        }
    }
}

extension SQLSettingStatement {
    /// A value as it stands behind `SET name TO`.
    static func value(_ value: String, of name: String) -> String {
        guard self.lists.contains(name) else { return SQLRewrite.literal(value) }
        let names = self.names(in: value).map(SQLRewrite.literal)
        return names.isEmpty ? "''" : names.joined(separator: ", ")
    }

    /// `SET name TO value`.
    static func text(setting name: String, to value: String) -> String {
        let quoted = name.split(separator: ".").map { SQLRewrite.identifier(String($0)) }
        return "SET \(quoted.joined(separator: ".")) TO \(self.value(value, of: name))"
    }

    /// Settings whose value is a list of names, of which each is quoted when it is set.
    ///
    /// Source: `GUC_LIST_QUOTE` in `guc_tables.c`.
    private static let lists: Set = [
        "search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries",
    ]

    /// Source: `SplitIdentifierString`.
    private static func names(in list: String) -> [String] {
        var names: [String] = []
        var name = ""
        var isQuoted = false
        var wasQuoted = false
        for character in list {
            switch character {
            case "\"" where isQuoted || wasQuoted || name.isEmpty:
                // Two in a row within quotes are one.
                if wasQuoted, !isQuoted { name.append(character) }
                isQuoted.toggle()
                wasQuoted = true
            case "," where !isQuoted:
                names.append(name)
                (name, wasQuoted) = ("", false)
            case " " where !isQuoted: break
            default: name.append(character)
            }
        }
        if !name.isEmpty || wasQuoted { names.append(name) }
        return names
    }
}
