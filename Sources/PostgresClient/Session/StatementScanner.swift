/// Where the statements of an SQL text begin, and with which words. As much of PostgreSQL's lexer
/// as that takes: quotes of every kind, comments, parentheses, and the bodies of SQL functions.
///
/// Pure. It never says that a statement is legal; what it sees wrongly is a syntax error to the
/// server too, and then nothing of the whole text is run.
/// Source: `scan.l` and `psqlscan.l` in PostgreSQL.
struct StatementScanner {
    /// Words that are kept of a statement, upper-cased.
    static let maximumWords = 4

    private let text: ArraySlice<UInt8>
    private let escapesWithBackslash: Bool
    private var index: Int
    private var statements: [[String]] = []
    private var words: [String] = []
    private var isInStatement = false
    private var parentheses = 0
    /// Open `BEGIN ATOMIC` and `CASE` of a function's body.
    private var blocks = 0
    private var lastWord = ""

    private init(_ text: ArraySlice<UInt8>, escapesWithBackslash: Bool) {
        self.text = text
        self.index = text.startIndex
        self.escapesWithBackslash = escapesWithBackslash
    }

    /// The first words of each statement; a statement that begins with something else has none.
    ///
    /// - Parameters:
    ///   - text: UTF-8.
    ///   - escapesWithBackslash: Whether the session has `standard_conforming_strings = off`.
    /// - Returns: An array of words for each statement.
    static func statements(
        _ text: ArraySlice<UInt8>,
        escapesWithBackslash: Bool = false
    ) -> [[String]] {
        var scanner = StatementScanner(text, escapesWithBackslash: escapesWithBackslash)
        while let byte = scanner.peek() { scanner.token(byte) }
        scanner.endStatement()
        return scanner.statements
    }

    private func peek(_ offset: Int = 0) -> UInt8? {
        let at = self.index + offset
        return at < self.text.endIndex ? self.text[at] : nil
    }

    private mutating func token(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: " "), 9...13:
            self.index += 1
        case UInt8(ascii: "-") where self.peek(1) == UInt8(ascii: "-"):
            self.skip { $0 != 10 && $0 != 13 }
        case UInt8(ascii: "/") where self.peek(1) == UInt8(ascii: "*"):
            self.skipComment()
        case UInt8(ascii: ";") where self.parentheses == 0 && self.blocks == 0:
            self.index += 1
            self.endStatement()
        case UInt8(ascii: "'"):
            self.quoted(byte, escapes: self.escapesWithBackslash)
        case UInt8(ascii: "\""):
            self.quoted(byte, escapes: false)
        case UInt8(ascii: "$"):
            self.dollar()
        case _ where Self.startsWord(byte):
            self.word()
        default:
            self.symbol(byte)
        }
    }

    private mutating func symbol(_ byte: UInt8) {
        self.begin("")
        if byte == UInt8(ascii: "(") { self.parentheses += 1 }
        if byte == UInt8(ascii: ")") { self.parentheses = max(0, self.parentheses - 1) }
        self.index += 1
    }

    private mutating func word() {
        let start = self.index
        self.skip { Self.continuesWord($0) }
        let bytes = self.text[start..<self.index]
        if self.peek() == UInt8(ascii: "'"), bytes.count == 1, bytes.first.map({ $0 | 0x20 }) == 101
        {
            self.begin("")
            return self.quoted(UInt8(ascii: "'"), escapes: true)
        }
        // Longer words decide nothing, and may be whole rows.
        let word = bytes.count <= 32 ? String(decoding: bytes, as: UTF8.self).uppercased() : "?"
        self.count(word)
        self.begin(word)
    }

    /// `BEGIN ATOMIC … END` and the `CASE … END` in it.
    private mutating func count(_ word: String) {
        guard self.parentheses == 0 else { return }
        switch word {
        case "ATOMIC" where self.lastWord == "BEGIN" && self.words.first == "CREATE":
            self.blocks += 1
        case "CASE" where self.blocks > 0: self.blocks += 1
        case "END" where self.blocks > 0: self.blocks -= 1
        default: break
        }
    }

    /// Notes what comes next in a statement: a word, or anything else.
    private mutating func begin(_ word: String) {
        self.isInStatement = true
        self.lastWord = word
        if self.words.count < Self.maximumWords, !self.words.contains("") {
            self.words.append(word)
        }
    }

    private mutating func endStatement() {
        if self.isInStatement { self.statements.append(self.words.filter { !$0.isEmpty }) }
        self.words = []
        self.isInStatement = false
        self.parentheses = 0
        self.blocks = 0
        self.lastWord = ""
    }

    private mutating func skip(while isIn: (UInt8) -> Bool) {
        while let byte = self.peek(), isIn(byte) { self.index += 1 }
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
    }

    /// A doubled quote is two strings with nothing between them: the same to us.
    private mutating func quoted(_ quote: UInt8, escapes: Bool) {
        self.begin("")
        self.index += 1
        while let byte = self.peek() {
            self.index += 1
            if byte == quote {
                guard self.peek() == quote else { return }
                self.index += 1
            } else if escapes, byte == UInt8(ascii: "\\") {
                self.index += 1
            }
        }
    }

    /// `$tag$ … $tag$`, or a parameter such as `$1`.
    private mutating func dollar() {
        self.begin("")
        let start = self.index
        self.index += 1
        if self.peek().map(Self.startsWord) == true {
            self.skip { Self.continuesWord($0) && $0 != UInt8(ascii: "$") }
        }
        guard self.peek() == UInt8(ascii: "$") else { return }
        self.index += 1
        let tag = self.text[start..<self.index]
        while let byte = self.peek() {
            if byte == UInt8(ascii: "$"), self.text[self.index...].starts(with: tag) {
                self.index += tag.count
                return
            }
            self.index += 1
        }
    }

    private static func startsWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "_"), 128...255:
            true
        default: false
        }
    }

    private static func continuesWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "$"): true
        default: self.startsWord(byte)
        }
    }
}
