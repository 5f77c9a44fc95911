public import Foundation

/// One run of `pgshare deploy`, as the history keeps it.
///
/// Nothing secret is in it: the texts of people pass ``SecretText/redacted(_:)`` on their way in.
public struct DeploymentRecord: Hashable, Codable, Sendable {
    /// What the run was asked to do.
    public enum Action: String, Codable, Hashable, Sendable, CaseIterable {
        /// Bring the source's state to the target.
        case deploy
        /// Take the last deploy back.
        case rollback
    }

    /// What became of the run.
    public enum State: String, Codable, Hashable, Sendable, CaseIterable {
        /// It holds the lease; whether it still lives, ``DeploymentRecord/state(now:on:)`` says.
        case running
        /// It did what it was asked.
        case succeeded
        /// It did not, and said why in the message.
        case failed
        /// It succeeded and was taken back later.
        case rolledBack = "rolled_back"
        /// It ended without a word. What it left at the target, the target's ledger knows.
        case crashed
    }

    /// Characters of an id, of `[0-9a-z]`.
    public static let idLength = 16

    /// The run's id.
    public var id: String
    /// What the run was asked to do.
    public var action: Action
    /// What is deployed, for people.
    public var source: String
    /// Where to, for people.
    public var target: String
    /// Names the pair of databases: of two runs with the same key, one at a time may run.
    public var key: String
    /// What became of the run when it was last written; see ``state(now:on:)``.
    public var state: State
    /// When it began, to the millisecond.
    public var startedAt: Date
    /// When it ended, to the millisecond; nil while it runs, and after a crash that nobody saw.
    public var finishedAt: Date?
    /// Who runs it, and the last sign of life.
    public var lease: DeploymentLease
    /// The plan as JSON, findings and versions included; nil before it was made, and where it was
    /// forgotten to save space.
    public var plan: String?
    /// The outcome as JSON: counts, checksums, durations. Nil as ``plan`` is.
    public var report: String?
    /// Why it failed.
    public var message: String?
    /// JSON: the provider's project that the run made or uses, for the next run to adopt.
    public var project: String?
    /// Where at the target the state before is kept; nil if it is not.
    public var keptIn: String?

    /// Creates the record of a run that is about to begin.
    ///
    /// - Parameters:
    ///   - id: ``idLength`` characters of `[0-9a-z]`; see ``makeID(using:)``.
    ///   - action: What the run is asked to do.
    ///   - source: What is deployed, without secrets.
    ///   - target: Where to, without secrets.
    ///   - key: Names the pair of databases.
    ///   - lease: Who runs it.
    ///   - now: The time.
    public init(
        id: String,
        action: Action,
        source: String,
        target: String,
        key: String,
        lease: DeploymentLease,
        now: StoreMoment
    ) {
        self.id = id
        self.action = action
        self.source = source
        self.target = target
        self.key = key
        self.state = .running
        self.startedAt = now.date
        self.lease = lease
    }

    /// Makes an id: 82 random bits.
    public static func makeID(using generator: inout some RandomNumberGenerator) -> String {
        let letters = Array("0123456789abcdefghijklmnopqrstuvwxyz")
        let chosen = (0..<Self.idLength).compactMap { _ in letters.randomElement(using: &generator)
        }
        return String(chosen)
    }

    /// What has become of the run by now: a run that says it runs, and does not, has crashed.
    public func state(now: StoreMoment, on machine: DeploymentMachine = .current) -> State {
        guard self.state == .running else { return self.state }
        return self.lease.crash(now: now, on: machine) == nil ? .running : .crashed
    }
}

/// What ``SQLiteShareStore/beginDeployment(_:now:on:)`` did.
public struct BegunDeployment: Hashable, Sendable {
    /// The run, which now holds the lease.
    public var record: DeploymentRecord
    /// The runs of the same pair that were found dead just now, and are marked as crashed.
    public var crashed: [DeploymentRecord]
}
