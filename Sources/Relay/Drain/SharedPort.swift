import NIOCore
import NIOPosix

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Two relays on one port, for the moment in which one takes over from the other.
///
/// Every listening socket of a relay has SO_REUSEPORT, so a second one of the same user can stand
/// beside it. One that was started by mistake must not: unless a relay is told to take over, it
/// first binds without the option, which fails while anybody listens.
enum SharedPort {
    /// Fails if anybody listens at that address. It binds and does not listen: nobody gets in.
    ///
    /// - Throws: ``RelayError`` with the words of the system.
    static func probe(host: String, port: Int) throws {
        guard port != 0 else { return }
        let address = try SocketAddress.makeAddressResolvingHost(host, port: port)
        let domain = CInt(address.protocol.rawValue)
        let descriptor = socket(domain, Self.stream, 0)
        guard descriptor >= 0 else { throw RelayError(Self.errorText()) }
        defer { close(descriptor) }
        var yes: CInt = 1
        setsockopt(
            descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<CInt>.size))
        let bound = address.withSockAddr { pointer, size in
            bind(descriptor, pointer, socklen_t(size))
        }
        guard bound == 0 else { throw RelayError(Self.errorText()) }
    }

    #if canImport(Glibc)
        private static let stream = CInt(SOCK_STREAM.rawValue)
    #else
        private static let stream = SOCK_STREAM
    #endif

    private static func errorText() -> String { String(cString: strerror(errno)) }

    #if os(Linux)
        /// Socket options of Linux that the C library may not name. Source: Linux,
        /// `include/uapi/asm-generic/socket.h`.
        static let reusePort = NIOBSDSocket.Option(rawValue: 15)
        private static let attachReusePortProgram = NIOBSDSocket.Option(rawValue: 51)

        /// One instruction of a classic BPF program. Source: Linux, `linux/filter.h`.
        private struct Instruction: Sendable {
            var code: UInt16
            var jumpIfTrue: UInt8 = 0
            var jumpIfFalse: UInt8 = 0
            var value: UInt32
        }

        /// `struct sock_fprog`, as it lies in memory on a 64-bit machine.
        private struct Program: Sendable {
            var length: UInt16
            var instructions: UInt
        }

        /// `return value`, as a program. Source: Linux, `BPF_RET | BPF_K`.
        private static let returnValue: UInt16 = 0x06
    #endif

    /// Sends every new connection of that port to the socket that was bound second: the new
    /// relay's. So the queue of the old one runs empty before it is closed, and no connection
    /// that the kernel has completed is lost with it. Once the old one is gone, the program names a
    /// socket that is not there, and the kernel chooses as it would without one.
    ///
    /// Source: socket(7), SO_ATTACH_REUSEPORT_CBPF; Linux, `reuseport_select_sock`.
    ///
    /// - Returns: whether the kernel took the program.
    @discardableResult
    static func takeNewConnections(_ listener: any Channel) async -> Bool {
        #if os(Linux)
            guard let provider = listener as? any SocketOptionProvider else { return false }
            let instructions = UnsafeMutablePointer<Instruction>.allocate(capacity: 1)
            instructions.initialize(to: Instruction(code: Self.returnValue, value: 1))
            defer { instructions.deallocate() }
            let program = Program(length: 1, instructions: UInt(bitPattern: instructions))
            do {
                try await provider.unsafeSetSocketOption(
                    level: .socket, name: Self.attachReusePortProgram, value: program
                ).get()
                return true
            } catch {
                return false
            }
        #else
            return false
        #endif
    }
}

extension ServerBootstrap {
    /// Lets another socket of this user listen on the same port, on systems that can.
    func sharingPort(_ isShared: Bool) -> ServerBootstrap {
        #if os(Linux)
            guard isShared else { return self }
            return self.serverChannelOption(.socketOption(SharedPort.reusePort), value: 1)
        #else
            return self
        #endif
    }
}
