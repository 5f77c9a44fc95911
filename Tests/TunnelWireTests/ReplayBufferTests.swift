import NIOCore
import Simulation
import Testing

@testable import TunnelWire

struct ReplayBufferTests {
    /// Three chunks, the second with a payload of its own: "abcd" "efghij" "kl".
    private func filled() -> ReplayBuffer {
        var replay = ReplayBuffer(capacity: 100)
        replay.append(Chunk(head: ByteBuffer(string: "abcd")))
        replay.append(
            Chunk(head: ByteBuffer(string: "ef"), payload: ByteBuffer(string: "ghij")))
        replay.append(Chunk(head: ByteBuffer(string: "kl")))
        return replay
    }

    private func replayed(_ replay: inout ReplayBuffer) -> String {
        var text = ""
        while let chunk = replay.nextReplay() { text += String(buffer: chunk.joined) }
        return text
    }

    @Test(arguments: 0...12)
    func `a rewind to any byte sends again what is behind it`(offset: Int) throws {
        var replay = self.filled()
        try replay.rewind(to: UInt64(offset))
        #expect(replay.isInsideFrame == ![0, 4, 10, 12].contains(offset))
        #expect(replay.isReplaying == (offset < 12))
        #expect(self.replayed(&replay) == String("abcdefghijkl".dropFirst(offset)))
        #expect(!replay.isReplaying)
        #expect(replay.sent == 12)
        #expect(replay.acknowledged == UInt64(offset))
    }

    @Test(arguments: 0...12, 0...12)
    func `an acknowledgement of any byte, then a rewind to any later one, loses nothing`(
        acknowledged: Int, offset: Int
    ) throws {
        var replay = self.filled()
        try replay.acknowledge(UInt64(acknowledged))
        guard offset >= acknowledged else {
            #expect(throws: LinkViolation.self) { try replay.rewind(to: UInt64(offset)) }
            return
        }
        try replay.rewind(to: UInt64(offset))
        #expect(self.replayed(&replay) == String("abcdefghijkl".dropFirst(offset)))
    }

    /// The peer acknowledges what came again while the rest is still waiting.
    @Test(arguments: 0...12, 1...3)
    func `acknowledgements during a replay lose nothing`(offset: Int, handedOut: Int) throws {
        var replay = self.filled()
        try replay.rewind(to: UInt64(offset))
        var text = ""
        var acknowledged = UInt64(offset)
        for _ in 0..<handedOut {
            guard let chunk = replay.nextReplay() else { break }
            text += String(buffer: chunk.joined)
            for upTo in acknowledged...UInt64(offset + text.utf8.count) {
                try replay.acknowledge(upTo)
                acknowledged = upTo
            }
        }
        text += self.replayed(&replay)
        #expect(text == String("abcdefghijkl".dropFirst(offset)))
        replay.append(Chunk(head: ByteBuffer(string: "mn")))
        #expect(!replay.isReplaying)
        try replay.acknowledge(14)
        #expect(replay.acknowledged == replay.sent)
    }

    @Test(arguments: 0...12, 0...12)
    func `a drop during a replay starts again where the peer says`(
        first: Int, second: Int
    ) throws {
        guard first <= second else { return }
        var replay = self.filled()
        try replay.rewind(to: UInt64(first))
        _ = replay.nextReplay()
        try replay.rewind(to: UInt64(second))
        #expect(self.replayed(&replay) == String("abcdefghijkl".dropFirst(second)))
    }

    @Test func `an offset that was never sent, or was acknowledged, is a violation`() throws {
        var replay = self.filled()
        try replay.acknowledge(5)
        for claimed: UInt64 in [0, 4, 13, .max] {
            let violation = LinkViolation.badOffset(claimed: claimed, acknowledged: 5, sent: 12)
            #expect(throws: violation) { try replay.acknowledge(claimed) }
            #expect(throws: violation) { try replay.rewind(to: claimed) }
        }
        try replay.acknowledge(5)
    }

    @Test func `it is full until enough is acknowledged`() throws {
        var replay = ReplayBuffer(capacity: 8)
        replay.append(Chunk(head: ByteBuffer(string: "abcd")))
        #expect(!replay.isFull)
        replay.append(Chunk(head: ByteBuffer(string: "efgh")))
        #expect(replay.isFull)
        try replay.acknowledge(1)
        #expect(!replay.isFull)
    }

    /// Nothing of an acknowledged replay is sent again, whatever a peer claims meanwhile.
    @Test(arguments: UInt64(0)..<200)
    func `whatever is acknowledged, the end of what was sent comes out last`(
        seed: UInt64
    ) throws {
        var random = SeededGenerator(seed: seed)
        var replay = self.filled()
        var offset = UInt64(0)
        var text = ""
        for _ in 0..<20 {
            switch Int.random(in: 0..<3, using: &random) {
            case 0:
                offset = .random(in: offset...12, using: &random)
                try replay.acknowledge(offset)
            case 1:
                offset = .random(in: offset...12, using: &random)
                try replay.rewind(to: offset)
                text = String("abcdefghijkl".prefix(Int(offset)))
            default:
                if let chunk = replay.nextReplay() { text = String(buffer: chunk.joined) }
            }
        }
        try replay.rewind(to: offset)
        text = self.replayed(&replay)
        #expect("abcdefghijkl".hasSuffix(text))
        #expect(text.utf8.count == 12 - Int(offset))
    }
}
