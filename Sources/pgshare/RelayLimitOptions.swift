import ArgumentParser
import Foundation
import Relay
import SharePolicy

/// What strangers, clients and owners may take up at a relay, and who speaks for clients.
struct RelayLimitOptions: ParsableArguments {
    @Option(help: "Networks of proxies that send a PROXY header (v1 or v2); repeat, or commas.")
    var proxyProtocol: [String] = []
    @Option(help: "Connections that have not logged in, at each door; default: 4096.")
    var maxPending: Int?
    @Option(help: "Of these, for clients, from one address or IPv6 /64; default: 64.")
    var maxPendingAnAddress: Int?
    @Option(help: "Time from accept to logged in; default: 10s, at most 60s.")
    var handshakeTimeout: String?
    @Option(help: "Clients of all shares; default: 10000.")
    var maxClients: Int?
    @Option(help: "Clients of all shares of one owner; default: a quarter of --max-clients.")
    var maxClientsAnOwner: Int?
    @Option(help: "Pairs of share and address whose failed logins are kept; default: 16384.")
    var maxFailureEntries: Int?
    @Option(help: "Live shares of all owners; default: 10000.")
    var maxShares: Int?
    @Option(help: "Live shares of one owner; default: 100.")
    var maxSharesAnOwner: Int?

    /// Reads what is set.
    ///
    /// - Throws: ``SettingsError`` naming the setting and what it takes.
    func apply(
        _ settings: Settings, to configuration: inout RelayConfiguration
    ) async throws {
        configuration.proxies = try await self.proxies(settings)
        var admission = configuration.admission
        let most = 1_000_000
        admission.maximumPending =
            try await self.count(settings, .maxPending, self.maxPending, most)
            ?? admission.maximumPending
        // Who sets the total lower need not set both.
        admission.maximumPendingAnAddress =
            try await self.count(
                settings, .maxPendingAnAddress, self.maxPendingAnAddress, admission.maximumPending)
            ?? min(admission.maximumPendingAnAddress, admission.maximumPending)
        admission.maximumClients =
            try await self.count(settings, .maxClients, self.maxClients, most)
            ?? admission.maximumClients
        admission.maximumClientsAnOwner = try await self.count(
            settings, .maxClientsAnOwner, self.maxClientsAnOwner, most)
        admission.maximumFailureEntries =
            try await self.count(settings, .maxFailureEntries, self.maxFailureEntries, most)
            ?? admission.maximumFailureEntries
        let key = SettingKey.handshakeTimeout
        if let time = try await settings.duration(key, flag: self.handshakeTimeout) {
            guard (Duration.seconds(1)...Duration.seconds(60)).contains(time) else {
                throw SettingsError.unusableValue(key, expected: "a time from 1s to 60s")
            }
            admission.handshakeTimeout = time
        }
        configuration.admission = try admission.validated()
        var counts = configuration.shareCounts
        counts.maximumInTotal =
            try await self.count(settings, .maxShares, self.maxShares, most)
            ?? counts.maximumInTotal
        counts.maximumAnOwner =
            try await self.count(settings, .maxSharesAnOwner, self.maxSharesAnOwner, 10_000)
            ?? counts.maximumAnOwner
        configuration.shareCounts = try counts.validated()
    }

    private func proxies(_ settings: Settings) async throws -> TrustedProxies {
        let texts = try await settings.strings(.proxyProtocol, flag: self.proxyProtocol)
        var networks: [CIDR] = []
        for text in texts.joined(separator: ",").split(separator: ",") {
            guard let network = CIDR(text.trimmingCharacters(in: .whitespaces)) else {
                throw SettingsError.unusableValue(
                    .proxyProtocol, expected: "addresses or networks: 10.0.0.0/8,2001:db8::1")
            }
            networks.append(network)
        }
        return TrustedProxies(networks)
    }

    /// A number of at least 1; nil when nothing sets it.
    private func count(
        _ settings: Settings, _ key: SettingKey, _ flag: Int?, _ most: Int
    ) async throws -> Int? {
        guard let count = try await settings.int(key, flag: flag) else { return nil }
        guard (1...most).contains(count) else {
            throw SettingsError.unusableValue(key, expected: "a number from 1 to \(most)")
        }
        return count
    }
}
