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

    /// Fails `count` times, each as soon as it may.
    ///
    /// - Returns: The seconds that each had to wait for.
    @discardableResult
    static func fail(
        _ admission: inout Admission, _ count: Int, share: String = "s", at start: NIODeadline
    ) -> [Int] {
        var now = start
        return (0..<count).map { _ in
            let before = now
            while !admission.mayTry(share: share, source: Self.home, now: now) {
                now = now + .seconds(1)
            }
            _ = admission.tried(isRight: false, share: share, source: Self.home, now: now)
            return Int((now - before).nanoseconds / 1_000_000_000)
        }
    }

    @Test func `the wait doubles from the fifth failure on, up to a minute`() {
        var admission = Admission()
        let waits = Self.fail(&admission, 14, at: Self.start)
        #expect(waits == [0, 0, 0, 0, 0, 2, 4, 8, 16, 32, 60, 60, 60, 60])
    }

    /// All were let in to try before the first had failed.
    @Test func `of many tries at once the fifth locks, and then no answer tells anything`() {
        var admission = Admission()
        let answers = (0..<60).map { number in
            admission.tried(
                isRight: number > 50, share: "s", source: Self.home, now: Self.start)
        }
        #expect(answers.count { $0 == .wrong(isAlarming: false) } == 5)
        #expect(answers[5...].allSatisfy { $0 == .locked })
    }

    @Test func `an address that has logged in keeps a small allowance beside the lock`() {
        var admission = Admission()
        let now = Self.start
        _ = admission.tried(isRight: true, share: "s", source: Self.home, now: now)
        let answers = (0..<20).map { _ in
            admission.tried(isRight: false, share: "s", source: Self.home, now: now)
        }
        #expect(answers.count { $0 != .locked } == 11)
        #expect(!admission.mayTry(share: "s", source: Self.home, now: now))
        // One comes back while the lock, which has not grown, is still there.
        let later = now + .seconds(1)
        #expect(!admission.mayTry(share: "s", source: Self.home, now: later))
        #expect(admission.mayTry(share: "s", source: Self.home, now: now + .seconds(10)))
        // Not for another share, not from elsewhere, and not the day after.
        for (share, source) in [("t", Self.home), ("s", Self.away)] {
            for _ in 0..<5 {
                _ = admission.tried(isRight: false, share: share, source: source, now: now)
            }
            #expect(!admission.mayTry(share: share, source: source, now: now))
        }
        let tomorrow = now + .hours(24)
        for _ in 0..<5 {
            _ = admission.tried(isRight: false, share: "s", source: Self.home, now: tomorrow)
        }
        #expect(!admission.mayTry(share: "s", source: Self.home, now: tomorrow))
    }

    @Test func `the owner behind the guesser's address gets in within ten seconds`() {
        var admission = Admission()
        _ = admission.tried(isRight: true, share: "s", source: Self.home, now: Self.start)
        var guesses = 0
        for second in 1...Int64(3_600) {
            let now = Self.start + .seconds(second)
            if admission.mayTry(share: "s", source: Self.home, now: now) {
                _ = admission.tried(isRight: false, share: "s", source: Self.home, now: now)
                guesses += 1
            }
        }
        #expect(guesses <= 7 * 60 + 12)
        let open = (1...10).contains { second in
            admission.mayTry(
                share: "s", source: Self.home, now: Self.start + .seconds(3_600 + Int64(second)))
        }
        #expect(open)
    }

    @Test func `guessing from many addresses is told of, whether there is such a share or not`() {
        var admission = Admission()
        var alarms: [Int] = []
        for number in 1...250 {
            let source = SourceAddress("10.0.\(number / 250).\(number % 250)")
            let answer = admission.tried(
                isRight: false, share: "no share", source: source, now: Self.start)
            if answer == .wrong(isAlarming: true) { alarms.append(number) }
        }
        #expect(alarms == [100, 200])
    }

    @Test func `four failures are free`() {
        var admission = Admission()
        for _ in 0..<4 {
            _ = admission.tried(isRight: false, share: "s", source: Self.home, now: Self.start)
        }
        #expect(admission.mayTry(share: "s", source: Self.home, now: Self.start))
    }

    @Test func `the owner elsewhere and other shares are not locked`() {
        var admission = Admission()
        for _ in 0..<5 {
            _ = admission.tried(isRight: false, share: "s", source: Self.home, now: Self.start)
        }
        #expect(!admission.mayTry(share: "s", source: Self.home, now: Self.start))
        #expect(admission.mayTry(share: "s", source: Self.away, now: Self.start))
        #expect(admission.mayTry(share: "t", source: Self.home, now: Self.start))
    }

    @Test func `a right password ends the lock and failures fade by themselves`() {
        var admission = Admission()
        Self.fail(&admission, 5, at: Self.start)
        let open = Self.start + .seconds(2)
        var other = admission
        #expect(
            other.tried(isRight: true, share: "s", source: Self.home, now: open) == .right)
        #expect(other.mayTry(share: "s", source: Self.home, now: open))
        #expect(other.failureEntries == 0)

        let later = Self.start + .minutes(6)
        for _ in 0..<4 {
            _ = admission.tried(isRight: false, share: "s", source: Self.home, now: later)
        }
        #expect(admission.mayTry(share: "s", source: Self.home, now: later))
    }

    @Test func `a guesser is held to about one password a minute`() {
        var admission = Admission()
        var tries = 0
        for second in 0..<Int64(4 * 3_600) {
            let now = Self.start + .seconds(second)
            guard admission.mayTry(share: "s", source: Self.home, now: now) else { continue }
            _ = admission.tried(isRight: false, share: "s", source: Self.home, now: now)
            tries += 1
        }
        #expect(tries <= 4 * 60 + 15)
    }

    @Test func `the oldest failures are forgotten first`() {
        var admission = Admission(limits: Self.small())
        for share in ["old", "new"] {
            for _ in 0..<5 {
                _ = admission.tried(
                    isRight: false, share: share, source: Self.home, now: Self.start)
            }
        }
        for filler in 0..<7 {
            _ = admission.tried(
                isRight: false, share: "\(filler)", source: Self.home, now: Self.start)
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
            case 6: _ = admission.tried(isRight: false, share: name, source: source, now: now)
            default: _ = admission.tried(isRight: true, share: name, source: source, now: now)
            }
            let clients = shares.map { admission.clients(of: $0) }
            #expect(clients.allSatisfy { (0...4).contains($0) })
            #expect(admission.clients == clients.reduce(0, +))
            #expect(admission.clients <= limits.maximumClients)
            #expect(admission.failureEntries <= limits.maximumFailureEntries)
        }
    }
}
