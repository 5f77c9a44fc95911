import NIOCore
import Testing

@testable import SharedSession

/// The statements of a text.
func statements(_ text: String, standardConformingStrings: Bool = true) -> [SQLStatement] {
    SQLAnalysis(
        ByteBuffer(string: text), standardConformingStrings: standardConformingStrings
    ).statements
}

/// The texts of the statements of a text.
private func texts(_ text: String, standardConformingStrings: Bool = true) -> [String] {
    let bytes = Array(text.utf8)
    return statements(text, standardConformingStrings: standardConformingStrings).map {
        String(decoding: bytes[$0.range], as: UTF8.self)
    }
}

struct SQLStatementRangeTests {
    @Test(arguments: [
        ("", []),
        (" ; ;\n-- nothing\n/* at /* all */ */ ;", []),
        ("select 1", ["select 1"]),
        (" select 1 ; select 2;", ["select 1", "select 2"]),
        ("select ';'; select 2", ["select ';'", "select 2"]),
        ("select 'it''s;'; select 2", ["select 'it''s;'", "select 2"]),
        ("select E'\\';'; select 2", ["select E'\\';'", "select 2"]),
        ("select '\\'; select 2", ["select '\\'", "select 2"]),
        ("select 'a'\n';'; select 2", ["select 'a'\n';'", "select 2"]),
        ("select 'a' -- ;\n ';'; select 2", ["select 'a' -- ;\n ';'", "select 2"]),
        ("select e'a'\n'\\';'; select 2", ["select e'a'\n'\\';'", "select 2"]),
        ("select e'a' /* ; */, '\\'; select 2", ["select e'a' /* ; */, '\\'", "select 2"]),
        ("select e'a' '\\'; select 2", ["select e'a' '\\'", "select 2"]),
        ("select b'0''\\'; select 2", ["select b'0''\\'", "select 2"]),
        ("select U&'\\'; select 2", ["select U&'\\'", "select 2"]),
        ("select n';'; select 2", ["select n';'", "select 2"]),
        ("select \";\"\";\"; select 2", ["select \";\"\";\"", "select 2"]),
        ("select $$;'$$; select 2", ["select $$;'$$", "select 2"]),
        ("select $a$;$$;$b$$a$; select 2", ["select $a$;$$;$b$$a$", "select 2"]),
        ("select $a$$a$a$; select 2", ["select $a$$a$a$", "select 2"]),
        ("select a$b$; select c$b$", ["select a$b$", "select c$b$"]),
        ("select $1$a$;$a$; select 2", ["select $1$a$;$a$", "select 2"]),
        ("select 1 -- ;\n + 1; select 2", ["select 1 -- ;\n + 1", "select 2"]),
        ("select 1 --; select 2\r; select 3", ["select 1", "select 3"]),
        ("select 1 +-- ;\n 2; select 2", ["select 1 +-- ;\n 2", "select 2"]),
        ("select 1 */* ; */ 2; select 2", ["select 1 */* ; */ 2", "select 2"]),
        ("select /* /* ; */ ; **/ 1; select 2", ["select /* /* ; */ ; **/ 1", "select 2"]),
        ("select (1; 2); select 2", ["select (1; 2)", "select 2"]),
        ("select 1); select 2", ["select 1)", "select 2"]),
    ])
    func `a text is cut where Postgres cuts it`(text: String, expected: [String]) {
        #expect(texts(text) == expected)
    }

    @Test func `a backslash escapes where the session's strings do not conform`() {
        let text = "select '\\';'; select 2"
        #expect(texts(text, standardConformingStrings: false) == ["select '\\';'", "select 2"])
    }

    @Test(arguments: [
        "create function f() returns int begin atomic select 1; select 2; end; select 3",
        "create or replace procedure p() begin atomic; ;select case when a then 1 end; end; x",
        "create function f() returns int begin atomic select 1 as end; select 1 end; end; select 3",
        "create function f() begin atomic end; select 3",
        "create function f() begin atomic create function g() begin atomic end; end; select 3",
    ])
    func `the body of an SQL function belongs to its statement`(text: String) {
        #expect(texts(text).count == 2)
    }

    @Test(arguments: [
        "select begin atomic; select 2", "begin; end", "create table begin (atomic int); select 2",
        "create function f(begin atomic) as 'x'; select 2",
    ])
    func `BEGIN begins no body elsewhere`(text: String) {
        #expect(texts(text).count == 2)
    }

    @Test(arguments: [
        "select 1; select 'a", "select 1; select E'\\'", "select \"a", "select $$ a", "/* /* */",
        "select 1; select $a$ $b$ $A$", "select 'a'\n'b",
    ])
    func `a text with an open quote is one statement that may do anything`(text: String) {
        let all = SQLStatement(range: 0..<text.utf8.count, kind: .other, flags: .all)
        #expect(statements(text) == [all])
    }
}

struct SQLStatementKindTests {
    private static let name = SQLName(name: "p", range: 8..<9)

    @Test(
        arguments: [
            ("select 1", .other), ("begin", .begin), ("BEGIN isolation level serializable", .begin),
            ("start transaction", .begin), ("commit", .commit), ("commit and chain", .commit),
            ("end work", .commit), ("rollback", .rollback), ("abort", .rollback),
            ("rollback work", .rollback), ("rollback and chain", .rollback),
            ("savepoint a", .savepoint), ("rollback to a", .rollbackToSavepoint),
            ("rollback work to savepoint a", .rollbackToSavepoint),
            ("abort transaction to a", .rollbackToSavepoint),
            ("release a", .releaseSavepoint), ("release savepoint a", .releaseSavepoint),
            ("prepare transaction 'x'", .prepareTransaction),
            ("commit prepared 'x'", .finishPrepared),
            ("rollback prepared 'x'", .finishPrepared), ("notify a, 'b'", .notify),
            ("discard all", .discardAll), ("discard plans", .discardOther),
            ("discard temp", .discardOther), ("close c", .closeCursor), ("close all", .closeCursor),
            ("declare c cursor for select 1", .declareCursor(hold: false)),
            (
                "declare c binary no scroll cursor without hold for select 1",
                .declareCursor(hold: false)
            ),
            ("declare cursor cursor with hold for select 1", .declareCursor(hold: true)),
            ("set a = 1", .set), ("set session a to 1", .set), ("set role x", .set),
            ("SET NAMES 'x'", .set),
            ("set time zone 'UTC'", .set),
            ("set session characteristics as transaction read only", .set),
            ("set session authorization x", .set), ("set local.x = 1", .set),
            ("set transaction.x to 1", .set),
            ("set local a = 1", .other), ("set transaction read only", .other),
            ("set constraints all deferred", .other),
            ("reset all", .resetAll), ("reset Work_Mem", .reset("work_mem")),
            ("reset app.\"User\"", .reset("app.user")), ("reset time zone", .reset("timezone")),
            ("reset session authorization", .reset("session_authorization")),
            ("reset role", .reset("role")), ("reset transaction isolation level", .reset(nil)),
            ("copy t from stdin", .copyFromStdin),
            ("COPY s.t (a, b) FROM STDIN (format csv)", .copyFromStdin),
            ("copy t from stdout", .copyFromStdin), ("copy binary t from stdin", .copyFromStdin),
            ("copy t to stdout", .copyToStdout), ("copy (select 1 from t) to stdin", .copyToStdout),
            ("copy t from '/x'", .other), ("copy t from program 'stdin'", .other),
            ("copy \"from\" from /* */ stdin where a > 1", .copyFromStdin),
        ] as [(String, SQLStatement.Kind)])
    func `a statement is known by its words`(text: String, kind: SQLStatement.Kind) {
        #expect(statements(text).map(\.kind) == [kind])
        #expect(statements("/* a */ \(text.uppercased()) ;").map(\.kind) == [kind])
    }

    @Test(arguments: [
        ("prepare p as select 1", "p", 8..<9), ("prepare P(int, text) as select $1", "p", 8..<9),
        ("prepare \"P\"\"q\" as select 1", "P\"q", 8..<14),
        ("prepare transaction as select 1", "transaction", 8..<19),
        ("prepare U&\"\\0061\\+000062\" as select 1", "ab", 8..<25),
        ("prepare U&\"!0061!!\" uescape '!' as select 1", "a!", 8..<31),
        ("prepare ünder_ÄB as select 1", "ünder_Äb", 8..<18),
    ])
    func `PREPARE tells the name`(text: String, name: String, range: Range<Int>) {
        #expect(statements(text).map(\.kind) == [.prepare(SQLName(name: name, range: range))])
    }

    @Test(arguments: [
        ("execute p", 8..<9), ("execute p(1, 'a')", 8..<9), ("explain execute p", 16..<17),
        ("explain (analyze, format json) execute p (1)", 39..<40),
        ("explain analyse verbose execute p", 32..<33), ("create table t as execute p", 26..<27),
        (
            "create temp table if not exists a.b (c) with (d = 1) on commit drop as execute p(1)",
            79..<80
        ),
        ("explain create unlogged table t as execute p", 43..<44),
    ])
    func `EXECUTE tells the name, wherever it stands`(text: String, range: Range<Int>) {
        let name = SQLName(name: "p", range: range)
        let all = SQLStatement(range: 0..<text.utf8.count, kind: .execute(name), flags: .all)
        #expect(statements(text) == [all])
    }

    @Test(
        arguments: [
            ("deallocate p", .deallocate(SQLName(name: "p", range: 11..<12))),
            ("deallocate prepare p", .deallocate(SQLName(name: "p", range: 19..<20))),
            ("deallocate prepare", .deallocate(SQLName(name: "prepare", range: 11..<18))),
            ("deallocate all", .deallocateAll(11..<14)),
            ("deallocate prepare all", .deallocateAll(19..<22)),
            ("listen P", .listen(SQLName(name: "p", range: 7..<8))),
            ("listen \"P\"", .listen(SQLName(name: "P", range: 7..<10))),
            ("unlisten p", .unlisten(SQLName(name: "p", range: 9..<10))),
            ("unlisten *", .unlistenAll(9..<10)),
        ] as [(String, SQLStatement.Kind)])
    func `names and their places are told`(text: String, kind: SQLStatement.Kind) {
        #expect(statements(text).map(\.kind) == [kind])
    }

    @Test func `a name is cut to 63 bytes between characters`() {
        let kinds = ["a", "ab", "abc"].map { start in
            statements("listen " + start + String(repeating: "ü", count: 40)).map(\.kind)
        }
        let names = ["a", "ab", "abc"].map { start in
            start + String(repeating: "ü", count: (63 - start.utf8.count) / 2)
        }
        let ranges = [7..<88, 7..<89, 7..<90]
        for (kind, (name, range)) in zip(kinds, zip(names, ranges)) {
            #expect(kind == [.listen(SQLName(name: name, range: range))])
        }
    }

    @Test func `names of another encoding stay apart`() {
        let names = [UInt8(0xe4), 0xf6].map { byte in
            SQLAnalysis(ByteBuffer(bytes: Array("listen a".utf8) + [byte])).statements
        }
        #expect(names[0] != names[1])
    }
}
