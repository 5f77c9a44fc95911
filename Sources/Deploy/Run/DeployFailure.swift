/// Why a deploy or a rollback did not do what it was asked, and what that left behind.
public struct DeployFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// One sentence, without secrets.
    public var message: String
    /// What a person can do about it, or nil.
    public var hint: String?
    /// What a reader of the target finds.
    public var target: RunFailed.TargetState
    /// Whether the run was asked to stop (Ctrl-C), rather than failed.
    public var isCancelled: Bool

    /// Creates a failure.
    public init(
        _ message: String,
        hint: String? = nil,
        target: RunFailed.TargetState = .untouched,
        isCancelled: Bool = false
    ) {
        self.message = message
        self.hint = hint
        self.target = target
        self.isCancelled = isCancelled
    }

    /// Sentence and hint.
    public var description: String {
        [self.message, self.hint].compactMap { $0 }.joined(separator: "\n")
    }

    /// Any error of the parts, worded once.
    ///
    /// - Parameters:
    ///   - error: What a part threw.
    ///   - side: What it happened to, `the source`, or nil where the error says so itself.
    package init(_ error: any Error, at side: String? = nil) {
        let place = side.map { "\($0): " } ?? ""
        switch error {
        case let failure as DeployFailure:
            self = failure
        case is CancellationError:
            self.init("stopped", isCancelled: true)
        case let failure as SQLFailure:
            self.init(place + failure.sentence, hint: Self.hint(for: failure))
        case let failure as LedgerFailure:
            self.init(failure.description)
        default:
            self.init(place + "\(error)")
        }
        // Whatever fails in a task that was told to stop fails because of that.
        if Task.isCancelled, self.target == .untouched {
            self.init("stopped", isCancelled: true)
        }
    }

    /// What a person can do about the errors that come up in practice.
    private static func hint(for failure: SQLFailure) -> String? {
        if let hint = failure.hint { return hint }
        switch failure.sqlState {
        case "53100": return "The disk of the target is full: make room, then deploy again."
        case "53200":
            return "Raise max_locks_per_transaction at the target, or deploy with --method swap."
        case "53300": return "Close some sessions there, or use fewer --jobs."
        case "57014": return "Something cancelled the statement; a statement_timeout may do that."
        case "42501": return "Deploy as a role that may do this."
        case "40P01", "55P03": return "Others hold locks there; deploy again when they have let go."
        default:
            return failure.isConnectionLost ? "Deploy again: the next run sees the state." : nil
        }
    }
}

extension SQLFailure {
    /// Sentence, state and detail, for the person; the hint is shown by itself.
    var sentence: String {
        let state = self.sqlState.map { " (\($0))" } ?? ""
        return self.message + state + (self.detail.map { ": \($0)" } ?? "")
    }
}
