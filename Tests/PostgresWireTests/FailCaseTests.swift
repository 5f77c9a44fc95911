import Foundation
import NIOCore
import Testing

@testable import PostgresWire

/// What a fuzzer or a person once found: every machine reads every file and neither traps nor
/// asks for more than its limit.
struct FailCaseTests {
    private static let verifier = SCRAMVerifier(password: Secret("p"), salt: [1], iterations: 1)

    private static func files() throws -> [URL] {
        let folder = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "FailCases")
        return try FileManager.default.contentsOfDirectory(
            at: folder, includingPropertiesForKeys: nil)
    }

    @Test func `every fail case is survived by every machine`() throws {
        let files = try Self.files()
        #expect(files.count >= 11)
        for file in files {
            let whole = ByteBuffer(bytes: try Data(contentsOf: file))
            for parts in everyCut(of: whole) {
                Self.feed(parts)
            }
        }
    }

    @Test(arguments: UInt64(0)..<100)
    func `random bytes are survived by every machine`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var bytes = random.bytes(Int.random(in: 1...40, using: &random))
        let types = Array("pRSKZENv".utf8)
        if let type = types.randomElement(using: &random) { bytes[0] = type }
        for index in 1..<min(4, max(1, bytes.count)) { bytes[index] = 0 }
        for parts in everyCut(of: ByteBuffer(bytes: bytes)) {
            Self.feed(parts)
        }
    }

    private static func feed(_ parts: [ByteBuffer]) {
        var random = SeededGenerator(seed: 1)
        var startup = StartupMachine()
        var greeting = GreetingMachine(replacement: nil)
        var scram = ServerLoginMachine(
            method: .scram(self.verifier, isMock: false, channelBinding: nil))
        _ = scram.start(using: &random)
        var client = ClientLoginMachine(
            startup: [], credentials: .init(user: "u", password: Secret("p")), channelBinding: nil)
        _ = client.start()
        var buffers = Array(repeating: ByteBuffer(), count: 4)
        for part in parts {
            for index in buffers.indices { buffers[index].writeImmutableBuffer(part) }
            // A refusal is as good an answer as any; that there is one is what is tested.
            _ = try? startup.receive(&buffers[0])
            _ = try? greeting.receive(&buffers[1])
            _ = try? scram.receive(&buffers[2], using: &random)
            _ = client.receive(&buffers[3], using: &random)
        }
        #expect(
            buffers.allSatisfy { $0.readableBytes <= parts.reduce(0) { $0 + $1.readableBytes } })
    }
}
