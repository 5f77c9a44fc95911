import Deploy
import TestSupport
import Testing

/// What the ledger refuses, leaves alone and reports.
struct LedgerRuleTests {
    private let version: TestPostgres.Version
    private let first = deploymentID("first")
    private let second = deploymentID("second")
    private let third = deploymentID("third")

    init() throws {
        self.version = try #require(TestPostgres.Version.available.last)
    }

    private static func script(_ generation: Int) -> String {
        """
        create schema app;
        create table app.t (i int primary key); insert into app.t values (\(generation));
        create table public.orders (id serial primary key, n int);
        insert into public.orders (n) values (\(generation));
        create function public.price(int) returns int language sql as 'select \(generation)';
        create type public.color as enum ('g\(generation)');
        """
    }

    @Test(arguments: [
        ("create view theirs.v as select n from public.orders", "view theirs.v", "orders"),
        ("create table theirs.r (i int references app.t)", "table theirs.r", "app.t"),
        ("create table theirs.c (c public.color)", "table theirs.c", "color"),
        ("create table theirs.d (i int default public.price(1))", "table theirs.d", "price"),
        ("create table theirs.h () inherits (app.t)", "table theirs.h", "app.t"),
        ("create domain theirs.o as public.color", "type theirs.o", "color"),
        (
            "create statistics theirs.s on id, n from public.orders", "statistics object theirs.s",
            ""
        ),
        (
            "create function theirs.f(public.orders) returns int language sql as 'select 1'",
            "function theirs.f(public.orders)", "orders"
        ),
        (
            "create table theirs.p (); create policy x on theirs.p using (public.price(0) = 1)",
            "table theirs.p", "price"
        ),
    ])
    func `what others made and needs ours is named before anything is changed`(
        statement: String, dependent: String, needed: String
    ) async throws {
        let target = try LedgerTarget.make(
            self.version, "ledger_dependents_\(statement.utf8.count)_\(dependent.utf8.count)")
        try await target.deploy(self.first, Self.script(1))
        try target.others("create schema theirs; \(statement)")
        let before = try target.dump()

        for redeploys in [true, false] {
            let failure = await #expect(throws: LedgerFailure.self) {
                if redeploys {
                    try await target.deploy(self.second, Self.script(2))
                } else {
                    try await target.rollback()
                }
            }
            guard case .dependents(let dependents) = failure else {
                Issue.record("\(String(describing: failure))")
                continue
            }
            #expect(dependents.first?.dependent.title == dependent)
            #expect(dependents.first?.needs.identity.contains(needed) == true)
            #expect(failure?.description.contains(dependent) == true)
        }
        #expect(try await target.state().dependents.first?.dependent.title == dependent)
        #expect(try target.dump() == before)
        try target.server.sql("drop database \(target.database) with (force)")
    }

    @Test func `a publication that lists our table stops nobody and is told`() async throws {
        let target = try LedgerTarget.make(self.version, "ledger_publication")
        try await target.deploy(self.first, Self.script(1))
        try target.others("create publication theirs for table app.t")
        let report = try await target.deploy(self.second, Self.script(2))
        #expect(report.notes.first?.hasPrefix("publication theirs publishes table app.t") == true)
    }

    @Test func `what somebody renamed or was given is left alone and told`() async throws {
        let target = try LedgerTarget.make(self.version, "ledger_changed")
        try await target.deploy(self.first, Self.script(1))
        try target.others(
            """
            alter table app.t rename to mine;
            alter function public.price(int) owner to scram;
            drop type public.color;
            """)
        let state = try await target.state()
        #expect(
            Set(state.changed.map(\.sentence)) == [
                "table app.t was renamed to app.mine: left alone",
                "function public.price(integer) was given to scram: left alone",
                "type public.color was dropped by somebody",
            ])
        #expect(state.stays.map(\.title) == ["schema app"])
        let report = try await target.rollback()
        #expect(report.left.count == 3)
        #expect(report.left.last == "schema app stays: table app.mine needs it")
        #expect(try target.dump().contains("CREATE TABLE app.mine"))
        #expect(try target.dump().contains("CREATE FUNCTION public.price"))
        #expect(try !target.dump().contains("public.orders"))
    }

    @Test func `what others put into a deployed schema survives deploys and rollbacks`()
        async throws
    {
        let target = try LedgerTarget.make(self.version, "ledger_shared_schema")
        let untouched = try target.dump()
        try await target.deploy(self.first, Self.script(1))
        let first = try target.dump()
        let theirs = "create table app.theirs (i int); insert into app.theirs values (7);"
        try target.others(theirs)
        let shared = try target.dump()
        let withoutSchema = Self.script(2).replacing("create schema app;", with: "")
        let report = try await target.deploy(self.second, withoutSchema)
        #expect(report.stays.map(\.title) == ["schema app"])
        #expect(report.schemas == ["app", "public"])
        #expect(try target.dump().contains("CREATE TABLE app.theirs"))
        try await target.rollback()
        #expect(firstDifference(try target.dump(), shared) == nil)

        // Now it comes between: the schema that it is in makes room for the one that comes back.
        try target.others("drop table app.theirs")
        #expect(firstDifference(try target.dump(), first) == nil)
        try await target.deploy(self.third, Self.script(2))
        try target.others(theirs + "alter table app.theirs owner to trusty")
        try await target.rollback()
        try target.others("alter table app.theirs owner to postgres")
        #expect(firstDifference(try target.dump(), shared) == nil)
        let last = try await target.rollback()
        #expect(last.left == ["schema app stays: table app.theirs needs it"])
        try target.others("drop schema app cascade")
        #expect(firstDifference(try target.dump(), untouched) == nil)
    }

    @Test func `one previous deploy is kept, the one before it is dropped`() async throws {
        let target = try LedgerTarget.make(self.version, "ledger_third")
        try await target.deploy(self.first, Self.script(1))
        try await target.deploy(self.second, Self.script(2))
        let second = try target.dump()
        let report = try await target.deploy(self.third, Self.script(3))
        #expect(report.droppedOlder.contains { $0.identity.hasSuffix(".orders") })
        let kept = try target.server.sql(
            "select count(distinct nspname) from pg_namespace where nspname ~ '^pgshare_kept'",
            database: target.database)
        #expect(kept == "2")
        try await target.rollback()
        #expect(firstDifference(try target.dump(), second) == nil)
        await #expect(throws: LedgerFailure.self) { try await target.rollback() }
        #expect(try await target.state().live?.undo == .dropped)
        #expect(firstDifference(try target.dump(), second) == nil)

        // And it can be deployed over again.
        try await target.deploy(deploymentID("fourth"), Self.script(4))
        try await target.rollback()
        #expect(firstDifference(try target.dump(), second) == nil)
    }

    @Test func `without keeping, the last deploy is dropped and there is no way back`()
        async throws
    {
        let target = try LedgerTarget.make(self.version, "ledger_keeps_nothing")
        try await target.deploy(self.first, Self.script(1))
        try await target.deploy(self.second, Self.script(2), keeps: false)
        let schemas = try target.server.sql(
            "select count(*) from pg_namespace where nspname ~ '^pgshare_kept'",
            database: target.database)
        #expect(schemas == "0")
        let failure = await #expect(throws: LedgerFailure.self) { try await target.rollback() }
        #expect(failure?.description.contains("is no longer kept") == true)
        let alone = try LedgerTarget.make(self.version, "ledger_keeps_nothing_alone")
        try await alone.session.rows(Self.script(2))
        #expect(firstDifference(try target.dump(), try alone.dump()) == nil)
    }

    @Test func `what is replaced by name comes back with the rollback`() async throws {
        let target = try LedgerTarget.make(self.version, "ledger_replaced")
        try await target.session.rows(
            """
            create schema app; create table app.t (old text); insert into app.t values ('old');
            create table public.orders (old text);
            create view public.over_orders as select * from public.orders
            """)
        let before = try target.dump()
        let names: Set = [
            ObjectKey(kind: .schema, identity: "app"), ObjectKey(kind: .table, identity: "app.t"),
            ObjectKey(kind: .table, identity: "public.orders"),
        ]
        let failure = await #expect(throws: LedgerFailure.self) {
            try await target.deploy(self.first, Self.script(1), replacing: names)
        }
        #expect(failure?.description.contains("view public.over_orders") == true)
        let all = names.union([ObjectKey(kind: .view, identity: "public.over_orders")])
        try await target.deploy(self.first, Self.script(1), replacing: all)
        #expect(try await target.state().kept.filter(\.isForeign).count == 4)
        #expect(try await target.state().live?.undo == .kept)
        try await target.rollback()
        #expect(firstDifference(try target.dump(), before) == nil)
    }

    @Test func `rows that a kept table refers to may be deleted, and the rollback says so`()
        async throws
    {
        let target = try LedgerTarget.make(self.version, "ledger_references")
        try target.others(
            """
            create table public.users (id int primary key); insert into public.users values (1);
            grant references, select on public.users to trusty
            """)
        let script = Self.script(1) + "create table app.p (u int references public.users);"
        try await target.deploy(self.first, script + "insert into app.p values (1);")
        try await target.deploy(self.second, script)
        try target.others("delete from public.users")
        let report = try await target.rollback()
        #expect(report.left.count == 1)
        #expect(report.left.first?.hasPrefix("foreign key app.p p_u_fkey is not as it was") == true)
        #expect(try target.dump().contains("REFERENCES public.users(id) NOT VALID"))
    }

    @Test func `what others make while a deploy runs is not taken for its work`() async throws {
        let target = try LedgerTarget.make(self.version, "ledger_meanwhile")
        try await target.transaction { session in
            try await Ledger.prepare(session)
            let before = try await ObjectInventory.read(session)
            _ = try await Ledger.setAside(session, deploymentID: self.first, keeps: true)
            try await session.rows("create table public.ours (i int)")
            try target.others("create table public.theirs (i int)")
            let made = try await Ledger.record(
                session, NewDeployment(id: self.first, source: "s", plan: "{}"), before: before)
            #expect(made.map(\.title) == ["table public.ours"])
        }
        try await target.rollback()
        #expect(try target.dump().contains("public.theirs"))
    }
}
