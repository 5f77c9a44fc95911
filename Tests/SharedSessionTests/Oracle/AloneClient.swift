import NIOCore
import TestSupport

/// A script on a Postgres backend of its own: what the client must see.
enum AloneClient {
    /// Runs a script to its end. Steps in `cancelled` were cancelled before they ran, and so are
    /// not run here.
    static func run(
        _ script: ClientScript, on server: TestPostgres, database: String,
        cancelled: Set<Int> = []
    ) throws -> ScriptedClient {
        let socket = try BackendSocket(server)
        var client = ScriptedClient(script)
        let own = [("user", "postgres"), ("database", database)]
        for message in try socket.start(own + script.startup) { client.receive(message) }
        while !client.isDead {
            if client.isReady {
                client.passBy()
                if cancelled.contains(client.position), !client.isAwaitingAnswer {
                    client.skipCancelled()
                    continue
                }
                if !cancelled.contains(client.position) {
                    guard let step = client.next() else { break }
                    socket.send(step.bytes)
                    continue
                }
            }
            guard let message = try socket.next() else {
                throw OracleFailure("Postgres closed the connection")
            }
            client.receive(message)
        }
        return client
    }
}
