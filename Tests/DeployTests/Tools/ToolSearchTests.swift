import Foundation
import TestSupport
import Testing

@testable import Deploy

@Suite struct ToolSearchTests {
    @Test(arguments: [
        ("pg_dump (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n", 15, 20),
        ("pg_restore (PostgreSQL) 18.6", 18, 6), ("pg_dump (PostgreSQL) 19beta1", 19, 0),
        ("pg_dump (PostgreSQL) 16devel", 16, 0),
    ])
    func `a version is read`(output: String, major: Int, minor: Int) {
        #expect(ToolVersion(output: output) == ToolVersion(major: major, minor: minor))
    }

    @Test(arguments: ["", "pg_dump", "pg_dump (PostgreSQL)"])
    func `what says no version has none`(output: String) {
        #expect(ToolVersion(output: output) == nil)
    }

    /// A folder with programs that say what is told.
    private func folder(_ root: RunFolder, _ name: String, _ versions: [String: String]) throws
        -> String
    {
        let path = root.path(name)
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: false)
        for (tool, version) in versions {
            try root.write(
                "#!/bin/sh\necho '\(tool) (PostgreSQL) \(version)'\n", to: "\(name)/\(tool)")
            chmod("\(path)/\(tool)", 0o755)
        }
        return path
    }

    private func both(_ version: String) -> [String: String] {
        ["pg_dump": version, "pg_restore": version]
    }

    @Test(arguments: [(15, "15.9"), (16, "17.2"), (17, "17.2"), (18, "18.0")])
    func `the oldest tools that can read the source are chosen, of their newest minor`(
        source: Int, chosen: String
    ) async throws {
        let root = try TestFolder.make()
        let versions = ["18.0", "15.2", "17.1", "15.9", "17.2", "14.99"]
        let folders = try versions.map { try self.folder(root, $0, self.both($0)) }
        let tools = try await ClientTools.find(
            environment: ["PATH": folders.joined(separator: ":")], sourceMajor: source,
            packageFolders: [])
        #expect(tools.pgDump.path == root.path(chosen) + "/pg_dump")
        #expect(tools.pgRestore.version.description == chosen)
    }

    @Test func `a folder without pg_restore, a wrapper and a relative folder are passed over`()
        async throws
    {
        let root = try TestFolder.make()
        let half = try self.folder(root, "half", ["pg_dump": "15.1"])
        let wrapped = try self.folder(root, "wrapped", ["pg_wrapper": "15.1"])
        for tool in ["pg_dump", "pg_restore"] {
            try FileManager.default.createSymbolicLink(
                atPath: "\(wrapped)/\(tool)", withDestinationPath: "pg_wrapper")
        }
        let whole = try self.folder(root, "whole", self.both("16.1"))
        let tools = try await ClientTools.find(
            environment: ["PATH": "\(half):\(wrapped):relative:"], sourceMajor: 15,
            packageFolders: [root.path("none"), whole])
        #expect(tools.pgDump.path == whole + "/pg_dump")
    }

    @Test func `the folder that is named is the only one, and is refused when it is too old`()
        async throws
    {
        let root = try TestFolder.make()
        let old = try self.folder(root, "old", self.both("15.1"))
        let new = try self.folder(root, "new", self.both("18.1"))
        let environment = ["PATH": new, ClientTools.folderVariable: old]
        let tools = try await ClientTools.find(
            environment: environment, sourceMajor: 15, packageFolders: [])
        #expect(tools.pgDump.version.major == 15)
        let failure = await #expect(throws: ToolsFailure.self) {
            try await ClientTools.find(
                environment: environment, sourceMajor: 16, packageFolders: [])
        }
        #expect(failure?.found == ["15.1 in \(old)"])
        #expect(failure?.advice.contains(ClientTools.folderVariable) == true)
    }

    @Test func `where there is none, the failure says what to install`() async {
        let failure = await #expect(throws: ToolsFailure.self) {
            try await ClientTools.find(environment: [:], sourceMajor: 17, packageFolders: [])
        }
        #expect(failure?.found == [])
        #expect(failure?.description.contains("postgresql") == true)
        #expect(failure?.description.contains("17") == true)
    }

    @Test(arguments: TestPostgres.Version.available)
    func `real tools are found`(version: TestPostgres.Version) async throws {
        let binaries = try #require(version.binaries)
        let tools = try await ClientTools.find(
            environment: [:], sourceMajor: version.rawValue, packageFolders: [binaries])
        #expect(tools.pgDump.version.major == version.rawValue)
        #expect(tools.pgDump.version == tools.pgRestore.version)
    }
}
