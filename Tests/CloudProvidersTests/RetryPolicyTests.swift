import CloudProviders
import Foundation
import Testing

struct RetryPolicyTests {
    typealias Verdict = RetryPolicy.Verdict

    static let now = Date(timeIntervalSince1970: 1_800_000_000)

    static func verdict(
        _ outcome: RetryPolicy.Outcome, attempt: Int = 1,
        safety: ProviderCall.Safety = .repeatable, jitter: Double = 0
    ) -> Verdict {
        RetryPolicy(ProviderLimits()).verdict(
            outcome, attempt: attempt, safety: safety, now: Self.now, jitter: jitter)
    }

    static func status(_ status: Int, retryAfter: String? = nil) -> RetryPolicy.Outcome {
        .answered(status: status, retryAfter: retryAfter, isThrottled: false)
    }

    /// Status, repeatable, once, once where 423 and 503 are named.
    static let table: [(Int, Verdict, Verdict, Verdict)] = {
        let again = Verdict.again(afterSeconds: 0.5)
        return [
            (200, .accept, .accept, .accept), (201, .accept, .accept, .accept),
            (204, .accept, .accept, .accept), (301, .refused, .refused, .refused),
            (400, .refused, .refused, .refused), (401, .refused, .refused, .refused),
            (402, .refused, .refused, .refused), (403, .refused, .refused, .refused),
            (404, .refused, .refused, .refused), (409, .refused, .refused, .refused),
            (422, .refused, .refused, .refused), (501, .refused, .refused, .refused),
            (429, again, again, again), (408, again, .unknown, .unknown),
            (423, again, .unknown, again), (425, again, .unknown, .unknown),
            (500, again, .unknown, .unknown), (502, again, .unknown, .unknown),
            (503, again, .unknown, again), (504, again, .unknown, .unknown),
        ]
    }()

    @Test(arguments: Self.table.indices)
    func `a status means what the table says`(row: Int) {
        let (status, repeatable, once, named) = Self.table[row]
        let outcome = Self.status(status)
        #expect(Self.verdict(outcome) == repeatable)
        #expect(Self.verdict(outcome, safety: .once(alsoAfter: [])) == once)
        #expect(Self.verdict(outcome, safety: .once(alsoAfter: [423, 503])) == named)
    }

    @Test(arguments: [RetryPolicy.Outcome.lost, .unreadable])
    func `what is not answered is repeated only where that is safe`(
        outcome: RetryPolicy.Outcome
    ) {
        #expect(Self.verdict(outcome) == .again(afterSeconds: 0.5))
        #expect(Self.verdict(outcome, safety: .once(alsoAfter: [503])) == .unknown)
    }

    @Test func `a throttled refusal is repeated, whatever its status`() {
        let throttled = RetryPolicy.Outcome.answered(
            status: 400, retryAfter: nil, isThrottled: true)
        #expect(
            Self.verdict(throttled, safety: .once(alsoAfter: [])) == .again(afterSeconds: 0.5))
    }

    @Test func `waits double up to a bound, and end`() {
        var limits = ProviderLimits()
        limits.maximumAttempts = 9
        let policy = RetryPolicy(limits)
        let verdicts = (1...9).map {
            policy.verdict(.lost, attempt: $0, safety: .repeatable, now: Self.now, jitter: 0.999)
        }
        var waits: [Double] = []
        for case .again(let seconds) in verdicts { waits.append(seconds) }
        #expect(waits.count == 8)
        #expect(waits.map { $0.rounded() } == [1, 2, 4, 8, 16, 20, 20, 20])
        #expect(verdicts.last == .exhausted)
    }

    @Test func `the last attempt's refusal keeps its words when it was busy`() {
        #expect(Self.verdict(Self.status(429), attempt: 6) == .refused)
        #expect(Self.verdict(Self.status(500), attempt: 6) == .exhausted)
    }

    @Test func `Retry-After is obeyed within a bound`() {
        #expect(
            Self.verdict(Self.status(429, retryAfter: "7"), jitter: 0.25)
                == .again(afterSeconds: 7.25))
        #expect(
            Self.verdict(Self.status(503, retryAfter: "120")) == .again(afterSeconds: 120))
        #expect(
            Self.verdict(Self.status(503, retryAfter: "121")) == .busy(retryAfterSeconds: 121))
        #expect(
            Self.verdict(Self.status(429, retryAfter: "soon")) == .again(afterSeconds: 0.5))
    }

    @Test(arguments: [
        ("0", 0.0), ("7", 7), (" 12 ", 12), ("Fri, 15 Jan 2027 08:00:10 GMT", 10),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0),
    ])
    func `Retry-After is seconds or a date`(value: String, seconds: Double) {
        #expect(RetryAfter.seconds(value, now: Self.now) == seconds)
    }

    @Test(arguments: [
        "", "-1", "1.5", "soon", "1 s", "2026-01-01", String(repeating: "1", count: 65),
    ])
    func `anything else is no Retry-After`(value: String) {
        #expect(RetryAfter.seconds(value, now: Self.now) == nil)
    }
}
