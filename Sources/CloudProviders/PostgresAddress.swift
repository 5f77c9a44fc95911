/// Where a Postgres is and who logs in, without a password.
package struct PostgresAddress: Sendable, Hashable {
    /// A name or an address.
    package var host: String
    /// 1...65535.
    package var port: Int
    /// The role.
    package var user: String
    /// The database.
    package var database: String
    /// libpq's word.
    package var sslMode: String

    /// Creates an address.
    package init(host: String, port: Int, user: String, database: String, sslMode: String) {
        self.host = host
        self.port = port
        self.user = user
        self.database = database
        self.sslMode = sslMode
    }

    /// libpq's keywords.
    package var keywords: [String: String] {
        [
            "host": self.host, "port": String(self.port), "user": self.user,
            "dbname": self.database, "sslmode": self.sslMode,
        ]
    }

    /// A URL without a password.
    package var url: String {
        let host = self.host.contains(":") ? "[\(self.host)]" : self.host
        let user = ProviderCall.encoded(self.user)
        let database = ProviderCall.encoded(self.database)
        return "postgresql://\(user)@\(host):\(self.port)/\(database)?sslmode=\(self.sslMode)"
    }

    /// Whether host and port can be what they say, and user and database can be shown. A host
    /// with a slash would be a folder of sockets to libpq, one with a comma two hosts.
    package var isPrintable: Bool {
        self.host.utf8.count <= 253
            && self.host.wholeMatch(of: /[A-Za-z0-9:]([A-Za-z0-9.:_-]*[A-Za-z0-9.])?/) != nil
            && 1...65_535 ~= self.port
            && [self.user, self.database].allSatisfy {
                !$0.isEmpty && $0.utf8.count <= 255 && Printable.text($0) == $0
            }
    }
}
