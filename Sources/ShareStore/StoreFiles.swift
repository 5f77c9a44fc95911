import Foundation

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Makes the folder and the file with their modes before SQLite sees them.
///
/// SQLite would make the file readable by everyone that the umask lets. It gives `-wal` and `-shm`
/// the mode of the file, so one mode is enough.
enum StoreFiles {
    static let folderMode: mode_t = 0o700
    static let fileMode: mode_t = 0o600

    static func prepare(folder: String, file: String) throws(ShareStoreError) {
        let parent = (folder as NSString).deletingLastPathComponent
        if !parent.isEmpty {
            do {
                try FileManager.default.createDirectory(
                    atPath: parent, withIntermediateDirectories: true)
            } catch {
                throw .cannotOpen(path: file, reason: "the folder \(parent) cannot be made")
            }
        }
        guard mkdir(folder, Self.folderMode) == 0 || errno == EEXIST else {
            throw .cannotOpen(path: file, reason: Self.errorText())
        }
        try Self.prepare(file: file)
    }

    /// An existing file is never opened here: closing it again would drop the locks that another
    /// connection of this process has on it (SQLite, "How To Corrupt An SQLite Database", 2.2).
    private static func prepare(file: String) throws(ShareStoreError) {
        let flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC
        let descriptor = open(file, flags, Self.fileMode)
        if descriptor >= 0 {
            close(descriptor)
        } else if errno == EEXIST {
            guard access(file, R_OK | W_OK) == 0 else { throw .readOnly(path: file) }
        } else if errno == EROFS || errno == EACCES {
            throw .readOnly(path: file)
        } else {
            throw .cannotOpen(path: file, reason: Self.errorText())
        }
        guard chmod(file, Self.fileMode) == 0 else {
            throw .cannotOpen(path: file, reason: Self.errorText())
        }
    }

    private static func errorText() -> String {
        String(cString: strerror(errno))
    }
}
