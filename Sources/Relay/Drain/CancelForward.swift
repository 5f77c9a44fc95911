import NIOCore
import NIOPosix
import PostgresWire

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Hands a CancelRequest on to relays that drain: the client that it is for may be theirs.
enum CancelForward {
    /// How long a relay of the same machine may take to answer the connection.
    private static let connectTimeout = TimeAmount.seconds(1)

    /// Asks all of them; the promise succeeds once each has closed its connection, which it does
    /// when the database has taken the request, or at once for a key that it does not know.
    ///
    /// `isGone` is told of ports where nobody listens: that relay was killed.
    static func send(
        _ key: CancelKey, to ports: [Int], on group: any EventLoopGroup,
        isGone: @escaping @Sendable (Int) -> Void, _ promise: EventLoopPromise<Void>
    ) {
        let loop = group.next()
        let asked = ports.map { port -> EventLoopFuture<Void> in
            let address: SocketAddress
            do {
                address = try SocketAddress(ipAddress: "127.0.0.1", port: port)
            } catch {
                return loop.makeFailedFuture(error)
            }
            let connected = ClientBootstrap(group: loop)
                .connectTimeout(Self.connectTimeout)
                .connect(to: address)
            connected.whenFailure { error in
                if (error as? IOError)?.errnoCode == ECONNREFUSED { isGone(port) }
            }
            return
                connected
                .flatMap { channel in
                    // Whoever asked may give up.
                    promise.futureResult.whenComplete { _ in channel.close(promise: nil) }
                    channel.writeAndFlush(PostgresMessage.cancelRequest(key), promise: nil)
                    return channel.closeFuture
                }
        }
        EventLoopFuture.andAllComplete(asked, on: loop).whenComplete { _ in promise.succeed() }
    }
}
