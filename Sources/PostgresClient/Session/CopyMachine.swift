import NIOCore
import PostgresWire

/// One COPY out of a session and into another, as far as it is a decision.
///
///                  opened      CopyDone     CommandComplete, ReadyForQuery
///     source ────────┐ forward    │ finishTarget         │
///                    ├────────▶ (data) ────────▶         ├──▶ end
///     target ────────┘ opened                            │
///                              CommandComplete, ReadyForQuery
///
/// The first failure of either side is the answer. From then on both are brought to their
/// ReadyForQuery: the source is cancelled and what it still sends is dropped, the target's COPY is
/// failed. Errors that this provokes are not told.
///
/// Pure. The bytes themselves do not come here.
struct CopyMachine {
    /// What happened.
    enum Event: Equatable {
        /// CopyOutResponse, or CopyInResponse.
        case opened(CopySide, CopyFormat)
        /// The source's CopyDone; all its data was passed on.
        case sourceDone
        /// CommandComplete, with its rows where it is a COPY's.
        case completed(CopySide, rows: Int64?)
        /// An error of the server, or the end of the session.
        case failed(CopySide, SessionError)
        /// ReadyForQuery, or the end of the session: nothing more comes.
        case over(CopySide)
        /// The task that waits was cancelled.
        case cancelled
    }

    /// What to do, in this order.
    enum Action: Equatable {
        /// Pass the source's data on, beginning with what came already.
        case forward
        /// Send CopyDone.
        case finishTarget
        /// End a message that was cut, then send CopyFail.
        case failTarget
        /// Drop the source's data from now on and ask the server to cancel.
        case cancelSource
        /// Ask the target's server to cancel.
        case cancelTarget
        /// Both sides are over. The rows, or why not.
        case end(Result<Int64, CopyError>)
    }

    private struct Side {
        var format: CopyFormat?
        var rows: Int64?
        var isOver = false
        var isCancelled = false
    }

    private enum TargetEnd {
        case open
        case done
        case failed
    }

    private var source = Side()
    private var target = Side()
    private var targetEnd = TargetEnd.open
    private var isForwarding = false
    private var isSourceDone = false
    private var isCancelled = false
    private var failure: CopyError?
    /// Whether ``Action/end(_:)`` was said.
    private(set) var hasEnded = false

    /// Takes an event and says what follows from it.
    mutating func receive(_ event: Event) -> [Action] {
        guard !self.hasEnded else { return [] }
        var actions: [Action] = []
        switch event {
        case .opened(.source, let format): self.source.format = format
        case .opened(.target, let format): self.target.format = format
        case .sourceDone: self.isSourceDone = true
        case .completed(.source, let rows): self.source.rows = rows
        case .completed(.target, let rows): self.target.rows = rows
        case .failed(.source, let error): self.fail(.source(error))
        case .failed(.target, let error): self.fail(.target(error))
        case .over(.source): self.sourceOver()
        case .over(.target): self.targetOver()
        case .cancelled: self.cancel(&actions)
        }
        if self.isFailing { self.unwind(&actions) } else { self.advance(&actions) }
        if self.source.isOver && self.target.isOver {
            self.hasEnded = true
            actions.append(.end(self.result))
        }
        return actions
    }

    /// Whether data has nowhere to go any more.
    var isFailing: Bool { self.failure != nil || self.isCancelled }

    private mutating func advance(_ actions: inout [Action]) {
        if !self.isForwarding, let out = self.source.format, let into = self.target.format {
            guard out == into else {
                self.fail(.formatsDiffer)
                return self.unwind(&actions)
            }
            self.isForwarding = true
            actions.append(.forward)
        }
        if self.isForwarding, self.isSourceDone, self.targetEnd == .open {
            self.targetEnd = .done
            actions.append(.finishTarget)
        }
    }

    private mutating func unwind(_ actions: inout [Action]) {
        if !self.source.isOver, !self.source.isCancelled {
            self.source.isCancelled = true
            actions.append(.cancelSource)
        }
        guard !self.target.isOver else { return }
        if self.target.format == nil {
            // It may be waiting for a lock.
            self.cancelTarget(&actions)
        } else if self.targetEnd == .open {
            self.targetEnd = .failed
            actions.append(.failTarget)
        }
    }

    /// Once CopyDone is sent the copy may still succeed; before, it must not.
    private mutating func cancel(_ actions: inout [Action]) {
        if self.targetEnd == .open { self.isCancelled = true }
        if !self.target.isOver { self.cancelTarget(&actions) }
    }

    private mutating func cancelTarget(_ actions: inout [Action]) {
        guard !self.target.isCancelled else { return }
        self.target.isCancelled = true
        actions.append(.cancelTarget)
    }

    private mutating func sourceOver() {
        self.source.isOver = true
        if !self.isSourceDone || self.source.rows == nil {
            self.fail(.source(.misuse(detail: "the source's statement is no COPY … TO STDOUT")))
        }
    }

    private mutating func targetOver() {
        self.target.isOver = true
        if self.targetEnd == .open || self.target.rows == nil {
            self.fail(.target(.misuse(detail: "the target's statement is no COPY … FROM STDIN")))
        }
    }

    private mutating func fail(_ error: CopyError) {
        self.failure = self.failure ?? (self.isCancelled ? Self.ownError(error) : error)
    }

    /// After a cancellation the servers say 57014; what only says that nothing was copied, or that
    /// the row was cut in which it ended, does not count.
    private static func ownError(_ error: CopyError) -> CopyError? {
        switch error {
        case .source(.misuse), .target(.misuse), .formatsDiffer, .rowsDiffer: nil
        case .target(.server(let server)) where server.sqlState.rawValue.hasPrefix("22"): nil
        case .source, .target: error
        }
    }

    private var result: Result<Int64, CopyError> {
        if let failure = self.failure { return .failure(failure) }
        guard !self.isCancelled, let out = self.source.rows, let into = self.target.rows else {
            return .failure(.source(.cancelled))
        }
        return out == into ? .success(out) : .failure(.rowsDiffer(source: out, target: into))
    }
}

/// The session that is read, or the one that is written.
enum CopySide: Hashable, Sendable {
    case source
    case target
}

/// How the rows are written.
///
/// Source: PostgreSQL documentation, "CopyInResponse" and "CopyOutResponse".
struct CopyFormat: Hashable, Sendable {
    var isBinary: Bool
    var columns: Int

    init(isBinary: Bool, columns: Int) {
        self.isBinary = isBinary
        self.columns = columns
    }

    /// Reads a whole CopyInResponse or CopyOutResponse.
    init?(_ whole: ByteBuffer) {
        var body = whole.messageBody
        guard let format = body.readInteger(as: UInt8.self),
            let columns = body.readInteger(as: UInt16.self)
        else { return nil }
        self.init(isBinary: format != 0, columns: Int(columns))
    }

    /// The rows in a CommandComplete such as `COPY 12`, or nil where it is another's.
    static func rows(commandComplete whole: ByteBuffer) -> Int64? {
        var body = whole.messageBody
        guard let tag = body.readNullTerminatedString(), tag.hasPrefix("COPY ") else { return nil }
        return Int64(tag.dropFirst("COPY ".count))
    }
}
