package import Foundation

/// What becomes of one attempt of a request. Pure.
///
/// | attempt ended with | `repeatable` | `once` |
/// |---|---|---|
/// | 2xx that can be read | done | done |
/// | 429, or throttled | again | again |
/// | a status that the request names | again | again |
/// | 408, 423, 425, 500, 502, 503, 504 | again | unknown |
/// | no answer, a broken one, 2xx that cannot be read | again | unknown |
/// | anything else | refused | refused |
///
/// "Again" waits for Retry-After, or for a doubling back-off with jitter; after the last attempt
/// the failure is returned.
package struct RetryPolicy: Sendable {
    /// How an attempt ended.
    package enum Outcome: Hashable, Sendable {
        /// A status and what came with it.
        case answered(status: Int, retryAfter: String?, isThrottled: Bool)
        /// A good status with a body that is not what it must be.
        case unreadable
        /// No whole answer.
        case lost
    }

    /// What to do next.
    package enum Verdict: Hashable, Sendable {
        /// The answer is good.
        case accept
        /// Send it again after this time.
        case again(afterSeconds: Double)
        /// The provider said no.
        case refused
        /// It may have been done.
        case unknown
        /// Every attempt failed.
        case exhausted
        /// Retry-After is longer than we wait.
        case busy(retryAfterSeconds: Double)
    }

    private let limits: ProviderLimits

    /// Creates a policy.
    package init(_ limits: ProviderLimits) {
        self.limits = limits
    }

    /// - Parameters:
    ///   - outcome: How the attempt ended.
    ///   - attempt: 1 for the first.
    ///   - safety: Of the request.
    ///   - now: For a Retry-After that is a date.
    ///   - jitter: In 0..<1.
    /// - Returns: What to do.
    package func verdict(
        _ outcome: Outcome, attempt: Int, safety: ProviderCall.Safety, now: Date, jitter: Double
    ) -> Verdict {
        switch outcome {
        case .answered(200...299, _, isThrottled: false): return .accept
        case .answered(let status, let retryAfter, let isThrottled):
            let isBusy = isThrottled || status == 429
            guard isBusy || Self.isTemporary(status) || safety.names(status) else {
                return .refused
            }
            guard isBusy || safety.allowsRepeat(after: status) else { return .unknown }
            return self.again(attempt, retryAfter, isBusy: isBusy, now: now, jitter: jitter)
        case .unreadable, .lost:
            guard safety == .repeatable else { return .unknown }
            return self.again(attempt, nil, isBusy: false, now: now, jitter: jitter)
        }
    }

    private func again(
        _ attempt: Int, _ retryAfter: String?, isBusy: Bool, now: Date, jitter: Double
    ) -> Verdict {
        let asked = retryAfter.flatMap { RetryAfter.seconds($0, now: now) }
        if let asked, asked > self.limits.maximumRetryAfterSeconds {
            return .busy(retryAfterSeconds: asked)
        }
        guard attempt < self.limits.maximumAttempts else {
            return isBusy ? .refused : .exhausted
        }
        if let asked { return .again(afterSeconds: asked + jitter) }
        let doubled = self.limits.firstBackOffSeconds * pow(2, Double(attempt - 1))
        let most = min(doubled, self.limits.maximumBackOffSeconds)
        return .again(afterSeconds: most * (0.5 + jitter / 2))
    }

    private static func isTemporary(_ status: Int) -> Bool {
        [408, 423, 425, 500, 502, 503, 504].contains(status)
    }
}

extension ProviderCall.Safety {
    fileprivate func names(_ status: Int) -> Bool {
        switch self {
        case .repeatable: false
        case .once(let statuses): statuses.contains(status)
        }
    }

    fileprivate func allowsRepeat(after status: Int) -> Bool {
        self == .repeatable || self.names(status)
    }
}

/// The header Retry-After. Source: RFC 9110, sections 10.2.3 and 5.6.7.
package enum RetryAfter {
    /// Seconds from now, never negative; nil for a value that is neither seconds nor a date.
    package static func seconds(_ value: String, now: Date) -> Double? {
        let text = value.trimmingCharacters(in: .whitespaces)
        guard !text.isEmpty, text.utf8.count <= 64 else { return nil }
        if text.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }) {
            return Double(text)
        }
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.timeZone = TimeZone(identifier: "GMT")
        formatter.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
        return formatter.date(from: text).map { max(0, $0.timeIntervalSince(now)) }
    }
}
