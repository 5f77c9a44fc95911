import Foundation

/// Postgres's programs, run as a user that is not root.
struct DemoServerTools {
    let folder: String
    let isRoot = getuid() == 0

    init() throws {
        let manager = FileManager.default
        let debian = "/usr/lib/postgresql"
        let versions = (try? manager.contentsOfDirectory(atPath: debian)) ?? []
        let newest = versions.compactMap(Int.init).max().map { "\(debian)/\($0)/bin" }
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        let inPath = path.split(separator: ":").map(String.init)
        let candidates = [newest].compactMap { $0 } + inPath
        let found = candidates.first { manager.isExecutableFile(atPath: "\($0)/initdb") }
        guard let found else {
            throw CommandFailure("no initdb found; install PostgreSQL (apt install postgresql)")
        }
        self.folder = found
    }

    func giveToServer(_ path: String) throws {
        guard self.isRoot else { return }
        guard let user = getpwnam("postgres") else {
            throw CommandFailure("Postgres does not run as root, and there is no user postgres")
        }
        chown(path, user.pointee.pw_uid, user.pointee.pw_gid)
    }

    private func process(_ name: String, _ arguments: [String]) -> Process {
        let process = Process()
        let program = "\(self.folder)/\(name)"
        if self.isRoot {
            process.executableURL = URL(fileURLWithPath: "/usr/bin/setpriv")
            process.arguments =
                ["--reuid=postgres", "--regid=postgres", "--init-groups", program] + arguments
        } else {
            process.executableURL = URL(fileURLWithPath: program)
            process.arguments = arguments
        }
        process.currentDirectoryURL = URL(fileURLWithPath: "/tmp")
        process.standardInput = FileHandle.nullDevice
        return process
    }

    func run(_ name: String, _ arguments: [String]) async throws {
        let process = self.process(name, arguments)
        let errors = Pipe()
        process.standardOutput = FileHandle.nullDevice
        process.standardError = errors
        try process.run()
        let said = errors.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw CommandFailure("\(name) failed: \(String(decoding: said, as: UTF8.self))")
        }
    }

    func start(_ name: String, _ arguments: [String], log: String) throws -> Process {
        let process = self.process(name, arguments)
        _ = FileManager.default.createFile(atPath: log, contents: nil)
        let handle = FileHandle(forWritingAtPath: log) ?? .nullDevice
        process.standardOutput = handle
        process.standardError = handle
        try process.run()
        return process
    }
}
