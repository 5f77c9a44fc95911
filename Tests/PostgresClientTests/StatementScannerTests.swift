import PostgresWire
import Testing

@testable import PostgresClient

@Suite struct StatementScannerTests {
    private static func words(_ sql: String, oldStrings: Bool = false) -> [[String]] {
        StatementScanner.statements(Array(sql.utf8)[...], escapesWithBackslash: oldStrings)
    }

    @Test(arguments: [
        ("", [[String]]()), (" ; ;; ", []), ("select 1", [["SELECT"]]),
        ("SET transaction_timeout = 0;\n", [["SET", "TRANSACTION_TIMEOUT"]]),
        ("begin;commit", [["BEGIN"], ["COMMIT"]]),
        ("-- commit;\nselect 1", [["SELECT"]]),
        ("/* ; /* commit; */ ; */ commit", [["COMMIT"]]),
        ("select ';commit'';' ; end", [["SELECT"], ["END"]]),
        ("select \";commit\"\";\"", [["SELECT"]]),
        ("select e'\\';commit;'", [["SELECT"]]),
        ("select E'a\\\\'; commit", [["SELECT"], ["COMMIT"]]),
        ("select 'a\\'; commit", [["SELECT"], ["COMMIT"]]),
        ("select $$;commit$$, $a$;$$;commit;$a$; abort", [["SELECT"], ["ABORT"]]),
        ("select a$b$c; commit; select $b$", [["SELECT", "A$B$C"], ["COMMIT"], ["SELECT"]]),
        (
            "create rule r as on insert to t do also (select 1; select 2); commit",
            [["CREATE", "RULE", "R", "AS"], ["COMMIT"]]
        ),
        (
            """
            create function f() returns int language sql begin atomic
            select case when true then (case 1 when 1 then 2 end) end; select 1; end; commit
            """, [["CREATE", "FUNCTION", "F"], ["COMMIT"]]
        ),
        (
            "create function begin() returns int as 'x'; commit",
            [["CREATE", "FUNCTION", "BEGIN"], ["COMMIT"]]
        ),
        ("(select 1)", [[]]), ("commit(", [["COMMIT"]]),
    ])
    func `statements are told apart as the server does`(sql: String, expected: [[String]]) {
        #expect(Self.words(sql) == expected)
    }

    @Test func `a backslash escapes where the session has old strings`() {
        #expect(Self.words("select 'a\\'; commit; '", oldStrings: true) == [["SELECT"]])
    }

    @Test(arguments: [
        ("BEGIN", "BEGIN"), ("begin;", "BEGIN"), ("BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN"),
        ("START TRANSACTION", "START TRANSACTION"), ("COMMIT;", "COMMIT"),
        ("COMMIT WORK", "COMMIT"),
        ("END TRANSACTION", "COMMIT"), ("SET transaction_timeout = 0;", "SET"),
        ("SET lock_timeout = 0;", "SET"),
    ])
    func `what a single transaction sends around everything is answered`(
        sql: String, tag: String
    ) {
        let verdict = DoorRules.verdict(Self.words(sql), serverVersion: 150_000)
        #expect(verdict == .answer(commandTag: tag))
    }

    @Test(arguments: [
        "ROLLBACK", "ABORT", "ROLLBACK AND CHAIN", "PREPARE TRANSACTION 'x'", "COMMIT AND CHAIN",
        "COMMIT PREPARED 'x'", "select 1; commit", "commit; select 1", "/**/rollback prepared 'x'",
        "BEGIN; select 1; COMMIT", "select 1; start transaction",
    ])
    func `whatever else would end the transaction is refused`(sql: String) {
        let verdict = DoorRules.verdict(Self.words(sql), serverVersion: 180_000)
        guard case .refuse(let error) = verdict else {
            Issue.record("\(String(describing: verdict))")
            return
        }
        #expect(error.sqlState.rawValue == "2D000")
    }

    @Test(arguments: [
        "select 1", "ROLLBACK TO a", "ROLLBACK WORK TO SAVEPOINT a", "SAVEPOINT a", "RELEASE a",
        "PREPARE p AS select 1", "SET transaction_timeout = 0", "create table commit (i int)",
    ])
    func `everything else is the owner's to decide`(sql: String) {
        #expect(DoorRules.verdict(Self.words(sql), serverVersion: 170_000) == nil)
    }

    @Test func `only the beginning of a long statement is shown, cut between characters`() {
        let text = StatementText(Array((String(repeating: "x", count: 499) + "éé").utf8)[...])
        #expect(text.beginning == String(repeating: "x", count: 499))
        #expect(text.totalBytes == 503)
        #expect(StatementText(Array("é".utf8)[...]).beginning == "é")
    }
}
