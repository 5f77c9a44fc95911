extension ProgressText {
    /// One line that tells how far a run is, at most `columns` wide.
    ///
    ///      43% [========>          ] public.orders, 1.2 of 3.4 GB, 85 MB/s, 2 min left
    ///
    /// Where there is little room, what is wanted most gets it: table, bar, time left, bytes, rate,
    /// rows.
    public static func bar(_ snapshot: ProgressSnapshot, columns: Int) -> String {
        let percent = self.percent(snapshot)
        let what = self.what(snapshot)
        let parts = self.parts(snapshot)
        // What brackets and blanks around the bar take.
        let most = columns - self.columns(percent) - 4
        guard most - self.columns(what) >= self.narrowestBar else {
            return self.fitted("\(percent) \(what)", columns: columns)
        }
        // A quarter of the width, whatever the text: a bar that wobbles is hard to read.
        let gauge = min(self.widestBar, max(self.narrowestBar, columns / 4))
        var kept = Set<Int>()
        for index in parts.indices.sorted(by: { parts[$0].worth > parts[$1].worth }) {
            let text = self.joined(what, parts, kept.union([index]))
            if most - self.columns(text) >= gauge { kept.insert(index) }
        }
        let text = self.joined(what, parts, kept)
        let room = min(gauge, most - self.columns(text))
        return "\(percent) [\(self.gauge(snapshot.fraction, columns: room))] \(text)"
    }

    private static func joined(
        _ what: String, _ parts: [(worth: Int, text: String)], _ kept: Set<Int>
    ) -> String {
        ([what] + parts.indices.filter(kept.contains).map { parts[$0].text })
            .joined(separator: ", ")
    }

    private static let widestBar = 30
    private static let narrowestBar = 10

    private static func percent(_ snapshot: ProgressSnapshot) -> String {
        guard let fraction = snapshot.fraction else { return " --%" }
        // Rounded down: 100 % is the end.
        let text = String(Int((fraction * 100).rounded(.down)))
        return String(repeating: " ", count: max(0, 3 - text.count)) + text + "%"
    }

    private static func gauge(_ fraction: Double?, columns: Int) -> String {
        let full = Int((fraction ?? 0) * Double(columns))
        guard full < columns else { return String(repeating: "=", count: columns) }
        return String(repeating: "=", count: full) + (fraction == nil ? " " : ">")
            + String(repeating: " ", count: columns - full - 1)
    }

    /// The table, or how many at once, or else the phase and its step.
    private static func what(_ snapshot: ProgressSnapshot) -> String {
        guard let phase = snapshot.phase else { return "starting" }
        guard phase == .data else {
            let step = snapshot.step.map { ": " + self.printable($0, limit: 60) } ?? ""
            return self.doing(phase) + step
        }
        guard let first = snapshot.tables.first else { return self.doing(phase) }
        let others = snapshot.tables.count - 1
        return self.fitted(self.name(first), columns: 40)
            + (others > 0 ? " and \(others) more" : "")
    }

    private static func parts(_ snapshot: ProgressSnapshot) -> [(worth: Int, text: String)] {
        var parts: [(worth: Int, text: String)] = []
        if snapshot.phase == .data {
            if snapshot.tables.count == 1, let table = snapshot.tables.first {
                parts.append((3, self.bytes(of: table)))
                if let rows = table.rows { parts.append((1, self.count(rows, "row"))) }
            } else {
                parts.append((3, self.bytes(snapshot.bytes)))
            }
            if let rate = snapshot.bytesPerSecond { parts.append((2, self.rate(rate))) }
        }
        if let seconds = snapshot.secondsLeft { parts.append((4, self.timeLeft(seconds))) }
        return parts
    }

    /// `1.2 of about 3.4 GB`; what turned out larger than expected is told without.
    private static func bytes(of table: TableProgress) -> String {
        guard let expected = table.expectedBytes, expected > table.bytes else {
            return self.bytes(table.bytes)
        }
        return "\(self.bytes(table.bytes)) of \(self.bytes(expected))"
    }

    static func rate(_ bytesPerSecond: Double) -> String {
        let bytes = min(max(0, bytesPerSecond.isFinite ? bytesPerSecond : 0), 1e15)
        return self.bytes(Int64(bytes)) + "/s"
    }

    /// How far long work is, for a log: the same facts in a line of their own.
    static func plain(_ snapshot: ProgressSnapshot) -> String {
        let parts = [self.what(snapshot)] + self.parts(snapshot).map(\.text)
        let percent = snapshot.fraction == nil ? "" : self.percent(snapshot) + " "
        return "  " + percent.drop { $0 == " " } + parts.joined(separator: ", ")
    }
}
