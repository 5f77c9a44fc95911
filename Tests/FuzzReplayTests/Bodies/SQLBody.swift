import NIOCore

@testable import PostgresClient
@testable import SharedSession

/// SQL of clients, and rows of a hostile engine. The first byte chooses what is looked at.
func fuzzSQL(_ bytes: ByteBuffer) throws(Broken) {
    var bytes = bytes
    let choice = bytes.choice()
    let text = Array(bytes.readableBytesView)
    switch choice % 5 {
    case 0, 1: try checkAnalysis(text, conforming: choice & 8 == 0)
    case 2: try checkNames(String(buffer: bytes))
    case 3: try checkSettings(&bytes)
    default: try checkDoor(text, escapes: choice & 8 == 0)
    }
}

// MARK: The analysis

/// Outside of the statements there is nothing but space and comments, and each means the same
/// alone.
private func checkAnalysis(_ text: [UInt8], conforming: Bool) throws(Broken) {
    func look(_ bytes: some Sequence<UInt8>) -> [SQLStatement] {
        SQLAnalysis(Array(bytes), standardConformingStrings: conforming).statements
    }
    var end = 0
    for statement in look(text) {
        try check(
            statement.range.lowerBound >= end && statement.range.upperBound <= text.count,
            "a statement outside of its text")
        try check(look(text[end..<statement.range.lowerBound]).isEmpty, "something between")
        let alone = look(text[statement.range])
        try check(alone.map(\.range) == [0..<statement.range.count], "not one statement alone")
        try check(alone.first?.flags == statement.flags, "other flags alone")
        try check(alone.first?.customSettings == statement.customSettings, "other settings alone")
        end = statement.range.upperBound
    }
    try check(look(text[end...]).isEmpty, "something behind the last statement")
}

/// A name or a constant that is written into SQL is that name, and one statement stays one.
private func checkNames(_ text: String) throws(Broken) {
    let name = text.replacing("\0", with: "")
    guard !name.isEmpty else { return }
    let listen = SQLAnalysis(ByteBuffer(string: "listen \(SQLRewrite.identifier(name)) -- x"))
    guard listen.statements.count == 1, case .listen(let found) = listen.statements[0].kind else {
        throw Broken("a name broke out: \(name)")
    }
    try check(
        found.name.utf8.count <= 63 && name.utf8.starts(with: found.name.utf8),
        "another name: \(found.name)")
    for conforming in [true, false] {
        let literal = SQLRewrite.literal(text)
        try check(literal.utf8.allSatisfy { $0 < 0x80 }, "a constant that is not ASCII")
        let select = SQLAnalysis(
            ByteBuffer(string: "notify \(SQLRewrite.identifier("a")), \(literal); listen b"),
            standardConformingStrings: conforming)
        try check(select.statements.count == 2, "a constant broke out: \(literal)")
    }
}

// MARK: Settings that an engine names

/// Rows of a hidden query: 255 is NULL, any other byte is the length of a text.
private func checkSettings(_ bytes: inout ByteBuffer) throws(Broken) {
    var rows: [[String?]] = []
    while bytes.readableBytes > 0 {
        var row: [String?] = []
        for _ in 0..<3 {
            let length = bytes.choice()
            row.append(length == 255 ? nil : String(buffer: bytes.upTo(Int(length))))
        }
        rows.append(row)
    }
    let engine = SessionInspection.Engine(reported: [], database: "d", user: "u")
    _ = SessionInspection.readEngine(rows)
    guard let read = SessionInspection.read(rows, engine: engine) else { return }
    for (from, to) in [
        (SessionSettings(), read.settings), (read.settings, SessionSettings()),
    ] {
        for statement in SessionInspection.applyStatement(from: from, to: to) {
            try check(statement.utf8.allSatisfy { $0 < 0x80 }, "SQL that is not ASCII")
            for conforming in [true, false] {
                let analysis = SQLAnalysis(
                    ByteBuffer(string: statement + "; listen a"),
                    standardConformingStrings: conforming)
                try check(analysis.statements.count == 2, "a setting broke out: \(statement)")
            }
        }
    }
    let query = SessionInspection.query(customCandidates: Set(read.settings.values.keys))
    let analysis = SQLAnalysis(ByteBuffer(string: query + "; listen a"))
    try check(analysis.statements.count == 2, "a name broke out: \(query)")
}

// MARK: The door of a deploy

/// What the other scanner takes for the end of a transaction does not get through.
private func checkDoor(_ text: [UInt8], escapes: Bool) throws(Broken) {
    let statements = StatementScanner.statements(text[...], escapesWithBackslash: escapes)
    try check(statements.count <= text.count, "statements of nothing")
    for words in statements {
        try check(words.count <= StatementScanner.maximumWords, "too many words")
    }
    let shown = StatementText(text[...])
    try check(shown.beginning.utf8.count <= 3 * StatementText.maximumBytes, "a long beginning")
    let verdict = DoorRules.verdict(statements, serverVersion: 170_000)
    guard verdict == nil else { return }
    for words in statements {
        let isEnd = ["COMMIT", "ABORT", "END", "BEGIN"].contains(words.first)
        try check(!isEnd, "the end of a transaction got through")
    }
}
