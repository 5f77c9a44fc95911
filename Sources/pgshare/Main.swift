import ArgumentParser

/// The `pgshare` program.
struct Pgshare: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pgshare",
        abstract: "Any Postgres client reaches a Postgres that cannot be reached.",
        version: programVersion,
        subcommands: [
            RelayCommand.self, ShareCommand.self, SharesCommand.self, TokenCommand.self,
            CertsCommand.self, DemoCommand.self, DeployCommand.self, HealthCommand.self,
        ])
}

/// The version of the program, as `--version` and the tunnel's HELLO say it.
let programVersion = "0.1.0"

@main
struct Main {
    static func main() async {
        await CommandExit.run(Pgshare.self)
    }
}
