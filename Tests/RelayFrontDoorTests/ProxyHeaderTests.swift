import NIOCore
import Testing

@testable import Relay

struct ProxyHeaderTests {
    static let signature: [UInt8] = [
        0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
    ]

    /// A header of version 2.
    static func binary(
        _ command: UInt8, _ family: UInt8, _ body: [UInt8], length: UInt16? = nil
    ) -> ByteBuffer {
        var bytes = ByteBuffer(bytes: Self.signature + [command, family])
        bytes.writeInteger(length ?? UInt16(body.count))
        bytes.writeBytes(body)
        return bytes
    }

    static let v4: [UInt8] = [192, 0, 2, 7, 198, 51, 100, 1, 0x9C, 0x40, 0x15, 0x38]
    static let v6: [UInt8] =
        [0x20, 0x01, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 11) + [7]
        + [UInt8](repeating: 1, count: 16) + [0x9C, 0x40, 0x15, 0x38]
    static let tlv: [UInt8] = [0x05, 0, 3, 1, 2, 3]

    struct Good: CustomTestStringConvertible {
        var bytes: ByteBuffer
        /// `address:port`; nil where none is named.
        var client: String?
        var testDescription: String { "\(self.client ?? "none"), \(self.bytes.readableBytes)" }

        init(_ bytes: ByteBuffer, _ client: String?) {
            self.bytes = bytes
            self.client = client
        }

        init(_ text: String, _ client: String?) {
            self.init(ByteBuffer(string: text), client)
        }
    }

    static let good: [Good] = [
        Good("PROXY TCP4 192.0.2.7 198.51.100.1 40000 5432\r\n", "192.0.2.7:40000"),
        Good("PROXY TCP4 255.255.255.255 0.0.0.0 0 65535\r\n", "255.255.255.255:0"),
        Good("PROXY TCP6 2001:db8::7 ::1 40000 5432\r\n", "2001:db8::7:40000"),
        Good("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", "::ffff:192.0.2.7:1"),
        Good("PROXY UNKNOWN\r\n", nil),
        Good("PROXY UNKNOWN ffff:f...f ffff:f...f 65535 65535\r\n", nil),
        Good("PROXY UNKNOWN " + String(repeating: "x", count: 91) + "\r\n", nil),
        Good(Self.binary(0x21, 0x11, Self.v4), "192.0.2.7:40000"),
        Good(Self.binary(0x21, 0x11, Self.v4 + Self.tlv), "192.0.2.7:40000"),
        Good(Self.binary(0x21, 0x21, Self.v6), "2001:db8::7:40000"),
        Good(
            Self.binary(0x21, 0x21, Self.v6 + [UInt8](repeating: 9, count: 4_044)),
            "2001:db8::7:40000"),
        Good(Self.binary(0x21, 0x00, []), nil),
        Good(Self.binary(0x21, 0x00, Self.tlv), nil),
        Good(Self.binary(0x21, 0x31, [UInt8](repeating: 0x2F, count: 216)), nil),
        Good(Self.binary(0x20, 0x00, []), nil),
        Good(Self.binary(0x20, 0x11, Self.v4), nil),
        Good(Self.binary(0x20, 0x42, Self.tlv), nil),
    ]

    private static func text(_ address: SocketAddress?) -> String? {
        address.map { "\($0.ipAddress ?? ""):\($0.port ?? -1)" }
    }

    @Test(arguments: good)
    func `a header is read whole, and what is behind it stays`(row: Good) throws {
        var bytes = row.bytes
        bytes.writeString("PROXY")
        let answer = try ProxyHeader.read(from: &bytes)
        guard case .header(let header) = answer else {
            Issue.record("\(answer)")
            return
        }
        #expect(Self.text(header.client) == row.client)
        #expect(String(buffer: bytes) == "PROXY")
    }

    @Test(arguments: good)
    func `byte by byte it is the same header, and nothing is taken before`(row: Good) throws {
        var bytes = ByteBuffer()
        for (index, byte) in row.bytes.readableBytesView.enumerated() {
            bytes.writeInteger(byte)
            switch try ProxyHeader.read(from: &bytes) {
            case .readMore:
                #expect(bytes.readableBytes == index + 1)
                #expect(index + 1 < row.bytes.readableBytes)
            case .header(let header):
                #expect(index + 1 == row.bytes.readableBytes)
                #expect(Self.text(header.client) == row.client)
            }
        }
        #expect(bytes.readableBytes == 0)
    }

    struct Bad: CustomTestStringConvertible {
        var bytes: ByteBuffer
        var violation: ProxyHeader.Violation
        var testDescription: String { "\(self.violation), \(self.bytes.readableBytes)" }

        init(_ bytes: ByteBuffer, _ violation: ProxyHeader.Violation) {
            self.bytes = bytes
            self.violation = violation
        }

        init(_ text: String, _ violation: ProxyHeader.Violation) {
            self.init(ByteBuffer(string: text), violation)
        }
    }

    static let bad: [Bad] = [
        Bad("\u{0}\u{0}\u{0}\u{8}\u{4}", .noHeader),
        Bad("\u{16}\u{3}\u{1}", .noHeader),
        Bad("GET / HTTP/1.1\r\n", .noHeader),
        Bad("POST / HTTP/1.1\r\n", .noHeader),
        Bad("PROXZ", .noHeader),
        Bad("\r\nGET", .noHeader),
        Bad("PROXY\tTCP4", .noHeader),
        Bad("PROXY " + String(repeating: "x", count: 101), .textTooLong),
        Bad("PROXY UNKNOWN " + String(repeating: "x", count: 92) + "\r\n", .textTooLong),
        Bad("PROXY \r\n", .malformedText),
        Bad("PROXY TCP4\r\n", .malformedText),
        Bad("PROXY TCP4 192.0.2.7 198.51.100.1 40000 5432\n", .malformedText),
        Bad("PROXY TCP4 192.0.2.7 198.51.100.1 40000\r\n", .malformedText),
        Bad("PROXY TCP4 192.0.2.7 198.51.100.1 40000 5432 \r\n", .malformedText),
        Bad("PROXY TCP4  192.0.2.7 198.51.100.1 40000 5432\r\n", .malformedText),
        Bad("PROXY TCP4 192.0.2.7 198.51.100.1 65536 5432\r\n", .malformedText),
        Bad("PROXY TCP4 192.0.2.7 198.51.100.1 040 5432\r\n", .malformedText),
        Bad("PROXY TCP4 192.0.2.7 198.51.100.1 -1 5432\r\n", .malformedText),
        Bad("PROXY TCP4 192.0.2.7 198.51.100.1 +1 5432\r\n", .malformedText),
        Bad("PROXY TCP4 192.0.2 198.51.100.1 1 2\r\n", .malformedText),
        Bad("PROXY TCP4 localhost 198.51.100.1 1 2\r\n", .malformedText),
        Bad("PROXY TCP4 ::1 198.51.100.1 1 2\r\n", .malformedText),
        Bad("PROXY TCP6 192.0.2.7 ::1 1 2\r\n", .malformedText),
        Bad("PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n", .malformedText),
        Bad(binary(0x11, 0x11, v4), .unknownCommand),
        Bad(binary(0x22, 0x11, v4), .unknownCommand),
        Bad(binary(0x21, 0x12, v4), .unknownFamily),
        Bad(binary(0x21, 0x41, v4), .unknownFamily),
        Bad(binary(0x21, 0x11, v4, length: 11), .badLength),
        Bad(binary(0x21, 0x21, v4), .badLength),
        Bad(binary(0x21, 0x31, v6), .badLength),
        Bad(binary(0x21, 0x11, v4, length: 4_081), .badLength),
        Bad(binary(0x20, 0x00, [], length: 65_535), .badLength),
    ]

    /// All at once and byte by byte: a peer that is none of ours is not waited for.
    @Test(arguments: bad)
    func `what is no header is refused`(row: Bad) {
        var whole = row.bytes
        #expect(throws: row.violation) { try ProxyHeader.read(from: &whole) }
        #expect(throws: row.violation) {
            var bytes = ByteBuffer()
            for byte in row.bytes.readableBytesView {
                bytes.writeInteger(byte)
                _ = try ProxyHeader.read(from: &bytes)
            }
        }
    }

    /// Good headers with a few bytes changed, cut at any place.
    @Test(arguments: UInt64(0)..<500)
    func `no bytes crash the reader, and it never wants more than its bounds`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let row = Self.good[Int.random(in: 0..<Self.good.count, using: &random)]
        var raw = Array(row.bytes.readableBytesView)
        for _ in 0..<Int.random(in: 0...4, using: &random) {
            let place = Int.random(in: 0..<raw.count, using: &random)
            raw[place] = random.byte()
        }
        raw += (0..<Int.random(in: 0...5_000, using: &random)).map { _ in UInt8(ascii: "x") }
        var bytes = ByteBuffer()
        var isDecided = false
        for byte in raw {
            bytes.writeInteger(byte)
            do {
                if try ProxyHeader.read(from: &bytes) != .readMore { isDecided = true }
            } catch {
                isDecided = true
            }
            if isDecided { break }
            #expect(bytes.readableBytes < ProxyHeader.maximumBinaryBytes)
        }
    }
}
