import Testing

@testable import Deploy

@Suite("DatabaseLikeness")
struct DatabaseLikenessTests {
    @Test(arguments: [
        ("public", "'public'"), ("\"$user\", public", "'$user', 'public'"), ("\"\"", "''"),
        ("a,b", "'a', 'b'"), ("\"a, \"\"b\"\"\", c", "'a, \"b\"', 'c'"),
        ("\"a\"\"\"\"b\"", "'a\"\"b'"), ("", "''"), ("it's", "'it''s'"),
        ("x;alter/**/role/**/a/**/superuser", "'x;alter/**/role/**/a/**/superuser'"),
    ])
    func `a list becomes literals, whatever a role set for itself`(list: String, sql: String) {
        #expect(DatabaseLikeness.literals(list: list) == sql)
    }
}
