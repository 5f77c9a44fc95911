import ArgumentParser
import Deploy
import Logging
import NIOConcurrencyHelpers
import Relay

/// `pgshare demo deploy`: share, deploy, proof, deploy again and back, in less than a minute.
struct DemoDeployCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deploy",
        abstract: "Share a throw-away Postgres, deploy it to another, prove it, take it back.")

    @Flag(help: "Print JSON, one object a line.")
    var json = false

    func run() async throws {
        PgshareLog.bootstrap(format: .text, level: .warning)
        let started = ContinuousClock.now
        let narrator = DemoNarrator(json: self.json)
        let folder = try DemoFolder()
        let isWhole = NIOLockedValueBox(false)
        do {
            defer { folder.remove() }
            try await runUntilSignal {
                try await Self.run(folder, narrator) { isWhole.withLockedValue { $0 = true } }
            }
        }
        narrator.finished(isWhole: isWhole.withLockedValue { $0 }, seconds: started.seconds)
    }

    private static func run(
        _ folder: DemoFolder, _ narrator: DemoNarrator, told: @escaping @Sendable () -> Void
    ) async throws {
        do {
            narrator.step("Two throw-away Postgres servers: your laptop and the cloud")
            try await DemoPostgres.serving("laptop", in: folder) { laptop in
                try await DemoPostgres.serving("cloud", in: folder) { cloud in
                    try await DemoRelay.serving(in: folder) { relay in
                        let story = DemoStory(
                            folder: folder, laptop: laptop, cloud: cloud, relay: relay,
                            narrator: narrator)
                        try await story.tell()
                        told()
                    }
                }
            }
        } catch {
            // Ctrl-C: whatever was cut short has words of its own for it, and none is wanted.
            throw Task.isCancelled ? CancellationError() : error
        }
    }
}
