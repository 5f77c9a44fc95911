import Testing

@testable import Deploy

@Suite struct ToolsSplitTests {
    typealias Entry = TableOfContents.Entry

    private func leftOut(_ entries: [Entry], _ rules: RestoreRules) -> [Int: String] {
        let split = TableOfContents(entries: entries).split(by: rules)
        let all = split.kept.map(\.dumpID) + split.leftOut.map(\.entry.dumpID)
        #expect(all.sorted() == entries.map(\.dumpID).sorted())
        return Dictionary(
            uniqueKeysWithValues: split.leftOut.map { ($0.entry.dumpID, $0.reason) })
    }

    @Test(arguments: [
        (
            Entry(dumpID: 1, kind: "TABLE", schema: "auth", tag: "users"),
            "the schema auth is excluded"
        ),
        (Entry(dumpID: 1, kind: "SCHEMA", tag: "auth"), "the schema auth is excluded"),
        (
            Entry(dumpID: 1, kind: "SCHEMA", tag: "public"),
            "the target has the schema public already"
        ),
        (Entry(dumpID: 1, kind: "EXTENSION", tag: "pg_cron"), "the provider runs it"),
        (
            Entry(dumpID: 1, kind: "PROCEDURAL LANGUAGE", tag: "plpython3u"),
            "the target lacks the language plpython3u"
        ),
        (
            Entry(
                dumpID: 1, kind: "FUNCTION", schema: "s", tag: "f()",
                definition: "CREATE FUNCTION s.f() RETURNS integer\n    LANGUAGE plpython3u\n    AS"
            ),
            "the target lacks the language plpython3u"
        ),
        (
            Entry(dumpID: 1, kind: "COMMENT", tag: "EXTENSION hstore"),
            "only the owner of an extension may comment on it"
        ),
        (
            Entry(
                dumpID: 1, kind: "DEFAULT ACL", tag: "DEFAULT PRIVILEGES FOR TABLES", owner: "ann"),
            "the target lacks the role ann, whose default privileges these are"
        ),
        (
            Entry(dumpID: 1, kind: "EVENT TRIGGER", tag: "e"),
            "an event trigger acts on all of the target"
        ),
        (
            Entry(dumpID: 1, kind: "PUBLICATION TABLES IN SCHEMA", schema: "s", tag: "p s"),
            "publications are not deployed"
        ),
        (
            Entry(dumpID: 1, kind: "SUBSCRIPTION", tag: "s"),
            "two databases must not take the same stream of changes"
        ),
        (
            Entry(
                dumpID: 1, kind: "SECURITY LABEL", schema: "s", tag: "TABLE t",
                definition: "SECURITY LABEL FOR selinux ON TABLE s.t IS 'x';"),
            "the target has not loaded what provides the security label"
        ),
        (Entry(dumpID: 1, kind: "BLOB", tag: "16393"), "large objects are not deployed"),
        (Entry(dumpID: 1, kind: "DATABASE", tag: "shop"), "the target is a database already"),
        (
            Entry(dumpID: 1, kind: "DATABASE PROPERTIES", tag: "shop"),
            "settings, comments and privileges of the database itself stay its own"
        ),
        (
            Entry(dumpID: 1, kind: "COMMENT", tag: "DATABASE shop"),
            "settings, comments and privileges of the database itself stay its own"
        ),
        (Entry(dumpID: 1, kind: "VIEW", schema: "s", tag: "v"), "as asked"),
    ])
    func `an entry that a rule excludes has a reason`(entry: Entry, reason: String) {
        let rules = RestoreRules(
            excludedSchemas: ["auth"], excludedExtensions: ["pg_cron": "the provider runs it"],
            missingLanguages: ["plpython3u"], targetRoles: ["bob"],
            leavesOutExtensionComments: true, leavesOutEventTriggers: true,
            leavesOutPublications: true, labelProviders: ["dummy"], leavesOutLargeObjects: true,
            excludedEntries: entry.kind == "VIEW" ? [1: "as asked"] : [:])
        #expect(self.leftOut([entry], rules) == [1: reason])
    }

    @Test(arguments: [
        Entry(dumpID: 1, kind: "SCHEMA", tag: "s"),
        Entry(dumpID: 1, kind: "TABLE", schema: "s", tag: "auth"),
        Entry(dumpID: 1, kind: "EXTENSION", tag: "hstore"),
        Entry(dumpID: 1, kind: "COMMENT", tag: "EXTENSION hstore"),
        Entry(dumpID: 1, kind: "ACL", schema: "s", tag: "TABLE t", owner: "ann"),
        Entry(dumpID: 1, kind: "DEFAULT ACL", tag: "DEFAULT PRIVILEGES FOR TABLES", owner: "ann"),
        Entry(dumpID: 1, kind: "EVENT TRIGGER", tag: "e"),
        Entry(dumpID: 1, kind: "PUBLICATION", tag: "p"),
        Entry(dumpID: 1, kind: "BLOB METADATA", tag: "1..2"),
        Entry(
            dumpID: 1, kind: "SECURITY LABEL", tag: "TABLE t",
            definition: "SECURITY LABEL FOR \"odd one\" ON TABLE s.t IS 'x';"),
    ])
    func `what no rule excludes is kept`(entry: Entry) {
        let rules = RestoreRules(excludedSchemas: ["auth"], labelProviders: ["odd one"])
        #expect(self.leftOut([entry], rules) == [:])
    }

    @Test func `what needs an entry that is left out is left out, however far away`() {
        let entries = [
            Entry(dumpID: 1, kind: "EXTENSION", tag: "postgis"),
            Entry(dumpID: 2, kind: "TABLE", schema: "s", tag: "places", dependencies: [1]),
            Entry(dumpID: 3, kind: "VIEW", schema: "s", tag: "v", dependencies: [2]),
            Entry(dumpID: 4, kind: "ACL", schema: "s", tag: "TABLE v", dependencies: [3]),
            Entry(dumpID: 5, kind: "TABLE", schema: "s", tag: "other", dependencies: [99]),
        ]
        let rules = RestoreRules(excludedExtensions: ["postgis": "no"])
        #expect(
            self.leftOut(entries, rules) == [
                1: "no",
                2: "it needs EXTENSION postgis, which is left out",
                3: "it needs TABLE s.places, which is left out",
                4: "it needs VIEW s.v, which is left out",
            ])
    }

    @Test func `what needs an entry that the target has is kept`() {
        let entries = [
            Entry(dumpID: 1, kind: "SCHEMA", tag: "public"),
            Entry(dumpID: 2, kind: "COMMENT", tag: "SCHEMA public", dependencies: [1]),
        ]
        let split = TableOfContents(entries: entries).split(by: RestoreRules())
        #expect(split.kept.map(\.dumpID) == [2])
        #expect(split.leftOut.map(\.isThere) == [true])
    }

    @Test func `without ownership no privilege is kept`() {
        let entries = [
            Entry(dumpID: 1, kind: "ACL", schema: "s", tag: "TABLE t"),
            Entry(dumpID: 2, kind: "DEFAULT ACL", tag: "DEFAULT PRIVILEGES FOR TABLES", owner: "a"),
        ]
        let left = self.leftOut(entries, RestoreRules(leavesOutOwnership: true))
        #expect(left.keys.sorted() == [1, 2])
    }

    @Test func `a line is what pg_restore prints, its breaks made blanks`() {
        let entry = Entry(
            dumpID: 3, kind: "FK CONSTRAINT", schema: "a\nb", tag: "t\r\nc", owner: "me",
            catalogOID: 2606, oid: 77)
        #expect(entry.line == "3; 2606 77 FK CONSTRAINT a b t  c me")
        #expect(
            TableOfContents.listing(of: [Entry(dumpID: 4, kind: "SCHEMA", tag: "s")])
                == "4; 0 0 SCHEMA - s \n")
    }
}
