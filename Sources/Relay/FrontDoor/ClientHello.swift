import NIOCore

/// What a relay wants to know of a TLS ClientHello before TLS itself reads it.
///
/// NIOSSL tells the server name only to a callback that does not know its connection, at the price
/// of two more turns of the event loop. So it is read here. TLS judges the message; where this
/// reader cannot follow, it says so and nothing is lost but the name. The name is a stranger's text
/// and protects nothing.
///
/// Source: RFC 8446, section 4.1.2; RFC 6066, section 3; RFC 7301, section 3.1.
struct ClientHello: Equatable {
    /// The host name asked for, as sent; nil where none was.
    var serverName: String?
    /// Whether an application protocol was offered (ALPN).
    var offersProtocols = false

    /// What ``peek(_:)`` found.
    enum Peek: Equatable {
        /// Its first record is not whole yet.
        case incomplete
        /// It is whole.
        case found(ClientHello)
        /// It is no ClientHello, or one that is spread over several records. TLS will say.
        case unreadable
    }

    /// Bytes of a record's header.
    private static let recordHeaderBytes = 5
    /// The longest body of a record that is not encrypted. Source: RFC 8446, section 5.1.
    private static let maximumRecordBytes = 1 << 14
    /// The longest host name. Source: RFC 1035, section 2.3.4.
    private static let maximumNameBytes = 255

    private static let handshakeRecord: UInt8 = 22
    private static let clientHelloMessage: UInt8 = 1
    private static let serverNameExtension: UInt16 = 0
    private static let protocolsExtension: UInt16 = 16
    private static let hostNameType: UInt8 = 0

    /// Looks at the first record of `bytes` and takes nothing.
    static func peek(_ bytes: ByteBuffer) -> Peek {
        guard let type = bytes.getInteger(at: bytes.readerIndex, as: UInt8.self) else {
            return .incomplete
        }
        guard type == Self.handshakeRecord else { return .unreadable }
        guard bytes.readableBytes >= Self.recordHeaderBytes else { return .incomplete }
        let start = bytes.readerIndex + Self.recordHeaderBytes
        guard let length = bytes.getInteger(at: start - 2, as: UInt16.self),
            (1...Self.maximumRecordBytes).contains(Int(length))
        else { return .unreadable }
        guard let record = bytes.getSlice(at: start, length: Int(length)) else {
            return .incomplete
        }
        guard let hello = Self.read(record) else { return .unreadable }
        return .found(hello)
    }

    private static func read(_ record: ByteBuffer) -> ClientHello? {
        var record = record
        guard let head = record.readInteger(as: UInt32.self),
            UInt8(truncatingIfNeeded: head >> 24) == Self.clientHelloMessage,
            var body = record.readSlice(length: Int(head & 0xFF_FFFF)),
            body.readSlice(length: 2 + 32) != nil,  // version, random
            body.readLengthPrefixedSlice(as: UInt8.self) != nil,  // session id
            body.readLengthPrefixedSlice(as: UInt16.self) != nil,  // cipher suites
            body.readLengthPrefixedSlice(as: UInt8.self) != nil  // compression methods
        else { return nil }
        var hello = ClientHello()
        // TLS 1.2 allows a hello without extensions.
        guard body.readableBytes > 0 else { return hello }
        guard var extensions = body.readLengthPrefixedSlice(as: UInt16.self) else { return nil }
        while extensions.readableBytes > 0 {
            guard let type = extensions.readInteger(as: UInt16.self),
                let content = extensions.readLengthPrefixedSlice(as: UInt16.self)
            else { return nil }
            if type == Self.serverNameExtension, hello.serverName == nil {
                hello.serverName = Self.hostName(content)
            } else if type == Self.protocolsExtension {
                hello.offersProtocols = true
            }
        }
        return hello
    }

    private static func hostName(_ content: ByteBuffer) -> String? {
        var content = content
        guard var names = content.readLengthPrefixedSlice(as: UInt16.self) else { return nil }
        while let type = names.readInteger(as: UInt8.self),
            let name = names.readLengthPrefixedSlice(as: UInt16.self)
        {
            guard type == Self.hostNameType else { continue }
            let view = name.readableBytesView
            guard view.count <= Self.maximumNameBytes,
                view.allSatisfy({ (0x21...0x7E).contains($0) })
            else { return nil }
            return String(decoding: view, as: UTF8.self)
        }
        return nil
    }
}
