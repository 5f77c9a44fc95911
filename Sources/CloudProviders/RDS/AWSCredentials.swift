/// Who signs the requests to AWS. Prints nothing of itself.
public struct AWSCredentials: Hashable, Sendable, CustomStringConvertible,
    CustomDebugStringConvertible, CustomReflectable
{
    /// The public half, for example "AKIDEXAMPLE".
    public var accessKeyID: String
    /// The secret half.
    public var secretAccessKey: String
    /// What a temporary key carries besides, or nil.
    public var sessionToken: String?

    /// Creates credentials.
    public init(accessKeyID: String, secretAccessKey: String, sessionToken: String? = nil) {
        self.accessKeyID = accessKeyID
        self.secretAccessKey = secretAccessKey
        self.sessionToken = sessionToken
    }

    /// Always the same word: keys are never printed.
    public var description: String { "AWSCredentials" }

    /// Always the same word: keys are never printed.
    public var debugDescription: String { self.description }

    /// Nothing: `dump` must not print keys either.
    public var customMirror: Mirror { Mirror(self, children: [:]) }
}

extension AWSCredentials {
    /// Looks where AWS's own tools look: the environment, then a profile of the shared files.
    ///
    /// A half-set environment is an error, not a reason to sign with somebody else's key.
    ///
    /// - Parameters:
    ///   - environment: The variables of the process.
    ///   - readFile: Gives the text of a file, or nil where there is none.
    /// - Throws: ``ProviderFailure`` that says what to set.
    /// - Returns: The first that is found.
    public static func find(
        environment: [String: String],
        readFile: (_ path: String) -> String?
    ) throws(ProviderFailure) -> AWSCredentials {
        let profile = Self.word("AWS_PROFILE", environment)
        let key = Self.word("AWS_ACCESS_KEY_ID", environment)
        let secret = Self.word("AWS_SECRET_ACCESS_KEY", environment)
        switch (key, secret) {
        case (let key?, let secret?):
            let token = Self.word("AWS_SESSION_TOKEN", environment)
            return Self(accessKeyID: key, secretAccessKey: secret, sessionToken: token)
        case (.some, nil), (nil, .some):
            throw ProviderFailure(
                "only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set",
                advice: "set both, or neither and AWS_PROFILE")
        case (nil, nil):
            return try Self.ofProfile(profile ?? "default", environment, readFile)
        }
    }

    /// The region of the environment or of the profile in `~/.aws/config`, or nil.
    public static func findRegion(
        environment: [String: String],
        readFile: (_ path: String) -> String?
    ) -> String? {
        if let region = Self.word("AWS_REGION", environment)
            ?? Self.word("AWS_DEFAULT_REGION", environment)
        {
            return region
        }
        let profile = Self.word("AWS_PROFILE", environment) ?? "default"
        let section = profile == "default" ? profile : "profile \(profile)"
        guard
            let path = Self.path("AWS_CONFIG_FILE", "config", environment),
            let text = readFile(path)
        else { return nil }
        return AWSProfileFile.section(section, of: text)?["region"]
    }

    private static func ofProfile(
        _ profile: String,
        _ environment: [String: String],
        _ readFile: (_ path: String) -> String?
    ) throws(ProviderFailure) -> AWSCredentials {
        let advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        guard
            let path = Self.path("AWS_SHARED_CREDENTIALS_FILE", "credentials", environment),
            let text = readFile(path)
        else { throw ProviderFailure("no AWS credentials were found", advice: advice) }
        guard let values = AWSProfileFile.section(profile, of: text) else {
            throw ProviderFailure("\(path) has no profile \"\(profile)\"", advice: advice)
        }
        guard let key = values["aws_access_key_id"], let secret = values["aws_secret_access_key"]
        else {
            throw ProviderFailure("profile \"\(profile)\" of \(path) has no keys", advice: advice)
        }
        let token = values["aws_session_token"]
        return Self(accessKeyID: key, secretAccessKey: secret, sessionToken: token)
    }

    private static func path(
        _ variable: String,
        _ name: String,
        _ environment: [String: String]
    ) -> String? {
        Self.word(variable, environment)
            ?? Self.word("HOME", environment).map { "\($0)/.aws/\(name)" }
    }

    /// A variable that is set to something.
    private static func word(_ name: String, _ environment: [String: String]) -> String? {
        environment[name].flatMap { $0.isEmpty ? nil : $0 }
    }
}

/// The shared files of AWS's tools: sections of `key = value` lines.
enum AWSProfileFile {
    /// The values of a section, or nil if the file has none of that name. Nested lines are skipped.
    static func section(_ name: String, of text: String) -> [String: String]? {
        var found: [String: String]?
        var isInside = false
        for line in text.split(whereSeparator: \.isNewline) {
            let isNested = line.first?.isWhitespace ?? true
            let words = Self.trimmed(line)
            if words.isEmpty || words.hasPrefix("#") || words.hasPrefix(";") { continue }
            if words.hasPrefix("["), words.hasSuffix("]") {
                isInside = Self.trimmed(words.dropFirst().dropLast()) == name
                if isInside, found == nil { found = [:] }
            } else if isInside, !isNested, let equals = words.firstIndex(of: "=") {
                let key = Self.trimmed(words[..<equals]).lowercased()
                found?[key] = Self.trimmed(words[words.index(after: equals)...])
            }
        }
        return found
    }

    private static func trimmed(_ text: some StringProtocol) -> String {
        let front = text.drop { $0.isWhitespace }
        guard let last = front.lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return String(front[...last])
    }
}
