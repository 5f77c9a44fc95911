/// What a program writes to standard error, line by line: for an observer as it comes, and the
/// lines that explain a failure kept.
///
/// SQL that failed is cut to its first words: what stands in it, a password of a user mapping or
/// a subscription, is nobody's to read here.
struct ToolLog {
    /// The longest line that is kept, in bytes; the rest of a longer one is dropped.
    static let maximumLineBytes = 4_096
    /// How many lines are kept from the first error on.
    static let maximumErrorLines = 40
    /// How many lines are kept while there is no error.
    static let maximumOtherLines = 10
    /// How much of a statement that failed is kept, in characters.
    static let maximumCommandCharacters = 100

    /// From the first error on; the last ones while there is none.
    private(set) var lines: [String] = []

    private let tool: String
    private let secrets: [String]
    private var partial: [UInt8] = []
    private var hasError = false
    /// Whether the lines of a statement that failed are being passed over.
    private var isInCommand = false

    init(tool: String, secrets: [String]) {
        self.tool = tool
        self.secrets = secrets
    }

    /// Takes bytes as they were read.
    ///
    /// - Returns: A message for every line that ended with them.
    mutating func receive(_ bytes: some Sequence<UInt8>) -> [ToolMessage] {
        var messages: [ToolMessage] = []
        for byte in bytes {
            if byte == UInt8(ascii: "\n") {
                messages += self.endLine()
            } else if self.partial.count < Self.maximumLineBytes {
                self.partial.append(byte)
            }
        }
        return messages
    }

    /// The program has closed its standard error: what has no line break is a line, too.
    mutating func finish() -> [ToolMessage] {
        self.partial.isEmpty ? [] : self.endLine()
    }

    private mutating func endLine() -> [ToolMessage] {
        var line = String(decoding: self.partial, as: UTF8.self)
        self.partial.removeAll(keepingCapacity: true)
        let message = ToolMessage(tool: self.tool, line: line)
        if line.hasPrefix(self.tool + ": ") {
            self.isInCommand = false
        } else if self.isInCommand {
            return []
        } else if line.hasPrefix(Self.command) {
            self.isInCommand = true
            line = Self.shortened(line)
        }
        for secret in self.secrets { line = line.replacingScalars(secret, with: "…") }
        self.keep(line, message.kind)
        return [ToolMessage(tool: self.tool, line: line)]
    }

    private static let command = "Command was: "

    private static func shortened(_ line: String) -> String {
        let end = line.firstIndex { $0 == "'" || $0 == "(" || $0 == "$" } ?? line.endIndex
        return String(line[..<end].prefix(self.command.count + self.maximumCommandCharacters))
    }

    private mutating func keep(_ line: String, _ kind: ToolMessage.Kind) {
        switch kind {
        case .error where !self.hasError:
            self.hasError = true
            self.lines = [line]
        case .progress where self.hasError:
            break
        case .progress, .warning, .error, .other:
            self.lines.append(line)
            if self.hasError {
                self.lines = Array(self.lines.prefix(Self.maximumErrorLines))
            } else if self.lines.count > Self.maximumOtherLines {
                self.lines.removeFirst()
            }
        }
    }
}
