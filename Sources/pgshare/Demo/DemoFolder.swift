import Foundation

/// A folder of the demo's own, readable by the user that Postgres runs as.
struct DemoFolder: Sendable {
    let path: String
    var state: String { "\(self.path)/state" }
    var data: String { "\(self.path)/data" }

    init() throws {
        // Short: the path of a unix socket has at most 107 bytes.
        self.path = "/tmp/pgshare-demo-\(UInt32.random(in: .min ... .max))"
        do {
            try FileManager.default.createDirectory(
                atPath: self.path, withIntermediateDirectories: false,
                attributes: [.posixPermissions: 0o755])
        } catch {
            throw CommandFailure("cannot create \(self.path)")
        }
    }

    func remove() { try? FileManager.default.removeItem(atPath: self.path) }
}
