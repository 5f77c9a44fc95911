import NIOCore
import Testing

@testable import TunnelWire

struct StreamResetTests {
    @Test(arguments: StreamReset.Code.allCases)
    func `a reset reads as it was written`(code: StreamReset.Code) {
        let reset = StreamReset(code, sqlState: "57P01", text: "the share has ended – ask again")
        #expect(StreamReset(payload: reset.payload) == reset)
    }

    @Test func `a long sentence is cut between characters`() {
        let reset = StreamReset(.refused, text: String(repeating: "é", count: 600) + "x")
        let payload = reset.payload
        #expect(payload.readableBytes <= 6 + StreamReset.maximumTextBytes)
        #expect(
            StreamReset(payload: payload)?.text == String(repeating: "é", count: 512))
    }

    /// The peer would end the whole link over it, for a word of some database.
    @Test(arguments: ["", "1234", "123456", "abcde", "28 00", "2800é", "2800_"])
    func `a SQLSTATE that cannot be one is written as an internal error`(state: String) {
        let reset = StreamReset(.refused, sqlState: state, text: "no")
        #expect(StreamReset(payload: reset.payload)?.sqlState == "XX000")
    }

    @Test func `a code of a newer peer reads as a protocol error`() {
        var payload = ByteBuffer(bytes: [200])
        payload.writeString("28000why")
        #expect(
            StreamReset(payload: payload)
                == StreamReset(.protocolError, sqlState: "28000", text: "why"))
    }

    @Test(arguments: ["", "28", "2800", "28o00", "28 00", "2800_"])
    func `a payload without a whole SQLSTATE is not a reset`(state: String) {
        #expect(StreamReset(payload: ByteBuffer(bytes: [1] + Array(state.utf8))) == nil)
    }

    @Test func `text that is not UTF-8 is repaired`() {
        var payload = ByteBuffer(bytes: [0])
        payload.writeString("00000")
        payload.writeBytes([0xFF, 0x41])
        #expect(StreamReset(payload: payload)?.text == "\u{FFFD}A")
    }
}
