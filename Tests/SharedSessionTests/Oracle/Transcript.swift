import NIOCore

/// What a client saw, a line a message, so that two runs can be compared and read.
///
/// What is made equal, and why it may differ:
/// - Authentication is left out: the front door answers it, not the session.
/// - BackendKeyData keeps no value: the relay mints its own keys.
/// - A notification's pid is `own` or `other`: pids differ between backends.
/// - OIDs of 16384 and above (tables and types that users made) are `user`: the two databases count
///   their objects on one counter.
/// - Notices that name no routine of Postgres are left out: they are the relay's words.
struct Transcript: Sendable {
    private(set) var lines: [String] = []
    private(set) var ownProcess: Int32 = 0

    /// Takes one message of the server.
    mutating func append(_ message: WireMessage) {
        if message.isType("K") {
            self.ownProcess = message.body.getInteger(at: message.body.readerIndex) ?? 0
        }
        if let line = self.line(message) { self.lines.append(line) }
    }

    /// A line that the test itself makes.
    mutating func append(line: String) { self.lines.append(line) }

    private func line(_ message: WireMessage) -> String? {
        let letter = String(Unicode.Scalar(message.type))
        switch letter {
        case "R": return nil
        case "K": return "K"
        case "A": return self.notification(message)
        case "N" where message.errorField("R") == nil: return nil
        case "E", "N":
            let fields = message.errorFields.map { code, text in
                "\(String(Unicode.Scalar(code)))=\(text)"
            }
            return letter + " " + fields.joined(separator: "|")
        case "T": return letter + " " + Self.columns(message.body)
        case "t": return letter + " " + Self.types(message.body)
        default: return letter + " " + Self.short(message.body)
        }
    }

    private func notification(_ message: WireMessage) -> String {
        var body = message.body
        let process = body.readInteger(as: Int32.self) ?? 0
        let sender = process == self.ownProcess ? "own" : "other"
        return "A \(sender) \(Self.short(body))"
    }

    /// Long bodies as their beginning, length and hash.
    private static func short(_ body: ByteBuffer) -> String {
        let view = body.readableBytesView
        guard view.count > 200 else { return WireText.escaped(view) }
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in view { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return "\(WireText.escaped(view.prefix(100)))… \(view.count) bytes, hash \(hash)"
    }

    private static func columns(_ body: ByteBuffer) -> String {
        var body = body
        let count = body.readInteger(as: UInt16.self) ?? 0
        var columns: [String] = []
        for _ in 0..<count {
            let name = body.readWireText()
            let table = body.readInteger(as: UInt32.self) ?? 0
            let number = body.readInteger(as: Int16.self) ?? 0
            let type = body.readInteger(as: UInt32.self) ?? 0
            let size = body.readInteger(as: Int16.self) ?? 0
            let modifier = body.readInteger(as: Int32.self) ?? 0
            let format = body.readInteger(as: Int16.self) ?? 0
            columns.append(
                "\(name)(\(self.object(table)).\(number) \(self.object(type)) "
                    + "\(size) \(modifier) \(format))")
        }
        return columns.joined(separator: ", ")
    }

    private static func types(_ body: ByteBuffer) -> String {
        var body = body
        let count = body.readInteger(as: UInt16.self) ?? 0
        let types = (0..<count).map { _ in self.object(body.readInteger(as: UInt32.self) ?? 0) }
        return types.joined(separator: ", ")
    }

    /// Lines without what may differ: the relay's own parameter, the order of parameters that are
    /// told together, and where in the server's code a fatal error came up.
    static func comparable(_ lines: [String]) -> [String] {
        var result: [String] = []
        var parameters: [String] = []
        for line in lines where !line.hasPrefix("S pgshare_session") {
            if line.hasPrefix("S ") {
                parameters.append(line)
                continue
            }
            result += parameters.sorted()
            parameters = []
            result.append(self.hasOtherPlace(line) ? self.withoutPlace(line) : line)
        }
        return result + parameters.sorted()
    }

    /// Fatal errors are the relay's, and there is no unnamed statement that Postgres could miss.
    private static func hasOtherPlace(_ line: String) -> Bool {
        line.hasPrefix("E S=FATAL") || line.contains("M=unnamed prepared statement does not exist")
    }

    private static func withoutPlace(_ line: String) -> String {
        line.split(separator: "|").filter { !"FLRWP".contains($0.prefix(1)) }
            .joined(separator: "|")
    }

    private static func object(_ oid: UInt32) -> String { oid >= 16_384 ? "user" : "\(oid)" }

    /// The first place where two runs differ, for a person; nil where they are equal. Where
    /// `isPrefix`, the shared run may be shorter: its client vanished.
    static func difference(shared: [String], alone: [String], isPrefix: Bool) -> String? {
        let common = zip(shared, alone).prefix { $0 == $1 }.count
        if common == shared.count, isPrefix || common == alone.count { return nil }
        let before = alone[max(0, common - 6)..<common].map { "    = \($0)" }
        let alonePart = alone.dropFirst(common).prefix(4).map { "    alone:  \($0)" }
        let sharedPart = shared.dropFirst(common).prefix(4).map { "    shared: \($0)" }
        return (["differs at message \(common):"] + before + alonePart + sharedPart)
            .joined(separator: "\n")
    }
}
