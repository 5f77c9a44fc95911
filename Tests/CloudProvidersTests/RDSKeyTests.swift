import Foundation
import Testing

@testable import CloudProviders

struct RDSKeyTests {
    private static func withFolder(_ body: (_ path: String) throws -> Void) throws {
        let place = FileManager.default.temporaryDirectory.appending(
            path: "pgshare-rds-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: place) }
        try body(place.path)
    }

    private static func mode(_ path: String) throws -> Int? {
        try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
    }

    @Test func `a key is made once, for its owner alone`() throws {
        try Self.withFolder { place in
            let folder = "\(place)/state"
            let first = try RDSKey(folder: folder)
            let second = try RDSKey(folder: folder)
            #expect(first.name == second.name && first.name.count == 16)
            #expect(try Self.mode(folder) == 0o700)
            #expect(try Self.mode("\(folder)/rds-key") == 0o600)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["rds-key"])
            let other = try RDSKey(folder: "\(place)/other")
            #expect(other.name != first.name)
        }
    }

    @Test func `a key that others may read, or of another size, is refused`() throws {
        try Self.withFolder { folder in
            _ = try RDSKey(folder: folder)
            let path = "\(folder)/rds-key"
            try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: path)
            #expect(throws: ProviderFailure.self) { try RDSKey(folder: folder) }
            try FileManager.default.removeItem(atPath: path)
            try Data("short".utf8).write(to: URL(filePath: path))
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
            #expect(throws: ProviderFailure.self) { try RDSKey(folder: folder) }
        }
    }

    @Test func `every part of the place changes the password`() {
        let key = RDSKey(bytes: [UInt8](repeating: 1, count: 32))
        let other = RDSKey(bytes: [UInt8](repeating: 2, count: 32))
        let passwords = [
            key.password(region: "r", identifier: "i", salt: "s"),
            key.password(region: "R", identifier: "i", salt: "s"),
            key.password(region: "r", identifier: "I", salt: "s"),
            key.password(region: "r", identifier: "i", salt: "S"),
            other.password(region: "r", identifier: "i", salt: "s"),
        ]
        #expect(Set(passwords).count == passwords.count)
        #expect(passwords.allSatisfy { $0.reveal.wholeMatch(of: /[0-9a-f]{64}/) != nil })
    }
}
