public import Foundation

/// Why no fitting `pg_dump` was found.
public struct ToolsFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// The source's major version: the oldest that may read it.
    public var neededMajor: Int
    /// What was found, by folder; too old, or incomplete.
    public var found: [String]
    /// What to do, for this operating system.
    public var advice: String

    /// Creates a failure.
    public init(neededMajor: Int, found: [String], advice: String) {
        self.neededMajor = neededMajor
        self.found = found
        self.advice = advice
    }

    /// What was looked for, what was found and what to do.
    public var description: String {
        let seen = self.found.isEmpty ? "none" : self.found.joined(separator: ", ")
        return "pg_dump and pg_restore of Postgres \(self.neededMajor) or later are needed; "
            + "found: \(seen). \(self.advice)"
    }
}

extension ClientTools {
    /// Names the folder of the tools to use, and no other is looked at.
    public static let folderVariable = "PGSHARE_PG_BIN"

    /// Finds the oldest tools that can read the source: what they write, an older target
    /// understands best.
    ///
    /// Looks into the folder that ``folderVariable`` names or else into those of `PATH` and those
    /// where packages put Postgres.
    ///
    /// - Parameters:
    ///   - environment: Of the process.
    ///   - sourceMajor: The source's major version; an older pg_dump refuses it.
    ///   - packageFolders: Where packages put Postgres.
    /// - Returns: The pair, both of one folder.
    /// - Throws: ``ToolsFailure``.
    public static func find(
        environment: [String: String] = ProcessInfo.processInfo.environment,
        sourceMajor: Int,
        packageFolders: [String] = Self.packageFolders()
    ) async throws(ToolsFailure) -> ClientTools {
        let folders: [String]
        if let folder = environment[self.folderVariable], !folder.isEmpty {
            folders = [folder]
        } else {
            let path = (environment["PATH"] ?? "").split(separator: ":").map(String.init)
            folders = path.filter { $0.hasPrefix("/") } + packageFolders
        }
        var candidates: [ClientTools] = []
        var seen: Set<String> = []
        for folder in folders {
            guard let folder = self.realFolder(folder), seen.insert(folder).inserted,
                let tools = await self.tools(in: folder)
            else { continue }
            candidates.append(tools)
        }
        guard let best = self.best(of: candidates, sourceMajor: sourceMajor) else {
            throw ToolsFailure(
                neededMajor: sourceMajor, found: candidates.map(\.summary),
                advice: self.advice(sourceMajor, environment))
        }
        return best
    }

    /// The lowest major that is enough, of that the newest; the first found of equals.
    static func best(of candidates: [ClientTools], sourceMajor: Int) -> ClientTools? {
        candidates
            .filter { $0.pgDump.version.major >= sourceMajor }
            .filter { $0.pgRestore.version >= $0.pgDump.version }
            .enumerated()
            .min { left, right in
                let (a, b) = (left.element.pgDump.version, right.element.pgDump.version)
                guard a.major == b.major else { return a.major < b.major }
                guard a.minor == b.minor else { return a.minor > b.minor }
                return left.offset < right.offset
            }?.element
    }

    /// Where packages of Debian, Red Hat, Homebrew, Postgres.app and a build by hand put it.
    public static func packageFolders() -> [String] {
        let versioned: [(folder: String, start: String, end: String)] = [
            ("/usr/lib/postgresql", "", "bin"),
            ("/usr", "pgsql-", "bin"),
            ("/usr/local/opt", "postgresql@", "bin"),
            ("/opt/homebrew/opt", "postgresql@", "bin"),
            ("/usr/local/opt", "libpq", "bin"),
            ("/opt/homebrew/opt", "libpq", "bin"),
            ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
            ("/usr/local", "pgsql", "bin"),
        ]
        return versioned.flatMap { place in
            let names = (try? FileManager.default.contentsOfDirectory(atPath: place.folder)) ?? []
            return names.filter { $0.hasPrefix(place.start) }.sorted()
                .map { "\(place.folder)/\($0)/\(place.end)" }
        }
    }

    /// `pg_dump 15.20 in /usr/lib/postgresql/15/bin`.
    private var summary: String {
        let folder = self.pgDump.path.dropLast(self.pgDump.name.count + 1)
        return "\(self.pgDump.version) in \(folder)"
    }

    /// The folder's own path, if its tools are programs and not Debian's wrapper, which picks a
    /// version by rules of its own.
    private static func realFolder(_ folder: String) -> String? {
        let tool = URL(fileURLWithPath: folder + "/pg_dump").resolvingSymlinksInPath()
        guard FileManager.default.isExecutableFile(atPath: tool.path),
            tool.lastPathComponent == "pg_dump"
        else { return nil }
        return tool.deletingLastPathComponent().path
    }

    private static func tools(in folder: String) async -> ClientTools? {
        guard let pgDump = await self.tool(folder + "/pg_dump"),
            let pgRestore = await self.tool(folder + "/pg_restore")
        else { return nil }
        return ClientTools(pgDump: pgDump, pgRestore: pgRestore)
    }

    private static func tool(_ path: String) async -> Tool? {
        let version = ToolVersion(major: 0, minor: 0)
        let unknown = Tool(path: path, version: version)
        guard let output = try? await ToolProcess.output(of: unknown, ["--version"]) else {
            return nil
        }
        return ToolVersion(output: output).map { Tool(path: path, version: $0) }
    }

    /// What to install.
    static func advice(_ major: Int, _ environment: [String: String]) -> String {
        if environment[self.folderVariable]?.isEmpty == false {
            return "Unset \(self.folderVariable), or let it name the bin folder of such a Postgres."
        }
        #if os(macOS)
            return "Install them: brew install postgresql@\(major)."
        #else
            return "Install them: apt install postgresql-client-\(major) (from apt.postgresql.org "
                + "where Debian lacks it), dnf install postgresql\(major); or set "
                + "\(self.folderVariable) to the bin folder of such a Postgres."
        #endif
    }
}
