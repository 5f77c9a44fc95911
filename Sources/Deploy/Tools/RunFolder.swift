import Foundation
import SystemPackage

/// The folder of one run, for files that nobody else may read. Removed at the end.
///
/// A lock file beside it is held as long as the process lives, so that ``removeStale(in:)`` can
/// tell what a crashed run left behind.
public final class RunFolder: Sendable {
    /// The folder, of mode 0700.
    public let path: String
    private let lock: RunLock

    /// Makes the folder `parent/name`, and `parent` if it is not there.
    ///
    /// - Throws: ``ToolFailure`` of the reason ``ToolFailure/Reason/file(_:)``, also where the
    ///   folder exists already.
    public init(parent: String, name: String) throws(ToolFailure) {
        self.path = parent + "/" + name
        let path = self.path
        self.lock = try ToolFailure.forFiles {
            try FileManager.default.createDirectory(
                atPath: parent, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
            guard let lock = try RunLock(path: path + RunLock.suffix) else {
                throw RunLock.Busy()
            }
            guard mkdir(path, 0o700) == 0 else {
                let error = Errno(rawValue: errno)
                lock.remove()
                throw error
            }
            return lock
        }
    }

    deinit {
        self.remove()
    }

    /// The path of a file in the folder.
    public func path(_ name: String) -> String {
        self.path + "/" + name
    }

    /// Writes a file of mode 0600; replaces one of that name.
    ///
    /// - Throws: ``ToolFailure`` of the reason ``ToolFailure/Reason/file(_:)``.
    public func write(_ text: String, to name: String) throws(ToolFailure) {
        let path = self.path(name)
        try ToolFailure.forFiles {
            let file = try FileDescriptor.open(
                FilePath(path), .writeOnly, options: [.create, .truncate, .noFollow],
                permissions: [.ownerReadWrite])
            _ = try file.closeAfter { try file.writeAll(text.utf8) }
        }
    }

    /// Removes the folder and all in it; nothing happens the second time.
    public func remove() {
        try? FileManager.default.removeItem(atPath: self.path)
        self.lock.remove()
    }

    /// Removes the folders that processes left behind which are gone.
    ///
    /// - Returns: The names of what was removed.
    @discardableResult
    public static func removeStale(in parent: String) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? []
        var removed: [String] = []
        for name in names.sorted() where name.hasSuffix(RunLock.suffix) {
            let path = parent + "/" + name
            guard let lock = try? RunLock(path: path) else { continue }
            let folder = String(path.dropLast(RunLock.suffix.count))
            try? FileManager.default.removeItem(atPath: folder)
            lock.remove()
            removed.append(String(name.dropLast(RunLock.suffix.count)))
        }
        return removed
    }
}

/// A file that is locked while this value lives, and not when the process is gone.
private final class RunLock: Sendable {
    struct Busy: Error, CustomStringConvertible {
        var description: String { "another process uses the folder of this run" }
    }

    static let suffix = ".lock"

    private let path: String
    private let file: FileDescriptor

    /// Nil if another holds it.
    init?(path: String) throws {
        self.path = path
        self.file = try FileDescriptor.open(
            FilePath(path), .readWrite, options: [.create, .noFollow, .closeOnExec],
            permissions: [.ownerReadWrite])
        guard flock(self.file.rawValue, LOCK_EX | LOCK_NB) == 0, self.isStillNamed else {
            return nil
        }
    }

    deinit {
        try? self.file.close()
    }

    func remove() {
        unlink(self.path)
    }

    /// Whether the locked file is the one of that name: another may have removed it in between.
    private var isStillNamed: Bool {
        var own = stat()
        var named = stat()
        guard fstat(self.file.rawValue, &own) == 0, stat(self.path, &named) == 0 else {
            return false
        }
        return own.st_ino == named.st_ino && own.st_dev == named.st_dev
    }
}

extension ToolFailure {
    /// Runs what works with files; names the failure.
    static func forFiles<Value>(_ body: () throws -> Value) throws(ToolFailure) -> Value {
        do {
            return try body()
        } catch let failure as ToolFailure {
            throw failure
        } catch {
            throw ToolFailure(tool: "pgshare", reason: .file("\(error)"))
        }
    }
}
