import Foundation
import NIOCore
import Testing

@testable import TunnelWire

struct OpenPayloadTests {
    /// The general encoder is the oracle: what is written by hand must mean the same.
    @Test(arguments: [
        "", "plain", "say \"hi\"", "back\\slash", "line\nbreak\ttab\u{0}\u{1F}", "Zürich 数据 🐘",
        "</script>", "\u{7F}\u{2028}",
    ])
    func `OPEN written by hand reads as the same request`(text: String) throws {
        let open = Open(
            window: 262_144, client: text, parameters: [["user", text], [text, ""], ["x", "y"]])
        #expect(try Open(payload: open.payload) == open)
        let json = try JSONSerialization.jsonObject(with: Data(open.payload.readableBytesView))
        let object = try #require(json as? [String: Any])
        #expect(object["client"] as? String == text)
        #expect(Set(object.keys) == ["client", "kind", "parameters", "window"])
    }

    @Test func `a cancel written by hand reads as the same request`() throws {
        let open = Open(window: 16_384, cancel: 7, after: .max)
        #expect(try Open(payload: open.payload) == open)
    }

    @Test func `OPEN_OK written by hand reads as the same answer`() throws {
        let ok = OpenOK(window: 4_194_304)
        #expect(try OpenOK(payload: ok.payload) == ok)
    }
}
