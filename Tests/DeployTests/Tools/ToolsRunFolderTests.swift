import Foundation
import Testing

@testable import Deploy

@Suite struct ToolsRunFolderTests {
    private let parent = TestFolder.parent + "/" + UUID().uuidString

    private func mode(_ path: String) throws -> Int? {
        try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
    }

    @Test func `nobody else can look into a run's folder`() throws {
        let folder = try RunFolder(parent: self.parent, name: "one")
        try folder.write("first", to: "file")
        try folder.write("2", to: "file")
        #expect(try self.mode(self.parent) == 0o700)
        #expect(try self.mode(folder.path) == 0o700)
        #expect(try self.mode(folder.path("file")) == 0o600)
        #expect(try String(contentsOfFile: folder.path("file"), encoding: .utf8) == "2")
    }

    @Test func `the folder goes with the run`() throws {
        var folder: RunFolder? = try RunFolder(parent: self.parent, name: "one")
        try folder?.write("x", to: "file")
        folder = nil
        #expect(try FileManager.default.contentsOfDirectory(atPath: self.parent).isEmpty)
    }

    @Test func `a folder that is in use is neither taken nor removed`() throws {
        let folder = try RunFolder(parent: self.parent, name: "one")
        #expect(throws: ToolFailure.self) { try RunFolder(parent: self.parent, name: "one") }
        #expect(RunFolder.removeStale(in: self.parent) == [])
        #expect(FileManager.default.fileExists(atPath: folder.path))
    }

    @Test func `what a crashed run left is removed`() throws {
        let left = self.parent + "/crashed"
        try FileManager.default.createDirectory(
            atPath: left, withIntermediateDirectories: true)
        for file in [left + "/source.pgpass", left + ".lock"] {
            try Data("x".utf8).write(to: URL(fileURLWithPath: file))
        }
        #expect(RunFolder.removeStale(in: self.parent) == ["crashed"])
        #expect(try FileManager.default.contentsOfDirectory(atPath: self.parent).isEmpty)
        #expect(RunFolder.removeStale(in: self.parent + "/none") == [])
    }
}
