/// Why `pg_dump` or `pg_restore` did not do its work. Holds no secret.
public struct ToolFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// What happened.
    public enum Reason: Hashable, Sendable {
        /// It ended with this status, not 0.
        case exit(Int)
        /// This signal ended it.
        case signal(Int)
        /// It could not be started.
        case notStarted(String)
        /// The task was cancelled, and the program ended for that.
        case cancelled
        /// A file of the run could not be written or read.
        case file(String)
        /// What it made is not what we know how to read.
        case unreadable(String)
    }

    /// `pg_dump`, `pg_restore`.
    public var tool: String
    /// What happened.
    public var reason: Reason
    /// The last lines it wrote to standard error.
    public var lastLines: [String]

    /// Creates a failure.
    public init(tool: String, reason: Reason, lastLines: [String] = []) {
        self.tool = tool
        self.reason = reason
        self.lastLines = lastLines
    }

    /// One sentence, with the first error that the program wrote.
    public var description: String {
        let what =
            switch self.reason {
            case .exit(let status): "ended with status \(status)"
            case .signal(let number): "was ended by signal \(number)"
            case .notStarted(let why): "could not be started: \(why)"
            case .cancelled: "was cancelled"
            case .file(let why): "had no file to work with: \(why)"
            case .unreadable(let why):
                "made an archive that cannot be read (is the disk full?): \(why)"
            }
        let message = self.lastLines.first { $0.contains("error:") } ?? self.lastLines.last
        return "\(self.tool) \(what)" + (message.map { ": \($0)" } ?? "")
    }
}

/// A line that a program wrote to standard error.
public struct ToolMessage: Hashable, Sendable {
    /// What kind of line it is.
    public enum Kind: Hashable, Sendable {
        /// What it does now (`creating TABLE "public.orders"`).
        case progress
        /// A warning.
        case warning
        /// An error.
        case error
        /// A detail or hint of the line before, or anything else.
        case other
    }

    /// `pg_dump`, `pg_restore`.
    public var tool: String
    /// What kind of line it is.
    public var kind: Kind
    /// The line, without the name of the tool and the word of its kind.
    public var text: String

    /// Reads a line as the tool wrote it with `LC_ALL=C`.
    public init(tool: String, line: String) {
        self.tool = tool
        let prefix = tool + ": "
        guard line.hasPrefix(prefix) else {
            self.kind = .other
            self.text = line
            return
        }
        let rest = line.dropFirst(prefix.count)
        let kinds: [(word: String, kind: Kind)] = [
            ("error: ", .error), ("warning: ", .warning), ("detail: ", .other), ("hint: ", .other),
        ]
        let known = kinds.first { rest.hasPrefix($0.word) }
        self.kind = known?.kind ?? .progress
        self.text = String(rest.dropFirst(known?.word.count ?? 0))
    }
}
