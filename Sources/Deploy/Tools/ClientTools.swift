/// A version of Postgres's programs: 15.20.
public struct ToolVersion: Codable, Hashable, Sendable, Comparable, CustomStringConvertible {
    /// 15 of 15.20.
    public var major: Int
    /// 20 of 15.20; 0 of a version that is not out yet.
    public var minor: Int

    /// Creates a version.
    public init(major: Int, minor: Int) {
        self.major = major
        self.minor = minor
    }

    /// Reads what a program says to `--version`: `pg_dump (PostgreSQL) 15.20 (Debian …)`.
    public init?(output: String) {
        guard let word = output.split(whereSeparator: \.isWhitespace).first(where: Self.isNumber),
            let major = Int(word.prefix(while: \.isNumber))
        else { return nil }
        let rest = word.drop(while: \.isNumber)
        self.init(
            major: major,
            minor: rest.first == "." ? Int(rest.dropFirst().prefix(while: \.isNumber)) ?? 0 : 0)
    }

    /// `15.20`.
    public var description: String { "\(self.major).\(self.minor)" }

    /// Older comes first.
    public static func < (left: Self, right: Self) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }

    private static func isNumber(_ word: Substring) -> Bool {
        word.first?.isASCII == true && word.first?.isNumber == true
    }
}

/// The `pg_dump` and `pg_restore` that a deploy uses, from one folder.
public struct ClientTools: Codable, Hashable, Sendable {
    /// One program.
    public struct Tool: Codable, Hashable, Sendable {
        /// The full path.
        public var path: String
        /// What it says to `--version`.
        public var version: ToolVersion

        /// Creates a tool.
        public init(path: String, version: ToolVersion) {
            self.path = path
            self.version = version
        }

        /// The name of the program, without its folder.
        public var name: String { String(self.path.split(separator: "/").last ?? "") }
    }

    /// Reads the source.
    public var pgDump: Tool
    /// Writes the target.
    public var pgRestore: Tool

    /// Creates the pair.
    public init(pgDump: Tool, pgRestore: Tool) {
        self.pgDump = pgDump
        self.pgRestore = pgRestore
    }
}
