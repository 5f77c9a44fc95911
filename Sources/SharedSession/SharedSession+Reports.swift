import NIOCore
import PostgresWire

/// What clients are told of their settings where the engine does not tell it by itself.
///
/// Drivers decode by what they were told: pgjdbc and psycopg read times by DateStyle and TimeZone.
extension SharedSession {
    /// SHOW takes no snapshot: a transaction may still choose its isolation level behind it.
    static func reportQuery(_ names: [String]) -> String {
        names.map { "SHOW \(SQLRewrite.identifier($0))" }.joined(separator: "; ")
    }

    /// What may change of what is reported.
    private var changingNames: [String] {
        let names = self.engine.info?.reported.map(\.name) ?? []
        return names.filter { !Self.constantNames.contains($0) }
    }

    private static let constantNames: Set = [
        "server_version", "server_encoding", "integer_datetimes", "in_hot_standby",
    ]

    mutating func askForReport(_ id: SessionClientID) -> Bool {
        self.clients[id]?.wasReportAsked = true
        let names = self.changingNames
        guard !names.isEmpty else { return true }
        return self.start(.report, Self.reportQuery(names))
    }

    mutating func reported(_ call: EngineCall) {
        let names = self.changingNames
        guard call.error == nil, call.rows.count == names.count else { return }
        for (name, row) in zip(names, call.rows) {
            if let value = row.first ?? nil { self.engine.reported[name] = value }
        }
    }

    /// The engine's settings are this client's from now on, and so is what it would report.
    mutating func settle(on id: SessionClientID) {
        self.settled = id
        // What was answered before another had the engine is not this client's any more.
        if self.clients[id]?.isGreeted == false { self.clients[id]?.wasReportAsked = false }
        guard !self.engine.reportsItself, let client = self.clients[id], client.wasReportAsked
        else { return }
        for (name, value) in client.told where self.engine.reported[name] != nil {
            self.engine.reported[name] = value
        }
    }

    /// An exchange is over: is there to ask what it changed?
    mutating func noteChangedSettings(_ id: SessionClientID) {
        guard self.clients[id]?.changesSettings == true else { return }
        // What was set in a transaction may be taken back by its end.
        if self.engine.status == .idle { self.clients[id]?.changesSettings = false }
        if !self.engine.reportsItself { self.clients[id]?.afterwards.insert(.report) }
    }
}
