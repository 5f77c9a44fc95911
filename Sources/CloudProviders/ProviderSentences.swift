extension ProviderCallFailure {
    /// The failure as a person reads it.
    ///
    /// - Parameters:
    ///   - provider: Who failed.
    ///   - deed: What it was asked, as a verb: `create the project`.
    /// - Returns: The provider's own words where it has any, and what can be done.
    package func explained(provider: ProviderName, deed: String) -> ProviderFailure {
        let name = provider.title
        let token = ProviderSettings.tokenVariable(of: provider)
        switch self {
        case .refused(401, let message):
            return ProviderFailure(
                "\(name) does not accept the token: \(message)",
                advice: "Set \(token) to one that is valid.")
        case .refused(403, let message):
            return ProviderFailure(
                "\(name) does not let this token \(deed): \(message)",
                advice: "Take a token of somebody who may, in the right organization.")
        case .refused(404, let message):
            return ProviderFailure(
                "\(name) knows no such project: \(message)",
                advice: "Look at its id in the dashboard.")
        case .refused(429, let message):
            return ProviderFailure(
                "\(name) gets too many requests: \(message)", advice: "Try again in some minutes.")
        case .refused(_, let message):
            return ProviderFailure("\(name) refused to \(deed): \(message)")
        case .unknown(let reason):
            return ProviderFailure(
                "\(name) did not say whether it did \(deed): \(reason)",
                advice: "Run the deploy again: it goes on with what is there.")
        case .unanswered(let reason):
            return ProviderFailure(
                "\(name) failed to \(deed): \(reason)", advice: "Try again in some minutes.")
        case .busy(let seconds):
            return ProviderFailure(
                "\(name) wants us to wait \(Self.whole(seconds)) s before it will \(deed)",
                advice: "Try again then.")
        case .cancelled:
            return ProviderFailure(
                "stopped while \(name) was asked to \(deed)",
                advice: "What was created is found by its name when the deploy is run again.")
        }
    }

    /// A Retry-After may have any number of digits.
    private static func whole(_ seconds: Double) -> String {
        seconds < 1e9 ? "\(Int(seconds))" : "very many"
    }
}

extension ProviderLimits {
    /// Seconds before poll number `polls` + 2: short at first, since a project that is found is
    /// mostly ready.
    package func poll(_ polls: Int) -> Double {
        min(self.pollSeconds, Double(1 << min(polls, 8)))
    }
}
