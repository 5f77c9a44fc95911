import Foundation
import SharePolicy
import Testing

struct RefusalTests {
    @Test(arguments: Refusal.Reason.allCases)
    func `every reason has one short lower-case sentence`(reason: Refusal.Reason) {
        #expect(reason.message.first?.isLowercase == true)
        #expect(reason.message.utf8.count <= 100)
        #expect(!reason.message.contains("\n"))
    }

    @Test func `no two reasons say the same`() {
        #expect(Set(Refusal.Reason.allCases.map(\.message)).count == Refusal.Reason.allCases.count)
        let tunnel = TunnelRefusal.Reason.allCases
        #expect(Set(tunnel.map(\.message)).count == tunnel.count)
        #expect(Set(tunnel.map(\.code)).count == tunnel.count)
    }

    /// What tells that a share exists is told only to who knows its password.
    @Test func `a stranger learns nothing about a share`() {
        for reason in [Refusal.Reason.agentOffline, .tooManyClients, .addressNotAllowed] {
            #expect(reason.needsAuthentication)
        }
        #expect(!Refusal.Reason.invalidPassword.needsAuthentication)
    }
}

struct ConnectionURLTests {
    @Test(arguments: [
        ("blue.share.test", "blue.share.test"), ("[2001:db8::1]", "[2001:db8::1]"),
        ("x'; rm -rf ~; '", "x%27%3B%20rm%20-rf%20~%3B%20%27"), ("a@b/c?d", "a%40b%2Fc%3Fd"),
        ("\u{1B}[2J\n", "%1B[2J%0A"),
    ])
    func `a host that is none cannot break out of a URL that is pasted`(
        host: String, shown: String
    ) {
        let url = ConnectionURL.share(
            user: "a'b", password: "p", host: host, port: 1, database: "d'\n")
        #expect(url == "postgres://a%27b:p@\(shown):1/d%27%0A?sslmode=require")
    }
}

struct ShareLimitsTests {
    @Test(arguments: [0, -1, 10_001])
    func `a number of clients outside its range is named with the range`(clients: Int) {
        var limits = ShareLimits()
        limits.maximumClients = clients
        let expected = ConfigurationError.outOfRange(
            key: "share.maximumClients", value: "\(clients)", allowed: "1...10000")
        #expect(throws: expected) { try limits.validated() }
    }

    @Test func `defaults are valid`() throws {
        #expect(try ShareLimits().validated() == ShareLimits())
        #expect(try AdmissionLimits().validated() == AdmissionLimits())
        #expect(try Claim.Limits().validated() == Claim.Limits())
    }

    @Test func `an address may not have more pending sockets than all together`() {
        var limits = AdmissionLimits()
        limits.maximumPendingAnAddress = limits.maximumPending + 1
        #expect(throws: ConfigurationError.self) { try limits.validated() }
    }

    @Test func `missing keys keep their defaults and unknown ones are ignored`() throws {
        let json = Data(#"{"allow":["10.0.0.0/8"],"from_the_future":1}"#.utf8)
        var expected = ShareLimits()
        expected.allow = [try #require(CIDR("10.0.0.0/8"))]
        #expect(try JSONDecoder().decode(ShareLimits.self, from: json) == expected)
    }

    @Test func `a list of networks lets in only its members`() throws {
        var limits = ShareLimits()
        #expect(limits.admits(address: nil))
        limits.allow = [try #require(CIDR("10.0.0.0/8")), try #require(CIDR("::1"))]
        #expect(limits.admits(address: "10.1.2.3"))
        #expect(limits.admits(address: "::1"))
        #expect(!limits.admits(address: "11.0.0.1"))
        #expect(!limits.admits(address: nil))
    }
}

struct ClaimTests {
    static let now = Date(timeIntervalSince1970: 1_000)
    static let room = Claim.Occupancy(ofOwner: 0, inTotal: 0)

    static func share(_ id: Character, _ owner: String, name: String? = nil) throws -> Share {
        Share(
            id: try #require(ShareID(rawValue: String(repeating: id, count: 16))),
            name: try name.map { try #require(ShareName(rawValue: $0)) },
            owner: try #require(OwnerID(tokenName: owner)),
            verifier: "SCRAM-SHA-256$secret", authMethod: .scram, limits: ShareLimits(),
            createdAt: Date(timeIntervalSince1970: 0), expiresAt: nil, database: "app", user: "u")
    }

    /// The answer in one word, so that a row of the table fits a line.
    static func word(_ verdict: Claim.Verdict) -> String {
        switch verdict {
        case .new: "new"
        case .takeOver(let share): "takeOver \(share.id.rawValue.prefix(1))"
        case .refused(let refusal): refusal.reason.code
        }
    }

    @Test func `an unclaimed id and name make a new share`() throws {
        let anna = try #require(OwnerID(tokenName: "anna"))
        let verdict = Claim.decide(
            existingByID: nil, existingByName: nil, by: anna, occupancy: Self.room, now: Self.now)
        #expect(verdict == .new)
    }

    @Test(arguments: ["anna", "boris"], [Share.State.live, .expired, .revoked])
    func `an id is its owner's only, and an ended share stays ended`(
        claimant: String, state: Share.State
    ) throws {
        var existing = try Self.share("a", "anna")
        existing.expiresAt = state == .expired ? Self.now : nil
        existing.revokedAt = state == .revoked ? Self.now : nil
        let verdict = Claim.decide(
            existingByID: existing, existingByName: nil,
            by: try #require(OwnerID(tokenName: claimant)), occupancy: Self.room, now: Self.now)
        let own: [Share.State: String] = [
            .live: "takeOver a", .expired: "share_expired", .revoked: "share_revoked",
        ]
        #expect(Self.word(verdict) == (claimant == "anna" ? own[state] : "id_taken"))
    }

    @Test(arguments: [("anna", "takeOver a"), ("boris", "name_taken")])
    func `a live name is its owner's only`(claimant: String, expected: String) throws {
        let verdict = Claim.decide(
            existingByID: nil, existingByName: try Self.share("a", "anna", name: "shop"),
            by: try #require(OwnerID(tokenName: claimant)), occupancy: Self.room, now: Self.now)
        #expect(Self.word(verdict) == expected)
    }

    @Test func `the name of an ended share is free for anyone`() throws {
        var ended = try Self.share("a", "anna", name: "shop")
        ended.expiresAt = Self.now
        let boris = try #require(OwnerID(tokenName: "boris"))
        let verdict = Claim.decide(
            existingByID: nil, existingByName: ended, by: boris, occupancy: Self.room, now: Self.now
        )
        #expect(verdict == .new)
    }

    @Test func `a share cannot take the name of the owner's other share`() throws {
        let verdict = Claim.decide(
            existingByID: try Self.share("a", "anna"),
            existingByName: try Self.share("b", "anna", name: "shop"),
            by: try #require(OwnerID(tokenName: "anna")), occupancy: Self.room, now: Self.now)
        #expect(Self.word(verdict) == "name_taken")
    }

    @Test(arguments: [
        (100, 100, "too_many_shares"), (0, 10_000, "too_many_shares"), (99, 9_999, "new"),
    ])
    func `limits hold for new shares`(ofOwner: Int, inTotal: Int, expected: String) throws {
        let verdict = Claim.decide(
            existingByID: nil, existingByName: nil, by: try #require(OwnerID(tokenName: "anna")),
            occupancy: Claim.Occupancy(ofOwner: ofOwner, inTotal: inTotal), now: Self.now)
        #expect(Self.word(verdict) == expected)
    }

    @Test func `a share describes itself without its verifier`() throws {
        let share = try Self.share("a", "anna", name: "shop")
        #expect("\(share)" == "share aaaaaaaaaaaaaaaa (shop) of anna")
        #expect(!String(reflecting: share).contains("secret"))
    }
}
