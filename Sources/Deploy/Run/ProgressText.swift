import Foundation

/// How names, numbers and progress become text that is safe and short enough for a terminal.
public enum ProgressText {
    /// The most characters of a text of others that are shown.
    public static let maximumCharacters = 200

    /// A text of others, such as a table's name: what could move the cursor, colour the screen or
    /// turn the direction of writing is spelled out (`\x1b`, `\u202e`), and not too much is shown.
    public static func printable(_ text: String, limit: Int = maximumCharacters) -> String {
        var shown = ""
        for (index, scalar) in text.unicodeScalars.enumerated() {
            guard index < limit else { return shown + "…" }
            if self.isHarmless(scalar) {
                shown.unicodeScalars.append(scalar)
            } else {
                let digits = String(scalar.value, radix: 16)
                let isShort = digits.count <= 2
                let zeros = String(repeating: "0", count: max(0, (isShort ? 2 : 4) - digits.count))
                shown += (isShort ? "\\x" : "\\u") + zeros + digits
            }
        }
        return shown
    }

    /// Several lines of text of ours that may quote others: the line ends stay, and a tab, with
    /// which libpq indents its hints, becomes spaces.
    public static func printableLines(_ text: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false)
            .map { self.printable(String($0.replacing("\t", with: "    ")), limit: 2_000) }
            .joined(separator: "\n")
    }

    /// JSON whose strings hold no character that a terminal would act on.
    ///
    /// The encoder escapes what is below the space only.
    public static func safeJSON(_ json: String) -> String {
        guard !json.unicodeScalars.allSatisfy(self.isHarmless) else { return json }
        var safe = ""
        for scalar in json.unicodeScalars {
            if self.isHarmless(scalar) {
                safe.unicodeScalars.append(scalar)
            } else {
                for unit in String(scalar).utf16 {
                    let digits = String(unit, radix: 16)
                    safe += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            }
        }
        return safe
    }

    private static func isHarmless(_ scalar: Unicode.Scalar) -> Bool {
        if (0x20..<0x7F).contains(scalar.value) { return true }
        return switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate: false
        default: true
        }
    }

    /// `schema.table`, safe to print.
    public static func name(_ table: TableProgress) -> String {
        self.printable(table.schema, limit: 64) + "." + self.printable(table.name, limit: 64)
    }

    /// `812 B`, `4.2 kB`, `1.3 GB`: powers of 1,000, as disks and networks count.
    public static func bytes(_ count: Int64) -> String {
        var value = Double(max(0, count))
        var unit = "B"
        for larger in ["kB", "MB", "GB", "TB", "PB"] where value >= 999.5 {
            value /= 1_000
            unit = larger
        }
        let isShort = unit != "B" && value < 9.95
        return String(format: isShort ? "%.1f" : "%.0f", value) + " " + unit
    }

    /// `12,345,678`.
    public static func count(_ number: Int64) -> String {
        let digits = Array(String(number.magnitude))
        var text = number < 0 ? "-" : ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index).isMultiple(of: 3) { text.append(",") }
            text.append(digit)
        }
        return text
    }

    /// `1 row`, `2 rows`.
    public static func count(_ number: Int64, _ thing: String) -> String {
        "\(self.count(number)) \(thing)\(number == 1 ? "" : "s")"
    }

    /// `0.4 s`, `14 s`, `2 min 5 s`, `3 h 7 min`.
    public static func duration(_ seconds: Double) -> String {
        let seconds = min(max(0, seconds.isFinite ? seconds : 0), 1e9)
        if seconds < 9.95 { return String(format: "%.1f s", seconds) }
        let whole = Int(seconds.rounded())
        if whole < 60 { return "\(whole) s" }
        if whole < 3_600 { return "\(whole / 60) min \(whole % 60) s" }
        return "\(whole / 3_600) h \(whole % 3_600 / 60) min"
    }

    /// Time left is a guess, so it has one unit: `8 s`, `3 min`, `2 h 10 min`.
    public static func timeLeft(_ seconds: Double) -> String {
        let seconds = min(max(0, seconds.isFinite ? seconds : 0), 1e9)
        if seconds < 60 { return "\(Int(seconds.rounded(.up))) s left" }
        let minutes = Int((seconds / 60).rounded(.up))
        if minutes < 60 { return "\(minutes) min left" }
        return "\(minutes / 60) h \(minutes % 60) min left"
    }

    /// What a phase is called while it runs.
    public static func doing(_ phase: DeployPhase) -> String {
        switch phase {
        case .provider: "preparing the database"
        case .connecting: "connecting"
        case .planning: "planning"
        case .settingAside: "setting the last deploy aside"
        case .schema: "creating tables"
        case .data: "copying rows"
        case .sequences: "setting sequences"
        case .largeObjects: "copying large objects"
        case .indexes: "building indexes"
        case .verifying: "verifying"
        case .committing: "committing"
        case .swapping: "swapping the databases"
        case .analyzing: "analyzing"
        case .rollingBack: "rolling back"
        case .cleaningUp: "cleaning up"
        }
    }

    /// What a failure comes to, for standard error: sentence, hint, and what the target holds.
    public static func failure(_ failure: RunFailed) -> String {
        let state =
            switch failure.target {
            case .untouched: "The target is as it was before."
            case .complete: "The target holds the new state; only what comes after it failed."
            case .unknown:
                "The connection was lost during the COMMIT: the target holds all of the new state "
                    + "or all of the old one. Deploy again to see which."
            }
        return [failure.message, failure.hint, state].compactMap { $0 }
            .map(self.printableLines).joined(separator: "\n")
    }

    // MARK: Width

    /// The columns that a text takes on a terminal. Rather too many than too few.
    ///
    /// Source: Unicode Standard Annex 11, "East Asian Width", its blocks of wide characters.
    static func columns(_ text: String) -> Int {
        text.unicodeScalars.reduce(0) { $0 + self.columns($1) }
    }

    private static func columns(_ scalar: Unicode.Scalar) -> Int {
        switch scalar.value {
        case 0..<0x300: return 1
        case 0x1100...0x115F, 0x2E80...0xA4CF, 0xA960...0xA97F, 0xAC00...0xD7FF, 0xF900...0xFAFF,
            0xFE30...0xFE6F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F000...0x1FAFF,
            0x20000...0x3FFFD:
            return 2
        default:
            return scalar.properties.isEmojiPresentation ? 2 : 1
        }
    }

    /// The beginning of a text that fits, with `…` where something is missing.
    static func fitted(_ text: String, columns limit: Int) -> String {
        guard self.columns(text) > limit else { return text }
        guard limit > 0 else { return "" }
        var kept = ""
        var taken = 0
        for character in text {
            let columns = self.columns(String(character))
            guard taken + columns < limit else { break }
            kept.append(character)
            taken += columns
        }
        return kept + "…"
    }
}
