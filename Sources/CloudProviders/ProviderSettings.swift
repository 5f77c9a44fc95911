import Foundation

/// How a provider is reached, checked once.
public struct ProviderSettings: Sendable {
    /// Tries to open a TCP connection; see ``Reachability``.
    public typealias Reach = @Sendable (_ host: String, _ port: Int) async -> Bool

    /// What proves who we are.
    public let token: ProviderSecret
    /// `https://…`, or `http://` and a loopback host, without a slash at the end.
    public let baseURL: String
    /// How long things may take.
    public var limits = ProviderLimits()
    /// Time and chance.
    public var clock = ProviderClock.system
    /// Whether a host takes connections from here.
    public var reach: Reach = { host, port in await Reachability.probe(host: host, port: port) }

    /// The variable that holds a provider's token. For RDS the first of three.
    public static func tokenVariable(of provider: ProviderName) -> String {
        switch provider {
        case .supabase: "SUPABASE_ACCESS_TOKEN"
        case .neon: "NEON_API_KEY"
        case .rds: "AWS_SECRET_ACCESS_KEY"
        }
    }

    /// The variable that replaces a provider's URL, for tests and for private clouds.
    public static func urlVariable(of provider: ProviderName) -> String {
        "PGSHARE_\(provider.rawValue.uppercased())_URL"
    }

    /// Where a provider is reached if nothing else is said; RDS has a URL a region.
    public static func defaultURL(of provider: ProviderName) -> String? {
        switch provider {
        case .supabase: "https://api.supabase.com"
        case .neon: "https://console.neon.tech/api/v2"
        case .rds: nil
        }
    }

    /// Checks a token and a URL.
    ///
    /// - Parameters:
    ///   - provider: Whose.
    ///   - token: From the environment or a prompt; nil if the user gave none.
    ///   - baseURL: Of ``urlVariable(of:)`` if it is set, else of ``defaultURL(of:)``.
    /// - Throws: ``ProviderFailure`` saying what to set.
    public init(
        provider: ProviderName, token: String?, baseURL: String
    ) throws(ProviderFailure) {
        let variable = Self.tokenVariable(of: provider)
        let trimmed = (token ?? "").trimmingCharacters(in: .whitespacesAndNewlines)
        guard !trimmed.isEmpty else {
            throw ProviderFailure(
                "\(provider.title) asks for an access token",
                advice: "Set \(variable). \(Self.tokenAdvice(of: provider))")
        }
        // What could break out of a header is no token.
        guard trimmed.utf8.count <= 4_096, trimmed.utf8.allSatisfy({ 0x21...0x7E ~= $0 }) else {
            throw ProviderFailure(
                "the access token in \(variable) has characters that no token has")
        }
        self.token = ProviderSecret(trimmed)
        self.baseURL = try Self.checked(baseURL, of: provider)
    }

    /// Checks a provider's URL: `https`, or `http` to this machine, so that a token never travels
    /// in clear.
    ///
    /// - Returns: The URL without a slash at its end.
    package static func checked(
        _ text: String, of provider: ProviderName
    ) throws(ProviderFailure) -> String {
        let url = URLComponents(string: text)
        let host = url?.host ?? ""
        let isSafe =
            switch url?.scheme {
            case "https": !host.isEmpty
            case "http": ["127.0.0.1", "localhost", "::1", "[::1]"].contains(host)
            case .some, .none: false
            }
        guard isSafe, url?.query == nil, url?.fragment == nil, url?.user == nil else {
            throw ProviderFailure(
                "\(Self.urlVariable(of: provider)) is not usable",
                advice: "Write https://HOST/PATH, or http:// and a loopback address.")
        }
        return text.hasSuffix("/") ? String(text.dropLast()) : text
    }

    private static func tokenAdvice(of provider: ProviderName) -> String {
        switch provider {
        case .supabase: "Make one at https://supabase.com/dashboard/account/tokens."
        case .neon: "Make one at https://console.neon.tech/app/settings/api-keys."
        case .rds: "AWS_ACCESS_KEY_ID goes with it."
        }
    }
}
