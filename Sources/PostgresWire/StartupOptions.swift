extension StartupRequest {
    /// Takes a setting of our own out of what goes to the database.
    ///
    /// Removed are `-c name=value`, `-cname=value` and `--name=value` in `options`, and a parameter
    /// of that name. Other options stay as they were, to the byte; an `options` that held nothing
    /// else is removed.
    ///
    /// Names are compared as Postgres does: letter case does not count, and `-` is `_`.
    ///
    /// Source: `pg_split_opts` (white space separates, a backslash takes the next byte as it is),
    /// `process_postgres_switches` and `ParseLongOption` in PostgreSQL.
    ///
    /// - Returns: The value that Postgres would have used, or nil where the name is not set. A
    ///   parameter wins over `options`, a later one over an earlier one.
    public mutating func takeOption(_ name: String) -> String? {
        let wanted = StartupOptions.normalized(name)
        var fromOptions: String?
        var fromParameter: String?
        self.parameters = self.parameters.compactMap { parameter in
            if StartupOptions.normalized(parameter.name) == wanted {
                fromParameter = parameter.value
                return nil
            }
            guard parameter.name == "options" else { return parameter }
            var options = StartupOptions(parameter.value)
            guard let value = options.take(wanted) else { return parameter }
            fromOptions = value
            return options.isEmpty ? nil : Parameter(name: "options", value: options.text)
        }
        return fromParameter ?? fromOptions
    }
}

/// The value of the startup parameter `options`, taken apart as Postgres does.
struct StartupOptions {
    /// One argument: where it lies in the text, and what it says without its backslashes.
    private struct Argument {
        var start: Int
        var value: [UInt8]
    }

    /// Switches of `postgres` that take an argument, `c` aside.
    ///
    /// Source: the option string of `process_postgres_switches` in `postgres.c`.
    private static let switchesWithArgument = Set("BCDdfhkNprStvW".utf8)

    private var bytes: [UInt8]

    init(_ text: String) {
        self.bytes = Array(text.utf8)
    }

    var text: String { String(decoding: self.bytes, as: UTF8.self) }

    /// Whether nothing but white space is left.
    var isEmpty: Bool { self.bytes.allSatisfy(Self.isSpace) }

    /// Letters in lower case, `-` as `_`.
    static func normalized(_ name: String) -> String {
        String(decoding: name.utf8.map(self.normalized), as: UTF8.self)
    }

    /// Removes every setting of `name`, which is normalized. Returns the last value, or nil.
    mutating func take(_ name: String) -> String? {
        let arguments = Self.split(self.bytes)
        var taken: String?
        var kept: [UInt8] = []
        var index = 0
        while index < arguments.count {
            let (count, setting) = Self.setting(arguments[index...])
            let next = index + count
            let end = next < arguments.count ? arguments[next].start : self.bytes.count
            if let setting, Self.normalized(setting.name) == name {
                taken = setting.value
                kept.append(contentsOf: setting.switchesBefore)
            } else {
                kept.append(contentsOf: self.bytes[arguments[index].start..<end])
            }
            index = next
        }
        guard taken != nil else { return nil }
        self.bytes = kept
        while self.bytes.last.map(Self.isSpace) == true, !self.endsEscaped {
            self.bytes.removeLast()
        }
        return taken
    }

    /// Whether the last byte belongs to a backslash before it.
    private var endsEscaped: Bool {
        let backslashes = self.bytes.dropLast().reversed().prefix { $0 == UInt8(ascii: "\\") }
        return backslashes.count % 2 == 1
    }

    private struct Setting {
        var name: String
        var value: String
        /// Switches without argument that stood in the same word, as in `-ec a=b`; else empty.
        var switchesBefore: [UInt8]
    }

    /// How many arguments the first switch takes up, itself included, and what it sets.
    private static func setting(
        _ arguments: ArraySlice<Argument>
    ) -> (count: Int, setting: Setting?) {
        guard let word = arguments.first?.value, word.count > 1, word[0] == UInt8(ascii: "-") else {
            return (1, nil)
        }
        if word[1] == UInt8(ascii: "-") {
            return (1, self.assignment(word.dropFirst(2), switchesBefore: []))
        }
        for (offset, letter) in word.enumerated().dropFirst() {
            let isSetting = letter == UInt8(ascii: "c") || letter == UInt8(ascii: "-")
            guard isSetting || self.switchesWithArgument.contains(letter) else { continue }
            let glued = word.dropFirst(offset + 1)
            let separate = glued.isEmpty ? arguments.dropFirst().first?.value[...] : nil
            let count = separate == nil ? 1 : 2
            guard isSetting else { return (count, nil) }
            let before = offset > 1 ? Array(word.prefix(offset)) + [UInt8(ascii: " ")] : []
            return (count, self.assignment(separate ?? glued, switchesBefore: before))
        }
        return (1, nil)
    }

    private static func assignment(
        _ text: ArraySlice<UInt8>,
        switchesBefore: [UInt8]
    ) -> Setting? {
        guard let equals = text.firstIndex(of: UInt8(ascii: "=")) else { return nil }
        return Setting(
            name: String(decoding: text[..<equals], as: UTF8.self),
            value: String(decoding: text[(equals + 1)...], as: UTF8.self),
            switchesBefore: switchesBefore
        )
    }

    private static func split(_ bytes: [UInt8]) -> [Argument] {
        var arguments: [Argument] = []
        var index = 0
        while true {
            while index < bytes.count, self.isSpace(bytes[index]) { index += 1 }
            guard index < bytes.count else { return arguments }
            var argument = Argument(start: index, value: [])
            while index < bytes.count, !self.isSpace(bytes[index]) {
                if bytes[index] == UInt8(ascii: "\\") { index += 1 }
                if index < bytes.count { argument.value.append(bytes[index]) }
                index += 1
            }
            arguments.append(argument)
        }
    }

    /// What `isspace` says in the C locale.
    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || (0x09...0x0d).contains(byte)
    }

    private static func normalized(_ byte: UInt8) -> UInt8 {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte | 0x20
        case UInt8(ascii: "-"): UInt8(ascii: "_")
        default: byte
        }
    }
}
