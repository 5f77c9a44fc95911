/// What of a table of contents is not restored. Everything it leaves out is named with a reason.
public struct RestoreRules: Codable, Hashable, Sendable {
    /// Schemas that stay out, with all that is in them.
    public var excludedSchemas: Set<String>
    /// Schemas that the target has: they are not created again, what is in them is.
    public var existingSchemas: Set<String>
    /// Access methods and transforms that the target has and that are not made again:
    /// `access method NAME`, `transform for TYPE language NAME`.
    public var existingObjects: Set<String>
    /// Extensions that stay out, with all that needs them, and the reason of each.
    public var excludedExtensions: [String: String]
    /// Procedural languages that the target lacks; functions in them stay out, too.
    public var missingLanguages: Set<String>
    /// Whether owners and privileges are the target's own: `ACL` and `DEFAULT ACL` stay out.
    public var leavesOutOwnership: Bool
    /// The target's roles; default privileges of any other role stay out. Nil keeps all.
    public var targetRoles: Set<String>?
    /// Whether comments on extensions stay out: only the extension's owner may set them.
    public var leavesOutExtensionComments: Bool
    /// Whether event triggers stay out: they act on all of the target, and on the deploy itself.
    public var leavesOutEventTriggers: Bool
    /// Whether publications, their tables and schemas stay out.
    public var leavesOutPublications: Bool
    /// Whether subscriptions stay out: a copy must not take over the stream of the original.
    public var leavesOutSubscriptions: Bool
    /// The providers of security labels that the target has loaded.
    public var labelProviders: Set<String>
    /// Whether large objects stay out.
    public var leavesOutLargeObjects: Bool
    /// Single entries that stay out by ``TableOfContents/Entry/dumpID``, each with its reason.
    public var excludedEntries: [Int: String]

    /// Creates rules that keep all but what no target takes; see the properties.
    public init(
        excludedSchemas: Set<String> = [],
        existingSchemas: Set<String> = ["public"],
        existingObjects: Set<String> = [],
        excludedExtensions: [String: String] = [:],
        missingLanguages: Set<String> = [],
        leavesOutOwnership: Bool = false,
        targetRoles: Set<String>? = nil,
        leavesOutExtensionComments: Bool = false,
        leavesOutEventTriggers: Bool = false,
        leavesOutPublications: Bool = false,
        leavesOutSubscriptions: Bool = true,
        labelProviders: Set<String> = [],
        leavesOutLargeObjects: Bool = false,
        excludedEntries: [Int: String] = [:]
    ) {
        self.excludedSchemas = excludedSchemas
        self.existingSchemas = existingSchemas
        self.existingObjects = existingObjects
        self.excludedExtensions = excludedExtensions
        self.missingLanguages = missingLanguages
        self.leavesOutOwnership = leavesOutOwnership
        self.targetRoles = targetRoles
        self.leavesOutExtensionComments = leavesOutExtensionComments
        self.leavesOutEventTriggers = leavesOutEventTriggers
        self.leavesOutPublications = leavesOutPublications
        self.leavesOutSubscriptions = leavesOutSubscriptions
        self.labelProviders = labelProviders
        self.leavesOutLargeObjects = leavesOutLargeObjects
        self.excludedEntries = excludedEntries
    }
}
