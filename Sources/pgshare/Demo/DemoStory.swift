import Deploy
import ShareStore

/// What `pgshare demo deploy` does, once its servers stand: the real commands, one after another.
struct DemoStory: Sendable {
    let folder: DemoFolder
    let laptop: DemoPostgres
    let cloud: DemoPostgres
    let relay: DemoRelay
    let narrator: DemoNarrator

    private var target: String { self.cloud.url(DemoShop.database) }

    func tell() async throws {
        try await self.laptop.rows("CREATE DATABASE \(DemoShop.database)", in: "postgres")
        try await self.cloud.rows("CREATE DATABASE \(DemoShop.database)", in: "postgres")
        try await self.laptop.rows(DemoShop.create, in: DemoShop.database)
        let rows = try await self.laptop.rows(DemoShop.count.sql, in: DemoShop.database)
        self.narrator.say(
            "On the laptop: \(DemoShop.database), 4 tables of "
                + (rows.first?.first.flatMap { $0 } ?? "")
                + " rows, with foreign keys, a view, a materialized view and a function.")
        self.narrator.step(
            "The laptop's database is shared through a relay, as \(DemoRelay.shareName)")
        try await self.relay.sharing(self.laptop.conninfo(DemoShop.database)) { password in
            try await self.deploys(password)
        }
    }

    private func deploys(_ password: String) async throws {
        self.narrator.step("The share is deployed to the cloud")
        try await self.deploy(password)
        let first = try await self.compare()

        self.narrator.step("The laptop goes on: 250 new orders, and the view unpaid is dropped")
        try await self.laptop.rows(DemoShop.change, in: DemoShop.database)
        try await self.deploy(password, onlyPlans: true)

        self.narrator.step("Deployed again: what the last deploy made is replaced, all or nothing")
        try await self.deploy(password)
        let second = try await self.compare()
        guard first != second else { throw CommandFailure("the second deploy changed nothing") }

        self.narrator.step("And back")
        try await self.rollBack(password)
        let third = try await self.ask(self.cloud, "the cloud")
        guard third == first else {
            throw CommandFailure("the cloud is not what it was before the second deploy")
        }
        self.narrator.proved("The cloud is what it was before the second deploy.")
    }

    // MARK: The real commands

    private func deploy(_ password: String, onlyPlans: Bool = false) async throws {
        self.narrator.command(
            "pgshare deploy \(DemoRelay.shareName) '\(self.target)' "
                + (onlyPlans ? "--plan" : "--yes"))
        let run = DeployRun(
            source: try DeploySource(DemoRelay.shareName),
            target: try DeployTarget(self.target), options: DeployOptions(),
            onlyPlans: onlyPlans, saysYes: true, context: try await self.context(password),
            printer: DeployPrinter(json: self.narrator.json), json: self.narrator.json)
        try await run.untilDone()
    }

    private func rollBack(_ password: String) async throws {
        self.narrator.command("pgshare deploy rollback '\(self.target)' --yes")
        let run = RollbackRun(
            target: try DeployTarget(self.target), id: nil, saysYes: true,
            context: try await self.context(password),
            printer: DeployPrinter(json: self.narrator.json))
        try await run.printer.finishing { try await run.run() }
    }

    private func context(_ password: String) async throws -> DeployContext {
        let variables = self.relay.environment(sourcePassword: password)
        return try await DeployContext(
            try await Settings(configFile: nil, environment: variables), relay: self.relay.url,
            token: nil, caFile: self.relay.caFile, state: self.folder.state, asks: false)
    }

    // MARK: The proof

    /// Both sides are asked the same.
    private func compare() async throws -> [[String?]] {
        let there = try await self.ask(self.cloud, "the cloud")
        let here = try await self.laptop.rows(DemoShop.query.sql, in: DemoShop.database)
        guard here == there else {
            throw CommandFailure("the laptop and the cloud do not answer the same")
        }
        self.narrator.proved("The laptop answers the same.")
        return there
    }

    private func ask(_ server: DemoPostgres, _ name: String) async throws -> [[String?]] {
        let rows = try await server.rows(DemoShop.query.sql, in: DemoShop.database)
        self.narrator.answered(DemoShop.query, rows, at: name)
        return rows
    }
}
