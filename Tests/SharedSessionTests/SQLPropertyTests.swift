import NIOCore
import Simulation
import TestSupport
import Testing

@testable import SharedSession

struct SQLPropertyTests {
    private static let tokens = [
        "select", "1", "'a'", "''", "E'\\''", "\"b\"", "$$;$$", "$x$'$x$", "--;\n", "/*;/**/*/",
        ";",
        ";", "(", ")", ".", "::", ",", "f", "set", "set_config", "begin", "atomic", "end", "create",
        "function", "as", "execute", "prepare", "p", "\n", " ", "\t", "+", "-", "/", "*", "copy",
        "from", "stdin", "U&\"x\"", "uescape", "'!'", "b'1'", "N'1'", "into", "app.x", "=", "ü",
        "$1",
        "1e5", "update", "with", "explain", "deallocate", "all", "listen", "[", "]", "@", "\\",
    ]

    private static func soup(_ random: inout SeededGenerator) -> [UInt8] {
        let words = (0..<Int.random(in: 0...40, using: &random)).compactMap { _ in
            Self.tokens.randomElement(using: &random)
        }
        let space = Bool.random(using: &random) ? " " : ""
        return Array(words.joined(separator: space).utf8)
    }

    /// Outside of the statements there is nothing but space, comments and semicolons, and each
    /// statement means the same alone.
    @Test(arguments: UInt64(0)..<1_000)
    func `statements tile their text`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let text = Self.soup(&random)
        let conforming = Bool.random(using: &random)
        func look(_ bytes: [UInt8]) -> [SQLStatement] {
            SQLAnalysis(bytes, standardConformingStrings: conforming).statements
        }
        let whole = look(text)
        var end = 0
        for statement in whole {
            #expect(statement.range.lowerBound >= end && !statement.range.isEmpty)
            let gap = look(Array(text[end..<statement.range.lowerBound]))
            #expect(gap.isEmpty)
            let alone = look(Array(text[statement.range]))
            #expect(alone.map(\.range) == [0..<statement.range.count])
            #expect(alone.first?.flags == statement.flags)
            #expect(alone.first?.customSettings == statement.customSettings)
            end = statement.range.upperBound
        }
        #expect(look(Array(text[end...])).isEmpty)
    }

    @Test(arguments: UInt64(0)..<300)
    func `rewriting keeps all else byte for byte`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var text = ByteBuffer(string: "skipped")
        var expected: [UInt8] = []
        var edits: [(Range<Int>, String)] = []
        text.moveReaderIndex(forwardBy: text.readableBytes)
        for _ in 0..<Int.random(in: 0...8, using: &random) {
            let kept = Self.soup(&random)
            text.writeBytes(kept)
            expected += kept
            let start = text.readableBytes
            text.writeBytes(Self.soup(&random).prefix(10))
            let replacement = String(decoding: Self.soup(&random), as: UTF8.self)
            edits.append((start..<text.readableBytes, replacement))
            expected += Array(replacement.utf8)
        }
        edits.shuffle(using: &random)
        let result = SQLRewrite.replacing(text, edits)
        // Two edits at one place, both of nothing, have no order of their own.
        let places = Set(edits.map(\.0.lowerBound))
        #expect(Array(result.readableBytesView) == expected || places.count < edits.count)
        #expect(result.readableBytes == expected.count)
    }

    @Test(arguments: [
        "prepare a as select 'a'", "execute  /* a */ \"a\" (1)", "deallocate prepare A;",
        "select 1; listen a -- a", "explain (verbose) execute a", "unlisten U&\"\\0061\"",
        "create table t as execute a", "prepare U&\"!0061\" uescape '!' as select 1",
    ])
    func `a name that is replaced is the only thing that changes`(text: String) throws {
        func names(_ text: ByteBuffer) -> [SQLName] {
            SQLAnalysis(text).statements.compactMap(\.kind.name)
        }
        let before = ByteBuffer(string: text)
        let name = try #require(names(before).first)
        #expect(name.name == "a")
        let after = SQLRewrite.replacing(
            before, [(name.range, SQLRewrite.identifier("it \"is\" 'é'"))])
        #expect(names(after).map(\.name) == ["it \"is\" 'é'"])
        let back = names(after).map { ($0.range, String(buffer: before.part(name.range))) }
        #expect(SQLRewrite.replacing(after, back) == before)
    }

    @Test(arguments: ["", "a'b", "\\", "\\'\\'", "日本 😀 é", "a\0b", "E'", "$$", "\n\t"])
    func `a literal is ASCII and means its text on a server`(text: String) throws {
        let literal = SQLRewrite.literal(text)
        let session = try InspectedSession(.shared(.v15))
        #expect(literal.utf8.allSatisfy { $0 < 0x80 })
        for mode in ["on", "off"] {
            try session.rows("set standard_conforming_strings = \(mode)")
            #expect(try session.value("select \(literal)") == text.replacing("\0", with: ""))
        }
        #expect(statements("select \(literal)").count == 1)
    }
}

extension SQLStatement.Kind {
    fileprivate var name: SQLName? {
        switch self {
        case .prepare(let name), .execute(let name), .deallocate(let name), .listen(let name),
            .unlisten(let name):
            name
        case .other, .begin, .commit, .rollback, .savepoint, .rollbackToSavepoint,
            .releaseSavepoint, .prepareTransaction, .finishPrepared, .deallocateAll, .discardAll,
            .discardOther, .unlistenAll, .notify, .set, .reset, .resetAll, .copyFromStdin,
            .copyToStdout, .declareCursor, .closeCursor:
            nil
        }
    }
}

extension ByteBuffer {
    fileprivate func part(_ range: Range<Int>) -> ByteBuffer {
        ByteBuffer(bytes: self.readableBytesView.dropFirst(range.lowerBound).prefix(range.count))
    }
}

/// The same text, cut by us and by a server.
struct SQLSplittingTests {
    private static let values = [
        "1", "'a'", "'it''s;'", "'\\;'", "E'\\';'", "e'\\\\'", "$$;$$", "$a$;$$$a$", "$a$$b$;$a$",
        "'a'\n';'", "'a' -- ;'\n  ';'", "E'a'\n'\\';'", "b'0'\n'1'", "x'1f'", "N';'", "U&'\\003b'",
        "U&'!003b;' uescape '!'", "1.5e-3", ".5", "1e5", "(1)", "'a'::varchar(10)", "- -1",
        "1--;\n+1",
        "1/* ; /* ' */ */+1", "1*/*;*/2", "case when true then 1 end", "array[1, 2]",
        "\"current_database\"()", "1 as \"a;\"", "1 as a$b", "1 as end", "1 as U&\"\\0061;\"",
        "1 \"a\"\";\"", "1 begin", "1 atomic", "(select 1)", "coalesce(null, ';')", "5 /2",
        "2-/* */-1",
        "interval '1' day", "1::int4", "'a'||';'", "true and 1<>2",
    ]
    private static let gaps = [
        " ", "\n", "\t\r\n", "/**/", "/* ; ' /* \" */ $$ */", "-- ; '\n", "\u{c}",
    ]
    private static let texts = [
        "begin", "commit", "set local work_mem = 64", "show work_mem", "values (1), (2)", "",
        "create or replace function pg_temp.f() returns int begin atomic select 1; select 2; end",
        "create or replace procedure pg_temp.p() begin atomic; ; end",
        "create function pg_temp.g(a int default case when true then 1 else 2 end) returns int "
            + "language sql begin atomic select case when a > 1 then 1 end as end; "
            + "select a end; end",
        "do $$begin null; end$$", "drop function if exists pg_temp.g(int)",
        "create temp table if not exists t (a int); create or replace rule r as on update to t "
            + "do also (select 1; select 2)",
        "declare c cursor for select 1", "close all", "discard plans",
    ]

    @Test(arguments: UInt64(0)..<16)
    func `a text has as many statements as a server completes`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let isConforming = seed % 4 > 0
        let session = try Self.session(isConforming: isConforming)
        var compared = 0
        for _ in 0..<25 {
            let text = Self.text(&random)
            // Where the server refuses a text, there is nothing to compare.
            if let completed = session.completed(text) {
                let found = SQLAnalysis(
                    ByteBuffer(string: text), standardConformingStrings: isConforming)
                #expect(found.statements.count == completed, "\(text)")
                compared += 1
            }
            _ = session.completed("rollback")
        }
        #expect(compared > 12)
    }

    private static func text(_ random: inout SeededGenerator) -> String {
        func pick(_ list: [String]) -> String { list.randomElement(using: &random) ?? "" }
        var text = ""
        for _ in 0..<Int.random(in: 1...6, using: &random) {
            if Bool.random(using: &random) {
                text +=
                    "select" + pick(Self.gaps) + pick(Self.values) + pick(Self.gaps) + ","
                    + pick(Self.values) + pick(Self.gaps)
            } else {
                text += pick(Self.texts) + pick(Self.gaps)
            }
            text += ";" + (Bool.random(using: &random) ? pick(Self.gaps) : "")
        }
        return text
    }

    private static func session(isConforming: Bool) throws -> InspectedSession {
        let session = try InspectedSession(.shared(TestPostgres.Version.available.last ?? .v15))
        try session.rows("set standard_conforming_strings = \(isConforming ? "on" : "off")")
        return session
    }

    /// The generator's parts are legal, or the test above would compare nothing.
    @Test func `every part of the generated texts is legal`() throws {
        let session = try Self.session(isConforming: true)
        for value in Self.values { #expect(session.completed("select \(value)") == 1, "\(value)") }
        for statement in Self.texts where !statement.contains("cursor") {
            #expect(session.completed(statement) == statements(statement).count, "\(statement)")
            _ = session.completed("rollback")
        }
    }
}
