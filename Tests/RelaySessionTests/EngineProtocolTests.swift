import Foundation
import NIOCore
import PostgresWire
import Testing

@testable import Relay
@testable import SharedSession

/// Section 16 of `PROTOCOL.md` is checked against the code.
struct EngineProtocolTests {
    private let lines: [String]

    init() throws {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        let path = folder.appendingPathComponent("../../PROTOCOL.md").standardizedFileURL
        let text = try String(contentsOf: path, encoding: .utf8)
        let all = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let section = all.drop { $0 != "## 16. Engine streams" }.dropFirst()
        self.lines = Array(section.prefix { !$0.hasPrefix("## ") })
    }

    private struct Unreadable: Error {
        let line: String
    }

    /// Blocks that begin with three backticks, `record` and a name.
    private func vectors() throws -> [String: ByteBuffer] {
        var vectors: [String: ByteBuffer] = [:]
        var name: String?
        for line in self.lines {
            if line.hasPrefix("```record ") {
                name = String(line.dropFirst("```record ".count))
            } else if line == "```" {
                name = nil
            } else if let name {
                for pair in line.split(separator: " ") {
                    guard let byte = UInt8(pair, radix: 16) else { throw Unreadable(line: line) }
                    vectors[name, default: ByteBuffer()].writeInteger(byte)
                }
            }
        }
        return vectors
    }

    private static func record(
        _ type: EngineRecordType, _ payload: ByteBuffer = ByteBuffer()
    ) -> ByteBuffer {
        var bytes = ByteBuffer()
        bytes.writeRecord(type, payload)
        return bytes
    }

    private static let notification = SessionMessage.message(.notificationResponse) { body in
        body.writeInteger(Int32(0))
        body.writeText("a")
        body.writeText("")
    }
    private static let fault = ByteBuffer(
        string: "{\"message\":\"out of memory\",\"restarted\":false}")

    private static let written: [String: ByteBuffer] = [
        "hold": record(.hold),
        "data": record(.data, PostgresMessage.query("select 1")),
        "run": record(.run),
        "drop": record(.drop),
        "release": record(.release),
        "restart": record(.restart),
        "event-connected": record(
            .event, PageEvent.connected(1, address: "192.0.2.7", application: "psql").json),
        "event-disconnected": record(.event, PageEvent.disconnected(1).json),
        "reply": record(.reply, PostgresMessage.readyForQuery()),
        "done": record(.done),
        "fault": record(.fault, fault),
        "notify": record(.notify, notification),
        "restarted": record(.restarted),
        "held": record(.held),
    ]

    @Test func `every record's vector is what is written`() throws {
        let vectors = try self.vectors()
        #expect(Set(vectors.keys) == Set(Self.written.keys))
        for (name, bytes) in vectors { #expect(bytes == Self.written[name], "\(name)") }
        let types = Set(vectors.values.compactMap { $0.getInteger(at: 0, as: UInt8.self) })
        #expect(types == Set(EngineRecordType.allCases.map(\.rawValue)))
    }

    @Test func `the vectors of a sandbox are read`() throws {
        let vectors = try self.vectors()
        var decoder = EngineRecordDecoder()
        decoder.askedToHold()
        decoder.askedToRun()
        decoder.askedToRestart()
        let conversation: [(String, EngineRecordDecoder.Event)] = [
            ("held", .held), ("reply", .reply(PostgresMessage.readyForQuery())), ("done", .done),
            ("fault", .fault(Self.fault)), ("notify", .notify(Self.notification)),
            ("restarted", .restarted),
        ]
        for (name, event) in conversation {
            var bytes = try #require(vectors[name])
            #expect(try decoder.next(&bytes) == event, "\(name)")
            #expect(bytes.readableBytes == 0)
        }
    }

    @Test(arguments: EngineRecordType.allCases)
    func `every record has its row, with its number, lengths and sender`(type: EngineRecordType) {
        let number = "`0x" + (type.rawValue < 0x10 ? "0" : "") + String(type.rawValue, radix: 16)
        let row = self.lines.first { $0.hasPrefix("| \(number)` | ") } ?? ""
        let cells = row.components(separatedBy: " | ")
        #expect(cells.count == 5)
        #expect(cells.dropFirst().first == "\(type)".uppercased())
        let lengths = type.payloadLengths
        let said =
            lengths.count == 1
            ? "\(lengths.lowerBound)" : "\(lengths.lowerBound)...\(lengths.upperBound)"
        #expect(cells.dropFirst(2).first?.replacing("JSON, ", with: "") == said)
        #expect(cells.dropFirst(3).first == (type.isOfSandbox ? "sandbox" : "relay"))
    }

    @Test func `what clients are told of an engine stands there`() {
        let faulted = ClientEnding.faulted("`message`").error
        for (sqlState, message) in [
            (EngineEnd.stopped.sqlState, EngineEnd.stopped.message),
            ("\(faulted.sqlState)", faulted.message),
        ] {
            #expect(
                self.lines.contains { $0.contains(" | \(sqlState) | \(message) | ") },
                "\(message)")
        }
    }
}
