import NIOCore
import Testing

@testable import Deploy

struct ProgressTextTests {
    @Test(arguments: [
        ("film", "film"),
        ("größe 表", "größe 表"),
        ("a\u{1B}[2Jb", "a\\x1b[2Jb"),
        ("a\r\n\tb", "a\\x0d\\x0a\\x09b"),
        ("\u{9B}31m", "\\x9b31m"),
        ("\u{7F}", "\\x7f"),
        ("evil\u{202E}txt", "evil\\u202etxt"),
        ("\u{2028}\u{2029}\u{FEFF}", "\\u2028\\u2029\\ufeff"),
        ("\u{E0041}", "\\ue0041"),
    ])
    func `what a terminal would act on is spelled out`(text: String, shown: String) {
        #expect(ProgressText.printable(text) == shown)
    }

    @Test func `of several lines the line ends stay, and tabs become spaces`() {
        let shown = ProgressText.printableLines("no\n\tIs it \u{1B}running?\t\n")
        #expect(shown == "no\n    Is it \\x1brunning?    \n")
    }

    @Test func `no scalar that a terminal acts on gets through, in text or in JSON`() {
        for value in UInt32(0)...0x3000 {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let text = ProgressText.printable(String(scalar)).unicodeScalars
            let json = ProgressText.safeJSON("\"\(scalar)\"").unicodeScalars
            for shown in [text, json] {
                #expect(!shown.contains { $0.value < 0x20 || (0x7F..<0xA0).contains($0.value) })
                #expect(!shown.contains { $0.properties.generalCategory == .format })
            }
        }
    }

    @Test func `a long name is cut`() {
        let long = String(repeating: "x", count: 10_000)
        #expect(ProgressText.printable(long).count == ProgressText.maximumCharacters + 1)
    }

    @Test func `an event of hostile names is one safe line of JSON and reads back the same`() throws
    {
        let table = TableProgress(schema: "a\u{9B}\n\"", name: "\u{202E}😀\u{E0001}", bytes: 7)
        let json = ProgressText.safeJSON(try DeployEvent.tableProgress(table).json())
        #expect(json.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x9B })
        #expect(json.contains("\\udb40\\udc01"))
        #expect(try DeployEvent(json: json) == .tableProgress(table))
    }

    @Test(arguments: [
        (Int64(-1), "0 B"), (0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (9_949, "9.9 kB"),
        (9_960, "10 kB"), (999_499, "999 kB"), (999_600, "1.0 MB"), (1_234_567_890, "1.2 GB"),
        (Int64.max, "9223 PB"),
    ])
    func `bytes have a unit`(bytes: Int64, text: String) {
        #expect(ProgressText.bytes(bytes) == text)
    }

    @Test(arguments: [
        (Int64(0), "0"), (999, "999"), (1_000, "1,000"), (-1_234_567, "-1,234,567"),
        (Int64.min, "-9,223,372,036,854,775,808"),
    ])
    func `counts are grouped`(number: Int64, text: String) {
        #expect(ProgressText.count(number) == text)
    }

    @Test(arguments: [
        (0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 0 s"),
        (125, "2 min 5 s"), (3_600, "1 h 0 min"), (11_220, "3 h 7 min"), (.nan, "0.0 s"),
        (-5, "0.0 s"), (.infinity, "0.0 s"),
    ])
    func `durations have one or two units`(seconds: Double, text: String) {
        #expect(ProgressText.duration(seconds) == text)
    }

    @Test(arguments: [
        (0, "0 s left"), (7.2, "8 s left"), (61, "2 min left"), (7_800, "2 h 10 min left"),
    ])
    func `time left is rounded up`(seconds: Double, text: String) {
        #expect(ProgressText.timeLeft(seconds) == text)
    }

    static let copying = ProgressSnapshot(
        phase: .data, step: nil, fraction: 0.436,
        tables: [.made("orders", 1_200_000_000, of: 3_400_000_000, rows: 12_345)],
        finishedTables: 3, allTables: 9, rows: 77, bytes: 2_000_000_000,
        bytesPerSecond: 85_300_000, secondsLeft: 119, seconds: 20)

    @Test(arguments: [
        (
            120,
            " 43% [=============>                ] public.orders, 1.2 GB of 3.4 GB, 12,345 rows, "
                + "85 MB/s, 2 min left"
        ),
        (80, " 43% [========>           ] public.orders, 1.2 GB of 3.4 GB, 85 MB/s, 2 min left"),
        (60, " 43% [======>        ] public.orders, 85 MB/s, 2 min left"),
        (50, " 43% [=====>      ] public.orders, 2 min left"),
        (40, " 43% [====>     ] public.orders, 85 MB/s"),
        (22, " 43% public.orders"),
        (12, " 43% public…"),
        (1, "…"),
        (0, ""),
        (-5, ""),
    ])
    func `a bar keeps to the width and drops what is least wanted`(columns: Int, text: String) {
        let bar = ProgressText.bar(Self.copying, columns: columns)
        #expect(bar == text)
        #expect(ProgressText.columns(bar) <= max(0, columns))
    }

    @Test(arguments: 0...140)
    func `a bar of wide and hostile names fits every width`(columns: Int) {
        var snapshot = Self.copying
        snapshot.tables = [
            TableProgress(schema: "表表表表表表", name: "e\u{301}\u{1B}[2J👨‍👩‍👧‍👦表", bytes: 1),
            .made("b"),
        ]
        let bar = ProgressText.bar(snapshot, columns: columns)
        #expect(ProgressText.columns(bar) <= columns)
        #expect(!bar.unicodeScalars.contains("\u{1B}"))
    }

    @Test func `several tables at once are counted, with the bytes of all`() {
        var snapshot = Self.copying
        snapshot.tables.append(.made("other", 5))
        let bar = ProgressText.bar(snapshot, columns: 100)
        #expect(bar.contains("public.orders and 1 more, 2.0 GB, 85 MB/s"))
    }

    @Test func `where nobody knows how far it is, the bar is empty`() {
        var snapshot = Self.copying
        snapshot.phase = .planning
        snapshot.fraction = nil
        snapshot.secondsLeft = nil
        snapshot.step = "reading the source"
        let bar = ProgressText.bar(snapshot, columns: 60)
        #expect(bar.hasPrefix(" --% [      "))
        #expect(bar.hasSuffix("] planning: reading the source"))
    }

    @Test func `a failure tells what the target holds`() {
        let failed = RunFailed(message: "no\u{1B}", hint: "do x", target: .untouched)
        let expected = "no\\x1b\ndo x\nThe target is as it was before."
        #expect(ProgressText.failure(failed) == expected)
        for target in [RunFailed.TargetState.complete, .unknown] {
            let text = ProgressText.failure(RunFailed(message: "m", target: target))
            #expect(text.split(separator: "\n").count == 2)
        }
    }
}
