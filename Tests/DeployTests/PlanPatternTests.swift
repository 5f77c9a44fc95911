import Deploy
import Testing

@Suite struct PlanPatternTests {
    @Test(arguments: [
        ("public", "public", true), ("pub*", "public", true), ("*", "", true),
        ("p?blic", "public", true), ("p?blic", "pblic", false), ("Public", "public", false),
        ("\"a.b\"", "a.b", true), ("\"a*\"", "ab", false), ("\"a\"\"b\"", "a\"b", true),
        ("a*b*c", "aXbYbZc", true), ("a*b*c", "aXbYbZ", false), ("a.b", "a", false),
        ("Ü*", "Ünder", true),
    ])
    func `a schema pattern`(pattern: String, schema: String, isMatch: Bool) {
        #expect(NamePattern(pattern).matches(schema: schema) == isMatch)
    }

    @Test(arguments: [
        ("orders", "shop", "orders", true), ("shop.orders", "shop", "orders", true),
        ("shop.orders", "other", "orders", false), ("shop.*", "shop", "anything", true),
        ("*.orders", "any", "orders", true), ("a.b.c", "a", "b", false),
        ("\"my.shop\".\"or ders\"", "my.shop", "or ders", true),
    ])
    func `a table pattern`(pattern: String, schema: String, table: String, isMatch: Bool) {
        #expect(NamePattern(pattern).matches(schema: schema, table: table) == isMatch)
    }

    /// Stars must not make it slow: at most pattern times name steps.
    @Test func `a hostile pattern ends soon`() {
        let pattern = String(repeating: "*a", count: 200) + "b"

        #expect(!NamePattern(pattern).matches(schema: String(repeating: "a", count: 2_000)))
    }
}
