/// Which share a client means, out of the three places where it can say so.
public enum ShareAddress {
    /// Where a share was named. In this order the first one counts.
    public enum Source: String, Hashable, Sendable, CaseIterable {
        /// The TLS server name, `ID.DOMAIN`.
        case serverName = "server_name"
        /// The startup option `-c pgshare.share=ID`.
        case option
        /// The user, `USER.ID`.
        case user
    }

    /// A share that was named, and what is left of the user.
    public struct Resolution: Hashable, Sendable {
        /// The share's id or name, as typed but lower-case.
        public var key: ShareKey
        /// The first place that named it.
        public var source: Source
        /// The user without its share, where the user named one; nil where it did not.
        public var loginUser: String?

        /// Creates a resolution.
        public init(key: ShareKey, source: Source, loginUser: String?) {
            self.key = key
            self.source = source
            self.loginUser = loginUser
        }
    }

    /// Finds the share a client means.
    ///
    /// - A server name counts if it ends in `.domain`; another (an IP address, an alias, the bare
    ///   domain) names no share. One label must be in front, and it must have a share's form.
    /// - An option counts if it is there, and must then have a share's form.
    /// - A user names a share if what follows its last dot has a share's form. `john.doe` thereby
    ///   names the share `doe`; as it is the agent's role that logs in, no client needs a user
    ///   with such a dot in it. `jane.d@corp` names none, and is a user.
    /// - Two places that differ are refused, and an id differs from a name even if both are of one
    ///   share: telling would mean asking the directory before the password.
    ///
    /// Source: `PROTOCOL.md` 11. Case does not matter, as in DNS; a root dot behind a host is
    /// dropped.
    ///
    /// - Returns: The share, or ``Refusal/Reason/shareNotNamed``,
    ///   ``Refusal/Reason/badShareAddress`` or ``Refusal/Reason/shareAddressDisagrees``. None of
    ///   them depends on which shares exist.
    public static func resolve(
        serverName: String?,
        domain: String,
        option: String?,
        user: String?
    ) -> Result<Resolution, Refusal> {
        do throws(Refusal) {
            let named = try Self.share(serverName: serverName, domain: domain)
            let chosen = try Self.share(option: option)
            let (suffix, loginUser) = try Self.share(user: user)
            let places: [(source: Source, key: ShareKey?)] = [
                (.serverName, named), (.option, chosen), (.user, suffix),
            ]
            let keys = places.compactMap(\.key)
            guard let first = places.first(where: { $0.key != nil }), let key = first.key else {
                throw Refusal(.shareNotNamed, detail: "no server name, option or user names one")
            }
            guard keys.allSatisfy({ $0 == key }) else {
                let list = keys.map(\.text).joined(separator: ", ")
                throw Refusal(.shareAddressDisagrees, detail: "named \(list)")
            }
            return .success(
                Resolution(key: key, source: first.source, loginUser: loginUser))
        } catch {
            return .failure(error)
        }
    }

    private static func share(
        serverName: String?,
        domain: String
    ) throws(Refusal) -> ShareKey? {
        guard let serverName else { return nil }
        let host = Self.withoutRootDot(serverName.lowercased())
        let suffix = "." + Self.withoutRootDot(domain.lowercased())
        guard host.hasSuffix(suffix) else { return nil }
        guard let key = ShareKey(host.dropLast(suffix.count)) else {
            throw Refusal(.badShareAddress, detail: "the server name's label is malformed")
        }
        return key
    }

    private static func share(option: String?) throws(Refusal) -> ShareKey? {
        guard let option else { return nil }
        guard let key = ShareKey(option) else {
            throw Refusal(.badShareAddress, detail: "the option pgshare.share is malformed")
        }
        return key
    }

    private static func share(
        user: String?
    ) throws(Refusal) -> (key: ShareKey?, loginUser: String?) {
        guard let user, let dot = user.lastIndex(of: "."),
            let key = ShareKey(user[user.index(after: dot)...])
        else { return (nil, nil) }
        guard dot != user.startIndex else {
            throw Refusal(.badShareAddress, detail: "nothing stands before the user's share")
        }
        return (key, String(user[..<dot]))
    }

    private static func withoutRootDot(_ host: String) -> Substring {
        host.hasSuffix(".") ? host.dropLast() : host[...]
    }
}
