import Foundation
import TestSupport
import Testing

@testable import Deploy

/// The database of every kind of object, through dump, split and restore.
@Suite struct ToolsEverythingTests {
    /// `Tests/EndToEnd/databases`.
    private static let databases = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("EndToEnd/databases").path

    private func archive(
        _ server: TestPostgres, _ database: String, in folder: RunFolder
    ) async throws -> SchemaArchive {
        try await SchemaArchive.dump(
            tools: try await ClientTools.of(server),
            source: try await server.connection(database, in: folder), snapshot: nil, in: folder)
    }

    /// Every line of a listing without the numbers, which differ between two dumps.
    private func things(_ entries: [TableOfContents.Entry]) -> [String] {
        entries.filter { !$0.isAboutDatabase }
            .map { "\($0.identity) \($0.owner)\n\($0.definition)" }.sorted()
    }

    @Test(arguments: TestPostgres.Version.available)
    func `every kind of object arrives, or is named as left out`(
        version: TestPostgres.Version
    ) async throws {
        let server = try TestPostgres(version)
        defer { server.stop() }
        let folder = try TestFolder.make()
        let tools = try await ClientTools.of(server)
        let source = try server.makeDatabase("source")
        try server.sql("\\i \(Self.databases)/everything.sql", database: source)
        let archive = try await self.archive(server, source, in: folder)
        let listing = try await ToolProcess.output(of: tools.pgRestore, ["-l", archive.path])
        #expect(
            listing.split(separator: "\n").filter { !$0.hasPrefix(";") }
                == archive.contents.entries.filter { !$0.isAboutDatabase }.map {
                    Substring($0.line)
                })

        let split = archive.contents.split(by: RestoreRules())
        let kinds: Set = [
            "DATABASE", "DATABASE PROPERTIES", "COMMENT", "ACL", "SUBSCRIPTION", "SECURITY LABEL",
        ]
        #expect(Set(split.leftOut.map(\.entry.kind)) == kinds)
        let target = try server.makeDatabase("target")
        let connection = try await server.connection(target, label: "target", in: folder)
        for part in [SchemaArchive.Part.preData, .postData] {
            try await archive.restore(
                part, entries: split.kept, to: connection, options: .init())
        }
        let again = try await self.archive(server, target, in: try TestFolder.make())
        #expect(self.things(again.contents.entries) == self.things(split.kept))
    }

    @Test func `without PL/Python all that needs it is left out, and nothing else`() async throws {
        let server = try TestPostgres(.v15)
        defer { server.stop() }
        let folder = try TestFolder.make()
        let source = try server.makeDatabase("source")
        try server.sql("\\i \(Self.databases)/everything.sql", database: source)
        let archive = try await self.archive(server, source, in: folder)
        let without = RestoreRules(
            excludedExtensions: ["plpython3u": "the target lacks the extension plpython3u"])
        let kept = Set(archive.contents.split(by: RestoreRules()).kept.map(\.identity))
        let left = Set(archive.contents.split(by: without).kept.map(\.identity))
        #expect(
            kept.subtracting(left) == [
                "EXTENSION plpython3u", "COMMENT EXTENSION plpython3u",
                "FUNCTION app.in_python(integer, text)", "TABLE app.python_default",
                "VIEW app.python_view", "ACL app.TABLE python_default",
                "ACL app.TABLE python_view",
            ])
    }
}
