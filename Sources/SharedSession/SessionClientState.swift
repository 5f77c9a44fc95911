import NIOCore
import PostgresWire

/// All that is known of one client.
struct SessionClientState: Sendable {
    /// What is done for a client behind its exchange and before its ReadyForQuery.
    enum Afterwards: Sendable, Hashable {
        /// What DISCARD ALL does besides forgetting statements.
        case discardAll
        /// What it set at its start is set again where a RESET took it away.
        case restoreStartup
        /// An engine that does not report its settings is asked for them.
        case report
    }

    let id: SessionClientID
    let arrival: SessionArrival
    var inbox = ClientInbox()
    var statements: StatementTable
    var listens = ListenBook()

    // MARK: Its session

    /// What it has set, as of the last look.
    var settings = SessionSettings()
    /// What it set by its startup packet, as the engine spells it.
    var startup = SessionSettings()
    /// Whether that was not done yet.
    var needsStartup = true
    /// Whether ``startup`` is what the engine made of it.
    var knowsStartup = false
    /// The engine's generation that has its statements.
    var generation: Int
    /// What its exchanges since the last look may have left behind.
    var dirty: SQLStatement.Flags = []
    /// The parameters that it was told, by name.
    var told: [String: String] = [:]
    /// Whether it, or what it did in its transaction, may have changed some of them.
    var changesSettings = false
    /// Whether an engine that does not report its settings was asked for this client's.
    var wasReportAsked = false
    var isGreeted = false

    /// What brings the engine to ``settings``, ahead of its first call.
    var preface: CallPreface?

    // MARK: Its exchange

    /// Since when it waits for its turn; nil where it does not.
    var waitingSince: NIODeadline?
    /// Whether it was told whom it waits for.
    var isNoticed = false
    /// Since when it, holding the lease, has sent nothing and taken nothing.
    var silentSince: NIODeadline?
    /// Bytes that came since.
    var bytesSince = 0
    /// Messages until the next Sync are dropped, as behind every error of the extended protocol.
    var isSkipping = false
    /// Something was sent to the engine that no ReadyForQuery has answered yet.
    var hasOpenExchange = false
    /// Something was run by Execute that no Sync has committed yet.
    var hasExecuted = false
    /// An error came up since the last ReadyForQuery.
    var hasFailed = false
    /// A ReadyForQuery that it is going to get.
    var owedReady: TransactionStatus?
    var afterwards: Set<Afterwards> = []
    /// What portals do that is of interest here; the others are not listed.
    var portals: [String: StatementEffect] = [:]
    var copy: CopyIn?
    /// NotificationResponses that it gets when its transaction is over.
    var notifications = ByteBuffer()

    // MARK: Its socket

    var isStalled = false
    var isPaused = false

    init(id: SessionClientID, arrival: SessionArrival, generation: Int) {
        self.id = id
        self.arrival = arrival
        self.statements = StatementTable(client: id)
        self.generation = generation
    }

    /// Plans a text of its own; names that it prepares are announced.
    mutating func plan(
        _ text: ByteBuffer, isIdle: Bool, isPrepared: Bool
    ) -> StatementPlan {
        // What the engine reports may still be another client's.
        StatementPlan(
            text, standardConformingStrings: self.told["standard_conforming_strings"] != "off",
            isIdle: isIdle, isPrepared: isPrepared, defaults: self.startup,
            table: &self.statements)
    }

    /// Who it is, for the words of notices to others.
    var label: String {
        let name =
            self.told["application_name"]
            ?? self.arrival.request.parameter("application_name") ?? ""
        let shown = name.isEmpty ? "a client" : "\"\(name)\""
        return self.arrival.address.map { "\(shown) (\($0))" } ?? shown
    }

    /// Whether enough of its next message is here to give it the session.
    func isReady(queuedBytes: Int) -> Bool {
        switch self.inbox.front {
        case .nothing: self.inbox.passingBytes > 0 && self.inbox.readableBytes > 0
        case .malformed: true
        case .message(_, let total, let here): here == total || here >= queuedBytes
        }
    }
}
