import NIOCore

/// The page that shares its engine, and uses it itself whenever nobody else has it.
///
/// Its session is its own: what it has set, prepared and listens to is always there.
struct OraclePage {
    private var settings = [
        "work_mem": "4MB", "application_name": "", "datestyle": "ISO, MDY", "app.tenant": "",
        "client_encoding": "UTF8", "search_path": "\"$user\", public",
    ]
    private var hasBegun = false

    private static let values = [
        ("work_mem", "3MB"), ("work_mem", "4MB"), ("application_name", "the page"),
        ("datestyle", "German, DMY"), ("datestyle", "ISO, MDY"), ("app.tenant", "of the page"),
        ("app.tenant", ""), ("client_encoding", "LATIN1"), ("search_path", "shadow, public"),
    ]

    /// Looks whether all is there, and then changes something.
    mutating func turn(_ engine: EngineSession, _ random: inout some RandomNumberGenerator) throws {
        if !self.hasBegun {
            self.hasBegun = true
            _ = try Self.ask(engine, "prepare page_s as select 'prepared'; listen page_channel")
        }
        try self.check(engine)
        guard let (name, value) = Self.values.randomElement(using: &random) else { return }
        self.settings[name] = value
        let rows = try Self.ask(engine, "select set_config('\(name)', '\(value)', false)")
        guard rows == [value] else { throw OracleFailure("the page cannot set \(name): \(rows)") }
    }

    private func check(_ engine: EngineSession) throws {
        let names = self.settings.keys.sorted()
        for name in names {
            let rows = try Self.ask(engine, "select current_setting('\(name)')")
            guard rows == [self.settings[name]] else {
                throw OracleFailure("the page finds \(name) = \(rows)")
            }
        }
        guard try Self.ask(engine, "execute page_s") == ["prepared"],
            try Self.ask(engine, "select pg_listening_channels()").contains("page_channel")
        else { throw OracleFailure("the page finds its statement or channel gone") }
    }

    /// After everything: nothing of its own either.
    func end(_ engine: EngineSession) throws {
        guard self.hasBegun else { return }
        try self.check(engine)
        _ = try Self.ask(engine, "deallocate page_s; unlisten *; reset all")
    }

    /// The first column of each row.
    private static func ask(_ engine: EngineSession, _ sql: String) throws -> [String] {
        var reply = try engine.call(FrontendMessage.query(sql))
        var rows: [String] = []
        while let message = reply.readWireMessage() {
            if message.isType("E") { throw OracleFailure(message.errorField("M") ?? "") }
            guard message.isType("D") else { continue }
            var body = message.body
            body.moveReaderIndex(forwardBy: 2)
            let length = body.readInteger(as: Int32.self) ?? 0
            let value = body.readSlice(length: max(0, Int(length))) ?? ByteBuffer()
            rows.append(String(decoding: value.readableBytesView, as: UTF8.self))
        }
        return rows
    }
}

extension SharedRun {
    /// Until the page's side has answered that the engine is taken, it is the page's.
    var pageHasEngine: Bool {
        (!self.isHeld || self.owesHeld) && self.reply == nil && !self.owesRestart
    }

    mutating func turnOfPage() throws(OracleFailure) {
        self.trace("the page's own queries")
        do {
            try self.page.turn(self.engine, &self.random)
        } catch {
            throw OracleFailure("\(error)")
        }
    }
}
