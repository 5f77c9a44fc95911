import Crypto
import Foundation

/// The bytes that the salts of shares which do not exist are made from. Kept across restarts: a
/// salt that changes would tell that there is no such share.
enum MockSecret {
    private static let bytes = 32

    /// Reads the secret of a state folder, or makes it.
    static func load(folder: String) throws -> [UInt8] {
        let path = "\(folder)/mock-secret"
        if let kept = FileManager.default.contents(atPath: path), kept.count == Self.bytes {
            return Array(kept)
        }
        let made = SymmetricKey(size: .bits256).withUnsafeBytes { Data($0) }
        let isMade = FileManager.default.createFile(
            atPath: path, contents: made, attributes: [.posixPermissions: 0o600])
        guard isMade else { throw RelayError("cannot write \(path)") }
        return Array(made)
    }
}
