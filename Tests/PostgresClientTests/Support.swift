import NIOCore
import NIOPosix
import PostgresClient
import Synchronization
import TestSupport

extension TestPostgres {
    /// A connector by the unix socket, as the superuser.
    func connector(database: String = "postgres") throws -> DatabaseConnector {
        try DatabaseConnector(
            DatabaseTarget(
                endpoint: .unixSocket(path: self.socketPath), user: "postgres", database: database))
    }

    /// A session on a loop of its own choice.
    func session(
        database: String = "postgres",
        on loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()
    ) async throws -> PostgresSession {
        try await PostgresSession.connect(
            self.connector(database: database), applicationName: "tests", on: loop)
    }
}

/// The error a body throws, of this type.
func failure<Failure: Error>(
    _ type: Failure.Type,
    _ body: () async throws -> Void
) async -> Failure? {
    do {
        try await body()
        return nil
    } catch {
        return error as? Failure
    }
}

/// What a callback was told.
final class Told: Sendable {
    private let value = Mutex<Int64>(0)
    private let (stream, continuation) = AsyncStream.makeStream(of: Int64.self)

    var last: Int64 { self.value.withLock { $0 } }

    func bytes(_ count: Int64) {
        self.value.withLock { $0 = count }
        self.continuation.yield(count)
    }

    /// Returns once more than this many bytes were told of.
    func wait(beyond count: Int64) async {
        for await bytes in self.stream where bytes > count { return }
    }
}
