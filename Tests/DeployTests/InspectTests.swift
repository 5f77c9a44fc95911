import Foundation
import TestSupport
import Testing

@testable import Deploy

@Suite struct InspectTests {
    private typealias Version = TestPostgres.Version

    /// A new database with these statements run in it, one transaction each.
    private static func database(_ server: TestPostgres, _ statements: [String]) throws -> String {
        let name = "inspect_" + UUID().uuidString.lowercased().replacing("-", with: "")
        try server.sql("create database \(name)")
        for statement in statements { try server.sql(statement, database: name) }
        return name
    }

    private static func facts(
        _ server: TestPostgres, _ statements: [String] = [], user: String = "postgres"
    ) async throws -> DatabaseFacts {
        let name = try self.database(server, statements)
        let session = try VerifySession(server, database: name, user: user)
        return try await DatabaseInspector.inspect(session)
    }

    @Test(arguments: TestPostgres.Version.available)
    func `an empty database holds its schema public and nothing else`(
        version: TestPostgres.Version
    ) async throws {
        let facts = try await Self.facts(.shared(version))

        #expect(facts.server.major == version.rawValue)
        #expect(facts.server.encoding == "UTF8")
        #expect(facts.server.systemIdentifier?.isEmpty == false)
        #expect(facts.server.startedAt?.isEmpty == false)
        #expect(facts.server.otherDatabases.contains("template1"))
        #expect(facts.server.provider == "generic")
        #expect(facts.schemas.map(\.name) == ["public"])
        #expect(facts.extensions.map(\.name) == ["plpgsql"])
        #expect(facts.languages.isSuperset(of: ["c", "internal", "plpgsql", "sql"]))
        #expect(facts.relations.isEmpty && facts.dependencies.isEmpty)
        #expect(facts.objects.allSatisfy { $0.oid < 16_384 })
        #expect(facts.roleUses.isEmpty)
        #expect(facts.role.isSuperuser && facts.role.ownsDatabase)
    }

    @Test(arguments: TestPostgres.Version.available)
    func `every fact of a full database is found`(version: TestPostgres.Version) async throws {
        let facts = try await Self.facts(.shared(version), Self.everything)
        let tables = Dictionary(uniqueKeysWithValues: facts.relations.map { ($0.identity, $0) })

        let child = try #require(tables["public.child"])
        #expect(child.columns == ["id", "parent", "note"])
        #expect(child.generatedColumns == ["twice"])
        #expect(child.hasRowSecurity && !child.rowSecurityApplies && !child.isEmpty)
        let odd = try #require(tables["\"Ü. x\".\"t \"\"q\""])
        #expect(odd.isUnlogged && odd.isEmpty && odd.columns == ["a", "b"])
        #expect(tables["public.part_1"]?.partitionOf == "public.part")
        #expect(tables["public.part"]?.kind == .partitionedTable)
        #expect(tables["public.m"]?.isPopulated == false)
        #expect(tables["public.v"]?.kind == .view)
        #expect(tables["\"Ü. x\".\"t \"\"q_b_seq\""]?.kind == .sequence)

        #expect(facts.foreignKeys.map(\.name) == ["child_parent_fkey"])
        #expect(facts.foreignKeys.first?.referencedSchema == "other")
        #expect(facts.triggers.map(\.function) == ["other.f()"])
        #expect(facts.eventTriggers == ["inspect_event"])
        #expect(facts.publications == ["inspect_publication"])
        #expect(facts.policyRoles.map(\.role) == ["certified"])
        #expect(facts.defaultPrivileges.map(\.grantees) == [["clear"]])
        #expect(facts.unvalidatedConstraints.map(\.identity) == ["late on public.child"])
        #expect(facts.invalidIndexes.map(\.identity) == ["public.broken"])
        #expect(facts.largeObjects.count == 1)
        #expect(facts.lockableRelations > facts.relations.count)
    }

    @Test(arguments: TestPostgres.Version.available)
    func `who needs whom is found across schemas and extensions`(
        version: TestPostgres.Version
    ) async throws {
        let facts = try await Self.facts(.shared(version), Self.everything)
        func needs(_ kind: String, _ identity: String) -> [String] {
            facts.dependencies.filter { $0.kind == kind && $0.identity == identity }.map(\.needed)
        }

        #expect(needs("view", "public.v") == ["other.parent"])
        #expect(needs("trigger", "tr on public.child").contains("other.f()"))
        #expect(needs("table", "public.texts") == ["other.citext"])
        #expect(facts.extensions.first { $0.name == "citext" }?.isUsed == true)
        #expect(facts.extensions.first { $0.name == "citext" }?.schema == "other")
        #expect(facts.extensions.first { $0.name == "fuzzystrmatch" }?.isUsed == false)
        #expect(facts.availableExtensions["citext"]?.needsSuperuser == false)
        #expect(facts.availableExtensions["pageinspect"]?.needsSuperuser == true)
    }

    @Test(arguments: TestPostgres.Version.available)
    func `owners and grants are found, the first role's too`(
        version: TestPostgres.Version
    ) async throws {
        let facts = try await Self.facts(
            .shared(version), Self.everything + ["create view public.w as select 1 as a"])
        let uses = Set(facts.roleUses.map { "\($0.role) \($0.reason) \($0.schema ?? "")" })

        #expect(
            uses == [
                "postgres owner public", "postgres owner other", "postgres owner Ü. x",
                "trusty grant public",
            ])
    }

    @Test(arguments: TestPostgres.Version.available)
    func `a role without rights gets an answer, too`(
        version: TestPostgres.Version
    ) async throws {
        let facts = try await Self.facts(
            .shared(version), Self.everything + ["revoke create on schema public from public"],
            user: "trusty")
        let tables = Dictionary(uniqueKeysWithValues: facts.relations.map { ($0.identity, $0) })

        #expect(!facts.role.isSuperuser && !facts.role.canCreateInDatabase)
        #expect(facts.role.memberOf == ["trusty"])
        #expect(facts.schemas.first { $0.name == "public" }?.canCreate == false)
        #expect(facts.schemas.first { $0.name == "other" }?.canUse == false)
        #expect(tables["public.child"]?.rowSecurityApplies == true)
        #expect(tables["public.child"]?.isReadable == true)
        #expect(tables["other.parent"]?.isReadable == false)
        #expect(!facts.languages.contains("c"))
        #expect(facts.languages.contains("plpgsql"))
        #expect(facts.server.freeConnections > 0)
    }

    @Test(arguments: TestPostgres.Version.available)
    func `what pgshare keeps in a target is told apart`(
        version: TestPostgres.Version
    ) async throws {
        let facts = try await Self.facts(
            .shared(version),
            [
                "create schema pgshare", "create schema pgshare_kept_1",
                "create schema pgshare_mine", "create table pgshare_kept_1.t (a int)",
                "create view pgshare_mine.v as select * from pgshare_kept_1.t",
            ])

        #expect(facts.ownSchemas == ["pgshare", "pgshare_kept_1"])
        #expect(facts.schemas.map(\.name) == ["pgshare_mine", "public"])
        #expect(facts.relations.map(\.identity) == ["pgshare_mine.v"])
    }

    @Test(arguments: [
        (15, "create unique index i on public.t (a) nulls not distinct"),
        (15, "create view public.w with (security_invoker) as select 1 as a"),
        (17, "create table public.p (a int generated always as identity) partition by list (a)"),
        (18, "create table public.g (a int, b int generated always as (a + 1) virtual)"),
        (18, "alter table public.t add constraint c check (a > 0) not enforced"),
    ])
    func `what older servers lack is found`(since: Int, statement: String) async throws {
        for version in TestPostgres.Version.available where version.rawValue >= since {
            let facts = try await Self.facts(
                .shared(version), ["create table public.t (a int)", statement])

            #expect(facts.features.map(\.since) == [since])
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `a standby and a prepared transaction are seen`(
        version: TestPostgres.Version
    ) async throws {
        let server = try TestPostgres(version, settings: ["max_prepared_transactions = 2"])
        defer { server.stop() }
        let name = try Self.database(server, ["create table public.t (a int)"])
        try server.sql(
            "begin; insert into t values (1); prepare transaction 'it''s'", database: name)
        try server.sql(
            "alter database \(name) set default_transaction_read_only = on", database: "postgres")
        try server.sql(
            "alter database \(name) set statement_timeout = '2min'", database: "postgres")
        let before = try await DatabaseInspector.inspect(VerifySession(server, database: name))
        try server.becomeReplica()
        let after = try await DatabaseInspector.inspect(VerifySession(server, database: name))

        #expect(before.preparedTransactions == ["it's"])
        #expect(before.server.isReadOnly && before.server.statementTimeout == "120000")
        #expect(!before.server.isInRecovery && after.server.isInRecovery)
        #expect(before.server.systemIdentifier == after.server.systemIdentifier)
        #expect(before.server.startedAt != after.server.startedAt)
    }

    @Test func `sessions of a server have backends of their own, those of a pool may not`()
        async throws
    {
        let server = try TestPostgres.shared(.v15)
        let first = try VerifySession(server, database: "postgres")
        let second = try VerifySession(server, database: "postgres")
        let facts = try await DatabaseInspector.inspect(first, second: second)
        let pool = RoundRobinPool([first, second])

        #expect(facts.server.pooling == .session)
        #expect(facts.server.acceptsSecondConnection && facts.server.canExportSnapshot)
        // Last in, first out: both clients get the backend that was just given back.
        #expect(try await DatabaseInspector.pooling(first, first) == .transaction)
        #expect(try await DatabaseInspector.pooling(pool, nil) == .transaction)
    }

    /// Sets of its own are what a snapshot of the source needs: nothing may write.
    @Test func `a read-only transaction with a snapshot is enough`() async throws {
        let server = try TestPostgres.shared(.v15)
        let name = try Self.database(server, Self.everything)
        let session = try VerifySession(server, database: name)
        try await session.rows("begin isolation level repeatable read read only")
        let facts = try await DatabaseInspector.inspect(session)
        let status = try await session.rows("select count(*) from public.child")

        #expect(!facts.relations.isEmpty)
        #expect(status == [["1"]])
    }

    private static let everything = [
        """
        create schema other; create schema "Ü. x";
        create extension citext schema other; create extension fuzzystrmatch;
        create table other.parent (id int primary key);
        create table public.child (
          id int generated always as identity primary key, parent int references other.parent,
          twice int generated always as (id * 2) stored, note text);
        insert into public.child (note) values ('a');
        alter table public.child add constraint late check (id > 5) not valid;
        create table public.texts (a other.citext);
        create unlogged table "Ü. x"."t ""q" (a int, b serial);
        create table public.part (a int) partition by list (a);
        create table public.part_1 partition of public.part for values in (1);
        create view public.v as select * from other.parent;
        create materialized view public.m as select 1 as one with no data;
        create function other.f() returns trigger language plpgsql as 'begin return new; end';
        create function other.e() returns event_trigger language plpgsql as 'begin end';
        create trigger tr before insert on public.child for each row execute function other.f();
        create event trigger inspect_event on sql_drop execute function other.e();
        create publication inspect_publication for table public.child;
        alter table public.child enable row level security;
        create policy p on public.child to certified using (true);
        grant select on public.child to trusty;
        alter default privileges for role trusty grant select on tables to clear;
        select lo_create(0);
        """,
        "create table public.twins as select 1 as a from generate_series(1, 2)",
        "create index broken on public.twins (a)",
        "update pg_index set indisvalid = false where indexrelid = 'public.broken'::regclass",
    ]
}

/// A pool that gives every statement the next backend.
private actor RoundRobinPool: SQLSession {
    nonisolated let serverVersion = 150_000
    private let sessions: [VerifySession]
    private var turn = 0

    init(_ sessions: [VerifySession]) {
        self.sessions = sessions
    }

    func rows(_ sql: String) async throws(SQLFailure) -> [[String?]] {
        self.turn += 1
        return try await self.sessions[self.turn % self.sessions.count].rows(sql)
    }
}
