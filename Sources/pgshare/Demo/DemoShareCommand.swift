import ArgumentParser
import Logging
import PostgresClient
import Relay

/// `pgshare demo`, without a further word: a share to be tried out, until Ctrl-C.
struct DemoShareCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "share",
        abstract: "Share a throw-away Postgres, until Ctrl-C; the word itself may be left out.")

    @Flag(help: "Print JSON, one object a line.")
    var json = false

    func run() async throws {
        PgshareLog.bootstrap(format: .text, level: .warning)
        let folder = try DemoFolder()
        defer { folder.remove() }
        let narrator = DemoNarrator(json: self.json)
        narrator.say("Starting a throw-away Postgres …")
        try await runUntilSignal {
            try await DemoPostgres.serving("postgres", in: folder) { postgres in
                try await DemoRelay.serving(in: folder) { relay in
                    try await relay.share(postgres.conninfo(), narrator)
                }
            }
        }
        narrator.say("Everything of the demo is gone.")
    }
}
