import Foundation

/// What each phase costs, in bytes of table data that would take as long.
///
/// The factors are rough, and it shows only in the bar: indexes cost less than half of what the
/// rows do, checksums of both sides a third, ANALYZE a tenth.
struct PhaseWeights: Sendable {
    private static let indexFactor = 0.4
    private static let checksumFactor = 0.35
    private static let countFactor = 0.1
    private static let analyzeFactor = 0.1
    /// What a phase costs that has nothing to do with the rows: 1 MiB, or 2 % of the rows.
    private static let smallestCost = 1_048_576.0
    private static let costFactor = 0.02

    /// Whether there is a plan to go by.
    private(set) var isPlanned = false
    private var hasSchema = true
    private var hasRows = true
    private var swaps = false
    private var analyzes = true
    private var verify = DeployOptions.VerifyLevel.full
    private var largeObjectBytes = 0.0
    /// The phases that are over, or were left out.
    private var over: Set<DeployPhase> = []

    mutating func plan(_ plan: DeployPlan) {
        self.isPlanned = true
        self.hasSchema = plan.options.content != .dataOnly
        self.hasRows = plan.options.content != .schemaOnly
        self.swaps = plan.method == .swap
        self.analyzes = plan.options.analyzes
        self.verify = plan.options.verify
        self.largeObjectBytes = Double(max(0, plan.largeObjects.bytes))
    }

    /// A phase begins, so the ones that come before it are over. One that comes again is not.
    mutating func enter(_ phase: DeployPhase) {
        let all = DeployPhase.allCases
        self.over = Set(all.prefix { $0 != phase })
    }

    /// The units of all phases.
    func total(_ tables: TableTally) -> Double {
        DeployPhase.allCases.reduce(0) { $0 + self.weight(of: $1, tables) }
    }

    /// The units of the phases that are over.
    func done(_ tables: TableTally) -> Double {
        self.over.reduce(0) { $0 + self.weight(of: $1, tables) }
    }

    func weight(of phase: DeployPhase, _ tables: TableTally) -> Double {
        let rows = self.hasRows ? tables.expected : 0
        let cost = max(Self.smallestCost, rows * Self.costFactor)
        return switch phase {
        // What comes before the plan is over when there is a bar to fill.
        case .provider, .connecting, .planning, .rollingBack: 0
        case .settingAside: cost
        case .schema: self.hasSchema ? 2 * cost : 0
        case .data: rows
        case .sequences: self.hasRows ? cost / 2 : 0
        case .largeObjects: self.hasRows ? self.largeObjectBytes : 0
        case .indexes: self.hasSchema ? Self.indexFactor * rows + 2 * cost : 0
        case .verifying: self.verifying(rows, cost)
        case .committing: cost
        case .swapping: self.swaps ? cost : 0
        case .analyzing: self.analyzes ? Self.analyzeFactor * rows + cost / 2 : 0
        case .cleaningUp: cost / 2
        }
    }

    private func verifying(_ rows: Double, _ cost: Double) -> Double {
        switch self.verify {
        case .none: 0
        case .counts: Self.countFactor * rows + cost
        case .full: Self.checksumFactor * rows + cost
        }
    }
}

/// The tables of a run: what was expected of each, and what came.
struct TableTally: Sendable {
    private struct Name: Hashable {
        var schema: String
        var name: String

        init(_ table: TableProgress) {
            self.schema = table.schema
            self.name = table.name
        }

        init(_ table: PlannedTable) {
            self.schema = table.schema
            self.name = table.name
        }
    }

    /// The least that a table counts, in bytes: also an empty one takes a round trip.
    private static let smallestTable: Int64 = 8_192

    private var expectedBytes: [Name: Double] = [:]
    private var finishedTables: [Name: TableProgress] = [:]
    private var running: [(name: Name, table: TableProgress)] = []
    /// Of whole tables: what came, and what was expected.
    private var cameBytes = 0.0
    private var finishedExpected = 0.0

    /// Bytes of all tables, as expected.
    private(set) var expected = 0.0

    var count: Int { self.expectedBytes.count }
    var finishedCount: Int { self.finishedTables.count }
    var current: [TableProgress] { self.running.map(\.table) }
    /// Rows of whole tables.
    private(set) var rows: Int64 = 0
    /// Bytes of whole tables.
    private var finishedBytes: Int64 = 0

    /// Bytes so far.
    var bytes: Int64 { self.running.reduce(self.finishedBytes) { Self.sum($0, $1.table.bytes) } }

    mutating func plan(_ plan: DeployPlan) {
        for table in plan.tables { self.expect(Name(table), table.bytes) }
    }

    private mutating func expect(_ name: Name, _ bytes: Int64) {
        let bytes = Double(max(Self.smallestTable, bytes))
        self.expected += bytes - (self.expectedBytes.updateValue(bytes, forKey: name) ?? 0)
    }

    mutating func started(_ table: TableProgress) {
        let name = Name(table)
        if self.expectedBytes[name] == nil { self.expect(name, table.expectedBytes ?? 0) }
        self.forget(name)
        self.running.append((name, Self.checked(table, after: nil)))
    }

    /// News that is older than what is known (two threads may tell) takes nothing back.
    mutating func moved(_ table: TableProgress) {
        let name = Name(table)
        guard let index = self.running.firstIndex(where: { $0.name == name }) else { return }
        self.running[index].table = Self.checked(table, after: self.running[index].table)
    }

    mutating func finished(_ table: TableProgress) {
        let name = Name(table)
        if self.expectedBytes[name] == nil { self.expect(name, table.expectedBytes ?? table.bytes) }
        let before = self.running.first { $0.name == name }?.table
        self.forget(name)
        let table = Self.checked(table, after: before)
        self.finishedTables[name] = table
        self.finishedExpected += self.expectedBytes[name] ?? 0
        self.cameBytes += Double(table.bytes)
        self.rows = Self.sum(self.rows, table.rows ?? 0)
        self.finishedBytes = Self.sum(self.finishedBytes, table.bytes)
    }

    /// A table that begins, or ends, again counts once.
    private mutating func forget(_ name: Name) {
        self.running.removeAll { $0.name == name }
        guard let old = self.finishedTables.removeValue(forKey: name) else { return }
        self.finishedExpected -= self.expectedBytes[name] ?? 0
        self.cameBytes -= Double(old.bytes)
        self.rows -= min(self.rows, old.rows ?? 0)
        self.finishedBytes -= min(self.finishedBytes, old.bytes)
    }

    /// Done of all rows, 0...1.
    var fraction: Double {
        guard self.expected > 0 else { return 0 }
        let ratio = self.ratio
        let running = self.running.reduce(0.0) { sum, entry in
            let expected = self.expectedBytes[entry.name] ?? 0
            return sum + expected * Self.approach(Double(entry.table.bytes) / (expected * ratio))
        }
        return min(1, max(0, (self.finishedExpected + running) / self.expected))
    }

    /// How many bytes come for one that is expected, learned from the tables that are whole.
    private var ratio: Double {
        // One table of a few pages says nothing of the others.
        guard self.finishedExpected >= 1_048_576 else { return 1 }
        return min(20, max(0.05, self.cameBytes / self.finishedExpected))
    }

    /// Up to 80 % as it is; from there towards 100 %, however much more than expected comes.
    private static func approach(_ part: Double) -> Double {
        let straight = 0.8
        guard part > straight else { return max(0, part) }
        let rest = 1 - straight
        return 1 - rest * max(exp((straight - part) / rest), 1e-6)
    }

    private static func checked(
        _ table: TableProgress, after before: TableProgress?
    ) -> TableProgress {
        var table = table
        table.bytes = max(table.bytes, before?.bytes ?? 0)
        table.rows = [table.rows, before?.rows].compactMap { $0 }.max().map { max(0, $0) }
        table.seconds = max(table.seconds.isFinite ? table.seconds : 0, before?.seconds ?? 0)
        return table
    }

    private static func sum(_ left: Int64, _ right: Int64) -> Int64 {
        let (sum, isTooMuch) = left.addingReportingOverflow(right)
        return isTooMuch ? Int64.max : sum
    }
}
