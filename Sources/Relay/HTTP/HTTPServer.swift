import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle

/// Accepts the connections of the HTTPS door.
///
/// Hummingbird answers the requests; its own server knows neither how to share a port with a
/// second relay nor how to stop accepting while tunnels go on.
struct HTTPServer: Sendable {
    let configuration: HTTPDoorConfiguration
    let group: any EventLoopGroup
    let child: HTTPDoorChannel
    let logger: Logger

    /// Connections that the kernel completes before they are accepted: as many as the front door.
    private static let backlog: Int32 = 1_024

    /// Binds, and serves until the listening channel is closed, or the task is told to stop.
    ///
    /// - Parameter onListening: Told the listening channel: closing it ends the run, not the
    ///   tunnels.
    /// - Throws: When the address cannot be bound.
    func run(onListening: @Sendable (any Channel) async -> Void) async throws {
        let server = try await self.bind()
        await withGracefulShutdownHandler {
            await withTaskCancellationHandler {
                await onListening(server.channel)
                await self.serve(server)
            } onCancel: {
                server.channel.close(promise: nil)
            }
        } onGracefulShutdown: {
            server.channel.close(promise: nil)
        }
    }

    private func bind() async throws -> NIOAsyncChannel<HTTPDoorChannel.Value, Never> {
        let maximum = self.configuration.limits.maximumConnections
        return try await ServerBootstrap(group: self.group)
            .serverChannelOption(.backlog, value: Self.backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .sharingPort(self.configuration.sharesPort)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        AvailableConnectionsChannelHandler(
                            delegate: MaximumAvailableConnections(maximum, logger: self.logger)))
                }
            }
            .bind(host: self.configuration.host, port: self.configuration.port) { channel in
                self.child.setup(channel: channel, logger: self.logger)
            }
    }

    private func serve(_ server: NIOAsyncChannel<HTTPDoorChannel.Value, Never>) async {
        await withDiscardingTaskGroup { group in
            do {
                try await server.executeThenClose { connections in
                    for try await connection in connections {
                        group.addTask {
                            await self.child.handle(value: connection, logger: self.logger)
                        }
                    }
                }
            } catch {
                self.logger.debug("accepting ended")
            }
            // Who has not become a tunnel has had its answer, or gets none any more.
            group.cancelAll()
        }
    }
}
