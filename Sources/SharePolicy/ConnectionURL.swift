import Foundation

/// libpq's connection URLs.
///
/// Source: PostgreSQL documentation, "Connection URIs".
public enum ConnectionURL {
    /// The URL by which clients connect to a share, its password included.
    public static func share(
        user: String, password: String, host: String, port: Int, database: String
    ) -> String {
        let login = "\(self.escaped(user)):\(self.escaped(password))"
        // The host is the relay's word, and the URL is pasted into shells.
        let place = host.addingPercentEncoding(withAllowedCharacters: self.inHosts) ?? ""
        return "postgres://\(login)@\(place):\(port)/\(self.escaped(database))?sslmode=require"
    }

    /// A text as part of a URL, whatever characters it has. Source: RFC 3986, 2.3.
    public static func escaped(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: self.unreserved) ?? ""
    }

    /// Names, and addresses in brackets.
    private static let inHosts = unreserved.union(CharacterSet(charactersIn: "[]:"))

    private static let unreserved = CharacterSet(
        charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
}
