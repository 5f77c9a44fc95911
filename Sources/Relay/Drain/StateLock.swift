#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Says which relay serves a state folder: it holds a lock on a file there.
///
/// The kernel lets go of it when the process ends, however it ends. A relay that drains lets go of
/// it itself, so that the next one may start.
final class StateLock: Sendable {
    /// The file's name within the state folder.
    static let fileName = "relay.lock"

    private let descriptor: Int32

    /// Takes the lock.
    ///
    /// - Returns: nil where another relay has it.
    /// - Throws: ``RelayError`` if the file cannot be used.
    init?(folder: String) throws(RelayError) {
        let path = "\(folder)/\(Self.fileName)"
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw RelayError("cannot lock \(path): \(String(cString: strerror(errno)))")
        }
        self.descriptor = descriptor
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else { return nil }
    }

    deinit { close(self.descriptor) }
}
