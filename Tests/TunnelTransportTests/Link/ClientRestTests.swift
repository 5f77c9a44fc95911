import NIOCore
import Testing

@testable import TunnelTransport

/// Whether a client may be ended: never where something would be cut.
struct ClientRestTests {
    private static func message(_ type: Character, _ body: String = "") -> ByteBuffer {
        var bytes = ByteBuffer(string: String(type))
        bytes.writeInteger(UInt32(4 + body.utf8.count))
        bytes.writeString(body)
        return bytes
    }

    private static func joined(_ parts: [ByteBuffer]) -> ByteBuffer {
        parts.reduce(into: ByteBuffer()) { $0.writeImmutableBuffer($1) }
    }

    private static let query = Self.message("Q", "select 1\0")
    private static let answer = Self.joined([Self.message("D", "row"), Self.message("C", "ok\0")])
    private static func ready(_ status: Character = "I") -> ByteBuffer {
        Self.message("Z", String(status))
    }

    /// A client behind its greeting.
    private static func greeted() -> ClientRest {
        var rest = ClientRest()
        rest.greeted(Self.joined([Self.message("K", "12345678"), Self.ready()]))
        return rest
    }

    @Test func `a client is at rest behind its greeting, and not before`() {
        #expect(!ClientRest().isAtRest)
        #expect(Self.greeted().isAtRest)
        #expect(!Self.greeted().hasAsked)
    }

    @Test(arguments: [Character("Q"), "S", "F"])
    func `it is not at rest from its question to the end of the answer`(type: Character) {
        var rest = Self.greeted()
        rest.sent(Self.message(type, "x"))
        #expect(rest.hasAsked)
        #expect(!rest.isAtRest)
        rest.delivered(Self.answer)
        #expect(!rest.isAtRest)
        rest.delivered(Self.ready())
        #expect(rest.isAtRest)
    }

    @Test(arguments: [Character("T"), "E"])
    func `it is not at rest within a transaction`(status: Character) {
        var rest = Self.greeted()
        rest.sent(Self.query)
        rest.delivered(Self.joined([Self.answer, Self.ready(status)]))
        #expect(rest.isBetweenMessages)
        #expect(!rest.isAtRest)
        rest.sent(Self.query)
        rest.delivered(Self.joined([Self.answer, Self.ready()]))
        #expect(rest.isAtRest)
    }

    /// The network may cut the bytes anywhere.
    @Test func `half a question is a question`() throws {
        for cut in 1..<Self.query.readableBytes {
            var rest = Self.greeted()
            var whole = Self.query
            let front = whole.readSlice(length: cut)
            rest.sent(try #require(front))
            #expect(!rest.isAtRest, "cut at \(cut)")
            rest.sent(whole)
            for byte in Self.joined([Self.answer, Self.ready()]).readableBytesView {
                #expect(!rest.isAtRest, "cut at \(cut)")
                rest.delivered(ByteBuffer(bytes: [byte]))
            }
            #expect(rest.isAtRest, "cut at \(cut)")
        }
    }

    @Test(arguments: [true, false])
    func `the first of two answers is not the end`(isOneFlight: Bool) {
        var rest = Self.greeted()
        if isOneFlight {
            rest.sent(Self.joined([Self.query, Self.query]))
        } else {
            rest.sent(Self.query)
            rest.sent(Self.query)
        }
        rest.delivered(Self.joined([Self.answer, Self.ready()]))
        #expect(rest.isBetweenMessages)
        #expect(!rest.isAtRest)
        rest.delivered(Self.answer)
        #expect(!rest.isAtRest)
        rest.delivered(Self.ready())
        #expect(rest.isAtRest)
    }

    @Test(arguments: 2..<6)
    func `many answers in one read are as many answers`(count: Int) {
        var rest = Self.greeted()
        rest.sent(Self.joined(Array(repeating: Self.query, count: count)))
        let answer = Self.joined([Self.answer, Self.ready()])
        rest.delivered(Self.joined(Array(repeating: answer, count: count - 1)))
        #expect(!rest.isAtRest)
        rest.delivered(answer)
        #expect(rest.isAtRest)
    }

    @Test func `a COPY is under way until its ReadyForQuery`() {
        var rest = Self.greeted()
        rest.sent(Self.query)
        rest.delivered(Self.message("G", "\0\0\0"))
        rest.sent(Self.message("d", "1\n"))
        #expect(!rest.isAtRest)
        rest.sent(Self.message("c"))
        #expect(!rest.isAtRest)
        rest.delivered(Self.joined([Self.message("C", "COPY 1\0"), Self.ready()]))
        #expect(rest.isAtRest)
    }

    @Test func `data that looks like a ReadyForQuery is data`() {
        var rest = Self.greeted()
        rest.sent(Self.joined([Self.query, Self.query]))
        rest.delivered(Self.message("D", String(buffer: Self.ready())))
        #expect(!rest.isAtRest)
        rest.delivered(Self.joined([Self.ready(), Self.answer]))
        #expect(!rest.isAtRest)
        rest.delivered(Self.ready())
        #expect(rest.isAtRest)
    }

    @Test func `what comes unasked leaves a client at rest once it is whole`() throws {
        for cut in 1..<15 {
            var rest = Self.greeted()
            var notification = Self.message("A", "notification")
            let front = notification.readSlice(length: cut)
            rest.delivered(try #require(front))
            #expect(!rest.isAtRest, "cut at \(cut)")
            #expect(!rest.isBetweenMessages, "cut at \(cut)")
            rest.delivered(notification)
            #expect(rest.isAtRest, "cut at \(cut)")
            #expect(rest.isBetweenMessages, "cut at \(cut)")
        }
    }

    @Test func `a question ahead of the greeting is not answered by the greeting`() {
        var rest = ClientRest()
        rest.sent(Self.query)
        rest.greeted(Self.ready())
        #expect(!rest.isAtRest)
        rest.delivered(Self.joined([Self.answer, Self.ready()]))
        #expect(rest.isAtRest)
    }
}
