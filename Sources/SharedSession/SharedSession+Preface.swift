import NIOCore
import PostgresWire

/// What goes in front of a client's own messages, in one call with them: the change of settings
/// that brings the session to where the client left it.
///
/// One call is one turn of the way to the engine, so ten clients of different settings are served
/// nearly as fast as one. Only settings whose value is taken again whenever it was taken before go
/// that way: nobody's statement may run where they could not be changed.
struct CallPreface: Sendable {
    var sql: String
    var target: SessionSettings

    /// As an exchange of the extended protocol: an engine takes several of those in a call, and
    /// one Query behind them.
    var messages: ByteBuffer {
        var bytes = SessionMessage.parse("", text: self.sql)
        bytes.writeImmutableBuffer(SessionMessage.bindUnnamed)
        bytes.writeImmutableBuffer(SessionMessage.executeUnnamed)
        bytes.writeImmutableBuffer(SessionMessage.sync)
        return bytes
    }

    /// - Returns: nil where the change needs no call, or needs one of its own.
    init?(from: SessionSettings, to: SessionSettings) {
        let names = Set(from.values.keys).union(to.values.keys)
        let changed = names.filter { from.values[$0] != to.values[$0] }
        let statements = SessionInspection.applyStatement(from: from, to: to)
        guard changed.allSatisfy({ Self.names.contains($0.lowercased()) }), statements.count == 1,
            let sql = statements.first,
            names.isDisjoint(with: ["role", "session_authorization"])
        else { return nil }
        self.sql = sql
        self.target = to
    }

    /// Settings that look at nothing but the value when it is set: no catalog, no role, no other
    /// setting.
    ///
    /// Source: the check hooks of `guc_tables.c`.
    private static let names: Set<String> = [
        "application_name", "array_nulls", "bytea_output", "check_function_bodies",
        "client_min_messages", "constraint_exclusion", "cursor_tuple_fraction", "datestyle",
        "default_statistics_target", "default_transaction_deferrable",
        "default_transaction_isolation", "default_transaction_read_only", "enable_bitmapscan",
        "enable_hashagg", "enable_hashjoin", "enable_indexonlyscan", "enable_indexscan",
        "enable_material", "enable_memoize", "enable_mergejoin", "enable_nestloop",
        "enable_seqscan", "enable_sort", "extra_float_digits", "gin_fuzzy_search_limit",
        "idle_in_transaction_session_timeout", "idle_session_timeout", "intervalstyle",
        "lock_timeout", "maintenance_work_mem", "plan_cache_mode", "quote_all_identifiers",
        "random_page_cost", "row_security", "search_path", "seq_page_cost",
        "standard_conforming_strings", "statement_timeout", "synchronous_commit", "timezone",
        "transaction_timeout", "work_mem", "xmlbinary", "xmloption",
    ]
}

extension SharedSession {
    /// Whether a client's settings can go in front of its own messages.
    func preface(for id: SessionClientID, from current: SessionSettings) -> CallPreface? {
        guard self.capabilities.batches, let client = self.clients[id], client.isGreeted,
            client.knowsStartup, !client.needsStartup,
            client.generation == self.engine.generation,
            client.wasReportAsked || self.engine.reportsItself
        else { return nil }
        return CallPreface(from: current, to: client.settings)
    }

    /// A call of a client's, with what must go in front of it.
    mutating func newCall(_ id: SessionClientID) -> EngineCall {
        var call = EngineCall(.client(id), generation: self.engine.generation)
        guard let preface = self.clients[id]?.preface else { return call }
        self.clients[id]?.preface = nil
        call.gathered = preface.messages
        call.matcher.expect(.execute(.none), isHidden: true)
        call.matcher.expect(.sync, isHidden: true)
        call.preface = .underWay
        self.engine.settings = preface.target
        self.settle(on: id)
        return call
    }

    /// What was to go in front of a client's call goes in one of its own.
    mutating func applyPreface(_ id: SessionClientID) -> Bool {
        guard let preface = self.clients[id]?.preface else { return false }
        self.clients[id]?.preface = nil
        self.engine.applying = .init(
            statements: [preface.sql], target: preface.target, client: id)
        self.settle(on: id)
        return true
    }

    /// The engine refused what it had taken before. What stood behind it must not count.
    mutating func prefaceFailed(_ whole: ByteBuffer, _ client: SessionClientID?) {
        self.settingsAreUnknown()
        guard let client else { return }
        var error = PostgresError.parse(body: whole.messageBody)
        error.severity = .fatal
        self.end(client, .init(error))
    }
}
