extension SessionInspection {
    /// Simple Queries that take the session from one client's settings to another's; none if they
    /// are equal. Each is one statement, so an error leaves what was before.
    ///
    /// The order within it: whoever the session acts as must not stand in the way, and some
    /// settings exclude each other. What is only in `from` gets what RESET gives; a custom setting
    /// then is empty.
    package static func applyStatement(
        from: SessionSettings, to: SessionSettings
    ) -> [String] {
        guard from != to else { return [] }
        let changed = Set(from.values.keys).union(to.values.keys).subtracting(Self.identity)
            .filter { from.values[$0] != to.values[$0] }
        let actsAsOther = Self.identity.contains { from.values[$0] != nil }
        var calls: [String] = []
        if actsAsOther {
            calls.append(Self.call("role", "none"))
            calls.append(Self.call("session_authorization", nil))
        }
        let ordered = changed.map { (name: $0, value: to.values[$0]) }
            .sorted { (Self.rank($0.value), $0.name) < (Self.rank($1.value), $1.name) }
        calls += ordered.map { Self.call($0.name, $0.value) }
        for name in Self.identity {
            if let value = to.values[name] { calls.append(Self.call(name, value)) }
        }
        // The values do not come back: the new client_encoding may not have their characters.
        let list = calls.joined(separator: ", ")
        return ["select pg_catalog.cardinality(array[\(list)])"]
    }

    /// Who the session acts as, in the order in which it is set: the second depends on the first.
    fileprivate static let identity = ["session_authorization", "role"]

    /// `log_statement_stats` and its like can be on only while others are off.
    private static func rank(_ value: String?) -> Int {
        switch value {
        case nil: 0
        case "off": 1
        case .some: 2
        }
    }

    /// A value of NULL is what RESET does.
    private static func call(_ name: String, _ value: String?) -> String {
        let value = value.map(SQLRewrite.literal) ?? "null"
        return "pg_catalog.set_config(\(SQLRewrite.literal(name)), \(value), false)"
    }
}

extension SessionSettings {
    /// Who the session acts as, which RESET ALL leaves as it is.
    var identityAlone: SessionSettings {
        SessionSettings(values: self.values.filter { SessionInspection.identity.contains($0.key) })
    }
}
