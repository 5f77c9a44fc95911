import ArgumentParser
import Foundation
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Relay
import ServiceLifecycle
import SharePolicy

/// `pgshare relay`: the public server.
struct RelayCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "relay",
        abstract: "Run the public server that clients and agents connect to.",
        discussion: """
            Every flag can also be set as PGSHARE_… in the environment or as a key of the config \
            file (JSON). Make tokens for agents with 'pgshare token create NAME'.
            """)

    @Option(help: "A JSON file of settings.")
    var config: String?
    @Option(help: "The domain below which shares have host names; default: localhost.")
    var domain: String?
    @Option(help: "Where clients connect, HOST:PORT; default: 127.0.0.1:15432. Port 0: any.")
    var postgresListen: String?
    @Option(help: "Where agents connect, HOST:PORT; default: 127.0.0.1:8443. Port 0: any.")
    var httpsListen: String?
    @Option(help: "The same without TLS, for a reverse proxy: HOST:PORT of this machine.")
    var httpListen: String?
    @Option(help: "The certificate chain to serve, PEM; default: one made for development.")
    var tlsCert: String?
    @Option(help: "The key of --tls-cert, PEM.")
    var tlsKey: String?
    @Option(help: "Where shares and tokens are kept; default: ~/.local/state/pgshare.")
    var state: String?
    @Flag(help: "Let agents share without a token of yours.")
    var open = false
    @Option(help: "Believe JSON Web Tokens whose iss is this.")
    var jwtIssuer: String?
    @Option(help: "What their aud must contain.")
    var jwtAudience: String?
    @Option(help: "The issuer's public keys: an https URL of a JSON Web Key Set, or a file.")
    var jwtJWKS: String?
    @Option(help: "A file with the secret of HS256, 32 bytes at least.")
    var jwtSecretFile: String?
    @Option(help: "Event loops, and links a tunnel; default: half of the cores.")
    var links: Int?
    @Option(help: "How long a client waits for its turn in a browser's database; default: 60s.")
    var sessionWait: String?
    @Option(help: "How long one may idle in a transaction while others wait; default: 10s.")
    var sessionIdle: String?
    @Option(help: "How long a client waits before it is told for whom; default: 5s.")
    var sessionNotice: String?
    @Option(help: "How long a browser that was cut off may take to come back; default: 60s.")
    var browserGrace: String?
    @Flag(help: "Let one client at a time use a database in a browser.")
    var exclusive = false
    @OptionGroup(title: "Limits and proxies")
    var limits: RelayLimitOptions
    @Option(help: "How long to wait for clients when told to stop, 0s to 1h; default: 30s.")
    var drainTimeout: String?
    @Flag(help: "Start beside the relay that serves this state, and take its place.")
    var takeOver = false
    @Option(help: "End clients that were idle for this long, 1s to 30d; default: never.")
    var clientIdle: String?
    @Option(help: "End clients at their first rest after this long, 1s to 30d; default: never.")
    var clientLifetime: String?
    @Option(help: "text or json; default: text.")
    var logFormat: String?
    @Option(help: "trace, debug, info, notice, warning or error; default: info.")
    var logLevel: String?
    @Flag(help: "Print where the relay listens as JSON.")
    var json = false

    func run() async throws {
        let settings = try await Settings(configFile: self.config)
        let logs = try await self.logSettings(settings)
        PgshareLog.bootstrap(format: logs.format, level: logs.level)
        let configuration = try await self.relayConfiguration(settings)
        let json = self.json
        let hasStarted = NIOLockedValueBox(false)
        let logger = Logger(label: "pgshare.relay")
        let relay = Relay(configuration: configuration, logger: logger) { addresses in
            hasStarted.withLockedValue { $0 = true }
            Self.tell(addresses, json: json)
        }
        var group = ServiceGroupConfiguration(
            services: [
                .init(service: relay, successTerminationBehavior: .gracefullyShutdownGroup),
                .init(
                    service: RelaySignals(
                        relay: relay, command: self,
                        settings: NIOLockedValueBox(
                            RelaySettings(relay: configuration, logs: logs)),
                        logger: logger)),
            ],
            logger: logger)
        group.logger.logLevel = .warning
        do {
            try await ServiceGroup(configuration: group).run()
        } catch {
            let what = hasStarted.withLockedValue { $0 } ? "has stopped" : "cannot start"
            throw CommandFailure("the relay \(what): \(error)")
        }
    }

    /// What flags, environment and file say.
    func relayConfiguration(_ settings: Settings) async throws -> RelayConfiguration {
        let state = try await settings.string(
            .state, flag: self.state, default: DefaultPlaces.stateFolder())
        var configuration = RelayConfiguration(stateFolder: state)
        configuration.domain = try await settings.string(
            .domain, flag: self.domain, default: configuration.domain)
        let postgres = try await settings.listenAddress(
            .postgresListen, flag: self.postgresListen, default: "127.0.0.1:15432")
        (configuration.postgresHost, configuration.postgresPort) = postgres
        let https = try await settings.listenAddress(
            .httpsListen, flag: self.httpsListen, default: "127.0.0.1:8443")
        (configuration.httpsHost, configuration.httpsPort) = https
        if let http = try await settings.string(.httpListen, flag: self.httpListen) {
            let address = try await settings.listenAddress(
                .httpListen, flag: self.httpListen, default: http)
            guard Self.isLoopback(address.host) else {
                throw SettingsError.unusableValue(
                    .httpListen, expected: "an address of this machine alone: 127.0.0.1:PORT")
            }
            (configuration.httpHost, configuration.httpPort) = (address.host, address.port)
        }
        try await self.setCertificate(settings, &configuration)
        configuration.isOpen = try await settings.bool(.open, flag: self.open)
        configuration.issuer = try await self.issuer(settings)
        if let links = try await settings.int(.links, flag: self.links) {
            guard (1...256).contains(links) else {
                throw SettingsError.unusableValue(.links, expected: "a number from 1 to 256")
            }
            configuration.eventLoops = links
        }
        try await self.setSessions(settings, &configuration)
        try await self.limits.apply(settings, to: &configuration)
        try await self.setRestarts(settings, &configuration)
        return configuration
    }

    /// Which certificate is served. Without one the domain must be fit to stand in ours.
    private func setCertificate(
        _ settings: Settings, _ configuration: inout RelayConfiguration
    ) async throws {
        configuration.certificateFile = try await settings.string(.tlsCert, flag: self.tlsCert)
        configuration.keyFile = try await settings.string(.tlsKey, flag: self.tlsKey)
        switch (configuration.certificateFile, configuration.keyFile) {
        case (_?, _?): return
        case (_?, nil): throw SettingsError.missing(.tlsKey)
        case (nil, _?): throw SettingsError.missing(.tlsCert)
        case (nil, nil):
            guard DevelopmentCertificates.canName(configuration.domain) else {
                throw SettingsError.unusableValue(.domain, expected: "a domain name")
            }
        }
    }

    /// What is set of databases in browsers.
    private func setSessions(
        _ settings: Settings, _ configuration: inout RelayConfiguration
    ) async throws {
        configuration.sessionWait =
            try await self.span(settings, .sessionWait, self.sessionWait)
            ?? configuration.sessionWait
        configuration.sessionIdle =
            try await self.span(settings, .sessionIdle, self.sessionIdle)
            ?? configuration.sessionIdle
        configuration.sessionNotice =
            try await self.span(settings, .sessionNotice, self.sessionNotice)
            ?? configuration.sessionNotice
        configuration.browserGrace =
            try await self.span(settings, .browserGrace, self.browserGrace)
            ?? configuration.browserGrace
        configuration.isExclusive = try await settings.bool(.exclusive, flag: self.exclusive)
    }

    /// What is set of restarts, and of how long clients may stay.
    private func setRestarts(
        _ settings: Settings, _ configuration: inout RelayConfiguration
    ) async throws {
        configuration.takesOver = try await settings.bool(.takeOver, flag: self.takeOver)
        configuration.drainTimeout =
            try await settings.span(.drainTimeout, flag: self.drainTimeout, 0...3_600, "0s to 1h")
            ?? configuration.drainTimeout
        let longest = 30 * 86_400
        configuration.clientIdle = try await settings.span(
            .clientIdle, flag: self.clientIdle, 1...longest, "1s to 30d")
        configuration.clientLifetime = try await settings.span(
            .clientLifetime, flag: self.clientLifetime, 1...longest, "1s to 30d")
    }

    /// A span of 1 s to 1 h; nil when nothing sets it.
    private func span(
        _ settings: Settings, _ key: SettingKey, _ flag: String?
    ) async throws -> TimeAmount? {
        try await settings.span(key, flag: flag, 1...3_600, "1s to 1h")
    }

    /// Whose JSON Web Tokens are believed; nil where nothing is said of any.
    private func issuer(_ settings: Settings) async throws -> IssuerConfiguration? {
        let issuer = try await settings.string(.jwtIssuer, flag: self.jwtIssuer)
        let audience = try await settings.string(.jwtAudience, flag: self.jwtAudience)
        let keys = try await settings.string(.jwtJWKS, flag: self.jwtJWKS)
        let secret = try await settings.string(.jwtSecretFile, flag: self.jwtSecretFile)
        guard issuer != nil || audience != nil || keys != nil || secret != nil else { return nil }
        guard let issuer else { throw SettingsError.missing(.jwtIssuer) }
        guard let audience else { throw SettingsError.missing(.jwtAudience) }
        guard keys != nil || secret != nil else { throw SettingsError.missing(.jwtJWKS) }
        let keySet = keys.flatMap { IssuerConfiguration.KeySet($0) }
        guard (keys == nil) == (keySet == nil) else {
            throw SettingsError.unusableValue(
                .jwtJWKS, expected: "an https:// URL (http:// on this machine), or a file")
        }
        return IssuerConfiguration(
            issuer: issuer, audience: audience, keySet: keySet, secretFile: secret)
    }

    private static func isLoopback(_ host: String) -> Bool {
        CIDR("127.0.0.0/8")?.contains(address: host) == true || host == "::1"
            || host.lowercased() == "localhost"
    }

    private static func tell(_ addresses: RelayAddresses, json: Bool) {
        if json {
            try? Output.printJSON(addresses)
        } else {
            let ca = addresses.caFile.map { ", CA in \($0)" } ?? ""
            let http = addresses.http.map { " and http://\($0)" } ?? ""
            print(
                "clients on \(addresses.postgres), agents on https://\(addresses.https)\(http)\(ca)"
            )
        }
        Output.flush()
    }
}

extension RelayCommand {
    /// What is set of logs.
    func logSettings(_ settings: Settings) async throws -> LogSettings {
        var logs = LogSettings()
        logs.format =
            try await settings.choice(.logFormat, flag: self.logFormat, of: LogFormat.self)
            ?? logs.format
        logs.level =
            try await settings.choice(.logLevel, flag: self.logLevel, of: Logger.Level.self)
            ?? logs.level
        return logs
    }
}

extension Settings {
    /// A span of so many seconds; nil when nothing sets it.
    func span(
        _ key: SettingKey, flag: String?, _ seconds: ClosedRange<Int>, _ words: String
    ) async throws -> TimeAmount? {
        guard let text = try await self.string(key, flag: flag) else { return nil }
        let duration = text == "0s" ? Duration.zero : Duration(setting: text)
        guard let whole = duration?.components.seconds, seconds.contains(Int(whole)) else {
            throw SettingsError.unusableValue(key, expected: "a time from \(words)")
        }
        return .seconds(whole)
    }

    /// `HOST:PORT`; an IPv6 host in brackets.
    func listenAddress(
        _ key: SettingKey, flag: String?, default fallback: String
    ) async throws -> (host: String, port: Int) {
        let text = try await self.string(key, flag: flag, default: fallback)
        guard let colon = text.lastIndex(of: ":"),
            let port = Int(text[text.index(after: colon)...]), (0...65_535).contains(port)
        else { throw SettingsError.unusableValue(key, expected: "HOST:PORT") }
        var host = String(text[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        guard !host.isEmpty else {
            throw SettingsError.unusableValue(key, expected: "HOST:PORT")
        }
        return (host, port)
    }
}
