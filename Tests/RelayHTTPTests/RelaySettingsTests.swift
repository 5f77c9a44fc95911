import ArgumentParser
import Foundation
import NIOCore
import Relay
import SharePolicy
import Testing

@testable import pgshare

/// What an operator sets of databases in browsers.
struct RelaySettingsTests {
    private func configuration(
        _ arguments: [String] = [], environment: [String: String] = [:]
    ) async throws -> RelayConfiguration {
        let command = try RelayCommand.parse(["--state", "/nowhere"] + arguments)
        let settings = try await Settings(configFile: nil, environment: environment)
        return try await command.relayConfiguration(settings)
    }

    private func spans(_ configuration: RelayConfiguration) -> [TimeAmount] {
        [
            configuration.sessionWait, configuration.sessionIdle, configuration.sessionNotice,
            configuration.browserGrace,
        ]
    }

    private static let keys: [SettingKey] = [
        .sessionWait, .sessionIdle, .sessionNotice, .browserGrace,
    ]

    @Test func `the defaults are those of the help`() async throws {
        let configuration = try await self.configuration()
        #expect(
            self.spans(configuration) == [.seconds(60), .seconds(10), .seconds(5), .seconds(60)])
        #expect(!configuration.isExclusive)
    }

    @Test func `each is set by its flag or its variable, the flag first`() async throws {
        let flags = Self.keys.enumerated().flatMap { [$1.flag, "\($0 + 1)m"] }
        let byFlag = try await self.configuration(flags + ["--exclusive"])
        #expect(self.spans(byFlag) == (1...4).map { .minutes($0) })
        #expect(byFlag.isExclusive)

        var environment = ["PGSHARE_EXCLUSIVE": "true"]
        for (place, key) in Self.keys.enumerated() { environment[key.variable] = "\(place + 1)s" }
        let byVariable = try await self.configuration(environment: environment)
        #expect(self.spans(byVariable) == (1...4).map { .seconds($0) })
        #expect(byVariable.isExclusive)
        let both = try await self.configuration(flags, environment: environment)
        #expect(self.spans(both) == self.spans(byFlag))
    }

    @Test(arguments: keys, ["1s", "1h", "59m59s"])
    func `a time from a second to an hour is taken`(key: SettingKey, text: String) async throws {
        _ = try await self.configuration([key.flag, text])
    }

    @Test(arguments: keys, ["1h1s", "2d"])
    func `a longer time is refused`(key: SettingKey, text: String) async throws {
        let expected = SettingsError.unusableValue(key, expected: "a time from 1s to 1h")
        await #expect(throws: expected) { try await self.configuration([key.flag, text]) }
    }

    @Test(arguments: keys, ["0s", "500ms", "soon", "-5s", "5"])
    func `what is no time is refused`(key: SettingKey, text: String) async throws {
        await #expect(throws: SettingsError.self) {
            try await self.configuration(["\(key.flag)=\(text)"])
        }
    }
}

/// What an operator sets of limits and proxies.
struct RelayLimitSettingsTests {
    private func configuration(
        _ arguments: [String], environment: [String: String] = [:]
    ) async throws -> RelayConfiguration {
        let command = try RelayCommand.parse(["--state", "/nowhere"] + arguments)
        let settings = try await Settings(configFile: nil, environment: environment)
        return try await command.relayConfiguration(settings)
    }

    @Test func `the defaults are those of the limits`() async throws {
        let configuration = try await self.configuration([])
        #expect(configuration.admission == AdmissionLimits())
        #expect(configuration.shareCounts == Claim.Limits())
        #expect(configuration.proxies.networks.isEmpty)
        #expect(configuration.admission.clientsAnOwner == 2_500)
    }

    @Test(arguments: [true, false])
    func `each is set by its flag or its variable`(byFlag: Bool) async throws {
        let values: [(SettingKey, String)] = [
            (.maxPending, "11"), (.maxPendingAnAddress, "7"), (.handshakeTimeout, "9s"),
            (.maxClients, "13"), (.maxClientsAnOwner, "5"), (.maxFailureEntries, "17"),
            (.maxShares, "19"), (.maxSharesAnOwner, "3"), (.proxyProtocol, "10.0.0.0/8,::1"),
        ]
        let flags = values.flatMap { [$0.0.flag, $0.1] }
        let variables = Dictionary(uniqueKeysWithValues: values.map { ($0.0.variable, $0.1) })
        let found = try await self.configuration(
            byFlag ? flags : [], environment: byFlag ? [:] : variables)
        var limits = AdmissionLimits()
        limits.maximumPending = 11
        limits.maximumPendingAnAddress = 7
        limits.handshakeTimeout = .seconds(9)
        limits.maximumClients = 13
        limits.maximumClientsAnOwner = 5
        limits.maximumFailureEntries = 17
        #expect(found.admission == limits)
        #expect(found.shareCounts.maximumInTotal == 19)
        #expect(found.shareCounts.maximumAnOwner == 3)
        #expect(found.proxies.networks.map(\.text) == ["10.0.0.0/8", "::1/128"])
    }

    @Test func `a lower total lowers what one address may have`() async throws {
        let configuration = try await self.configuration(["--max-pending", "10"])
        #expect(configuration.admission.maximumPendingAnAddress == 10)
    }

    @Test(arguments: [
        ["--max-pending", "0"], ["--max-pending", "1000001"],
        ["--max-pending-an-address", "4097"], ["--handshake-timeout", "61s"],
        ["--max-clients", "0"], ["--max-shares-an-owner", "10001"],
        ["--proxy-protocol", "10.0.0.0/33"], ["--proxy-protocol", "10.0.0.1,proxy.example"],
    ])
    func `what is out of range is refused`(arguments: [String]) async throws {
        await #expect(throws: SettingsError.self) { try await self.configuration(arguments) }
    }
}

/// What an operator sets of the certificate, and of the domain that it is for.
struct RelayCertificateSettingsTests {
    private func configuration(_ arguments: [String]) async throws -> RelayConfiguration {
        let command = try RelayCommand.parse(["--state", "/nowhere"] + arguments)
        let settings = try await Settings(configFile: nil, environment: [:])
        return try await command.relayConfiguration(settings)
    }

    @Test func `a certificate and its key belong together`() async throws {
        await #expect(throws: SettingsError.missing(.tlsKey)) {
            try await self.configuration(["--tls-cert", "cert.pem"])
        }
        await #expect(throws: SettingsError.missing(.tlsCert)) {
            try await self.configuration(["--tls-key", "key.pem"])
        }
        let both = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"]
        #expect(try await self.configuration(both).keyFile == "key.pem")
        // A certificate of the operator's own may be for names that ours could not be for.
        #expect(try await self.configuration(both + ["--domain", "a_b"]).domain == "a_b")
    }

    @Test(arguments: ["foo_bar", "a..b", "-a", "10.0.0.1", "a b"])
    func `a certificate is made for domain names only`(domain: String) async throws {
        let expected = SettingsError.unusableValue(.domain, expected: "a domain name")
        await #expect(throws: expected) { try await self.configuration(["--domain=\(domain)"]) }
    }
}

/// What SIGHUP changes, and says that it does not.
struct RelayReloadTests {
    private func settings(_ variables: [String: String]) async throws -> RelaySettings {
        let command = try RelayCommand.parse(["--state", "/nowhere"])
        let settings = try await Settings(configFile: nil, environment: variables)
        return RelaySettings(
            relay: try await command.relayConfiguration(settings),
            logs: try await command.logSettings(settings))
    }

    @Test(
        arguments: [
            (.logLevel, "debug", true), (.clientIdle, "1h", true), (.drainTimeout, "1s", true),
            (.logFormat, "json", false), (.takeOver, "true", false), (.domain, "a.example", false),
            (.maxClients, "7", false),
        ] as [(SettingKey, String, Bool)])
    func `a setting that changed is served from now on, or refused by name`(
        key: SettingKey, value: String, isApplied: Bool
    ) async throws {
        let old = try await self.settings([:])
        let reload = RelayReload(from: old, to: try await self.settings([key.variable: value]))
        #expect(reload.applied == (isApplied ? [key] : []))
        #expect(reload.refused == (isApplied ? [] : [key]))
        let same = RelayReload(from: old, to: old)
        #expect(same.applied.isEmpty && same.refused.isEmpty)
    }
}

/// What whoever shares may ask for, checked before a relay is asked.
struct SharePlanTests {
    private func plan(_ arguments: [String]) async throws -> SharePlan {
        let settings = try await Settings(configFile: nil, environment: [:])
        return try await SharePlan(try ShareCommand.parse(arguments), settings)
    }

    @Test(
        arguments: [
            (.maxConnections, ["0", "-1", "10001"]), (.expires, ["91d", "90d1s", "0s"]),
            (.name, ["Foo_Bar", "-a", "a-", "A", String(repeating: "a", count: 41)]),
        ] as [(SettingKey, [String])])
    func `what no relay would accept is refused by the name of the option`(
        key: SettingKey, values: [String]
    ) async throws {
        for value in values {
            let error = await #expect(throws: SettingsError.self) {
                try await self.plan(["\(key.flag)=\(value)"])
            }
            #expect(error?.description.hasPrefix("\(key.flag) ") == true, "\(value)")
        }
    }

    @Test func `more networks than a share may have are refused`() async throws {
        let networks = (0...64).flatMap { ["--allow", "10.0.\($0).0/24"] }
        _ = try await self.plan(Array(networks.dropLast(2)))
        await #expect(throws: SettingsError.self) { try await self.plan(networks) }
    }

    @Test func `the largest values are taken`() async throws {
        let name = String(repeating: "a", count: 40)
        let plan = try await self.plan([
            "--max-connections", "10000", "--expires", "90d", "--name", name,
        ])
        #expect(plan.maxConnections == 10_000)
        #expect(plan.expires == .seconds(90 * 86_400))
        #expect(plan.name == name)
        #expect(try await self.plan([]).maxConnections == 20)
    }
}

struct ShareStatusTests {
    private static func share(_ kind: Share.Kind) throws -> Share {
        Share(
            id: try #require(ShareID(rawValue: "0123456789abcdef")), kind: kind, name: nil,
            owner: try #require(OwnerID(tokenName: "anna")), verifier: "", authMethod: .scram,
            limits: ShareLimits(), createdAt: Date(timeIntervalSince1970: 1_800_000_000),
            expiresAt: nil, database: "postgres", user: "postgres")
    }

    @Test(
        arguments: [
            (.agent, "agent"), (.browser, "browser"), (.databaseBuild, "database_build"),
        ] as [(Share.Kind, String)])
    func `a status tells what stands at the other end`(kind: Share.Kind, word: String) throws {
        let status = ShareStatus(
            try Self.share(kind), isOnline: true, clients: 1, now: Date(timeIntervalSince1970: 0))
        let json = try APIJSON.encode(status)
        #expect(String(decoding: json, as: UTF8.self).contains("\"kind\":\"\(word)\""))
        #expect(try APIJSON.decode(ShareStatus.self, from: json) == status)
    }

    /// `pgshare shares` of one version asks relays of others.
    @Test(arguments: ["", "\"kind\":\"of a newer relay\","])
    func `a status of another version's relay is read`(kind: String) throws {
        let json = """
            {\(kind)"id":"0123456789abcdef","state":"online","database":"a","user":"u",\
            "clients":1,"max_connections":2,"created_at":"2026-01-01T00:00:00Z"}
            """
        let status = try APIJSON.decode(ShareStatus.self, from: Data(json.utf8))
        #expect(status.kind == .agent)
        #expect(status.maxConnections == 2)
    }
}
