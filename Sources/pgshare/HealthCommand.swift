import ArgumentParser
import Foundation
import Relay

/// `pgshare health`: whether a relay is ready, for supervisors that have nothing but this program.
struct HealthCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "health", abstract: "Whether a relay is ready: exit code 0, or 1 and why not.",
        discussion: """
            Asks GET /readyz. No token is needed. A relay on this machine is asked without a look \
            at its certificate, which names its public domain, unless --ca-file is given.
            """)

    /// What /readyz answers.
    private struct Answer: Codable {
        var status: String
    }

    @Argument(help: "The relay's URL; default: --relay's, https://localhost:8443.")
    var url: String?
    @Option(help: "The authority that the relay's certificate comes from, as PEM.")
    var caFile: String?
    @Flag(help: "Print one JSON object.")
    var json = false

    func run() async throws {
        let settings = try await Settings(configFile: nil)
        let relay = try await settings.string(.relay, flag: self.url, default: DefaultPlaces.relay)
        let caFile = try await settings.string(.caFile, flag: self.caFile)
        let data = try await RelayAPI(health: relay, caFile: caFile).ask(.get, "/readyz")
        guard let answer = try? JSONDecoder().decode(Answer.self, from: data),
            answer.status == "ready"
        else { throw CommandFailure("what answers there is no relay of pgshare; check the URL") }
        if self.json { try Output.printJSON(answer) } else { print(answer.status) }
    }
}
