import Foundation
import NIOCore
import TestSupport

/// A connection to a Postgres on its unix socket, with bytes and nothing else: no libpq.
///
/// Writing and reading go on at the same time, so that large batches do not deadlock.
final class BackendSocket {
    private let descriptor: Int32
    private var inbound = ByteBuffer()
    private var outbound = ByteBuffer()
    /// How long the server may be silent while something is expected of it.
    private static let silence: Int32 = 10_000

    init(_ server: TestPostgres) throws {
        self.descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let path = Array(server.socketPath.utf8)
        withUnsafeMutableBytes(of: &address.sun_path) { target in
            for (index, byte) in path.enumerated() where index < target.count - 1 {
                target[index] = byte
            }
        }
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(self.descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard status == 0 else { throw OracleFailure("no connection: errno \(errno)") }
        let flags = fcntl(self.descriptor, F_GETFL)
        _ = fcntl(self.descriptor, F_SETFL, flags | O_NONBLOCK)
    }

    deinit { close(self.descriptor) }

    /// Logs in by trust and takes the greeting, up to the first ReadyForQuery.
    func start(_ parameters: [(String, String)]) throws -> [WireMessage] {
        var packet = ByteBuffer()
        packet.writeInteger(UInt32(0))
        packet.writeInteger(UInt32(0x0003_0000))
        for (name, value) in parameters {
            packet.writeText(name)
            packet.writeText(value)
        }
        packet.writeInteger(UInt8(0))
        packet.setInteger(UInt32(packet.writerIndex), at: 0)
        self.send(packet)
        var greeting: [WireMessage] = []
        while let message = try self.next() {
            greeting.append(message)
            if message.isType("Z") || message.isType("E") { break }
        }
        return greeting
    }

    /// Sends, sooner or later: what the socket does not take goes out while ``next()`` waits.
    func send(_ bytes: ByteBuffer) {
        self.outbound.writeImmutableBuffer(bytes)
    }

    /// Takes the next message; nil once the server has closed the connection.
    ///
    /// - Throws: ``OracleFailure`` if the server says nothing for long.
    func next() throws -> WireMessage? {
        while true {
            if let message = self.inbound.readWireMessage() {
                self.inbound.discardReadBytes()
                return message
            }
            guard try self.turn() else { return nil }
        }
    }

    private func turn() throws -> Bool {
        var entry = pollfd()
        entry.fd = self.descriptor
        entry.events = Int16(POLLIN)
        if self.outbound.readableBytes > 0 { entry.events |= Int16(POLLOUT) }
        let ready = poll(&entry, 1, Self.silence)
        guard ready > 0 || errno == EINTR else {
            throw OracleFailure("the server is silent")
        }
        if entry.revents & Int16(POLLOUT) != 0 { self.write() }
        guard entry.revents & Int16(POLLIN | POLLHUP | POLLERR) != 0 else { return true }
        return self.read()
    }

    private func write() {
        let written = self.outbound.withUnsafeReadableBytes {
            Foundation.send(self.descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        if written > 0 { self.outbound.moveReaderIndex(forwardBy: written) }
        if self.outbound.readableBytes == 0 { self.outbound.clear() }
    }

    /// - Returns: false at the end of the stream.
    private func read() -> Bool {
        let count = self.inbound.writeWithUnsafeMutableBytes(minimumWritableBytes: 64 * 1024) {
            max(0, recv(self.descriptor, $0.baseAddress, $0.count, 0))
        }
        return count > 0
    }
}

/// A promise was broken, of the session or of the test itself.
struct OracleFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
