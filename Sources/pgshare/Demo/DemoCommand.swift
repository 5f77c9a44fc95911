import ArgumentParser

/// `pgshare demo`: all of it on one machine, with no set-up.
struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Relay, throw-away Postgres and share on this machine; Ctrl-C cleans up.",
        usage: "pgshare demo [deploy] [--json]",
        discussion: """
            `pgshare demo deploy` goes on from there: it deploys the share to a second throw-away \
            Postgres, proves it, changes the source, deploys again and takes that back.
            """,
        subcommands: [DemoShareCommand.self, DemoDeployCommand.self],
        defaultSubcommand: DemoShareCommand.self)
}
