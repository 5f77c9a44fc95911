import Foundation
import NIOCore
import Testing

/// What the fuzzers of `Fuzz` found worth keeping goes through the same code at every test run.
struct FuzzReplayTests {
    /// A file of `Fuzz/Corpora/NAME` or `Fuzz/Crashes/NAME`.
    private static func files(_ kind: String, of target: FuzzTarget) throws -> [URL] {
        let folder = URL(filePath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Fuzz/\(kind)/\(target.rawValue)")
        guard FileManager.default.fileExists(atPath: folder.path) else { return [] }
        return try FileManager.default.contentsOfDirectory(
            at: folder, includingPropertiesForKeys: nil)
    }

    @Test(arguments: FuzzTarget.allCases)
    func `every unit of the corpus holds its properties`(target: FuzzTarget) throws {
        let files = try Self.files("Corpora", of: target)
        #expect(files.count >= 5, "a target without a corpus finds little")
        for file in files { try Self.replay(file, target) }
    }

    @Test(arguments: FuzzTarget.allCases)
    func `what once broke a property does so no more`(target: FuzzTarget) throws {
        for file in try Self.files("Crashes", of: target) { try Self.replay(file, target) }
    }

    private static func replay(_ file: URL, _ target: FuzzTarget) throws {
        let bytes = ByteBuffer(bytes: try Data(contentsOf: file))
        #expect(throws: Never.self, "\(file.lastPathComponent)") { try target.run(bytes) }
    }
}
