import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Deploy

/// With the real programs and real servers of every version at hand.
@Suite struct ToolsArchiveTests {
    /// Names that text output cannot tell apart, and kinds of many words.
    private static let schema = """
        create schema "my sch";
        create schema "a b";
        create schema "line
        break";
        create table "my sch"."a ""quoted"" é. table" (id int primary key, s serial, "x y" text);
        comment on table "my sch"."a ""quoted"" é. table" is 'it''s';
        create table "a b"."c d" (id int references "my sch"."a ""quoted"" é. table");
        create view "line
        break"."v
        w" as select * from "a b"."c d";
        create function public.f() returns int language sql as $$ select 1 $$;
        create procedure public.p() language plpgsql as $$ begin end $$;
        create materialized view m as select public.f();
        create index i on m (f);
        alter default privileges for role trusty grant select on tables to public;
        create text search configuration tsc (copy = pg_catalog.simple);
        create publication pub for table "a b"."c d";
        create table part (a int) partition by range (a);
        create table part_1 partition of part for values from (1) to (2);
        create table two (a int, b int); create statistics st on a, b from two;
        select lo_from_bytea(0, 'large');
        """

    private func contents(
        of archive: SchemaArchive, _ tools: ClientTools
    ) async throws -> [Substring] {
        try await ToolProcess.output(of: tools.pgRestore, ["-l", archive.path])
            .split(separator: "\n").filter { !$0.hasPrefix(";") }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `the table of contents is the one that pg_restore prints, with exact names`(
        version: TestPostgres.Version
    ) async throws {
        let server = try TestPostgres.shared(version)
        let folder = try TestFolder.make()
        let tools = try await ClientTools.of(server)
        let database = try server.makeDatabase(sql: Self.schema)
        let source = try await server.connection(database, in: folder)
        let archive = try await SchemaArchive.dump(
            tools: tools, source: source, snapshot: nil, in: folder)
        #expect(
            try await self.contents(of: archive, tools)
                == archive.contents.entries.filter { !$0.isAboutDatabase }.map {
                    Substring($0.line)
                })
        let entries = archive.contents.entries
        let view = try #require(entries.first { $0.kind == "VIEW" })
        #expect(view.schema == "line\nbreak")
        #expect(view.tag == "v\nw")
        let reference = try #require(entries.first { $0.kind == "FK CONSTRAINT" })
        #expect(reference.schema == "a b")
        #expect(reference.section == .postData)
        #expect(entries.first { $0.kind == "FUNCTION" }?.language == "sql")
        #expect(entries.first { $0.kind == "PROCEDURE" }?.language == "plpgsql")
        #expect(entries.first { $0.kind == "DEFAULT ACL" }?.owner == "trusty")
        #expect(archive.contents.serverVersion?.hasPrefix("\(version.rawValue).") == true)
        #expect(
            try FileManager.default.attributesOfItem(atPath: archive.path)[.posixPermissions]
                as? Int == 0o600)
    }

    @Test(arguments: TestPostgres.Version.available)
    func `a schema is restored as it was, but for what the rules leave out`(
        version: TestPostgres.Version
    ) async throws {
        let server = try TestPostgres.shared(version)
        let folder = try TestFolder.make()
        let tools = try await ClientTools.of(server)
        let source = try await server.connection(
            try server.makeDatabase(sql: Self.schema), in: folder)
        let database = try server.makeDatabase()
        let target = try await server.connection(database, label: "target", in: folder)
        let archive = try await SchemaArchive.dump(
            tools: tools, source: source, snapshot: nil, in: folder)
        let split = archive.contents.split(by: RestoreRules(excludedSchemas: ["a b"]))
        let progress = Mutex<[String]>([])
        for part in [SchemaArchive.Part.preData, .postData] {
            try await archive.restore(
                part, entries: split.kept, to: target, options: .init(jobs: part.jobs)
            ) { message in
                if message.kind == .progress { progress.withLock { $0.append(message.text) } }
            }
        }
        let again = try await SchemaArchive.dump(
            tools: tools, source: target, snapshot: nil, in: try TestFolder.make())
        #expect(
            Set(again.contents.entries.filter { !$0.isAboutDatabase }.map(\.identity))
                == Set(split.kept.map(\.identity)))
        #expect(
            Set(split.leftOut.map(\.entry.identity)).isSuperset(of: [
                "SCHEMA a b", "TABLE a b.c d", "VIEW line\nbreak.v\nw",
                "FK CONSTRAINT a b.c d c d_id_fkey",
            ]))
        #expect(progress.withLock { $0 }.contains { $0.hasPrefix("creating FUNCTION") })
    }

    @Test(arguments: TestPostgres.Version.available)
    func `large objects arrive with contents, comments and privileges`(
        version: TestPostgres.Version
    ) async throws {
        let server = try TestPostgres.shared(version)
        let folder = try TestFolder.make()
        let tools = try await ClientTools.of(server)
        let made = """
            create table plain (a int); insert into plain values (1);
            select lo_from_bytea(4001, 'one'), lo_from_bytea(4002, repeat('two', 100000)::bytea);
            comment on large object 4001 is 'it is one';
            grant select on large object 4002 to trusty;
            """
        let source = try await server.connection(
            try server.makeDatabase(sql: made), in: folder)
        let database = try server.makeDatabase()
        let target = try await server.connection(database, label: "target", in: folder)
        let archive = try await SchemaArchive.dump(
            tools: tools, source: source, snapshot: nil, in: folder)
        try await archive.restore(
            .preData, entries: archive.contents.entries, to: target, options: .init())
        try await SchemaArchive.copyLargeObjects(
            tools: tools, from: source, snapshot: nil, to: target, options: .init(jobs: 4))
        let found = try server.sql(
            """
            select oid, md5(lo_get(oid)), obj_description(oid, 'pg_largeobject'), lomacl
            from pg_largeobject_metadata order by oid
            """, database: database)
        #expect(
            found == """
                4001|f97c5d29941bfb1b2fdab0874906ab82|it is one|
                4002|\(try server.sql("select md5(repeat('two', 100000))"))||\
                {postgres=rw/postgres,trusty=r/postgres}
                """)
        #expect(try server.sql("select count(*) from plain", database: database) == "0")
    }

    @Test(arguments: TestPostgres.Version.available)
    func `a dump sees the snapshot that it is given`(version: TestPostgres.Version) async throws {
        let server = try TestPostgres.shared(version)
        let folder = try TestFolder.make()
        let tools = try await ClientTools.of(server)
        let source = try await server.connection(try server.makeDatabase(), in: folder)
        let failure = await #expect(throws: ToolFailure.self) {
            try await SchemaArchive.dump(
                tools: tools, source: source, snapshot: "00000003-0000001B-1", in: folder)
        }
        #expect(failure?.lastLines.contains { $0.contains("snapshot") } == true)
    }

    @Test(arguments: [
        "a=b", "host=elsewhere dbname=x", "postgresql://elsewhere/x", "sp ace", "it's \"x\" \\ é;",
        "-d", "$(id)",
    ])
    func `a name of a database is never anything else`(name: String) async throws {
        let server = try TestPostgres.shared(.v15)
        let folder = try TestFolder.make()
        let tools = try await ClientTools.of(server)
        try server.sql("drop database if exists " + SQLText.identifier(name))
        let database = try server.makeDatabase(name, sql: "create table marker (a int)")
        let source = try await server.connection(database, in: folder)
        let archive = try await SchemaArchive.dump(
            tools: tools, source: source, snapshot: nil, in: folder)
        let entries = archive.contents.entries
        #expect(entries.first { $0.kind == "DATABASE" }?.tag == name)
        #expect(entries.filter { !$0.isAboutDatabase }.map(\.tag) == ["marker"])
        let empty = name + " 2"
        try server.sql("drop database if exists " + SQLText.identifier(empty))
        let target = try await server.connection(
            try server.makeDatabase(empty), label: "target", in: folder)
        try await archive.restore(
            .preData, entries: archive.contents.entries, to: target, options: .init(jobs: 2))
        #expect(
            try server.sql(
                "select count(*) from marker", database: ToolConnection.databaseArgument(empty))
                == "0")
    }

    @Test(arguments: ["a:b\\c", "it's \"x\"", "two\nlines", " blanks ", "ü"])
    func `a password reaches the server, and no other place`(password: String) async throws {
        let server = try TestPostgres.shared(.v15)
        let folder = try TestFolder.make()
        let tools = try await ClientTools.of(server)
        let role = "tools_" + UUID().uuidString
        try server.sql(
            """
            create role \(SQLText.identifier(role)) login password \(SQLText.literal(password))
            """)
        let database = try server.makeDatabase()
        let source = try await server.connection(
            database, user: role, password: password, in: folder)
        let archive = try await SchemaArchive.dump(
            tools: tools, source: source, snapshot: nil, in: folder)
        #expect(archive.contents.entries.map(\.kind) == ["DATABASE"])
        #expect(!source.databaseArgument.contains(password))
        try server.sql("alter role \(SQLText.identifier(role)) password 'other'")
        let failure = await #expect(throws: ToolFailure.self) {
            try await SchemaArchive.dump(
                tools: tools, source: source, snapshot: nil, in: folder)
        }
        #expect(failure?.description.contains("password authentication failed") == true)
        #expect(failure?.description.contains(password) == false)
    }

    @Test func `names that are patterns select what they name`() async throws {
        let server = try TestPostgres.shared(.v15)
        let folder = try TestFolder.make()
        let tools = try await ClientTools.of(server)
        let database = try server.makeDatabase(
            sql: """
                create schema "S*"; create schema "Sx"; create schema "é.""$";
                create table "S*"."t?" (a int); create table "S*"."tx" (a int);
                create table "Sx"."t?" (a int); create table "é.""$"."(a|b)" (a int);
                """)
        let source = try await server.connection(database, in: folder)
        let one = DumpSelection(tables: [
            .init(schema: "S*", name: "t?"), .init(schema: "é.\"$", name: "(a|b)"),
        ])
        #expect(
            try await self.identities(tools, source, one) == ["TABLE S*.t?", "TABLE é.\"$.(a|b)"])
        let schemas = DumpSelection(schemas: ["S*"])
        #expect(
            try await self.identities(tools, source, schemas)
                == ["SCHEMA S*", "TABLE S*.t?", "TABLE S*.tx"])
        let without = DumpSelection(excludedSchemas: ["S*", "é.\"$"])
        #expect(try await self.identities(tools, source, without) == ["SCHEMA Sx", "TABLE Sx.t?"])
    }

    private func identities(
        _ tools: ClientTools, _ source: ToolConnection, _ selection: DumpSelection
    ) async throws -> [String] {
        let archive = try await SchemaArchive.dump(
            tools: tools, source: source, snapshot: nil, selection: selection,
            in: try TestFolder.make())
        return archive.contents.entries.filter { !$0.isAboutDatabase }.map(\.identity).sorted()
    }

    @Test func `an archive that was cut is refused, wherever it was cut`() async throws {
        let server = try TestPostgres.shared(.v15)
        let folder = try TestFolder.make()
        let tools = try await ClientTools.of(server)
        let source = try await server.connection(
            try server.makeDatabase(sql: "create table t (a int)"), in: folder)
        let archive = try await SchemaArchive.dump(
            tools: tools, source: source, snapshot: nil, in: folder)
        let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: archive.path)))
        #expect(try TableOfContents(archive: bytes) == archive.contents)
        for length in 0..<bytes.count {
            let part = Array(bytes.prefix(length))
            #expect(throws: ToolFailure.self) { try TableOfContents(archive: part) }
        }
    }

    @Test(arguments: 0..<200)
    func `a damaged archive ends in a refusal or in entries, never in a crash`(seed: Int) {
        var bytes = Array("PGDMP".utf8) + [1, 14, 0, 4, 8, 1]
        var state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 | 1
        for _ in 0..<400 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            // Mostly small numbers, so that some lengths and counts are plausible.
            bytes.append(state % 4 == 0 ? UInt8(truncatingIfNeeded: state >> 32) : UInt8(state % 3))
        }
        if let contents = try? TableOfContents(archive: bytes) {
            #expect(contents.entries.count <= bytes.count)
        }
    }
}

extension SchemaArchive.Part {
    /// One part with one session and one with several: both ways are run.
    fileprivate var jobs: Int {
        switch self {
        case .preData: 1
        case .postData: 3
        }
    }
}
