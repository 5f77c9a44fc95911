import NIOCore
import PostgresWire

extension SharedSession {
    /// A parameter of our own in every greeting, as CockroachDB sends `crdb_version`: clients keep
    /// what they do not know. `pgshare deploy` reads it to know that the source has one session.
    static let sessionParameter = SessionInspection.Parameter(
        name: "pgshare_session", value: "shared")

    /// Tells a client that has its turn the engine's own parameters.
    mutating func greet(_ id: SessionClientID) {
        guard let info = self.engine.info else { return }
        let parameters = info.reported.map { parameter in
            SessionInspection.Parameter(
                name: parameter.name,
                value: self.engine.reported[parameter.name] ?? parameter.value)
        }
        self.greet(id, parameters, info)
    }

    /// Tells a client that has waited for its turn long enough what is known without asking.
    mutating func greetEarly(_ id: SessionClientID) {
        guard let info = self.engine.info, let request = self.clients[id]?.arrival.request else {
            return
        }
        let parameters = SessionInspection.greetingParameters(
            reported: info.reported, startup: SessionInspection.startupSettings(request))
        self.greet(id, parameters, info)
        guard self.clients[id] != nil else { return }
        self.queue.remove(id)
        self.clients[id]?.waitingSince = nil
    }

    private mutating func greet(
        _ id: SessionClientID, _ parameters: [SessionInspection.Parameter],
        _ info: SessionInspection.Engine
    ) {
        guard let client = self.clients[id] else { return }
        let request = client.arrival.request
        if let database = request.database, database != info.database, database != request.user {
            return self.end(id, .noDatabase(database, there: info.database))
        }
        var greeting = ByteBuffer()
        for parameter in parameters + [Self.sessionParameter] {
            self.clients[id]?.told[parameter.name] = parameter.value
            greeting.writeImmutableBuffer(
                PostgresMessage.parameterStatus(parameter.name, parameter.value))
        }
        client.arrival.cancelKey.writeBackendKeyData(into: &greeting)
        greeting.writeImmutableBuffer(PostgresMessage.readyForQuery())
        self.clients[id]?.isGreeted = true
        self.send(id, greeting)
    }

    /// Parameters that changed behind a client's back.
    mutating func tellParameters(_ id: SessionClientID) {
        guard let told = self.clients[id]?.told else { return }
        var changes = ByteBuffer()
        for name in self.engine.reported.keys.sorted() {
            guard let value = self.engine.reported[name], told[name] != value else { continue }
            self.clients[id]?.told[name] = value
            changes.writeImmutableBuffer(PostgresMessage.parameterStatus(name, value))
        }
        self.send(id, changes)
    }
}
