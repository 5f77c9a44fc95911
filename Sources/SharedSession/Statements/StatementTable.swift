import NIOCore
import PostgresWire

/// A client's prepared statements: its names and the engine's.
///
/// One client's `s1` is not another's, so each has a number, and the engine knows it as
/// `pgs<client>_<number>`. The unnamed statement is number 0. Names of SQL's PREPARE and of Parse
/// are the same names, as in Postgres.
struct StatementTable: Sendable {
    struct Entry: Sendable, Hashable {
        var number: Int
        /// What Parse says behind the name, or the PREPARE of the engine's name; nil where it was
        /// too large to be kept.
        var kept: Kept?
        /// What running it may leave behind.
        var flags: SQLStatement.Flags
        /// What it is.
        var effect: StatementEffect
        /// Whether it may change what the engine reports of its settings.
        var changesSettings = false
    }

    enum Kept: Sendable, Hashable {
        case parse(ByteBuffer)
        case prepare(ByteBuffer)

        var readableBytes: Int {
            switch self {
            case .parse(let bytes), .prepare(let bytes): bytes.readableBytes
            }
        }

        /// The same in a buffer of its own: a slice would keep all that was read with it.
        var compacted: Kept {
            switch self {
            case .parse(let bytes): .parse(ByteBuffer(bytes: bytes.readableBytesView))
            case .prepare(let bytes): .prepare(ByteBuffer(bytes: bytes.readableBytesView))
            }
        }
    }

    /// The number of the unnamed statement.
    static let unnamed = 0

    let prefix: String
    private(set) var entries: [String: Entry] = [:]
    private var keptBytes = 0
    private var nextNumber = 1
    /// Numbers given in this exchange to names that are not there (yet), and their names.
    private var pending: [String: Entry] = [:]
    private var shown: [Int: String] = [:]
    /// Names of this exchange whose statements it takes away.
    private var retired: Set<String> = []
    /// Whether it takes away all that have names.
    private var isHidingAll = false
    /// Numbers that this exchange prepared and then took away.
    private var hidden: [Int] = []
    /// Whether the engine may have the unnamed one.
    var mayHaveUnnamed = false

    init(client: SessionClientID) { self.prefix = "pgs\(client.rawValue)_" }

    func engineName(_ number: Int) -> String { "\(self.prefix)\(number)" }

    func isFull(_ limit: Int) -> Bool { self.entries.count + self.pending.count >= limit }
    func isOverfull(_ limit: Int) -> Bool { self.entries.count + self.pending.count > limit }
    /// Bytes of COPY statements in it.
    var copyBytes: Int {
        let all = self.entries.values.lazy.map(\.effect) + self.pending.values.lazy.map(\.effect)
        return all.reduce(0) { $0 + ($1.copyText?.readableBytes ?? 0) }
    }

    /// What the engine calls the unnamed one, where it may have it.
    var unnamedInEngine: String? {
        self.mayHaveUnnamed ? self.engineName(Self.unnamed) : nil
    }

    /// What a name means by now.
    private func entry(_ name: String) -> Entry? {
        if let entry = self.pending[name] { return entry }
        return self.isHidingAll && !name.isEmpty ? nil : self.entries[name]
    }

    var isEmpty: Bool { self.entries.isEmpty && !self.mayHaveUnnamed }

    /// A name as the engine's table of statements has it: its first 63 bytes.
    ///
    /// Source: `NAMEDATALEN` in PostgreSQL's `pg_config_manual.h`.
    static func key(_ name: ByteBuffer) -> String {
        String(decoding: name.readableBytesView.prefix(63), as: UTF8.self)
    }

    /// The statement of a name; for one that is not there, one that is not there in the engine
    /// either, so that the engine says so.
    mutating func resolve(_ name: String) -> Entry {
        if let entry = self.entry(name) {
            // It may be closed by the time an error names it.
            self.shown[entry.number] = name
            return entry
        }
        let entry = Entry(number: self.take(), kept: nil, flags: .all, effect: .none)
        self.shown[entry.number] = name
        return entry
    }

    /// The number for a statement that is going to be prepared; its own where it is there already,
    /// so that the engine says so.
    mutating func numberToPrepare(_ name: String) -> Int {
        let number = name.isEmpty ? Self.unnamed : self.entry(name)?.number ?? self.take()
        self.shown[number] = name
        return number
    }

    /// A Parse or PREPARE was sent: later messages of the exchange may name it.
    mutating func announce(_ name: String, _ entry: Entry) {
        let isThere = self.entry(name) != nil
        // A name that is taken stays whose it was: the engine is going to refuse the new one.
        if isThere, !name.isEmpty, !self.retired.contains(name) { return }
        self.retired.remove(name)
        self.pending[name] = entry
        if entry.number == Self.unnamed { self.mayHaveUnnamed = true }
    }

    /// The engine has it.
    mutating func confirm(_ name: String, _ entry: Entry, keeping limit: Int) {
        self.forget(name)
        var entry = entry
        let bytes = entry.kept?.readableBytes ?? 0
        if self.keptBytes + bytes > limit {
            entry.kept = nil
        } else {
            entry.kept = entry.kept?.compacted
            self.keptBytes += bytes
        }
        self.entries[name] = entry
    }

    /// It is gone from the engine, or for the client.
    mutating func forget(_ name: String) {
        guard let entry = self.entries.removeValue(forKey: name) else { return }
        self.keptBytes -= entry.kept?.readableBytes ?? 0
    }

    /// A name that a DEALLOCATE or a Close of this exchange is about to take away.
    mutating func retire(_ name: String) {
        self.pending[name] = nil
        self.retired.insert(name)
    }

    /// A simple Query ends the unnamed statement; the engine's stays until the next Parse.
    mutating func dropUnnamed() {
        self.pending[""] = nil
        self.forget("")
    }

    /// DEALLOCATE ALL was sent: names mean new statements from here on.
    mutating func hideAll() {
        self.isHidingAll = true
        guard !self.pending.isEmpty else { return }
        let unnamed = self.pending.removeValue(forKey: "")
        self.hidden += self.pending.values.map(\.number)
        self.pending.removeAll()
        self.pending[""] = unnamed
    }

    /// Forgets the named ones and returns what the engine calls them.
    mutating func removeNamed() -> [String] {
        var removed: [String] = []
        for (name, entry) in self.entries where !name.isEmpty {
            self.forget(name)
            removed.append(self.engineName(entry.number))
        }
        return removed.sorted()
    }

    /// Forgets all and returns what the engine calls them.
    mutating func removeAll() -> [String] {
        var removed = self.removeNamed()
        if self.mayHaveUnnamed { removed.append(self.engineName(Self.unnamed)) }
        let unsure = self.pending.values.map(\.number) + self.hidden
        removed += unsure.filter { $0 != Self.unnamed }.map(self.engineName)
        self.forget("")
        self.mayHaveUnnamed = false
        self.exchangeEnded()
        return removed
    }

    /// The exchange is over: what was not confirmed is not there.
    mutating func exchangeEnded() {
        self.pending.removeAll()
        self.shown.removeAll()
        self.retired.removeAll()
        self.isHidingAll = false
        self.hidden = []
    }

    /// Statements that an engine that is new must be given again, oldest first.
    var kept: [(name: String, entry: Entry)] {
        self.entries.map { ($0.key, $0.value) }.sorted { $0.1.number < $1.1.number }
    }

    /// What the client calls a number.
    func name(of number: Int) -> String? {
        if number == Self.unnamed { return "" }
        return self.shown[number] ?? self.entries.first { $0.value.number == number }?.key
    }

    /// The engine is new. What was not kept is gone; what was, by number, must be prepared again.
    mutating func engineRestarted() {
        for (name, entry) in self.entries where entry.kept == nil { self.forget(name) }
        self.exchangeEnded()
        self.mayHaveUnnamed = self.entries[""] != nil
    }

    private mutating func take() -> Int {
        defer { self.nextNumber += 1 }
        return self.nextNumber
    }
}
