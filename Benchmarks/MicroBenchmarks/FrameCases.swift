import NIOCore
import TunnelWire

/// The frame codec alone.
enum FrameCases {
    private static let count = 1_000
    private static let smallBytes = 64
    private static let largeBytes = FrameHeader.maximumPayloadBytes

    /// 1,000 DATA frames of 64 bytes in one read, and 1,000 of 64 KiB whose payload comes apart
    /// from its header, encoded and decoded.
    static func frames() -> (() throws -> Int) {
        let small = ByteBuffer(repeating: 0x64, count: self.smallBytes)
        let large = ByteBuffer(repeating: 0x77, count: self.largeBytes)
        return {
            var decoder = FrameDecoder()
            var wire = ByteBuffer()
            for _ in 0..<self.count {
                wire.writeFrame(.data, streamID: 7, payload: small)
            }
            var payloadBytes = try self.drain(&decoder, &wire)
            for _ in 0..<self.count {
                wire.clear()
                let header = FrameHeader(type: .data, length: self.largeBytes, streamID: 7)
                wire.writeFrameHeader(header)
                var payload = large
                payloadBytes += try self.drain(&decoder, &wire)
                payloadBytes += try self.drain(&decoder, &payload)
            }
            guard payloadBytes == self.count * (self.smallBytes + self.largeBytes) else {
                throw UnexpectedResult(what: "\(payloadBytes) payload bytes came out")
            }
            return payloadBytes
        }
    }

    /// Decodes until more bytes are needed and returns the payload bytes seen.
    private static func drain(
        _ decoder: inout FrameDecoder, _ bytes: inout ByteBuffer
    ) throws -> Int {
        var seen = 0
        while let event = try decoder.next(&bytes) {
            switch event {
            case .data(_, let payload, isFirst: _, isLast: _): seen += payload.readableBytes
            case .control(let header, _): throw UnexpectedResult(what: "\(header.type)")
            }
        }
        return seen
    }
}
