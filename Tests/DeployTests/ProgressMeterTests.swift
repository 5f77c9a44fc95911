import NIOCore
import Testing

@testable import Deploy

extension NIODeadline {
    static func at(_ seconds: Double) -> NIODeadline {
        .uptimeNanoseconds(1_000_000_000_000 + UInt64(seconds * 1e9))
    }
}

extension DeployPlan {
    static func made(
        _ tables: [(String, Int64)], verify: DeployOptions.VerifyLevel = .full,
        content: DeployOptions.Content = .all, method: Method = .inPlace
    ) -> DeployPlan {
        let side = Side(
            description: "db", serverVersion: 180_000, serverVersionText: "18", database: "app",
            bytes: 1, role: "r", provider: "generic")
        let version = ToolVersion(major: 18, minor: 1)
        let tools = ClientTools(
            pgDump: ClientTools.Tool(path: "/d/pg_dump", version: version),
            pgRestore: ClientTools.Tool(path: "/d/pg_restore", version: version))
        var plan = DeployPlan(
            source: side, target: side, tools: tools,
            options: DeployOptions(content: content, verify: verify))
        plan.method = method
        plan.tables = tables.map {
            PlannedTable(schema: "public", name: $0.0, columns: ["id"], bytes: $0.1)
        }
        return plan
    }
}

extension TableProgress {
    static func made(
        _ name: String, _ bytes: Int64 = 0, of expected: Int64? = nil, rows: Int64? = nil,
        seconds: Double = 0
    ) -> TableProgress {
        TableProgress(
            schema: "public", name: name, rows: rows, bytes: bytes, expectedBytes: expected,
            seconds: seconds)
    }
}

struct ProgressMeterTests {
    static let mega: Int64 = 1_000_000

    /// A meter that is in the middle of copying what is named.
    static func copying(_ tables: [(String, Int64)]) -> ProgressMeter {
        var meter = ProgressMeter()
        meter.apply(.planned(.made(tables)), now: .at(0))
        meter.apply(.phase(.data), now: .at(0))
        return meter
    }

    @Test func `before there is a plan nobody knows how far a run is`() {
        var meter = ProgressMeter()
        meter.apply(.phase(.connecting), now: .at(0))
        let snapshot = meter.snapshot(now: .at(1))
        #expect(snapshot.phase == .connecting)
        #expect(snapshot.fraction == nil)
        #expect(snapshot.secondsLeft == nil)
        #expect(snapshot.seconds == 1)
    }

    @Test func `rows, bytes and tables add up`() {
        var meter = Self.copying([("a", 10 * Self.mega), ("b", 5 * Self.mega)])
        meter.apply(.tableStarted(.made("a")), now: .at(0))
        meter.apply(.tableFinished(.made("a", 9 * Self.mega, rows: 90)), now: .at(1))
        meter.apply(.tableStarted(.made("b")), now: .at(1))
        meter.apply(.tableProgress(.made("b", 2 * Self.mega)), now: .at(2))

        let snapshot = meter.snapshot(now: .at(2))
        #expect(snapshot.allTables == 2)
        #expect(snapshot.finishedTables == 1)
        #expect(snapshot.rows == 90)
        #expect(snapshot.bytes == 11 * Self.mega)
        #expect(snapshot.tables == [.made("b", 2 * Self.mega)])
    }

    @Test func `every phase of a run brings it further, and only its end is all of it`() throws {
        for method in [DeployPlan.Method.inPlace, .swap] {
            var meter = ProgressMeter()
            meter.apply(
                .planned(.made([("a", 50 * Self.mega)], method: method)), now: .at(0))
            var last = -1.0
            for (second, phase) in DeployPhase.allCases.enumerated() {
                meter.apply(.phase(phase), now: .at(Double(second)))
                let fraction = try #require(meter.snapshot(now: .at(Double(second))).fraction)
                #expect(fraction >= last)
                #expect(fraction < 1)
                last = fraction
            }
            #expect(last > 0.95)
            meter.apply(
                .finished(RunFinished(outcome: .deployed, seconds: 9)), now: .at(60))
            #expect(meter.snapshot(now: .at(60)).fraction == 1)
        }
    }

    @Test func `a rate looks at the last seconds only`() throws {
        var meter = Self.copying([("a", 1_000 * Self.mega)])
        meter.apply(.tableStarted(.made("a")), now: .at(0))
        #expect(meter.snapshot(now: .at(0.5)).bytesPerSecond == nil, "too early to say")
        // 10 MB/s for 30 s, then 50 MB/s for as long.
        var bytes: Int64 = 0
        for tenth in 1...600 {
            bytes += tenth <= 300 ? Self.mega : 5 * Self.mega
            meter.apply(.tableProgress(.made("a", bytes)), now: .at(Double(tenth) / 10))
        }
        let rate = try #require(meter.snapshot(now: .at(60)).bytesPerSecond)
        #expect(abs(rate - 50e6) < 2e6)
        // Nothing more comes: the rate goes down to nothing, and nobody knows the end.
        let stalled = meter.snapshot(now: .at(75))
        _ = stalled
        let quiet = meter.snapshot(now: .at(90))
        #expect(quiet.bytesPerSecond == 0)
        #expect(quiet.secondsLeft == nil)
    }

    @Test func `time left is near what it takes, where the plan was right`() throws {
        var meter = Self.copying([("a", 100 * Self.mega)])
        meter.apply(.tableStarted(.made("a")), now: .at(0))
        for second in 1...50 {
            meter.apply(
                .tableProgress(.made("a", Int64(second) * Self.mega)), now: .at(Double(second)))
        }
        // 50 s of rows are left, and indexes, checksums and ANALYZE worth some 85 to 100 s more.
        let left = try #require(meter.snapshot(now: .at(50)).secondsLeft)
        #expect((120...165).contains(left))
    }

    /// However wrong the plan's sizes are, however the threads interleave and the clock jumps.
    @Test(arguments: UInt64(0)..<200)
    func `a bar never goes back, nor reaches the end before it`(seed: UInt64) throws {
        var random = SeededNumbers(seed: seed)
        let names = (0..<Int.random(in: 1...8, using: &random)).map { "t\($0)" }
        var meter = Self.copying(
            names.map { ($0, Int64.random(in: -5...(100 * Self.mega), using: &random)) })
        var last = 0.0
        var now = 0.0
        for _ in 0..<200 {
            now += Double.random(in: -1...3, using: &random)
            let name = names.randomElement(using: &random) ?? "unplanned"
            let bytes = Int64.random(in: -10...Int64.max / 4, using: &random)
            let table = TableProgress.made(
                Int.random(in: 0...20, using: &random) == 0 ? "unplanned" : name,
                bytes >> Int64.random(in: 0...60, using: &random),
                seconds: [1, .nan, -.infinity].randomElement(using: &random) ?? 0)
            switch Int.random(in: 0...9, using: &random) {
            case 0: meter.apply(.tableStarted(table), now: .at(max(0, now)))
            case 1: meter.apply(.tableFinished(table), now: .at(max(0, now)))
            case 2:
                let phase = DeployPhase.allCases.randomElement(using: &random) ?? .data
                meter.apply(.phase(phase), now: .at(max(0, now)))
                meter.apply(
                    .step(PhaseStep(phase, done: bytes, total: bytes / 2 - 1)),
                    now: .at(max(0, now)))
            default: meter.apply(.tableProgress(table), now: .at(max(0, now)))
            }
            let snapshot = meter.snapshot(now: .at(max(0, now)))
            let fraction = try #require(snapshot.fraction)
            #expect(fraction >= last)
            #expect(fraction < 1)
            #expect(snapshot.bytes >= 0)
            #expect(snapshot.rows >= 0)
            #expect((snapshot.secondsLeft ?? 0) >= 0)
            #expect((snapshot.bytesPerSecond ?? 0) >= 0)
            #expect(ProgressText.columns(ProgressText.bar(snapshot, columns: 60)) <= 60)
            last = fraction
        }
    }

    @Test func `a table larger than expected draws near its end and does not reach it`() throws {
        var meter = Self.copying([("a", 100 * Self.mega), ("b", 100 * Self.mega)])
        meter.apply(.tableStarted(.made("a")), now: .at(0))
        var last = 0.0
        for factor in [0.5, 0.9, 1.0, 1.5, 2] {
            let bytes = Int64(factor * 100) * Self.mega
            meter.apply(.tableProgress(.made("a", bytes)), now: .at(factor * 10))
            let fraction = try #require(meter.snapshot(now: .at(factor * 10)).fraction)
            #expect(fraction > last)
            last = fraction
        }
        var whole = meter
        whole.apply(.tableFinished(.made("a", 1_000 * Self.mega)), now: .at(100))
        #expect(try #require(whole.snapshot(now: .at(100)).fraction) > last)
    }

    @Test func `tables that are whole correct what is expected of the others`() throws {
        let plan = [("a", 100 * Self.mega), ("b", 100 * Self.mega)]
        var guessed = Self.copying(plan)
        var learned = Self.copying(plan)
        // The first comes in a tenth of the bytes: so will the second.
        for (name, share) in [("a", Int64(10)), ("b", 5)] {
            learned.apply(.tableStarted(.made(name)), now: .at(0))
            learned.apply(.tableProgress(.made(name, share * Self.mega)), now: .at(1))
            if name == "a" {
                learned.apply(.tableFinished(.made(name, share * Self.mega)), now: .at(1))
            }
        }
        guessed.apply(.tableStarted(.made("b")), now: .at(0))
        guessed.apply(.tableProgress(.made("b", 50 * Self.mega)), now: .at(1))
        guessed.apply(.tableFinished(.made("a", 100 * Self.mega)), now: .at(1))
        let half = try #require(guessed.snapshot(now: .at(1)).fraction)
        let same = try #require(learned.snapshot(now: .at(1)).fraction)
        #expect(abs(half - same) < 0.01)
    }

    @Test func `steps of a phase count, those of another do not`() throws {
        var meter = Self.copying([("a", 100 * Self.mega)])
        meter.apply(.phase(.indexes), now: .at(0))
        let before = try #require(meter.snapshot(now: .at(0)).fraction)
        meter.apply(.step(PhaseStep(.verifying, "x", done: 1, total: 2)), now: .at(1))
        #expect(meter.snapshot(now: .at(1)).fraction == before)
        meter.apply(.step(PhaseStep(.indexes, "film_pkey", done: 1, total: 2)), now: .at(1))
        let after = meter.snapshot(now: .at(1))
        #expect(try #require(after.fraction) > before)
        #expect(after.step == "film_pkey")
        meter.apply(.phase(.verifying), now: .at(2))
        #expect(meter.snapshot(now: .at(2)).step == nil)
    }

    @Test func `a table that is begun again counts once`() {
        var meter = Self.copying([("a", 10 * Self.mega)])
        for _ in 0..<3 {
            meter.apply(.tableStarted(.made("a")), now: .at(0))
            meter.apply(.tableFinished(.made("a", 7 * Self.mega, rows: 5)), now: .at(1))
        }
        let snapshot = meter.snapshot(now: .at(1))
        #expect(snapshot.finishedTables == 1)
        #expect(snapshot.bytes == 7 * Self.mega)
        #expect(snapshot.rows == 5)
    }

    @Test func `a run of tables that the plan does not know still counts them`() throws {
        var meter = Self.copying([])
        meter.apply(.tableStarted(.made("new", of: 10 * Self.mega)), now: .at(0))
        meter.apply(.tableProgress(.made("new", 5 * Self.mega)), now: .at(1))
        #expect(meter.snapshot(now: .at(1)).allTables == 1)
        #expect(try #require(meter.snapshot(now: .at(1)).fraction) > 0)
    }
}

/// SplitMix64: the same seed, the same numbers.
struct SeededNumbers: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { self.state = seed }

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
