import Crypto
import Foundation

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// What the master passwords of the instances that we make are derived from.
///
/// An instance takes ten minutes to come up, and its password must survive a crash in any of them.
/// So no password is stored: it is a function of this key, which lies on this machine, and of the
/// instance's tag. Whoever has only one of the two has nothing.
struct RDSKey: Sendable {
    /// Bytes of a key.
    static let byteCount = 32

    private let key: SymmetricKey

    /// Takes 32 random bytes.
    init(bytes: [UInt8]) {
        self.key = SymmetricKey(data: bytes)
    }

    /// Names the key without telling it: 16 hexadecimal digits.
    var name: String {
        String(self.digest("name of the key").prefix(16))
    }

    /// The password of an instance's master user: 64 hexadecimal digits.
    ///
    /// - Parameters:
    ///   - region: Where the instance is.
    ///   - identifier: Its name there.
    ///   - salt: Random text that the instance's tag holds.
    /// - Returns: The password.
    func password(region: String, identifier: String, salt: String) -> ProviderSecret {
        ProviderSecret(self.digest("password \(region) \(identifier) \(salt)"))
    }

    private func digest(_ text: String) -> String {
        let code = HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: self.key)
        return code.map { byte in
            (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()
    }
}

extension RDSKey {
    /// The key of a state folder, made when it is asked for the first time: file of mode 0600,
    /// folder of mode 0700.
    ///
    /// - Throws: ``ProviderFailure`` where it cannot be read or made, or others may read it.
    init(folder: String) throws(ProviderFailure) {
        let path = "\(folder)/rds-key"
        if access(path, F_OK) != 0 { try Self.make(path, folder) }
        var status = stat()
        guard stat(path, &status) == 0, let data = FileManager.default.contents(atPath: path),
            data.count == Self.byteCount
        else { throw ProviderFailure("\(path) is not a key of \(Self.byteCount) bytes") }
        guard status.st_mode & 0o077 == 0 else {
            throw ProviderFailure(
                "others may read \(path)", advice: "It must have mode 0600: chmod 600 \(path)")
        }
        self.init(bytes: Array(data))
    }

    /// Written beside it and linked in whole, so that two runs get one key and no run half a one.
    private static func make(_ path: String, _ folder: String) throws(ProviderFailure) {
        do {
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
        } catch {
            throw ProviderFailure("the folder \(folder) cannot be made")
        }
        var generator = SystemRandomNumberGenerator()
        let bytes = (0..<Self.byteCount).map { _ in UInt8.random(in: 0...255, using: &generator) }
        let draft = "\(path).\(getpid()).\(UInt32.random(in: 0...UInt32.max, using: &generator))"
        let descriptor = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw ProviderFailure("\(draft) cannot be made") }
        let written = write(descriptor, bytes, bytes.count)
        let isSafe = written == bytes.count && fsync(descriptor) == 0
        close(descriptor)
        let isLinked = isSafe && (link(draft, path) == 0 || errno == EEXIST)
        unlink(draft)
        guard isLinked else { throw ProviderFailure("\(path) cannot be written") }
    }
}
