/// What the ledger in a target says, and how the target compares with it.
public struct LedgerState: Codable, Hashable, Sendable {
    /// Whether the target has a schema `pgshare`, ours or not.
    public var hasLedger: Bool
    /// Why its ledger cannot be used, a sentence; nil when it can, or when there is none.
    public var refusal: String?
    /// Every deployment that the ledger remembers, the latest first.
    public var deployments: [LedgerDeployment]
    /// What the live deployment made and is still as it left it.
    public var objects: [DeployedObject]
    /// What the live deployment made and somebody changed since. Left alone by everything.
    public var changed: [ChangedObject]
    /// How many large objects the live deployment made that are still there.
    public var largeObjects: Int
    /// What the live deployment set aside, and a rollback brings back.
    public var kept: [KeptObject]
    /// Objects of others that depend on what the live deployment made.
    public var dependents: [ForeignDependent]
    /// Of ``objects``, what the next deployment cannot set aside and therefore uses as it is:
    /// extensions, access methods, and schemas that others use too.
    public var stays: [DeployedObject]

    /// A target without a ledger.
    public init() {
        self.hasLedger = false
        self.refusal = nil
        self.deployments = []
        self.objects = []
        self.changed = []
        self.largeObjects = 0
        self.kept = []
        self.dependents = []
        self.stays = []
    }

    /// Whether a deploy may go on.
    public var canUse: Bool { self.refusal == nil }

    /// The deployment whose objects stand in the target; nil if there is none.
    public var live: LedgerDeployment? { self.deployments.first { !$0.isRolledBack } }
}

/// One deployment, as the ledger remembers it.
public struct LedgerDeployment: Codable, Hashable, Sendable {
    /// 16 characters of `[0-9a-z]`.
    public var id: String
    /// Where it came from, without secrets.
    public var source: String
    /// When it was committed, ISO 8601, UTC.
    public var madeAt: String
    /// The plan as JSON.
    public var plan: String
    /// Rows of each table by its identity.
    public var rowCounts: [String: Int64]
    /// Checksums of each table by its identity, as text.
    public var checksums: [String: String]
    /// Versions of the programs that made it, by name.
    public var toolVersions: [String: String]
    /// The deployment that was live before, or nil for the first.
    public var previous: String?
    /// What a rollback finds.
    public var undo: Undo
    /// Whether a rollback undid it.
    public var isRolledBack: Bool

    /// Creates one.
    public init(
        id: String,
        source: String,
        madeAt: String,
        plan: String,
        rowCounts: [String: Int64] = [:],
        checksums: [String: String] = [:],
        toolVersions: [String: String] = [:],
        previous: String?,
        undo: Undo,
        isRolledBack: Bool = false
    ) {
        self.id = id
        self.source = source
        self.madeAt = madeAt
        self.plan = plan
        self.rowCounts = rowCounts
        self.checksums = checksums
        self.toolVersions = toolVersions
        self.previous = previous
        self.undo = undo
        self.isRolledBack = isRolledBack
    }

    /// What there is to go back to.
    public enum Undo: String, Codable, Hashable, Sendable {
        /// Nothing was in the place of what it made: a rollback drops what it made.
        case nothingBefore = "nothing-before"
        /// What was there is kept beside it.
        case kept
        /// What was there was dropped, at the deploy or by a later one.
        case dropped
        /// It changed what it did not make (data of tables that were there): nothing brings that
        /// back.
        case impossible
    }
}

/// A deployment to be recorded.
public struct NewDeployment: Hashable, Sendable {
    /// 16 characters of `[0-9a-z]`.
    public var id: String
    /// Where it comes from, without secrets.
    public var source: String
    /// The plan as JSON.
    public var plan: String
    /// Rows of each table by its identity.
    public var rowCounts: [String: Int64]
    /// Checksums of each table by its identity, as text.
    public var checksums: [String: String]
    /// Versions of the programs that make it, by name.
    public var toolVersions: [String: String]
    /// False when it changes what it does not make, such as rows of tables that were there.
    public var isReversible: Bool

    /// Creates one.
    public init(
        id: String,
        source: String,
        plan: String,
        rowCounts: [String: Int64] = [:],
        checksums: [String: String] = [:],
        toolVersions: [String: String] = [:],
        isReversible: Bool = true
    ) {
        self.id = id
        self.source = source
        self.plan = plan
        self.rowCounts = rowCounts
        self.checksums = checksums
        self.toolVersions = toolVersions
        self.isReversible = isReversible
    }
}

/// An object of a deployment that is not as the deployment left it.
public struct ChangedObject: Codable, Hashable, Sendable {
    /// As the ledger has it.
    public var object: DeployedObject
    /// What happened to it.
    public var change: Change

    /// Creates one.
    public init(object: DeployedObject, change: Change) {
        self.object = object
        self.change = change
    }

    /// What may have happened.
    public enum Change: Codable, Hashable, Sendable {
        /// It is no longer there.
        case gone
        /// It has another name or schema.
        case renamed(to: String)
        /// It belongs to another role.
        case given(to: String)
    }

    /// A sentence for a person.
    public var sentence: String {
        switch self.change {
        case .gone: "\(self.object.title) was dropped by somebody"
        case .renamed(let identity): "\(self.object.title) was renamed to \(identity): left alone"
        case .given(let role): "\(self.object.title) was given to \(role): left alone"
        }
    }
}

/// An object that a deployment moved out of its way.
public struct KeptObject: Codable, Hashable, Sendable {
    /// As it was before.
    public var object: DeployedObject
    /// Whether no deployment had made it (`--replace`).
    public var isForeign: Bool

    /// Creates one.
    public init(object: DeployedObject, isForeign: Bool) {
        self.object = object
        self.isForeign = isForeign
    }
}

/// An object that no deployment made and that needs one that a deployment made.
public struct ForeignDependent: Codable, Hashable, Sendable {
    /// Somebody's view, table, function, ….
    public var dependent: DeployedObject
    /// Ours.
    public var needs: DeployedObject
    /// False for a publication that lists our table: it can be told, and stops nobody.
    public var isBlocking: Bool

    /// Creates one.
    public init(dependent: DeployedObject, needs: DeployedObject, isBlocking: Bool) {
        self.dependent = dependent
        self.needs = needs
        self.isBlocking = isBlocking
    }

    /// A sentence for a person.
    public var sentence: String {
        self.isBlocking
            ? "\(self.dependent.title) depends on \(self.needs.title)"
            : "\(self.dependent.title) publishes \(self.needs.title), "
                + "and will not publish the one that comes in its place"
    }
}

/// What setting aside did.
public struct SetAsideReport: Codable, Hashable, Sendable {
    /// Moved (or, where nothing is kept, dropped).
    public var setAside: [DeployedObject] = []
    /// Made by the last deployment and still in place: what is to be restored must leave out
    /// their CREATE.
    public var stays: [DeployedObject] = []
    /// Made by the last deployment, changed by somebody since, left alone.
    public var leftAlone: [ChangedObject] = []
    /// Of the deployment before the last: gone now.
    public var droppedOlder: [DeployedObject] = []
    /// Publications of others that list tables of ours.
    public var notes: [String] = []
    /// Every schema that exists now, sorted, but for the system's and our own.
    public var schemas: [String] = []
    /// How many large objects were saved (or dropped).
    public var largeObjects = 0

    /// Nothing was done.
    public init() {}
}

/// What a rollback did.
public struct RollbackReport: Codable, Hashable, Sendable {
    /// The deployment that was undone.
    public var undone: String
    /// The deployment that is live again, or nil.
    public var live: String?
    /// What it had made and is gone now.
    public var dropped: [DeployedObject] = []
    /// What came back.
    public var restored: [DeployedObject] = []
    /// What it had made and still stands, each with the reason, a sentence.
    public var left: [String] = []
    /// Large objects that came back.
    public var largeObjects = 0

    /// Nothing was done yet.
    public init(undone: String, live: String?) {
        self.undone = undone
        self.live = live
    }
}

/// What became of a COMMIT that was never answered.
public enum DeploymentOutcome: String, Codable, Hashable, Sendable {
    /// Its objects are there.
    case committed
    /// It was never there, or was rolled back in the meantime.
    case absent
    /// A transaction of a deploy is still open: ask again.
    case undecided
}

/// Why the ledger could not do as asked. The transaction is to be rolled back.
public enum LedgerFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// The target refused a statement.
    case sql(SQLFailure)
    /// Another deploy or rollback of this target is running.
    case busy
    /// The schema `pgshare` cannot be used: a sentence.
    case refused(String)
    /// Objects of others depend on what must go; nothing was changed.
    case dependents([ForeignDependent])
    /// It cannot be done, nothing was changed: a sentence.
    case impossible(String)

    /// A sentence, and what to do.
    public var description: String {
        switch self {
        case .sql(let failure): failure.description
        case .busy: "another deploy or rollback of this target is running; wait until it ends"
        case .refused(let sentence), .impossible(let sentence): sentence
        case .dependents(let dependents):
            "objects that no deploy made depend on deployed ones: "
                + dependents.prefix(20).map(\.sentence).joined(separator: "; ")
                + (dependents.count > 20 ? "; and \(dependents.count - 20) more" : "")
                + ". Drop or move them first"
        }
    }
}
