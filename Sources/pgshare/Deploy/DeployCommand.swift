import ArgumentParser
import Deploy
import Foundation

/// `pgshare deploy`: a database into another, all of it or nothing, and compared.
struct DeployCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deploy",
        abstract: "Copy a database into another, all of it or nothing, and compare both.",
        usage: """
            pgshare deploy SOURCE TARGET [--plan] [--yes] [--jobs N] [--json] [OPTION ...]
            pgshare deploy list | show | resume | rollback [OPTION ...]
            """,
        discussion: """
            SOURCE is a share, by id or name, or whatever psql would take. TARGET is whatever \
            psql would take, or supabase:PROJECT, neon:PROJECT or rds:INSTANCE. Passwords come \
            from the URL, .pgpass, PGSHARE_SOURCE_PASSWORD and PGSHARE_TARGET_PASSWORD, or are \
            asked for.

            All options: pgshare deploy run --help
            """,
        subcommands: [
            DeployRunCommand.self, DeployListCommand.self, DeployShowCommand.self,
            DeployResumeCommand.self, DeployRollbackCommand.self,
        ],
        defaultSubcommand: DeployRunCommand.self)
}

/// What all that connect take.
struct DeployConnectionFlags: ParsableArguments {
    @Option(help: "A JSON file of settings.")
    var config: String?
    @Option(help: "The relay that knows the share; default: https://localhost:8443.")
    var relay: String?
    @Option(help: "The relay's token for you; better in PGSHARE_TOKEN than in argv.")
    var token: String?
    @Option(help: "The authority that the relay's certificate is checked with, PEM.")
    var caFile: String?
    @Option(help: "Where the history is; default: ~/.local/state/pgshare.")
    var state: String?
    @Flag(help: "Do not ask.")
    var yes = false
    @Flag(help: "Print JSON, one object a line.")
    var json = false

    func context() async throws -> DeployContext {
        let settings = try await Settings(configFile: self.config)
        let asks = try await !settings.bool(.yes, flag: self.yes)
        return try await DeployContext(
            settings, relay: self.relay, token: self.token, caFile: self.caFile,
            state: self.state, asks: asks && !self.json && isatty(STDIN_FILENO) == 1)
    }
}

/// `pgshare deploy [run] SOURCE TARGET`.
struct DeployRunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Deploy; the word itself may be left out.")

    @Argument(help: "A share's id or name, or a URL.")
    var source: String
    @Argument(help: "A URL, or supabase:, neon: or rds: and what follows.")
    var target: String
    @Flag(help: "Show what would be done, and stop.")
    var plan = false
    @OptionGroup var connection: DeployConnectionFlags
    @OptionGroup var how: DeployOptionFlags

    func run() async throws {
        let context = try await self.connection.context()
        let settings = context.settings
        let run = DeployRun(
            source: try DeploySource(self.source),
            target: try DeployTarget(self.target),
            options: try await self.how.options(settings),
            onlyPlans: try await settings.bool(.plan, flag: self.plan),
            saysYes: try await settings.bool(.yes, flag: self.connection.yes),
            context: context,
            printer: DeployPrinter(json: self.connection.json),
            json: self.connection.json)
        try await run.untilSignal()
    }
}
