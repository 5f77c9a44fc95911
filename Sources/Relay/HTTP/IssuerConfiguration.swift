import Foundation
import SharePolicy

/// Whose JSON Web Tokens a relay believes, beside the tokens that its operator made.
public struct IssuerConfiguration: Sendable, Hashable {
    /// Where the issuer's public keys are.
    public enum KeySet: Sendable, Hashable {
        /// A URL of a JSON Web Key Set.
        case url(String)
        /// A file that holds one.
        case file(String)

        /// Reads what an operator wrote: a URL, or else a file's name.
        ///
        /// - Returns: Nil for a URL that is not HTTPS (or HTTP on this machine), or carries a
        ///   password: whoever can change the keys on their way can be anybody.
        public init?(_ text: String) {
            guard text.contains("://") else {
                guard !text.isEmpty else { return nil }
                self = .file(text)
                return
            }
            guard let url = URLComponents(string: text), let host = url.host, !host.isEmpty,
                url.user == nil, url.password == nil, url.fragment == nil
            else { return nil }
            switch url.scheme?.lowercased() {
            case "https": self = .url(text)
            case "http" where Self.isLoopback(host): self = .url(text)
            default: return nil
            }
        }

        private static func isLoopback(_ host: String) -> Bool {
            let bare = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
            return CIDR("127.0.0.0/8")?.contains(address: bare) == true || bare == "::1"
                || bare.lowercased() == "localhost"
        }
    }

    /// What `iss` must say.
    public var issuer: String
    /// What `aud` must say, or contain where it is a list. Without it a token that the issuer made
    /// for another service would be good here.
    public var audience: String
    /// The keys of RS256, ES256, EdDSA and their like; nil for none.
    public var keySet: KeySet?
    /// A file with the secret of HS256, 32 bytes at least; nil for none.
    public var secretFile: String?

    /// Creates a configuration. A relay that has neither keys nor a secret does not start.
    public init(issuer: String, audience: String, keySet: KeySet?, secretFile: String?) {
        self.issuer = issuer
        self.audience = audience
        self.keySet = keySet
        self.secretFile = secretFile
    }
}
