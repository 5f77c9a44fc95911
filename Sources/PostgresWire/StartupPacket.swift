import NIOCore

/// One packet of the start-up talk. These have no type byte: length, code, rest.
///
/// Source: PostgreSQL documentation, "Message Formats": CancelRequest, GSSENCRequest, SSLRequest,
/// StartupMessage; `ProcessStartupPacket` in `backend_startup.c`.
enum StartupPacket: Equatable {
    case sslRequest
    case gssRequest
    case cancel(CancelKey)
    case startup(StartupRequest)

    static let sslRequestCode: UInt32 = 1234 << 16 | 5679
    static let gssRequestCode: UInt32 = 1234 << 16 | 5680
    static let cancelRequestCode: UInt32 = 1234 << 16 | 5678

    /// Length word and code, in bytes: the least that a packet can be.
    private static let headerBytes = 8

    /// For messages about a packet in the wrong place.
    var name: String {
        switch self {
        case .sslRequest: "SSLRequest"
        case .gssRequest: "GSSENCRequest"
        case .cancel: "CancelRequest"
        case .startup: "StartupMessage"
        }
    }

    /// Takes one packet off the front of `bytes`, or nothing where it is not whole.
    ///
    /// Length and code are judged as soon as they are there, before anything is waited for.
    static func read(
        from bytes: inout ByteBuffer,
        maximumBytes: Int
    ) throws(StartupViolation) -> StartupPacket? {
        let start = bytes.readerIndex
        guard let word = bytes.getInteger(at: start, as: UInt32.self) else { return nil }
        let length = Int(word)
        guard (self.headerBytes...maximumBytes).contains(length) else {
            throw .badLength(length)
        }
        guard let code = bytes.getInteger(at: start + 4, as: UInt32.self) else { return nil }
        try self.check(length: length, of: code)
        guard var body = bytes.readSlice(length: length) else { return nil }
        body.moveReaderIndex(forwardBy: self.headerBytes)
        return try self.parse(code: code, length: length, body: body)
    }

    /// Whether `bytes` are the beginning of a CancelRequest, as far as they go.
    static func mayCancel(_ bytes: ByteBuffer) -> Bool {
        let longest = self.headerBytes + MemoryLayout<Int32>.size + CancelKey.secretBytes.upperBound
        let start = bytes.readerIndex
        guard let length = bytes.getInteger(at: start, as: UInt32.self) else {
            // Its length is below 2^16, and begins with two zeros.
            return bytes.readableBytesView.prefix(2).allSatisfy { $0 == 0 }
        }
        guard (self.headerBytes...longest).contains(Int(length)) else { return false }
        let code = ByteBuffer(integer: self.cancelRequestCode)
        let seen = bytes.readableBytesView.dropFirst(4).prefix(4)
        return code.readableBytesView.starts(with: seen)
    }

    private static func check(length: Int, of code: UInt32) throws(StartupViolation) {
        switch code {
        case self.sslRequestCode, self.gssRequestCode:
            guard length == self.headerBytes else { throw .badLength(length) }
        case self.cancelRequestCode:
            let secretBytes = length - self.headerBytes - MemoryLayout<Int32>.size
            guard CancelKey.secretBytes.contains(secretBytes) else { throw .badLength(length) }
        default:
            let version = ProtocolVersion(word: code)
            guard version.major == 3 else { throw .unsupportedVersion(version) }
        }
    }

    private static func parse(
        code: UInt32,
        length: Int,
        body: ByteBuffer
    ) throws(StartupViolation) -> StartupPacket {
        switch code {
        case self.sslRequestCode: return .sslRequest
        case self.gssRequestCode: return .gssRequest
        case self.cancelRequestCode:
            guard let key = CancelKey(body: body) else { throw .badLength(length) }
            return .cancel(key)
        default:
            return .startup(try StartupRequest(version: ProtocolVersion(word: code), body: body))
        }
    }
}
