import NIOCore
import SharePolicy
import Testing

struct AdmissionTests {
    static let home = SourceAddress("192.0.2.1")
    static let away = SourceAddress("198.51.100.1")
    static let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

    static func small() -> AdmissionLimits {
        var limits = AdmissionLimits()
        limits.maximumClients = 6
        limits.maximumClientsAnOwner = 7
        limits.maximumFailureEntries = 8
        return limits
    }

    @Test func `a share's limit comes before the relay's`() throws {
        var admission = Admission(limits: Self.small())
        let first = try #require(ShareID(rawValue: "aaaaaaaaaaaaaaaa"))
        let second = try #require(ShareID(rawValue: "bbbbbbbbbbbbbbbb"))
        let owner = try #require(OwnerID(rawValue: "anna"))
        for _ in 0..<4 {
            #expect(admission.clientArrived(share: first, of: owner, limit: 4) == .proceed)
        }
        #expect(
            admission.clientArrived(share: first, of: owner, limit: 4) == .refuse(.tooManyClients))
        for _ in 0..<2 {
            #expect(admission.clientArrived(share: second, of: owner, limit: 4) == .proceed)
        }
        #expect(admission.clientArrived(share: second, of: owner, limit: 4) == .refuse(.relayFull))
        admission.clientLeft(share: first, of: owner)
        #expect(admission.clientArrived(share: second, of: owner, limit: 4) == .proceed)
    }

    @Test func `one owner's shares cannot take every place`() throws {
        var limits = AdmissionLimits()
        limits.maximumClients = 8
        #expect(limits.clientsAnOwner == 2)
        limits.maximumClientsAnOwner = 3
        var admission = Admission(limits: limits)
        let shares = try ["a", "b", "c"].map {
            try #require(ShareID(rawValue: String(repeating: $0, count: 16)))
        }
        let anna = try #require(OwnerID(rawValue: "anna"))
        let ben = try #require(OwnerID(rawValue: "ben"))
        for share in [0, 1, 1] {
            let answer = admission.clientArrived(share: shares[share], of: anna, limit: 20)
            #expect(answer == .proceed)
        }
        let full = admission.clientArrived(share: shares[0], of: anna, limit: 20)
        #expect(full == .refuse(.ownerFull))
        #expect(admission.clientArrived(share: shares[2], of: ben, limit: 20) == .proceed)
        admission.clientLeft(share: shares[1], of: anna)
        #expect(admission.clientArrived(share: shares[0], of: anna, limit: 20) == .proceed)
    }

    /// Long waits end early because a failure is forgotten each minute: the twelfth asks for 256 s,
    /// and after 120 s only ten are left, which ask for 64.
    @Test(arguments: [
        (5, 2), (6, 4), (7, 8), (8, 16), (9, 32), (10, 60), (11, 64), (12, 120), (13, 128),
        (30, 300), (99, 300),
    ])
    func `the wait doubles from the fifth failure on and decays`(failures: Int, seconds: Int64) {
        var admission = Admission()
        for _ in 0..<failures {
            admission.loginFailed(share: "s", source: Self.home, now: Self.start)
        }
        let end = Self.start + .seconds(seconds)
        #expect(!admission.mayTry(share: "s", source: Self.home, now: Self.start))
        #expect(!admission.mayTry(share: "s", source: Self.home, now: end - .nanoseconds(1)))
        #expect(admission.mayTry(share: "s", source: Self.home, now: end))
    }

    @Test func `four failures are free`() {
        var admission = Admission()
        for _ in 0..<4 {
            admission.loginFailed(share: "s", source: Self.home, now: Self.start)
        }
        #expect(admission.mayTry(share: "s", source: Self.home, now: Self.start))
    }

    @Test func `the owner elsewhere and other shares are not locked`() {
        var admission = Admission()
        for _ in 0..<30 {
            admission.loginFailed(share: "s", source: Self.home, now: Self.start)
        }
        #expect(!admission.mayTry(share: "s", source: Self.home, now: Self.start))
        #expect(admission.mayTry(share: "s", source: Self.away, now: Self.start))
        #expect(admission.mayTry(share: "t", source: Self.home, now: Self.start))
    }

    @Test func `a right password ends the lock and failures fade by themselves`() {
        var admission = Admission()
        for _ in 0..<6 { admission.loginFailed(share: "s", source: Self.home, now: Self.start) }
        var other = admission
        other.loginSucceeded(share: "s", source: Self.home)
        #expect(other.mayTry(share: "s", source: Self.home, now: Self.start))
        #expect(other.failureEntries == 0)

        let later = Self.start + .minutes(6)
        for _ in 0..<4 { admission.loginFailed(share: "s", source: Self.home, now: later) }
        #expect(admission.mayTry(share: "s", source: Self.home, now: later))
    }

    @Test func `a guesser is held to about one password a minute`() {
        var admission = Admission()
        var tries = 0
        for second in 0..<Int64(4 * 3_600) {
            let now = Self.start + .seconds(second)
            guard admission.mayTry(share: "s", source: Self.home, now: now) else { continue }
            admission.loginFailed(share: "s", source: Self.home, now: now)
            tries += 1
        }
        #expect(tries <= 4 * 60 + 15)
    }

    @Test func `the oldest failures are forgotten first`() {
        var admission = Admission(limits: Self.small())
        for share in ["old", "new"] {
            for _ in 0..<5 {
                admission.loginFailed(share: share, source: Self.home, now: Self.start)
            }
        }
        for filler in 0..<7 {
            admission.loginFailed(share: "\(filler)", source: Self.home, now: Self.start)
        }
        #expect(admission.failureEntries == 8)
        #expect(admission.mayTry(share: "old", source: Self.home, now: Self.start))
        #expect(!admission.mayTry(share: "new", source: Self.home, now: Self.start))
    }

    /// Any order of events, also such as a shell must not send: closes nobody opened, twice.
    @Test(arguments: UInt64(0)..<200)
    func `counts stay between zero and their limits and the table is bounded`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let limits = Self.small()
        var admission = Admission(limits: limits)
        let sources = (1...4).map { SourceAddress("192.0.2.\($0)") }
        let shares = try ["a", "b"].map {
            try #require(ShareID(rawValue: String(repeating: $0, count: 16)))
        }
        let owners = try ["anna", "ben"].map { try #require(OwnerID(rawValue: $0)) }
        var now = Self.start
        for _ in 0..<200 {
            let source = sources[Int.random(in: 0..<4, using: &random)]
            let number = Int.random(in: 0..<2, using: &random)
            let (share, owner) = (shares[number], owners[number])
            let name = "\(Int.random(in: 0..<20, using: &random))"
            now = now + .seconds(.random(in: 0...90, using: &random))
            switch Int.random(in: 4..<8, using: &random) {
            case 4: _ = admission.clientArrived(share: share, of: owner, limit: 4)
            case 5: admission.clientLeft(share: share, of: owner)
            case 6: admission.loginFailed(share: name, source: source, now: now)
            default: admission.loginSucceeded(share: name, source: source)
            }
            let clients = shares.map { admission.clients(of: $0) }
            #expect(clients.allSatisfy { (0...4).contains($0) })
            #expect(admission.clients == clients.reduce(0, +))
            #expect(admission.clients <= limits.maximumClients)
            #expect(admission.failureEntries <= limits.maximumFailureEntries)
        }
    }
}
