import NIOCore

/// What a proxy says, in front of the first byte, of the client whose connection it passes on.
///
/// Pure: no channel, no clock. ``read(from:)`` takes bytes only once the header is whole, and
/// refuses at the first byte that no header has at its place, so that nobody is waited for who
/// does not speak this protocol.
///
/// Source: "The PROXY protocol, versions 1 & 2", haproxy/doc/proxy-protocol.txt, 2.1 and 2.2.
struct ProxyHeader: Hashable, Sendable {
    /// Where the client connects from; nil where the connection is the proxy's own (a health
    /// check) or of a kind that has no IP address: the connection's own peer then counts.
    var client: SocketAddress?

    /// What ``read(from:)`` found.
    enum OnRead: Hashable, Sendable {
        /// Not whole yet; nothing was taken.
        case readMore
        /// It was taken off the front.
        case header(ProxyHeader)
    }

    /// Why the bytes are no header. No bytes of the peer's are repeated.
    enum Violation: Error, Hashable, Sendable {
        /// The first bytes are of neither version.
        case noHeader
        /// Version 1: no end within ``ProxyHeader/maximumTextBytes``.
        case textTooLong
        /// Version 1: a word is missing, one too many, or no address or port.
        case malformedText
        /// Version 2: another version or command than there is.
        case unknownCommand
        /// Version 2: a datagram, or another family than there is.
        case unknownFamily
        /// Version 2: too short for its addresses, or longer than
        /// ``ProxyHeader/maximumBinaryBytes``.
        case badLength
    }

    /// The longest header of version 1, its line end included.
    ///
    /// Source: 2.1, "the worst case is 107 characters".
    static let maximumTextBytes = 107

    /// The longest header of version 2 that is taken, its first 16 bytes included.
    ///
    /// The length word could say 64 KiB. Addresses take 216 bytes at most, and what proxies add
    /// behind them (a certificate's name, an endpoint's id) some hundred. Source: nginx bounds
    /// it alike, `NGX_PROXY_PROTOCOL_MAX_HEADER` in `ngx_proxy_protocol.h`.
    static let maximumBinaryBytes = 4_096

    /// Source: 2.2.
    private static let signature: [UInt8] = [
        0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
    ]
    private static let textPrefix = Array("PROXY ".utf8)
    private static let fixedBytes = 16

    /// Takes a header off the front of `bytes`, once it is whole.
    static func read(from bytes: inout ByteBuffer) throws(Violation) -> OnRead {
        switch bytes.readableBytesView.first {
        case nil: return .readMore
        case Self.textPrefix[0]: return try Self.readText(from: &bytes)
        case Self.signature[0]: return try Self.readBinary(from: &bytes)
        case .some: throw .noHeader
        }
    }

    // MARK: Version 1

    private static func readText(from bytes: inout ByteBuffer) throws(Violation) -> OnRead {
        let view = bytes.readableBytesView.prefix(Self.maximumTextBytes)
        guard zip(view, Self.textPrefix).allSatisfy({ $0 == $1 }) else { throw .noHeader }
        guard let end = view.firstIndex(of: UInt8(ascii: "\n")) else {
            guard view.count < Self.maximumTextBytes else { throw .textTooLong }
            return .readMore
        }
        let line = view[..<end]
        guard line.count > Self.textPrefix.count, line.last == UInt8(ascii: "\r") else {
            throw .malformedText
        }
        let words = line.dropLast().dropFirst(Self.textPrefix.count)
            .split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
        let header = ProxyHeader(client: try Self.client(words))
        bytes.moveReaderIndex(forwardBy: line.count + 1)
        return .header(header)
    }

    /// `TCP4 SOURCE DESTINATION PORT PORT`, or `UNKNOWN` and anything behind it.
    private static func client(_ words: [String]) throws(Violation) -> SocketAddress? {
        if words.first == "UNKNOWN" { return nil }
        guard words.count == 5, let source = Self.port(words[3]), Self.port(words[4]) != nil,
            let client = try? SocketAddress(ipAddress: words[1], port: source),
            let server = try? SocketAddress(ipAddress: words[2], port: 0)
        else { throw .malformedText }
        switch (words[0], client, server) {
        case ("TCP4", .v4, .v4), ("TCP6", .v6, .v6): return client
        default: throw .malformedText
        }
    }

    /// 0 to 65535 without leading zeros.
    private static func port(_ word: String) -> Int? {
        guard (1...5).contains(word.utf8.count),
            word.utf8.allSatisfy((UInt8(ascii: "0")...UInt8(ascii: "9")).contains),
            word == "0" || word.utf8.first != UInt8(ascii: "0")
        else { return nil }
        return UInt16(word).map(Int.init)
    }

    // MARK: Version 2

    private static func readBinary(from bytes: inout ByteBuffer) throws(Violation) -> OnRead {
        let view = bytes.readableBytesView
        guard zip(view, Self.signature).allSatisfy({ $0 == $1 }) else { throw .noHeader }
        let start = bytes.readerIndex
        guard let command = bytes.getInteger(at: start + 12, as: UInt8.self) else {
            return .readMore
        }
        guard command == 0x20 || command == 0x21 else { throw .unknownCommand }
        let isLocal = command == 0x20
        guard let family = bytes.getInteger(at: start + 13, as: UInt8.self) else {
            return .readMore
        }
        let addressBytes = try Self.addressBytes(family, isLocal: isLocal)
        guard let length = bytes.getInteger(at: start + 14, as: UInt16.self) else {
            return .readMore
        }
        let whole = Self.fixedBytes + Int(length)
        guard Int(length) >= addressBytes, whole <= Self.maximumBinaryBytes else {
            throw .badLength
        }
        guard bytes.readableBytes >= whole else { return .readMore }
        let client = isLocal ? nil : Self.client(family, bytes, at: start + Self.fixedBytes)
        // What stands behind the addresses (TLVs) says nothing that matters here.
        bytes.moveReaderIndex(forwardBy: whole)
        return .header(ProxyHeader(client: client))
    }

    /// How many bytes the addresses of a family take. LOCAL ones are skipped, whatever they are.
    private static func addressBytes(_ family: UInt8, isLocal: Bool) throws(Violation) -> Int {
        if isLocal { return 0 }
        switch family {
        case 0x00: return 0
        case 0x11: return 12
        case 0x21: return 36
        case 0x31: return 216
        default: throw .unknownFamily
        }
    }

    private static func client(
        _ family: UInt8, _ bytes: ByteBuffer, at start: Int
    ) -> SocketAddress? {
        let addressLength: Int
        switch family {
        case 0x11: addressLength = 4
        case 0x21: addressLength = 16
        default: return nil
        }
        guard let address = bytes.getSlice(at: start, length: addressLength),
            let port = bytes.getInteger(at: start + 2 * addressLength, as: UInt16.self)
        else { return nil }
        return try? SocketAddress(packedIPAddress: address, port: Int(port))
    }
}
