import Agent
import ArgumentParser
import Foundation
import NIOCore
import NIOPosix
import PostgresClient
import PostgresWire
import SharePolicy
import TunnelTransport
import TunnelWire
import UnixSignals

/// `pgshare share`: the agent beside a Postgres.
struct ShareCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "share",
        abstract: "Share a Postgres through a relay, until Ctrl-C.",
        discussion: """
            POSTGRES-URL is what psql takes: a URL, key=value text, a database name, or nothing; \
            PG… variables, .pgpass and service files count. Clients log in with the share's own \
            password and work as the role that this command logs in as. The password is made \
            anew each time, or taken from PGSHARE_PASSWORD.
            """)

    @Argument(help: "Where the database is; default: as libpq finds it.")
    var postgresURL: String?
    @Option(help: "A JSON file of settings.")
    var config: String?
    @Option(help: "The relay; default: https://localhost:8443.")
    var relay: String?
    @Option(help: "The relay's token for you; better in PGSHARE_TOKEN than in argv.")
    var token: String?
    @Option(help: "The authority that the relay's certificate is checked with, PEM.")
    var caFile: String?
    @Option(help: "auto, raw or websocket; default: auto, raw where the network lets it through.")
    var transport: String?
    @Option(help: "A name for the share, part of its address.")
    var name: String?
    @Option(help: "How long the share lasts: 90s, 30m, 8h, 7d; default: 8h.")
    var expires: String?
    @Option(help: "Clients at once; default: 20.")
    var maxConnections: Int?
    @Flag(help: "Clients cannot write, whatever they try.")
    var readOnly = false
    @Option(help: "A network clients may come from, such as 192.0.2.0/24. Repeat for more.")
    var allow: [String] = []
    @Option(help: "scram, or password: in clear inside TLS, for clients without SCRAM.")
    var auth: String?
    @Flag(help: "Let clients open the other databases of this server, too.")
    var allDatabases = false
    @Flag(help: "Print JSON, one object a line.")
    var json = false

    func run() async throws {
        let settings = try await Settings(configFile: self.config)
        let plan = try await SharePlan(self, settings)
        let printer = SharePrinter(plan: plan, json: self.json)
        let database = try await plan.resolveDatabase()
        printer.found(database.probe)
        if plan.readOnly {
            try await self.shareReadOnly(plan, database, printer)
        } else {
            try await plan.share(database.target, database.probe, printer)
        }
    }

    private func shareReadOnly(
        _ plan: SharePlan, _ database: ResolvedDatabase, _ printer: SharePrinter
    ) async throws {
        let guarded: ReadOnlyGuard
        do {
            guarded = try await ReadOnlyGuard.start(database, conninfo: plan.conninfo)
        } catch {
            throw CommandFailure("\(error)")
        }
        let watch = Task { await guarded.watch { printer.happened($0) } }
        defer { watch.cancel() }
        let result: Result<Void, any Error>
        do {
            try await plan.share(guarded.target, database.probe, printer) { event in
                guarded.happened(event)
            }
            result = .success(())
        } catch {
            result = .failure(error)
        }
        do {
            try await guarded.stop()
        } catch {
            throw CommandFailure("\(error)")
        }
        try result.get()
    }
}

/// How the agent's links travel.
enum TransportChoice: String, CaseIterable, Sendable {
    /// Raw, and WebSocket where that does not get through.
    case auto
    /// Raw or not at all.
    case raw
    /// WebSocket from the start.
    case websocket
}

/// Everything `pgshare share` was asked, checked.
struct SharePlan: Sendable {
    /// The shortest password that is taken from the environment.
    private static let shortestPassword = 12
    /// No relay serves a share for longer: 90 days.
    private static let longestExpiry = Duration.seconds(90 * 86_400)

    let conninfo: String?
    let endpoint: RelayEndpoint
    let token: String
    /// Whether the token was made up here, for a relay that is open.
    let isTokenMadeUp: Bool
    let trust: RelayTrust
    let caFile: String?
    let transport: TransportChoice
    let proxy: ProxySettings
    let name: String?
    let expires: Duration?
    let maxConnections: Int
    let readOnly: Bool
    let allow: [CIDR]
    let auth: Share.AuthMethod
    let allDatabases: Bool
    let password: Secret

    init(_ command: ShareCommand, _ settings: Settings) async throws {
        self.conninfo = try await settings.string(.database, flag: command.postgresURL)
        let relay = try await settings.string(
            .relay, flag: command.relay, default: DefaultPlaces.relay)
        guard let endpoint = RelayEndpoint(relay) else {
            throw SettingsError.unusableValue(
                .relay, expected: "a URL such as https://relay.example.com:8443")
        }
        self.endpoint = endpoint
        let token = try await settings.string(.token, flag: command.token)
        self.token = try Self.checked(token)
        self.isTokenMadeUp = token == nil
        let state = try await settings.string(.state, default: DefaultPlaces.stateFolder())
        self.caFile =
            try await settings.string(.caFile, flag: command.caFile)
            ?? DefaultPlaces.caFile(forRelay: relay, state: state)
        self.trust = self.caFile.map { .certificateFile($0) } ?? .system
        self.transport =
            try await settings.choice(
                .transport, flag: command.transport, of: TransportChoice.self) ?? .auto
        self.proxy = try Self.proxy(ProcessInfo.processInfo.environment)
        self.name = try Self.name(try await settings.string(.name, flag: command.name))
        self.expires = try Self.expiry(
            try await settings.duration(.expires, flag: command.expires))
        self.maxConnections = try Self.connections(
            try await settings.int(.maxConnections, flag: command.maxConnections))
        self.readOnly = try await settings.bool(.readOnly, flag: command.readOnly)
        self.allow = try Self.networks(try await settings.strings(.allow, flag: command.allow))
        self.auth =
            try await settings.choice(.auth, flag: command.auth, of: Share.AuthMethod.self)
            ?? .scram
        self.allDatabases = try await settings.bool(.allDatabases, flag: command.allDatabases)
        self.password = try Self.password(try await settings.string(.password))
        guard !(self.readOnly && self.allDatabases) else {
            throw ValidationError(
                "--read-only guards one database; it cannot be combined with --all-databases")
        }
    }

    /// What the environment says of proxies, as curl reads it.
    private static func proxy(_ environment: [String: String]) throws -> ProxySettings {
        do {
            return try ProxySettings(environment: environment)
        } catch {
            throw ValidationError(error.message)
        }
    }

    /// A token, or one made up for a relay that is open: it only tells who comes back.
    private static func checked(_ token: String?) throws -> String {
        guard let token else {
            var generator = SystemRandomNumberGenerator()
            return TunnelToken.make(using: &generator).reveal
        }
        guard AccessToken(token) != nil else {
            throw SettingsError.unusableValue(
                .token, expected: "a token of the relay (pgs_…), or of an issuer it believes (JWT)")
        }
        return token
    }

    private static func name(_ name: String?) throws -> String? {
        guard name.map({ ShareName(rawValue: $0) != nil }) ?? true else {
            throw SettingsError.unusableValue(
                .name, expected: "1 to 40 of a-z, 0-9 and hyphens, none at the ends")
        }
        return name
    }

    private static func expiry(_ time: Duration?) throws -> Duration? {
        guard time ?? .zero <= Self.longestExpiry else {
            throw SettingsError.unusableValue(.expires, expected: "a time of at most 90d")
        }
        return time
    }

    private static func connections(_ count: Int?) throws -> Int {
        var limits = ShareLimits()
        limits.maximumClients = count ?? limits.maximumClients
        guard (try? limits.validated()) != nil else {
            throw SettingsError.unusableValue(
                .maxConnections, expected: "a number from 1 to 10000")
        }
        return limits.maximumClients
    }

    private static func networks(_ texts: [String]) throws -> [CIDR] {
        guard texts.count <= ShareLimits.maximumNetworks else {
            throw SettingsError.unusableValue(
                .allow, expected: "at most \(ShareLimits.maximumNetworks) networks")
        }
        return try texts.map { text in
            guard let network = CIDR(text) else {
                throw SettingsError.unusableValue(
                    .allow, expected: "networks such as 192.0.2.0/24 or 2001:db8::/32")
            }
            return network
        }
    }

    private static func password(_ given: String?) throws -> Secret {
        if let given {
            guard given.count >= Self.shortestPassword else {
                throw SettingsError.unusableValue(
                    .password, expected: "at least \(Self.shortestPassword) characters")
            }
            return Secret(given)
        }
        var generator = SystemRandomNumberGenerator()
        return SharePassword.make(using: &generator)
    }

    /// Connects once, so that a database that cannot be reached is found out at the start.
    func resolveDatabase() async throws -> ResolvedDatabase {
        do {
            return try await DatabaseSettings.resolve(self.conninfo)
        } catch {
            throw CommandFailure("the database cannot be shared: \(error)")
        }
    }

    /// Shares until SIGINT or SIGTERM, or until the relay says that it is over.
    func share(
        _ target: DatabaseTarget, _ probe: DatabaseProbe, _ printer: SharePrinter,
        happened: @escaping @Sendable (AgentEvent) -> Void = { _ in }
    ) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: System.coreCount)
        let result: Result<Void, any Error>
        do {
            let tunnel = try self.tunnel(target, probe, group) { event in
                printer.happened(event)
                happened(event)
            }
            try await runUntilSignal { try await tunnel.run() }
            result = .success(())
        } catch let error as AgentError {
            result = .failure(self.failure(error))
        } catch let error as DatabaseSettingsError {
            result = .failure(CommandFailure("\(error)"))
        } catch let error as DialError {
            result = .failure(CommandFailure(error.message))
        } catch {
            result = .failure(error)
        }
        try? await group.shutdownGracefully()
        printer.finish()
        try result.get()
    }

    /// Who gave no token is told so, and not that the one made up here is unknown.
    private func failure(_ error: AgentError) -> any Error {
        let refused = DialError.unauthorized(message: "").message
        guard self.isTokenMadeUp, error.message.hasPrefix(refused) else {
            return CommandFailure(SharePrinter.printable(error.message))
        }
        return SettingsError.missing(.token)
    }

    func tunnel(
        _ target: DatabaseTarget, _ probe: DatabaseProbe, _ group: MultiThreadedEventLoopGroup,
        happened: @escaping @Sendable (AgentEvent) -> Void
    ) throws -> AgentTunnel {
        var generator = SystemRandomNumberGenerator()
        let verifier = SCRAMVerifier(password: self.password, using: &generator)
        let request = Hello.ShareRequest(
            name: self.name, verifier: verifier.text, auth: self.auth.rawValue,
            database: probe.database, user: probe.role, maxConnections: self.maxConnections,
            expiresIn: self.expires.map { Int($0.components.seconds) },
            readOnly: self.readOnly, allow: self.allow.map { "\($0)" })
        return AgentTunnel(
            dialer: try TunnelDialer(
                relay: self.endpoint, token: self.token, trust: self.trust, proxy: self.proxy,
                fallsBack: self.transport == .auto),
            transport: self.transport == .websocket ? .webSocket : .raw, share: request,
            connector: try DatabaseConnector(target),
            policy: AgentPolicy(
                database: probe.database, servesAllDatabases: self.allDatabases,
                maximumClients: self.maxConnections, allow: self.allow),
            loops: Array(group.makeIterator()), program: "pgshare/\(programVersion)",
            onEvent: happened)
    }
}

/// Runs `body` until it ends, or until SIGINT or SIGTERM cancels it.
func runUntilSignal(_ body: @escaping @Sendable () async throws -> Void) async throws {
    let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await body() }
        group.addTask {
            for await _ in signals { return }
        }
        do {
            try await group.next()
        } catch is CancellationError {
            // Ended by the signal.
        }
        group.cancelAll()
        while let result = await group.nextResult() {
            if case .failure(let error) = result, !(error is CancellationError) { throw error }
        }
    }
}
