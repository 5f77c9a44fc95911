import NIOCore
import NIOPosix
import PostgresClient
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
