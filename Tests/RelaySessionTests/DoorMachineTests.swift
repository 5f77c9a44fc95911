import NIOCore
import PostgresWire
import Testing

@testable import Relay

/// A machine and the page it talks to, in memory.
private struct Transcript {
    var machine = DatabaseBuildMachine()
    var page = DoorPageDouble()
    /// Frames on their way to the page.
    var frames: [ByteBuffer] = []
    /// What came of calls: bytes of replies, then `.`; `*` for a new session.
    var heard = ""
    private var reply = ByteBuffer()

    mutating func drain() {
        while let action = self.machine.nextAction() {
            switch action {
            case .send(let frame): self.frames.append(frame)
            case .reply(let bytes): self.reply.writeImmutableBuffer(bytes)
            case .done:
                self.heard += Wire.read(self.reply) + "."
                self.reply = ByteBuffer()
            case .restarted: self.heard += "*"
            }
        }
    }

    mutating func call(_ messages: ByteBuffer...) {
        self.machine.data(Wire.all(messages))
        self.machine.run()
        self.drain()
    }

    /// Lets the page handle what was sent, its answers cut into pieces of that many bytes.
    mutating func settle(pieces: Int = .max) throws {
        self.drain()
        while !self.frames.isEmpty {
            guard let answer = self.page.handle(self.frames.removeFirst()) else { continue }
            try self.answer(answer, pieces: pieces)
        }
    }

    mutating func answer(_ frame: ByteBuffer, pieces: Int = .max) throws {
        var rest = frame
        while rest.readableBytes > 0,
            let piece = rest.readSlice(length: min(pieces, rest.readableBytes))
        {
            try self.machine.received(piece)
        }
        try self.machine.frameEnded()
        self.drain()
    }

    /// With a page and one client.
    static func attached() throws -> Transcript {
        var talk = Transcript()
        talk.machine.attached()
        talk.machine.clientCame(1, address: "192.0.2.7")
        try talk.settle()
        return talk
    }

    /// What is on its way, without ids.
    var sent: [String] {
        self.frames.map { Wire.read($0.getSlice(at: 16, length: $0.readableBytes - 16) ?? $0) }
    }
}

struct DoorMachineTests {
    private static let id = DatabaseBuildMachine.connectionID
    private static let select = PostgresMessage.query("select 1")
    private static let parse = Wire.text("P", "s", "select 1", then: [0, 0])
    private static let badParse = Wire.text("P", "s", "boom", then: [0, 0])
    private static let bind = Wire.text("B", "", "s", then: [0, 0, 0, 0, 0, 0])
    private static let execute = Wire.text("E", "", then: [0, 0, 0, 0])
    private static let sync = PostgresMessage.sync()

    @Test func `the id is 16 characters of ASCII`() {
        #expect(Self.id.utf8.count == DatabaseBuildMachine.idBytes)
        #expect(Self.id.utf8.allSatisfy { $0 < 0x80 })
    }

    /// The bytes are those of FIELD-NOTES 1.
    @Test func `a page is reset, told of a client when it asks, and gets one message a frame`() {
        var talk = Transcript()
        talk.machine.attached()
        talk.machine.clientCame(1, address: "192.0.2.7")
        talk.drain()
        #expect(talk.frames.map { String(buffer: $0) } == [Self.id + "X\0\0\0\u{4}"])
        talk.frames = []
        talk.call(Self.select)
        let fields = "user\0postgres\0database\0postgres\0client_ip\0192.0.2.7\0\0"
        let startup = "\0\0\0\u{3d}\0\u{3}\0\0" + fields
        #expect(startup.utf8.count == 0x3d)
        #expect(talk.frames.first.map { String(buffer: $0) } == Self.id + startup)
        #expect(talk.sent.last == "Q:select 1")
        #expect(talk.frames.count == 2)
    }

    @Test(arguments: [1, 2, 3, 5, 16, 17, 21, 64, .max])
    func `replies of a call are one, however they are cut`(pieces: Int) throws {
        var talk = try Transcript.attached()
        talk.call(Self.select)
        try talk.settle(pieces: pieces)
        talk.call(Self.parse, Self.bind, Wire.text("D", "P"), Self.execute, Self.sync)
        try talk.settle(pieces: pieces)
        #expect(talk.heard == "T D:1 C:SELECT 1 Z:I.1 2 n C:SELECT 0 Z:I.")
    }

    @Test func `messages up to an Execute and its Sync are sent at once`() throws {
        var talk = try Transcript.attached()
        talk.call(Self.select)
        try talk.settle()
        talk.call(
            Self.parse, Self.bind, Self.execute, Self.parse, Self.bind, Self.execute, Self.sync)
        #expect(talk.sent.map { $0.prefix(1) } == ["P", "B", "E"])
        try talk.settle()
        #expect(talk.page.engine.ran.suffix(8) == ["P", "B", "E", "P", "C", "B", "E", "S"])
        #expect(talk.heard.hasSuffix("1 2 C:SELECT 0 1 2 C:SELECT 0 Z:I."))
    }

    @Test func `behind an error nothing runs until Sync, and one ReadyForQuery is left`() throws {
        var talk = try Transcript.attached()
        talk.call(
            Self.badParse, Self.bind, Self.execute, Self.parse, Self.bind, Self.execute, Self.sync)
        try talk.settle()
        #expect(talk.heard == "E:42601 Z:I.")
        #expect(talk.page.engine.ran == ["P", "B", "E", "S"])
        talk.call(Self.parse, Self.bind, Self.execute, Self.sync)
        try talk.settle()
        #expect(talk.heard.hasSuffix(".1 2 C:SELECT 0 Z:I."))
    }

    @Test func `a CopyFail that no COPY waits for is not sent`() throws {
        var talk = try Transcript.attached()
        talk.call(Self.select, PostgresMessage.copyFail("no"))
        try talk.settle()
        #expect(talk.page.engine.ran == ["Q:select 1"])
        #expect(talk.heard == "T D:1 C:SELECT 1 Z:I.")
    }

    /// FIELD-NOTES 4: an engine in a browser takes a COPY and its data in one call only.
    @Test(arguments: ["copy t from stdin", "/* c */ COPY t FROM\nStdin"])
    func `a COPY goes with all of its data in one frame`(text: String) throws {
        var talk = try Transcript.attached()
        let line = Wire.message("d", Array("1\n".utf8))
        let copy = Wire.all(
            PostgresMessage.query(text), line, line, PostgresMessage.copyDone())
        talk.call(copy)
        #expect(talk.frames.last == Wire.all(ByteBuffer(string: Self.id), copy))
        let reply = Wire.all(
            Wire.message("G", [0, 0, 0]), Wire.text("C", "COPY 2"), PostgresMessage.readyForQuery())
        try talk.answer(Wire.all(ByteBuffer(string: Self.id), reply))
        #expect(talk.heard == "G C:COPY 2 Z:I.")
        talk.call(copy, Self.select)
        #expect(talk.frames.last == Wire.all(ByteBuffer(string: Self.id), copy))
    }

    @Test func `data that no COPY awaits are not sent`() throws {
        var talk = try Transcript.attached()
        let data = Wire.all(Wire.message("d", [65]), PostgresMessage.copyDone())
        talk.call(PostgresMessage.query("select 'copy'"), data, Self.select, data)
        try talk.settle()
        #expect(talk.page.engine.ran == ["Q:select 'copy'", "Q:select 1"])
    }

    @Test func `a call that is too long fails in the engine, as Postgres would fail it`() throws {
        var talk = try Transcript.attached()
        let piece = ByteBuffer(repeating: 0x20, count: 1 << 20)
        for _ in 0..<17 { talk.machine.data(piece) }
        talk.machine.run()
        try talk.settle()
        #expect(talk.heard == "E:42601 Z:I.")
        #expect(talk.page.engine.ran.first?.contains("program_limit_exceeded") == true)
        talk.call(Self.select)
        try talk.settle()
        #expect(talk.heard.hasSuffix(".T D:1 C:SELECT 1 Z:I."))
    }

    @Test func `what was dropped does not run`() throws {
        var talk = try Transcript.attached()
        talk.machine.data(Self.select)
        talk.machine.drop()
        talk.call(PostgresMessage.query("select 2"))
        try talk.settle()
        #expect(talk.page.engine.ran == ["Q:select 2"])
    }

    // MARK: Terminate

    @Test func `the session is reset when the last client has gone and nothing is under way`()
        throws
    {
        var talk = try Transcript.attached()
        talk.call(Self.select)
        talk.machine.clientLeft(1)
        talk.machine.rest()
        #expect(!talk.sent.contains("X"))
        try talk.settle()
        talk.machine.data(Self.sync)
        talk.machine.rest()
        talk.machine.drop()
        try talk.settle()
        #expect(talk.page.resets == 1)
        talk.machine.rest()
        try talk.settle()
        #expect(talk.page.resets == 2)
        #expect(talk.heard.hasSuffix("*"))
        #expect(talk.page.active == nil)
        talk.machine.rest()
        try talk.settle()
        #expect(talk.page.resets == 2)
        talk.machine.clientCame(2, address: "198.51.100.1")
        talk.call(Self.select)
        try talk.settle()
        #expect(talk.page.shown == "198.51.100.1")
        #expect(talk.page.dropped == 0)
    }

    @Test func `while one client is left nothing is reset, and the page shows that one`() throws {
        var talk = try Transcript.attached()
        talk.machine.clientCame(2, address: "198.51.100.1")
        talk.call(Self.select)
        try talk.settle()
        #expect(talk.page.shown == "192.0.2.7")
        talk.machine.clientLeft(1)
        talk.machine.rest()
        try talk.settle()
        #expect(talk.page.shown == "198.51.100.1")
        #expect(talk.page.resets == 1)
        #expect(talk.heard == "T D:1 C:SELECT 1 Z:I.")
    }

    // MARK: Reconnect

    @Test func `a page that comes back has a new session, and what was under way has failed`()
        throws
    {
        var talk = try Transcript.attached()
        talk.call(Self.select)
        talk.machine.lost()
        talk.drain()
        talk.frames = []
        talk.page = DoorPageDouble()
        talk.machine.attached()
        try talk.settle()
        #expect(talk.heard == "*")
        #expect(talk.page.resets == 1)
        talk.call(PostgresMessage.query("select 3"))
        try talk.settle()
        #expect(talk.heard == "*T D:3 C:SELECT 1 Z:I.")
        talk.machine.attached()
        try talk.settle()
        #expect(talk.heard.hasSuffix(".*"))
    }

    // MARK: Portals that the page's own queries end

    private static let describe = Wire.text("D", "P")

    @Test(arguments: [true, false])
    func `an exchange whose portal was lost begins again at its Bind`(isOld: Bool) throws {
        var talk = try Transcript.attached()
        talk.page.engine.isOld = isOld
        talk.page.engine.portalsToLose = 1
        talk.call(Self.parse, Self.bind, Self.describe, Self.execute, Self.sync)
        try talk.settle()
        #expect(talk.heard == "1 2 n C:SELECT 0 Z:I.")
        #expect(talk.page.engine.ran == ["P", "B", "D", "E", "S", "B", "D", "E", "S"])
    }

    @Test(arguments: [true, false])
    func `a portal that was lost before its Sync was sent is bound behind one of ours`(
        isOld: Bool
    ) throws {
        var talk = try Transcript.attached()
        talk.page.engine.isOld = isOld
        talk.page.engine.portalsToLose = 2
        talk.call(Self.parse, Self.bind, Self.execute, Self.bind, Self.execute, Self.sync)
        try talk.settle(pieces: 3)
        #expect(talk.heard == "1 2 C:SELECT 0 2 C:SELECT 0 Z:I.")
        #expect(talk.page.engine.ran.filter { $0 == "P" }.count == 1)
        talk.call(Self.select)
        try talk.settle()
        #expect(talk.heard.hasSuffix(".T D:1 C:SELECT 1 Z:I."))
    }

    @Test func `a portal that is never there fails in the end`() throws {
        var talk = try Transcript.attached()
        talk.page.engine.portalsToLose = 100
        talk.call(Self.parse, Self.bind, Self.execute, Self.sync)
        try talk.settle()
        #expect(talk.heard == "1 2 E:34000 Z:I.")
        #expect(talk.page.engine.portalsToLose == 96)
        talk.call(Self.execute, Self.sync)
        try talk.settle()
        #expect(talk.heard.hasSuffix(".E:34000 Z:I."))
        #expect(talk.page.engine.portalsToLose == 95)
    }

    /// Within a transaction the page's queries end no portal that has a name.
    @Test func `in a transaction nothing is run twice, and one portal follows another`() throws {
        var talk = try Transcript.attached()
        talk.call(PostgresMessage.query("begin"))
        try talk.settle()
        talk.call(Self.parse, Self.bind, Self.execute, Self.bind, Self.execute, Self.sync)
        try talk.settle()
        #expect(talk.heard == "C:OK Z:T.1 2 C:SELECT 0 2 C:SELECT 0 Z:T.")
        #expect(talk.page.engine.ran == ["Q:begin", "P", "B", "E", "C", "B", "E", "S"])
        talk.page.engine.portalsToLose = 1
        talk.call(Self.bind, Self.execute, Self.sync)
        try talk.settle()
        #expect(talk.heard.hasSuffix(".2 E:34000 Z:E."))
    }

    @Test
    func `the unnamed portal has a name for the page's engine, and other portals keep theirs`()
        throws
    {
        var talk = try Transcript.attached()
        let named = Wire.text("B", "mine", "s", then: [0, 0, 0, 0, 0, 0])
        talk.call(Self.bind, Self.describe, Self.execute, Self.sync)
        let bodies = talk.frames.dropFirst().map { String(buffer: $0).dropFirst(21) }
        #expect(bodies[0] == "pgs_portal\0s\0" + String(repeating: "\0", count: 6))
        #expect(bodies[1] == "Ppgs_portal\0")
        #expect(bodies[2] == "pgs_portal\0\0\0\0\0")
        #expect(bodies[3] == "")
        try talk.settle()
        talk.call(named, Wire.text("D", "Smine"), Self.sync)
        #expect(
            talk.frames.map { String(buffer: $0).dropFirst(21).prefix(5) } == [
                "mine\0", "Smine", "",
            ])
        for frame in talk.frames {
            let length: UInt32? = frame.getInteger(at: 17)
            #expect(length.map { Int($0) + 17 } == frame.readableBytes)
        }
    }

    // MARK: Hostile pages

    @Test(arguments: [
        ("", DatabaseBuildViolation.short), ("pgsharesession0", .short),
        ("pgsharesession02", .unknownID), ("0123456789abcdef", .unknownID), ("x", .unknownID),
        ("pgsharesession01Z\0\0\0\u{5}", .malformed), ("pgsharesession01Z\0\0", .malformed),
        ("pgsharesession01Z\0\0\0\u{3}", .malformed), ("pgsharesession01Z\u{7f}\0\0\0", .malformed),
    ])
    func `a frame that is none is a violation`(
        text: String, violation: DatabaseBuildViolation
    ) throws {
        for pieces in [1, 3, Int.max] {
            var talk = try Transcript.attached()
            talk.call(Self.select)
            #expect(throws: violation) {
                try talk.answer(ByteBuffer(string: text), pieces: pieces)
            }
        }
    }

    @Test func `an answer to nothing is a violation`() throws {
        for body in ["", "Z\0\0\0\u{5}I"] {
            var talk = try Transcript.attached()
            let frame = ByteBuffer(string: Self.id + body)
            #expect(throws: DatabaseBuildViolation.unasked) { try talk.answer(frame) }
            talk = try Transcript.attached()
            talk.call(Self.select)
            try talk.settle()
            #expect(throws: DatabaseBuildViolation.unasked) { try talk.answer(frame) }
        }
    }

    @Test(arguments: UInt64(0)..<200)
    func `random frames are survived`(seed: UInt64) throws {
        var random = DoorGenerator(state: seed)
        var talk = try Transcript.attached()
        talk.call(Self.parse, Self.bind, Self.execute, Self.sync)
        for _ in 0..<20 {
            let hasID = UInt8.random(in: 0..<8, using: &random) > 0
            var frame = ByteBuffer(string: hasID ? Self.id : "")
            for _ in 0..<Int.random(in: 0..<40, using: &random) {
                let byte = UInt8.random(in: .min ... .max, using: &random)
                frame.writeInteger(byte > 200 ? byte : byte % 8)
            }
            do {
                try talk.answer(frame, pieces: Int.random(in: 1..<50, using: &random))
            } catch is DatabaseBuildViolation {
                return
            }
        }
    }
}

/// Splitmix64: the same numbers for the same seed.
struct DoorGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var z = self.state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
