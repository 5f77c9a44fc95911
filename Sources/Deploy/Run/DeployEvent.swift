/// Told of every event of a run, from any thread, in the order in which it happened. Must not
/// block.
public typealias DeployObserver = @Sendable (DeployEvent) -> Void

/// One thing that happened during a deploy.
///
/// As JSON (``json()``) it is one object with its name in `event`: a line of `--json`. Names and
/// keys are a promise to programs; new ones may be added, and readers ignore what they do not know.
/// Nothing
/// secret is in any of them.
public enum DeployEvent: Sendable, Hashable {
    /// The run has an id and its place in the history.
    case started(RunStarted)
    /// The plan is made. With `--plan` little else follows.
    case planned(DeployPlan)
    /// Something that turned up after the plan was made, or that a person must see now.
    case finding(Finding)
    /// The part of the run that begins now. The one before it is over.
    case phase(DeployPhase)
    /// How far the phase is, or what it does just now.
    case step(PhaseStep)
    /// The rows of a table begin to travel.
    case tableStarted(TableProgress)
    /// How far a table is. May come many times a second.
    case tableProgress(TableProgress)
    /// A table is whole.
    case tableFinished(TableProgress)
    /// A sentence for the person: a warning of a tool, a provider's step.
    case notice(RunNotice)
    /// Source and target were compared.
    case verified(RunVerified)
    /// The target has changed for good.
    case committed
    /// What was begun at the target was undone.
    case rolledBack
    /// The run is over and did what it was asked.
    case finished(RunFinished)
    /// The run is over and did not.
    case failed(RunFailed)
}

/// The parts of a run, in the order in which they come. A run leaves out what it has no need of.
public enum DeployPhase: String, Sendable, Codable, Hashable, CaseIterable {
    /// The provider finds or makes the database.
    case provider
    /// Source and target are dialled.
    case connecting
    /// Both sides are read; the plan is made.
    case planning
    /// What the last deploy made is moved aside, to be kept until the next.
    case settingAside = "setting-aside"
    /// Types, functions and empty tables.
    case schema
    /// Rows.
    case data
    /// Positions of sequences.
    case sequences
    /// Large objects.
    case largeObjects = "large-objects"
    /// What stands on the rows: indexes, constraints, triggers, materialized views.
    case indexes
    /// Source and target are compared.
    case verifying
    /// One COMMIT makes it visible.
    case committing
    /// The staging database takes the target's name.
    case swapping
    /// The planner's statistics are gathered.
    case analyzing
    /// The last deploy is taken back.
    case rollingBack = "rolling-back"
    /// Temporary logins, staging databases and files go.
    case cleaningUp = "cleaning-up"
}

/// The first event.
public struct RunStarted: Sendable, Codable, Hashable {
    /// The run's id, as `pgshare deploy show` takes it.
    public var id: String
    /// What is deployed, without secrets.
    public var source: String
    /// Where to, without secrets.
    public var target: String

    /// Creates the event's facts.
    public init(id: String, source: String, target: String) {
        self.id = id
        self.source = source
        self.target = target
    }
}

/// How far a phase is.
public struct PhaseStep: Sendable, Codable, Hashable {
    /// The phase.
    public var phase: DeployPhase
    /// What it does now, such as the name of an index; nil where only the count moves.
    public var text: String?
    /// How much of ``total`` is done, in a unit of the phase's own.
    public var done: Int64?
    /// All there is to do; nil if nobody knows.
    public var total: Int64?

    /// Creates the event's facts.
    public init(
        _ phase: DeployPhase, _ text: String? = nil, done: Int64? = nil, total: Int64? = nil
    ) {
        self.phase = phase
        self.text = text
        self.done = done
        self.total = total
    }
}

/// How far a table is.
public struct TableProgress: Sendable, Codable, Hashable {
    /// The schema's name.
    public var schema: String
    /// The table's name.
    public var name: String
    /// Rows so far; nil until they are counted, which may be at the end only.
    public var rows: Int64?
    /// Bytes of COPY data so far.
    public var bytes: Int64
    /// The bytes that the plan expects, a guess from the size on the source's disk.
    public var expectedBytes: Int64?
    /// Seconds since the table began.
    public var seconds: Double

    /// Creates the event's facts.
    public init(
        schema: String,
        name: String,
        rows: Int64? = nil,
        bytes: Int64 = 0,
        expectedBytes: Int64? = nil,
        seconds: Double = 0
    ) {
        self.schema = schema
        self.name = name
        self.rows = rows
        self.bytes = bytes
        self.expectedBytes = expectedBytes
        self.seconds = seconds
    }
}

/// A sentence on the way.
public struct RunNotice: Sendable, Codable, Hashable {
    /// What it says.
    public var text: String
    /// Whether a person should look at it.
    public var isWarning: Bool

    /// Creates the event's facts.
    public init(_ text: String, isWarning: Bool = false) {
        self.text = text
        self.isWarning = isWarning
    }
}

/// What comparing source and target found.
public struct RunVerified: Sendable, Codable, Hashable {
    /// How close the comparison looked.
    public var level: DeployOptions.VerifyLevel
    /// Tables that were compared.
    public var tables: Int
    /// Their rows at the source.
    public var rows: Int64
    /// A sentence for each difference; none if the target is what the source was.
    public var mismatches: [String]
    /// Seconds that it took, both sides.
    public var seconds: Double

    /// Creates the event's facts.
    public init(
        level: DeployOptions.VerifyLevel,
        tables: Int,
        rows: Int64,
        mismatches: [String],
        seconds: Double
    ) {
        self.level = level
        self.tables = tables
        self.rows = rows
        self.mismatches = mismatches
        self.seconds = seconds
    }

    /// Creates the event's facts from all that verifying found.
    public init(_ report: VerificationReport, level: DeployOptions.VerifyLevel) {
        self.init(
            level: level, tables: report.tables.count,
            rows: report.tables.reduce(0) { $0 + $1.rows },
            mismatches: report.mismatches.map(\.sentence), seconds: report.seconds)
    }
}

/// How a database that was deployed is reached.
public struct ConnectionLabel: Sendable, Codable, Hashable {
    /// Which one it is, such as `direct` or `pooler`.
    public var label: String
    /// A URL without a password.
    public var url: String

    /// Creates one.
    public init(label: String, url: String) {
        self.label = label
        self.url = url
    }
}

/// The last event of a run that worked.
public struct RunFinished: Sendable, Codable, Hashable {
    /// What the run came to.
    public enum Outcome: String, Sendable, Codable, Hashable {
        /// The target holds the source's state.
        case deployed
        /// The plan was printed, and nothing else was asked for.
        case planned
        /// The person said no; nothing was changed.
        case declined
        /// The last deploy was taken back.
        case rolledBack = "rolled-back"
    }

    /// What the run came to.
    public var outcome: Outcome
    /// Seconds from the start.
    public var seconds: Double
    /// Tables whose rows travelled.
    public var tables: Int
    /// Their rows.
    public var rows: Int64
    /// Their bytes of COPY data.
    public var bytes: Int64
    /// How the target is reached.
    public var connections: [ConnectionLabel]

    /// Creates the event's facts.
    public init(
        outcome: Outcome,
        seconds: Double,
        tables: Int = 0,
        rows: Int64 = 0,
        bytes: Int64 = 0,
        connections: [ConnectionLabel] = []
    ) {
        self.outcome = outcome
        self.seconds = seconds
        self.tables = tables
        self.rows = rows
        self.bytes = bytes
        self.connections = connections
    }
}

/// The last event of a run that did not work.
public struct RunFailed: Sendable, Codable, Hashable {
    /// What a reader of the target finds.
    public enum TargetState: String, Sendable, Codable, Hashable {
        /// The state before the run.
        case untouched
        /// All of the deploy; only what comes after it failed.
        case complete
        /// One or the other: the connection broke while the target committed. The next run sees.
        case unknown
    }

    /// One sentence.
    public var message: String
    /// What a person can do about it, or nil.
    public var hint: String?
    /// What a reader of the target finds.
    public var target: TargetState

    /// Creates the event's facts.
    public init(message: String, hint: String? = nil, target: TargetState) {
        self.message = message
        self.hint = hint
        self.target = target
    }
}
