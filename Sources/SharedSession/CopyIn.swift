import NIOCore
import PostgresWire

/// A text with COPY … FROM STDIN on its way, part by part.
///
/// The engine takes a COPY and all of its data in one call only. So a *probe* goes first, the COPY
/// with a CopyFail: it brings the engine's own CopyInResponse or refusal, and is undone. Then the
/// client's data go into the real call as they come. Several statements in one text go one by one,
/// within a transaction of ours where there is none: as one text they would be one, too.
struct CopyIn: Sendable {
    enum Stage: Sendable, Hashable {
        /// The next part's turn.
        case next
        /// A part that is no COPY runs.
        case plain
        /// The probe has a savepoint.
        case guarded
        case probing
        case unguarding
        case receiving
        case copying
        case ending
    }

    /// Within an exchange of the extended protocol.
    let isExtended: Bool
    private let plan: StatementPlan
    /// How many of its statements are done.
    private var done = 0
    /// The statement whose turn it is.
    private(set) var part: StatementPlan?
    /// Whether the transaction is ours, and not begun yet, begun, or none.
    var mustBegin: Bool
    var ownsTransaction = false
    var hasFailed = false
    var stage = Stage.next

    /// Whether the call under way is all that is left of the exchange.
    var isAtItsEnd: Bool {
        switch self.stage {
        case .plain, .copying:
            self.done + 1 >= self.plan.statements.count && !self.isExtended
                && !self.ownsTransaction
        case .next, .guarded, .probing, .unguarding, .receiving, .ending: false
        }
    }
    var isReceiving: Bool { self.stage == .receiving }

    init(_ plan: StatementPlan, isIdle: Bool) {
        self.isExtended = false
        self.plan = plan
        self.mustBegin = isIdle && plan.statements.count > 1 && !plan.controlsTransactions
        self.part = plan.statements.isEmpty ? nil : plan.part(0)
    }

    init(extended text: ByteBuffer) {
        self.isExtended = true
        self.plan = StatementPlan(copy: text)
        self.mustBegin = false
        self.part = self.plan
    }

    mutating func partEnded(failed: Bool) {
        self.done += 1
        self.part = self.done < self.plan.statements.count ? self.plan.part(self.done) : nil
        self.hasFailed = failed
        self.stage = .next
    }
}

extension SharedSession {
    private static let guardBegin = "SAVEPOINT pgs_probe"
    private static let guardEnd = "ROLLBACK TO SAVEPOINT pgs_probe; RELEASE SAVEPOINT pgs_probe"

    /// The next step of a client's COPY; whether to go on.
    mutating func stepCopy(_ id: SessionClientID, now: NIODeadline) -> Bool {
        guard let copy = self.clients[id]?.copy else { return true }
        if self.applyPreface(id) { return true }
        switch copy.stage {
        case .plain, .probing, .copying, .unguarding, .ending: return false
        case .receiving:
            if self.call == nil { self.openCopy(id) }
            return false
        case .guarded: return self.probe(id)
        case .next: break
        }
        guard let part = copy.part, !copy.hasFailed else { return self.endCopy(id, copy) }
        if copy.mustBegin {
            self.clients[id]?.copy?.mustBegin = false
            self.clients[id]?.copy?.ownsTransaction = true
            return self.start(.copy(id), "BEGIN")
        }
        guard part.copiesIn else {
            self.clients[id]?.copy?.stage = .plain
            self.runQuery(part, id)
            return false
        }
        guard self.engine.status == .open else { return self.probe(id) }
        self.clients[id]?.copy?.stage = .guarded
        return self.start(.copy(id), Self.guardBegin)
    }

    private mutating func probe(_ id: SessionClientID) -> Bool {
        guard let part = self.clients[id]?.copy?.part else { return true }
        self.clients[id]?.copy?.stage = .probing
        self.runQuery(part, id, isProbe: true)
        return false
    }

    /// The real call: the COPY, and then the data as they come.
    private mutating func openCopy(_ id: SessionClientID) {
        guard let part = self.clients[id]?.copy?.part else { return }
        var call = EngineCall(.client(id), generation: self.engine.generation)
        call.plan = part
        call.matcher.expect(.query(part.effects))
        self.call = call
        self.gather(SessionMessage.query(part.text))
    }

    private mutating func endCopy(_ id: SessionClientID, _ copy: CopyIn) -> Bool {
        if copy.ownsTransaction, self.engine.status != .idle {
            self.clients[id]?.copy?.stage = .ending
            return self.start(.copy(id), copy.hasFailed ? "ROLLBACK" : "COMMIT")
        }
        self.clients[id]?.copy = nil
        if copy.isExtended {
            self.clients[id]?.isSkipping = copy.hasFailed
        } else {
            self.exchangeEnded(id)
        }
        return true
    }

    /// One of the client's own calls is over.
    mutating func copyCallEnded(_ id: SessionClientID, _ call: EngineCall) {
        guard let stage = self.clients[id]?.copy?.stage else { return }
        guard stage == .probing, call.sawCopyIn else {
            self.clients[id]?.copy?.partEnded(failed: call.error != nil)
            return
        }
        // The probe's failure is ours; what it left is undone before the data come.
        self.clients[id]?.copy?.stage = .receiving
        if self.engine.status != .idle {
            self.clients[id]?.copy?.stage = .unguarding
            _ = self.start(.copy(id), Self.guardEnd)
        }
    }

    /// One of the calls around it is over.
    mutating func copyAsideEnded(_ id: SessionClientID, _ call: EngineCall) {
        guard let stage = self.clients[id]?.copy?.stage else { return }
        switch stage {
        case .unguarding: self.clients[id]?.copy?.stage = .receiving
        case .ending:
            if let error = call.error {
                self.send(id, error)
                self.clients[id]?.hasFailed = true
                self.clients[id]?.copy?.hasFailed = true
            }
            self.clients[id]?.copy?.ownsTransaction = self.engine.status != .idle
            self.clients[id]?.copy?.stage = .next
        case .next, .plain, .guarded, .probing, .receiving, .copying: break
        }
    }

    /// A message of the client's while its data are awaited.
    mutating func takeWhileCopying(
        _ type: MessageType, _ total: Int, isWhole: Bool, _ id: SessionClientID
    ) -> Bool {
        switch type {
        case .copyData:
            self.clients[id]?.inbox.pass(total)
            return true
        case .copyDone, .copyFail:
            guard total <= Self.smallMessageBytes else {
                return self.refuse(id, "invalid message length")
            }
            guard isWhole, let whole = self.clients[id]?.inbox.take(total) else { return false }
            self.clients[id]?.copy?.stage = .copying
            self.gather(whole)
            self.runGathered()
            return false
        case .flush, .sync:
            // Ignored within a COPY, as in Postgres.
            self.clients[id]?.inbox.skipMessage()
            return true
        case .terminate:
            self.forget(id, closing: true)
            return false
        default:
            return self.refuse(
                id, "unexpected message type \(type.rawValue) during COPY from stdin")
        }
    }

    /// The data so far are forgotten, and the COPY fails in the engine, too.
    mutating func cancelCopy(_ id: SessionClientID) {
        guard let part = self.clients[id]?.copy?.part else { return }
        self.dropGathered()
        self.clients[id]?.inbox.skipPassing()
        self.clients[id]?.copy?.stage = .copying
        self.runQuery(part, id)
        self.call?.substitute = Self.cancelled
    }
}
