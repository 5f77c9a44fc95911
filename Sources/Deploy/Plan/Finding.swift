/// Something that a person should know before a deploy, or must settle first.
public struct Finding: Codable, Hashable, Sendable {
    /// How much it matters.
    public enum Severity: String, Codable, Hashable, Sendable, CaseIterable, Comparable {
        /// Good to know.
        case info
        /// The result differs from the source in a way that the user may not expect.
        case warning
        /// The deploy does not start.
        case blocking

        /// Info before warning before blocking.
        public static func < (left: Self, right: Self) -> Bool {
            left.rank < right.rank
        }

        private var rank: Int {
            switch self {
            case .info: 0
            case .warning: 1
            case .blocking: 2
            }
        }
    }

    /// How much it matters.
    public var severity: Severity
    /// What a program can branch on. Stable from one version of pgshare to the next.
    public var code: Code
    /// One sentence for a person, without a full stop.
    public var sentence: String
    /// What to do about it, nil where nothing is to be done. SQL, where SQL does it.
    public var fix: String?
    /// The objects it is about, as Postgres writes their identity.
    public var objects: [String]

    /// Creates a finding; see the properties.
    public init(
        _ severity: Severity,
        _ code: Code,
        _ sentence: String,
        fix: String? = nil,
        objects: [String] = []
    ) {
        self.severity = severity
        self.code = code
        self.sentence = sentence
        self.fix = fix
        self.objects = objects
    }
}

extension Finding {
    /// Every kind of finding there is.
    public enum Code: String, Codable, Hashable, Sendable, CaseIterable {
        // The two ends.
        case targetIsSource = "target-is-source"
        case targetIsSourcePrimary = "target-is-source-primary"
        case transactionPooler = "transaction-pooler"
        case targetInRecovery = "target-in-recovery"
        case sourceInRecovery = "source-in-recovery"
        case targetReadOnly = "target-read-only"
        case statementTimeout = "statement-timeout"
        case sourceSingleSession = "source-single-session"
        case sourceSessionsShort = "source-sessions-short"
        case targetSessionsShort = "target-sessions-short"
        case sourceSnapshot = "source-snapshot"
        case sizes = "sizes"

        // Versions and tools.
        case serverUnsupported = "server-unsupported"
        case toolsTooOld = "tools-too-old"
        case targetOlder = "target-older"
        case featureMissing = "feature-missing"

        // Text.
        case encodingDiffers = "encoding-differs"
        case collationDiffers = "collation-differs"
        case collationMissing = "collation-missing"
        case collationVersion = "collation-version"

        // Extensions and languages.
        case extensionMissing = "extension-missing"
        case extensionNotAllowed = "extension-not-allowed"
        case extensionOtherSchema = "extension-other-schema"
        case extensionOlder = "extension-older"
        case extensionCreated = "extension-created"
        case extensionLeftOut = "extension-left-out"
        case extensionCommentLeftOut = "extension-comment-left-out"
        case languageMissing = "language-missing"
        case languageNeeded = "language-needed"

        // Roles and rights.
        case roleMissing = "role-missing"
        case policyRoleMissing = "policy-role-missing"
        case ownershipLeftOut = "ownership-left-out"
        case ownerNotMember = "owner-not-member"
        case noCreateOnDatabase = "no-create-on-database"
        case noCreateInSchema = "no-create-in-schema"
        case sourceUnreadable = "source-unreadable"
        case rowSecurityApplies = "row-security-applies"
        case rowSecurityForced = "row-security-forced"

        // What the target holds.
        case objectInTheWay = "object-in-the-way"
        case objectReplaced = "object-replaced"
        case foreignObjectsKept = "foreign-objects-kept"
        case dependedOn = "depended-on"
        case objectsRemoved = "objects-removed"
        case objectsChanged = "objects-changed"
        case ledgerUnusable = "ledger-unusable"
        case targetTableMissing = "target-table-missing"
        case targetTableNotEmpty = "target-table-not-empty"

        // What of the source is left out or needs care.
        case nothingSelected = "nothing-selected"
        case providerSchemaLeftOut = "provider-schema-left-out"
        case eventTriggerLeftOut = "event-trigger-left-out"
        case publicationLeftOut = "publication-left-out"
        case subscriptionLeftOut = "subscription-left-out"
        case securityLabelLeftOut = "security-label-left-out"
        case defaultPrivilegesLeftOut = "default-privileges-left-out"
        case tablespaceLeftOut = "tablespace-left-out"
        case invalidIndexLeftOut = "invalid-index-left-out"
        case foreignKeyOutside = "foreign-key-outside"
        case triggerOutside = "trigger-outside"
        case needsOutside = "needs-outside"
        case unloggedTable = "unlogged-table"
        case foreignTable = "foreign-table"
        case preparedTransactions = "prepared-transactions"
        case unvalidatedConstraint = "unvalidated-constraint"
        case generatedColumns = "generated-columns"
        case largeObjects = "large-objects"

        // How it is done.
        case locksShort = "locks-short"
        case swapNotPossible = "swap-not-possible"
        case jobsReduced = "jobs-reduced"
    }
}
