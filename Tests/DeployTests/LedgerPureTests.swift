import Testing

@testable import Deploy

/// The parts that need no database.
struct LedgerPureTests {
    private func object(
        _ kind: ObjectKind, _ oid: UInt32, _ identity: String, schema: String? = nil
    ) -> DeployedObject {
        DeployedObject(
            kind: kind, classID: 1, oid: oid, schema: schema,
            name: identity.split(separator: ".").last.map(String.init), identity: identity,
            owner: "o")
    }

    private func catalog(_ objects: [DeployedObject], _ edges: [(UInt32, UInt32)]) -> Catalog {
        Catalog(
            objects: objects.map {
                [
                    $0.kind.rawValue, "1", "\($0.oid)", $0.schema, $0.name, $0.identity, $0.owner,
                    nil, nil,
                ]
            },
            edges: edges.map { ["1", "\($0.0)", "1", "\($0.1)"] })
    }

    @Test func `what needs another is dropped before it`() {
        let catalog = self.catalog(
            [
                self.object(.table, 1, "a.t"), self.object(.view, 2, "a.v"),
                self.object(.view, 3, "a.w"),
            ], [(2, 1), (3, 2)])
        let statements = DropOrder.statements(
            dropping: Set(catalog.entries.keys), of: catalog)
        #expect(
            statements == [
                "drop view a.w restrict", "drop view a.v restrict", "drop table a.t restrict",
            ])
    }

    @Test func `tables in a circle are dropped by one statement`() {
        let catalog = self.catalog(
            [self.object(.table, 1, "a.t"), self.object(.table, 2, "a.u")], [(1, 2), (2, 1)])
        let statements = DropOrder.statements(dropping: Set(catalog.entries.keys), of: catalog)
        #expect(statements == ["drop table a.t, a.u restrict"])
    }

    @Test func `a circle of kinds is dropped by cascade`() {
        let catalog = self.catalog(
            [self.object(.type, 1, "a.t"), self.object(.function, 2, "a.f(a.t)")],
            [(1, 2), (2, 1)])
        let statements = DropOrder.statements(dropping: Set(catalog.entries.keys), of: catalog)
        #expect(
            statements == [
                "drop type if exists a.t cascade", "drop routine if exists a.f(a.t) cascade",
            ])
    }

    @Test func `a schema of only ours is renamed, one with others' objects is emptied`() {
        let catalog = self.catalog(
            [
                self.object(.schema, 1, "a"), self.object(.table, 2, "a.t", schema: "a"),
                self.object(.table, 3, "public.t", schema: "public"),
                self.object(.function, 4, "public.f(a.t)", schema: "public"),
            ], [(2, 1), (4, 2)])
        let plan = SetAsidePlan(
            moving: Set(catalog.entries.keys), catalog: catalog,
            deploymentID: deploymentID("x"), firstNumber: 1)
        let kept = "pgshare_kept_x000000000000000_"
        #expect(plan.statements.first == "create schema \"\(kept)1\"")
        #expect(
            Array(plan.statements.dropFirst(3)) == [
                "alter routine public.f(a.t) set schema \"\(kept)1\"",
                "alter table public.t set schema \"\(kept)1\"",
                "alter schema a rename to \"\(kept)2\"",
            ])
        #expect(plan.locks == ["a.t"])
    }

    @Test(arguments: [1, 9, 999_999])
    func `names of what is kept fit into Postgres's names`(number: Int) {
        let name = LedgerLayout.keptName(deploymentID("z"), number)
        #expect(name.utf8.count <= 63)
        #expect(LedgerLayout.isReserved(name))
    }

    @Test func `a setting goes to another by the fewest statements`() {
        func setting(_ grants: [(String?, String, Bool)], _ comment: String?) -> Setting {
            Setting(
                subject: .schema("a b"), owner: "o",
                grants: grants.map { .init(role: $0.0, privilege: $0.1, isGrantable: $0.2) },
                comment: comment)
        }
        let one = setting([("o", "CREATE", false), (nil, "USAGE", false)], "it's")
        let other = setting([("o", "CREATE", true), ("r", "USAGE", false)], nil)
        #expect(one.statements(to: one) == [])
        #expect(
            one.statements(to: other) == [
                "revoke USAGE on schema \"a b\" from public",
                "grant CREATE on schema \"a b\" to \"o\" with grant option",
                "grant USAGE on schema \"a b\" to \"r\"", "comment on schema \"a b\" is null",
            ])
        #expect(
            other.statements(to: one) == [
                "revoke grant option for CREATE on schema \"a b\" from \"o\"",
                "revoke USAGE on schema \"a b\" from \"r\"",
                "grant USAGE on schema \"a b\" to public", "comment on schema \"a b\" is 'it''s'",
            ])
        #expect(Setting(json: one.json) == one)
    }
}
