import Foundation
import NIOCore

/// `PROTOCOL.md`, as the tests read it.
struct ProtocolDocument {
    /// A hex vector: one whole frame.
    struct Vector: Sendable, CustomStringConvertible {
        let name: String
        let bytes: ByteBuffer
        var description: String { self.name }
    }

    struct Unreadable: Error {
        let line: String
    }

    let lines: [String]

    init(file: String = #filePath) throws {
        let folder = URL(fileURLWithPath: file).deletingLastPathComponent()
        let path = folder.appendingPathComponent("../../PROTOCOL.md").standardizedFileURL
        let text = try String(contentsOf: path, encoding: .utf8)
        self.lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }

    /// The cells of all table rows below the heading that begins with `title`, to the next one.
    func rows(of title: String) -> [[String]] {
        let section = self.lines.drop { !$0.hasPrefix("## ") || !$0.contains(title) }.dropFirst()
        return section.prefix { !$0.hasPrefix("## ") }
            .filter { $0.hasPrefix("| ") }
            .map { line in
                line.dropFirst(2).dropLast(2).components(separatedBy: " | ").map { cell in
                    cell.trimmingCharacters(in: .whitespaces)
                }
            }
    }

    /// Every block that begins with three backticks, `hex` and a name.
    func vectors() throws -> [Vector] {
        var vectors: [Vector] = []
        var name: String?
        var bytes = ByteBuffer()
        for line in self.lines {
            if line.hasPrefix("```hex ") {
                name = String(line.dropFirst(7))
                bytes = ByteBuffer()
            } else if let begun = name, line == "```" {
                vectors.append(Vector(name: begun, bytes: bytes))
                name = nil
            } else if name != nil {
                for pair in line.split(separator: " ") {
                    guard let byte = UInt8(pair, radix: 16) else { throw Unreadable(line: line) }
                    bytes.writeInteger(byte)
                }
            }
        }
        return vectors
    }
}
