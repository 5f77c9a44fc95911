import Foundation

/// Files that are whole or not there, and that nobody else may read.
enum PrivateFile {
    /// Makes the folder and those above it; the folder itself is the owner's alone (0700).
    static func makeFolder(_ path: String) throws(CertificateError) {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
        } catch {
            throw .file(path: path, detail: error.localizedDescription)
        }
    }

    /// Writes `text` beside `path` and renames it there: a reader sees the old file or the new one.
    ///
    /// - Parameters:
    ///   - text: The whole file.
    ///   - path: Where it ends up.
    ///   - mode: POSIX permissions, set before anything is in the file.
    /// - Throws: ``CertificateError/file(path:detail:)``.
    static func write(_ text: String, to path: String, mode: Int) throws(CertificateError) {
        let draft = "\(path).\(UInt32.random(in: .min ... .max)).new"
        let made = FileManager.default.createFile(
            atPath: draft, contents: nil, attributes: [.posixPermissions: mode])
        guard made else { throw .file(path: path, detail: "cannot be created") }
        do {
            // Data.write(to:) without .atomic keeps the file, and so its permissions.
            try Data(text.utf8).write(to: URL(fileURLWithPath: draft))
            guard rename(draft, path) == 0 else { throw CocoaError(.fileWriteUnknown) }
        } catch {
            try? FileManager.default.removeItem(atPath: draft)
            throw .file(path: path, detail: error.localizedDescription)
        }
    }

    /// The file's bytes.
    static func read(_ path: String) throws(CertificateError) -> [UInt8] {
        do {
            return try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))
        } catch {
            throw .file(path: path, detail: "cannot be read")
        }
    }
}
