/// A piece of a text of SQL that Postgres's lexer takes as one.
struct SQLToken {
    enum Kind: Equatable {
        /// A key word or a name without quotes.
        case word
        /// `"…"`.
        case quotedName
        /// `U&"…"`.
        case unicodeName
        /// A constant in quotes of any kind, its continuations on further lines included.
        case string
        case number
        /// `$1`.
        case parameter
        /// `::`.
        case cast
        /// One byte of an operator, a bracket, a comma and so on.
        case symbol(UInt8)
    }

    var kind: Kind
    var start: Int
    var end: Int
    /// For ``Kind/word``: which one, if it is one that we know.
    var word: SQLWord?

    var range: Range<Int> { self.start..<self.end }
    var isName: Bool { self.kind == .word || self.kind == .quotedName || self.kind == .unicodeName }
}

/// Takes a text of SQL apart as Postgres does: quotes of every kind with their continuations,
/// nested comments, operators that end where a comment begins.
///
/// It is not stricter than Postgres, but need not be as strict: what Postgres takes as an error of
/// the lexer fails as a whole text there, whatever we see in it. Every byte is looked at at most
/// three times.
/// Source: `scan.l` in PostgreSQL.
struct SQLScanner {
    let bytes: [UInt8]
    /// Whether a quote or a comment is not closed. Nothing follows then.
    private(set) var isBroken = false
    private var index = 0
    private let backslashEscapes: Bool

    /// Starts at the first byte of a text; with `backslashEscapes` where the session's
    /// `standard_conforming_strings` is off.
    init(_ bytes: [UInt8], backslashEscapes: Bool) {
        self.bytes = bytes
        self.backslashEscapes = backslashEscapes
    }

    /// The next token; nil at the end, and where ``isBroken`` begins.
    mutating func next() -> SQLToken? {
        self.skipSpace()
        guard !self.isBroken, let byte = self.peek() else { return nil }
        let start = self.index
        switch byte {
        case UInt8(ascii: "'"):
            self.skipString(escapes: self.backslashEscapes, doubles: true)
            return self.token(.string, start)
        case UInt8(ascii: "\""):
            self.skipQuotedName()
            return self.token(.quotedName, start)
        case UInt8(ascii: "$"):
            let kind = self.skipDollar()
            return self.token(kind, start)
        case UInt8(ascii: "0")...UInt8(ascii: "9"):
            self.skipNumber()
            return self.token(.number, start)
        case UInt8(ascii: ":") where self.peek(1) == byte:
            self.index += 2
            return self.token(.cast, start)
        case _ where Self.startsWord(byte):
            let kind = self.skipWord(byte)
            return self.token(kind, start)
        case _:
            self.index += 1
            return self.token(.symbol(byte), start)
        }
    }

    private func peek(_ offset: Int = 0) -> UInt8? {
        let at = self.index + offset
        return at < self.bytes.count ? self.bytes[at] : nil
    }

    private func token(_ kind: SQLToken.Kind, _ start: Int) -> SQLToken? {
        guard !self.isBroken else { return nil }
        let word = kind == .word ? SQLWord(self.bytes[start..<self.index]) : nil
        return SQLToken(kind: kind, start: start, end: self.index, word: word)
    }
}

extension SQLScanner {
    private mutating func skipSpace() {
        while let byte = self.peek() {
            if Self.isSpace(byte) {
                self.index += 1
            } else if byte == UInt8(ascii: "-"), self.peek(1) == byte {
                self.index = self.endOfLine(from: self.index)
            } else if byte == UInt8(ascii: "/"), self.peek(1) == UInt8(ascii: "*") {
                self.skipComment()
            } else {
                return
            }
        }
    }

    private mutating func skipComment() {
        var depth = 0
        while let byte = self.peek() {
            if byte == UInt8(ascii: "/"), self.peek(1) == UInt8(ascii: "*") {
                depth += 1
                self.index += 2
            } else if byte == UInt8(ascii: "*"), self.peek(1) == UInt8(ascii: "/") {
                depth -= 1
                self.index += 2
                if depth == 0 { return }
            } else {
                self.index += 1
            }
        }
        self.isBroken = true
    }

    /// Skips `'…'` and what continues it: white space with a line break in it, then a quote again,
    /// which opens a string of the same kind.
    ///
    /// - Parameters:
    ///   - escapes: Whether a backslash takes the next byte as it is.
    ///   - doubles: Whether two quotes are one; not so in `B'…'` and `X'…'`.
    private mutating func skipString(escapes: Bool, doubles: Bool) {
        self.index += 1
        while let byte = self.peek() {
            self.index += 1
            if byte == UInt8(ascii: "'") {
                if doubles, self.peek() == byte {
                    self.index += 1
                } else if let continued = self.continuation() {
                    self.index = continued
                } else {
                    return
                }
            } else if escapes, byte == UInt8(ascii: "\\") {
                self.index += 1
            }
        }
        self.isBroken = true
    }

    /// Behind a closing quote: where the text of the next part begins, if there is one.
    private func continuation() -> Int? {
        var at = self.index
        var hasNewline = false
        while at < self.bytes.count {
            let byte = self.bytes[at]
            if Self.isSpace(byte) {
                hasNewline = hasNewline || Self.isNewline(byte)
                at += 1
            } else if byte == UInt8(ascii: "-"), at + 1 < self.bytes.count,
                self.bytes[at + 1] == byte
            {
                at = self.endOfLine(from: at)
            } else {
                return byte == UInt8(ascii: "'") && hasNewline ? at + 1 : nil
            }
        }
        return nil
    }

    private mutating func skipQuotedName() {
        self.index += 1
        while let byte = self.peek() {
            self.index += 1
            guard byte == UInt8(ascii: "\"") else { continue }
            guard self.peek() == byte else { return }
            self.index += 1
        }
        self.isBroken = true
    }

    /// `$1`, `$$…$$`, `$tag$…$tag$`, or a dollar sign alone, which is an error.
    private mutating func skipDollar() -> SQLToken.Kind {
        let start = self.index
        self.index += 1
        if let byte = self.peek(), Self.isDigit(byte) {
            while let byte = self.peek(), Self.isDigit(byte) { self.index += 1 }
            return .parameter
        }
        var end = self.index
        if end < self.bytes.count, Self.startsWord(self.bytes[end]) {
            while end < self.bytes.count, Self.continuesTag(self.bytes[end]) { end += 1 }
        }
        guard end < self.bytes.count, self.bytes[end] == UInt8(ascii: "$") else {
            return .symbol(UInt8(ascii: "$"))
        }
        self.index = end + 1
        self.skip(beyond: start...end)
        return .string
    }

    /// A tag has dollar signs only at its ends, so a comparison that fails never looks beyond the
    /// dollar sign at which the next one starts.
    private mutating func skip(beyond tag: ClosedRange<Int>) {
        while self.index < self.bytes.count {
            if self.bytes[self.index] == UInt8(ascii: "$") {
                var matching = 1
                while matching < tag.count, self.index + matching < self.bytes.count,
                    self.bytes[self.index + matching] == self.bytes[tag.lowerBound + matching]
                {
                    matching += 1
                }
                self.index += matching
                if matching == tag.count { return }
            } else {
                self.index += 1
            }
        }
        self.isBroken = true
    }

    /// A number, and letters glued to it, which is an error.
    private mutating func skipNumber() {
        while let byte = self.peek(), Self.continuesTag(byte) { self.index += 1 }
    }

    /// A word, or the quotes that a single letter before them belongs to.
    private mutating func skipWord(_ first: UInt8) -> SQLToken.Kind {
        self.index += 1
        let next = self.peek()
        if next == UInt8(ascii: "'") {
            switch first | 0x20 {
            case UInt8(ascii: "e"):
                self.skipString(escapes: true, doubles: true)
                return .string
            case UInt8(ascii: "b"), UInt8(ascii: "x"):
                self.skipString(escapes: false, doubles: false)
                return .string
            case _:
                return .word
            }
        }
        if first | 0x20 == UInt8(ascii: "u"), next == UInt8(ascii: "&") {
            if self.peek(1) == UInt8(ascii: "'") {
                self.index += 1
                self.skipString(escapes: false, doubles: true)
                return .string
            }
            if self.peek(1) == UInt8(ascii: "\"") {
                self.index += 1
                self.skipQuotedName()
                return .unicodeName
            }
        }
        while let byte = self.peek(), Self.continuesWord(byte) { self.index += 1 }
        return .word
    }

    private func endOfLine(from start: Int) -> Int {
        var at = start
        while at < self.bytes.count, !Self.isNewline(self.bytes[at]) { at += 1 }
        return at
    }
}

extension SQLScanner {
    /// `space` of `scan.l`.
    static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || (0x09...0x0d).contains(byte)
    }

    private static func isNewline(_ byte: UInt8) -> Bool { byte == 0x0a || byte == 0x0d }

    static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    /// `ident_start` of `scan.l`.
    static func startsWord(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) || byte >= 0x80
            || byte == UInt8(ascii: "_")
    }

    /// `dolq_cont` of `scan.l`.
    static func continuesTag(_ byte: UInt8) -> Bool {
        self.startsWord(byte) || self.isDigit(byte)
    }

    /// `ident_cont` of `scan.l`.
    static func continuesWord(_ byte: UInt8) -> Bool {
        self.continuesTag(byte) || byte == UInt8(ascii: "$")
    }
}
