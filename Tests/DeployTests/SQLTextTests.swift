import Deploy
import Testing

@Suite struct SQLTextTests {
    @Test(arguments: [
        ("plain", "\"plain\""), ("we\"ird", "\"we\"\"ird\""), ("Ü. ;--", "\"Ü. ;--\""),
        ("a\"\u{301};--", "\"a\"\"\u{301};--\""),
    ])
    func `a name is quoted`(name: String, quoted: String) {
        #expect(SQLText.identifier(name) == quoted)
    }

    @Test(arguments: [
        ("plain", "'plain'"), ("it's", "'it''s'"), ("a\\b", "'a\\b'"), ("nul\0", "'nul'"),
        ("a'\u{301};--", "'a''\u{301};--'"), ("a\0\u{301}", "'a\u{301}'"),
    ])
    func `a text is quoted`(text: String, quoted: String) {
        #expect(SQLText.literal(text) == quoted)
    }

    @Test func `an empty list has a type`() {
        #expect(SQLText.array([]) == "array[]::text[]")
        #expect(SQLText.array(["a", "b'"]) == "array['a', 'b''']::text[]")
    }
}
