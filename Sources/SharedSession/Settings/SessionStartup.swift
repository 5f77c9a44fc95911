package import PostgresWire

extension SessionInspection {
    /// What a client's startup packet sets: its `options` first, then its parameters. Names are in
    /// lower case, each once: the last value counts.
    ///
    /// Of the switches in `options`, those are known that set what a session may set: `-c`, `--`,
    /// `-e`, `-S`. Others are taken for what they are in Postgres, and ignored.
    /// Source: `ProcessStartupPacket`, `process_startup_options`, `process_postgres_switches`.
    package static func startupSettings(_ request: StartupRequest) -> [Parameter] {
        var settings: [Parameter] = []
        if let options = request.parameter("options") {
            settings += StartupSwitches.settings(options)
        }
        settings += request.parameters.filter { !Self.notSettings.contains($0.name) }
        var result: [Parameter] = []
        for setting in settings {
            let name = setting.name.lowercased()
            result.removeAll { $0.name == name }
            result.append(Parameter(name: name, value: setting.value))
        }
        return result
    }

    private static let notSettings: Set = ["user", "database", "options", "replication"]

    /// What a client is told at its start, as far as that is known without asking the engine.
    ///
    /// - Parameters:
    ///   - reported: What the engine reports (``Engine/reported``).
    ///   - startup: What the client sets (``startupSettings(_:)``).
    /// - Returns: What the engine would report.
    package static func greetingParameters(
        reported: [Parameter], startup: [Parameter]
    ) -> [Parameter] {
        reported.map { parameter in
            let name = parameter.name.lowercased()
            guard let wanted = startup.last(where: { $0.name.lowercased() == name })?.value,
                let value = ReportedValue.canonical(wanted, of: name, now: parameter.value)
            else { return parameter }
            return Parameter(name: parameter.name, value: value)
        }
    }
}

/// The switches of the startup parameter `options`.
private enum StartupSwitches {
    /// Switches of `postgres` that take an argument. Source: `process_postgres_switches`.
    private static let withArgument = Set("BCDdfhkNprStvWc-".utf8)

    static func settings(_ options: String) -> [StartupRequest.Parameter] {
        var words = self.words(options)[...]
        var settings: [StartupRequest.Parameter] = []
        while let word = words.popFirst() {
            // Postgres refuses what is no switch; it sets nothing, at any rate.
            guard word.first == UInt8(ascii: "-"), word.count > 1 else { continue }
            var letters = word.dropFirst()
            while let letter = letters.popFirst() {
                guard self.withArgument.contains(letter) else {
                    if letter == UInt8(ascii: "e") {
                        settings.append(.init(name: "datestyle", value: "euro"))
                    }
                    continue
                }
                let argument = letters.isEmpty ? words.popFirst() ?? [] : Array(letters)
                letters = []
                if letter == UInt8(ascii: "c") || letter == UInt8(ascii: "-") {
                    if let setting = self.assignment(argument) { settings.append(setting) }
                } else if letter == UInt8(ascii: "S") {
                    let value = String(decoding: argument, as: UTF8.self)
                    settings.append(.init(name: "work_mem", value: value))
                }
            }
        }
        return settings
    }

    /// Source: `ParseLongOption`.
    private static func assignment(_ text: [UInt8]) -> StartupRequest.Parameter? {
        guard let equals = text.firstIndex(of: UInt8(ascii: "=")), equals > 0 else { return nil }
        let name = text[..<equals].map { $0 == UInt8(ascii: "-") ? UInt8(ascii: "_") : $0 }
        return .init(
            name: String(decoding: name, as: UTF8.self),
            value: String(decoding: text[(equals + 1)...], as: UTF8.self))
    }

    /// White space separates, a backslash takes the next byte as it is. Source: `pg_split_opts`.
    private static func words(_ options: String) -> [[UInt8]] {
        var words: [[UInt8]] = []
        var word: [UInt8]?
        var isEscaped = false
        for byte in options.utf8 {
            if isEscaped {
                word?.append(byte)
                isEscaped = false
            } else if byte == UInt8(ascii: "\\") {
                word = word ?? []
                isEscaped = true
            } else if SQLScanner.isSpace(byte) {
                if let word { words.append(word) }
                word = nil
            } else {
                word = (word ?? []) + [byte]
            }
        }
        if let word { words.append(word) }
        return words
    }
}

/// How Postgres spells a value that it was given in another spelling.
private enum ReportedValue {
    /// The value as it is reported; nil where Postgres would refuse it, or only it knows.
    ///
    /// - Parameters:
    ///   - value: As the client gave it.
    ///   - name: The setting, in lower case.
    ///   - now: Its value before.
    /// - Returns: What the engine would report.
    static func canonical(_ value: String, of name: String, now: String) -> String? {
        switch name {
        case "application_name", "timezone", "search_path", "scram_iterations": value
        case "client_encoding": self.encoding(value)
        case "datestyle": self.dateStyle(value, now: now)
        case "intervalstyle":
            ["postgres", "postgres_verbose", "sql_standard", "iso_8601"]
                .first { $0 == value.lowercased() }
        case "standard_conforming_strings", "default_transaction_read_only": self.boolean(value)
        case _: nil
        }
    }

    private static func boolean(_ value: String) -> String? {
        let value = value.lowercased()
        guard !value.isEmpty else { return nil }
        if value == "on" || value == "1" || "true".hasPrefix(value) || "yes".hasPrefix(value) {
            return "on"
        }
        let isOff = value == "off" || value == "of" || value == "0"
        return isOff || "false".hasPrefix(value) || "no".hasPrefix(value) ? "off" : nil
    }

    /// Source: `pg_encname_tbl` and `clean_encoding_name`, of which only the usual ones are here.
    private static func encoding(_ value: String) -> String? {
        let name = String(value.lowercased().filter { $0.isASCII && ($0.isLetter || $0.isNumber) })
        switch name {
        case "utf8", "unicode": return "UTF8"
        case "sqlascii": return "SQL_ASCII"
        case "latin1", "iso88591": return "LATIN1"
        case "latin9", "iso885915": return "LATIN9"
        case "win1252", "windows1252": return "WIN1252"
        case _: return nil
        }
    }

    /// Source: `check_datestyle`.
    private static func dateStyle(_ value: String, now: String) -> String? {
        let parts = now.split(separator: ", ").map(String.init)
        guard parts.count == 2 else { return nil }
        var (style, order) = (parts[0], parts[1])
        var hasOrder = false
        for word in value.split(separator: ",").map({ $0.lowercased().filter { $0 != " " } }) {
            switch word {
            case "iso": style = "ISO"
            case "sql": style = "SQL"
            case _ where word.hasPrefix("postgres"): style = "Postgres"
            case "german":
                style = "German"
                if !hasOrder { order = "DMY" }
            case "ymd": (order, hasOrder) = ("YMD", true)
            case "dmy", "european": (order, hasOrder) = ("DMY", true)
            case _ where word.hasPrefix("euro"): (order, hasOrder) = ("DMY", true)
            case "mdy", "us": (order, hasOrder) = ("MDY", true)
            case _ where word.hasPrefix("noneuro"): (order, hasOrder) = ("MDY", true)
            case _: return nil
            }
        }
        return style + ", " + order
    }
}
