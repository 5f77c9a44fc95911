import Foundation

/// A provider as a target of `pgshare deploy`: `PROVIDER:[PROJECT[/BRANCH]][?KEY=VALUE&…]`.
///
/// | text | means |
/// |---|---|
/// | `supabase:` | the project named after the share: found, or created |
/// | `supabase:REF` | that project |
/// | `supabase:new?name=…&region=…&org=…` | a new one; refused if the name is taken |
/// | `neon:` | as for Supabase |
/// | `neon:PROJECT`, `neon:PROJECT/BRANCH` | its default branch; that branch, created if missing |
/// | `neon:new?name=…&region=…&org=…&version=…` | a new project |
/// | `rds:`, `rds:ID`, `rds:new?…` | an instance |
public struct ProviderReference: Sendable, Hashable, Codable {
    /// Which project is meant.
    public enum Place: Sendable, Hashable, Codable {
        /// The one named after the share, made on the first deploy.
        case named
        /// One that exists, by its id, and its branch where the provider has branches.
        case existing(id: String, branch: String?)
        /// One to be made.
        case new
    }

    /// The longest text that is read, in UTF-8 bytes: ids are below 64, values below 256.
    public static let maximumBytes = 1_024

    /// The keys that each provider knows behind the question mark.
    ///
    /// - Parameter provider: Whose.
    /// - Returns: Lower-case words.
    public static func keys(of provider: ProviderName) -> Set<String> {
        switch provider {
        case .supabase: ["name", "org", "region"]
        case .neon: ["database", "name", "org", "region", "role", "version"]
        case .rds:
            [
                "class", "database", "name", "public", "region", "security-group", "storage",
                "subnet-group", "user", "version",
            ]
        }
    }

    /// Whose project.
    public var provider: ProviderName
    /// Which project.
    public var place: Place
    /// What stood behind the question mark, decoded.
    public var options: [String: String]

    /// Creates a reference.
    public init(provider: ProviderName, place: Place, options: [String: String] = [:]) {
        self.provider = provider
        self.place = place
        self.options = options
    }

    /// Reads a target.
    ///
    /// - Returns: Nil if the text does not start with a provider's name and a colon: then it is
    ///   some other kind of target.
    /// - Throws: ``ProviderFailure`` if it does and the rest cannot be read.
    public static func parse(_ text: String) throws(ProviderFailure) -> ProviderReference? {
        guard let colon = text.firstIndex(of: ":"),
            let provider = ProviderName(rawValue: String(text[..<colon]))
        else { return nil }
        guard text.utf8.count <= Self.maximumBytes else {
            throw ProviderFailure("a target is at most \(Self.maximumBytes) bytes long")
        }
        let rest = text[text.index(after: colon)...]
        let parts = rest.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let path = parts.first.map(String.init) ?? ""
        let query = parts.count > 1 ? String(parts[1]) : ""
        return ProviderReference(
            provider: provider, place: try Self.place(path, of: provider),
            options: try Self.options(query, of: provider))
    }

    private static func place(
        _ path: String, of provider: ProviderName
    ) throws(ProviderFailure) -> Place {
        if path.isEmpty { return .named }
        if path == "new" { return .new }
        let names = path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        let mostNames = provider == .neon ? 2 : 1
        guard names.count <= mostNames, names.allSatisfy(Self.isName) else {
            throw ProviderFailure(
                "'\(Printable.text(path))' is no project of \(provider.title)",
                advice: "Write \(Self.usage(of: provider)).")
        }
        return .existing(id: names[0], branch: names.count == 2 ? names[1] : nil)
    }

    private static func options(
        _ query: String, of provider: ProviderName
    ) throws(ProviderFailure) -> [String: String] {
        var options: [String: String] = [:]
        for pair in query.split(separator: "&") {
            let halves = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let key = String(halves[0])
            guard Self.keys(of: provider).contains(key) else {
                throw ProviderFailure(
                    "\(provider.title) has no option '\(Printable.text(key))'",
                    advice: "It has \(Self.keys(of: provider).sorted().joined(separator: ", ")).")
            }
            guard halves.count == 2, let value = String(halves[1]).removingPercentEncoding,
                !value.isEmpty, value.utf8.count <= 255, Printable.text(value) == value
            else { throw ProviderFailure("the option \(key) needs a value of printable text") }
            guard options.updateValue(value, forKey: key) == nil else {
                throw ProviderFailure("the option \(key) is there twice")
            }
        }
        return options
    }

    /// Ids of the three providers, and names of branches: nothing that means something in a URL.
    private static func isName(_ name: String) -> Bool {
        name.utf8.count <= 63 && name.wholeMatch(of: /[A-Za-z0-9][A-Za-z0-9._-]*/) != nil
    }

    private static func usage(of provider: ProviderName) -> String {
        switch provider {
        case .supabase: "supabase:, supabase:REF or supabase:new?name=…&region=…&org=…"
        case .neon: "neon:, neon:PROJECT, neon:PROJECT/BRANCH or neon:new?name=…&region=…"
        case .rds: "rds:, rds:IDENTIFIER or rds:new?name=…&region=…"
        }
    }
}

extension ProviderReference: CustomStringConvertible {
    /// Without options, which may be long: `neon:PROJECT/BRANCH`.
    public var description: String {
        switch self.place {
        case .named: "\(self.provider.rawValue):"
        case .new: "\(self.provider.rawValue):new"
        case .existing(let id, let branch):
            "\(self.provider.rawValue):\(id)" + (branch.map { "/\($0)" } ?? "")
        }
    }
}
