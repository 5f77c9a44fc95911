import CloudProviders
import Crypto
import Deploy
import Foundation
import PostgresClient

/// A target that its provider finds, adopts or makes.
struct ProviderTarget: Sendable {
    private let provider: any CloudProvider
    private let request: ProviderRequest
    private let context: DeployContext

    /// Reads tokens from the environment, or asks for them at a terminal.
    init(
        _ reference: ProviderReference, _ context: DeployContext, _ source: DeployEnd?
    ) async throws {
        self.context = context
        let password =
            try await context.settings.string(.targetPassword) ?? Self.password(reference.provider)
        self.request = ProviderRequest(
            reference: reference, name: Self.name(source),
            sourceMajor: source.map { $0.database.probe.serverVersion / 10_000 },
            password: password.map(ProviderSecret.init))
        do {
            self.provider = try Self.provider(reference.provider, context)
        } catch {
            throw CommandFailure("\(error)")
        }
    }

    /// What Supabase's own tools read; an empty variable counts as not set.
    private static func password(_ name: ProviderName) -> String? {
        guard name == .supabase else { return nil }
        let found = ProcessInfo.processInfo.environment["SUPABASE_DB_PASSWORD"] ?? ""
        return found.isEmpty ? nil : found
    }

    private static func provider(
        _ name: ProviderName, _ context: DeployContext
    ) throws(ProviderFailure) -> any CloudProvider {
        let environment = ProcessInfo.processInfo.environment
        switch name {
        case .supabase: return SupabaseProvider(try self.settings(name, environment, context))
        case .neon: return NeonProvider(try self.settings(name, environment, context))
        case .rds: return try RDSProvider(environment: environment, stateFolder: context.state)
        }
    }

    private static func settings(
        _ name: ProviderName, _ environment: [String: String], _ context: DeployContext
    ) throws(ProviderFailure) -> ProviderSettings {
        var token = environment[ProviderSettings.tokenVariable(of: name)]
        if token == nil, context.asks,
            let typed = getpass("Access token of \(name.title): ")
        {
            token = String(cString: typed)
        }
        let url =
            environment[ProviderSettings.urlVariable(of: name)]
            ?? ProviderSettings.defaultURL(of: name) ?? ""
        return try ProviderSettings(provider: name, token: token, baseURL: url)
    }

    /// The same for the same source each time, so that a second deploy finds what the first made.
    static func name(_ source: DeployEnd?) -> String {
        guard let source else { return "pgshare" }
        let digest = SHA256.hash(data: Data(source.description.utf8))
        let suffix = digest.prefix(4).map { String(format: "%02x", $0) }.joined()
        let letters = source.database.target.database.lowercased().map { letter in
            letter.isASCII && (letter.isLetter || letter.isNumber) ? letter : "-"
        }
        let word = String(letters).split(separator: "-").joined(separator: "-").prefix(30)
        return ["pgshare", String(word), suffix].filter { !$0.isEmpty }.joined(separator: "-")
    }

    /// What there is, without asking the provider for anything new.
    func survey(_ printer: DeployPrinter) async throws -> DeployPlace? {
        do {
            switch try await self.provider.survey(self.request) {
            case .wouldCreate(let project):
                printer.say(
                    "\(project.provider.title) would be asked for a new database, "
                        + "\(project.name)\(project.region.map { " in \($0)" } ?? ""). "
                        + "The rest of the plan follows from what it gives.")
                return nil
            case .existing(let project, let state):
                printer.say("\(project.provider.title): \(project.name), \(state)")
            }
        } catch {
            throw DeployFailure(error.message, hint: error.advice)
        }
        return try await self.prepare(NoNewProjects(), printer)
    }

    /// Finds, adopts or makes the database.
    func prepare(_ history: RecordedRun, _ printer: DeployPrinter) async throws -> DeployPlace {
        try await self.prepare(ProjectJournal(history: history), printer)
    }

    private func prepare(
        _ journal: any ProviderJournal, _ printer: DeployPrinter
    ) async throws -> DeployPlace {
        let database: ProviderDatabase
        do {
            database = try await self.provider.prepare(self.request, journal: journal) { text in
                printer.happened(.step(PhaseStep(.provider, text)))
            }
        } catch {
            throw DeployFailure(error.message, hint: error.advice)
        }
        let provider = self.provider
        do {
            let found = try await DatabaseSettings.resolve(
                Conninfo.text(database.keywords),
                overrides: ["password": database.password.reveal])
            let project = database.project
            return DeployPlace(
                end: DeployEnd(
                    database: found,
                    description: "\(project.provider.title) \(project.name) "
                        + "(\(found.target.endpoint)/\(found.target.database))",
                    role: database.sessionRole),
                profile: Self.profile(project.provider),
                afterRestore: { database.afterRestoreSQL(schemas: $0) },
                connections: database.connectionStrings.map {
                    ConnectionLabel(label: $0.label, url: $0.url)
                },
                newPassword: database.isNew ? database.password : nil,
                release: { await provider.release(database) })
        } catch {
            await provider.release(database)
            throw DeployFailure("the provider's database cannot be reached: \(error)")
        }
    }

    private static func profile(_ name: ProviderName) -> ProviderProfile {
        switch name {
        case .supabase: .supabase
        case .neon: .neon
        case .rds: .rds
        }
    }
}

/// Writes projects into the run's history before and after they are made.
struct ProjectJournal: ProviderJournal {
    let history: RecordedRun

    func knows(_ project: ProviderProject) async throws(ProviderFailure) -> Bool {
        let known: [ProviderProject]
        do {
            known = try await self.history.projects().compactMap {
                try? JSONDecoder().decode(ProviderProject.self, from: Data($0.utf8))
            }
        } catch {
            throw ProviderFailure("the history cannot be read: \(error)")
        }
        return known.contains { other in
            guard other.provider == project.provider else { return false }
            if let id = project.id, let otherID = other.id { return id == otherID }
            return other.name == project.name
        }
    }

    func creating(_ project: ProviderProject) async throws(ProviderFailure) {
        try await self.write(project)
    }

    func created(_ project: ProviderProject) async throws(ProviderFailure) {
        try await self.write(project)
    }

    func adopted(_ project: ProviderProject) async throws(ProviderFailure) {
        try await self.write(project)
    }

    private func write(_ project: ProviderProject) async throws(ProviderFailure) {
        do {
            let text = String(decoding: try JSONEncoder().encode(project), as: UTF8.self)
            try await self.history.keep(project: text)
        } catch {
            throw ProviderFailure("the history cannot be written: \(error)")
        }
    }
}

/// For `--plan`: whatever would make a project is refused.
private struct NoNewProjects: ProviderJournal {
    private static let refusal = ProviderFailure("a plan makes no project")

    func knows(_ project: ProviderProject) async throws(ProviderFailure) -> Bool { true }
    func creating(_ project: ProviderProject) async throws(ProviderFailure) { throw Self.refusal }
    func created(_ project: ProviderProject) async throws(ProviderFailure) { throw Self.refusal }
    func adopted(_ project: ProviderProject) async throws(ProviderFailure) {}
}
