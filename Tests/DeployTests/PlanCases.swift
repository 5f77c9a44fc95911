@testable import Deploy

/// Cases of ``PlanFindingTests``, in the order of ``Finding/Code``.
enum PlanCases {
    static let all: [PlanCase] = [
        ends, versions, extensions, roles, held, left, method,
    ].flatMap { $0 }

    private static let ends: [PlanCase] = [
        PlanCase(.targetIsSource, .blocking, "one server, one database") {
            $0.target.server = $0.source.server
        },
        PlanCase(.targetIsSource, .blocking, "the same, where the system identifier is secret") {
            $0.target.server = $0.source.server
            $0.target.server.systemIdentifier = nil
        },
        PlanCase(.targetIsSourcePrimary, .blocking, "from a standby to its primary") {
            $0.target.server.systemIdentifier = $0.source.server.systemIdentifier
            $0.source.server.isInRecovery = true
        },
        PlanCase(.transactionPooler, .blocking, "seen by its backends") {
            $0.target.server.pooling = .transaction
        },
        PlanCase(.transactionPooler, .blocking, "seen by its address") {
            $0.targetEnd = .init("s", host: "aws-0-eu.pooler.supabase.com", port: 6543)
        },
        PlanCase(.transactionPooler, .blocking, "as the source") {
            $0.source.server.pooling = .transaction
        },
        PlanCase(.targetInRecovery, .blocking, "a standby") {
            $0.target.server.isInRecovery = true
        },
        PlanCase(.sourceInRecovery, .info, "a standby") { $0.source.server.isInRecovery = true },
        PlanCase(.targetReadOnly, .blocking, "a full disk") { $0.target.server.isReadOnly = true },
        PlanCase(.statementTimeout, .info, "two minutes") {
            $0.target.server.statementTimeout = "120000"
        },
        PlanCase(.sourceSingleSession, .warning, "a browser's") {
            $0.source.server.acceptsSecondConnection = false
            $0.source.server.canExportSnapshot = false
        },
        PlanCase(.sourceSessionsShort, .blocking, "all taken") {
            $0.source.server.freeConnections = 0
        },
        PlanCase(.targetSessionsShort, .blocking, "all taken, and a swap asked for") {
            $0.target.server.freeConnections = 0
            $0.options.method = .swap
        },
        PlanCase(.sourceSnapshot, .info, "more than one session") { _ in },
        PlanCase(.sizes, .info, "always") { _ in },
        PlanCase(.preparedTransactions, .warning, "at the source") {
            $0.source.preparedTransactions = ["it's"]
        },
    ]

    private static let versions: [PlanCase] = [
        PlanCase(.serverUnsupported, .blocking, "9.6") { $0.target.server.version = 90_600 },
        PlanCase(.toolsTooOld, .blocking, "pg_dump 15") {
            $0.tools.pgDump.version = .init(major: 15, minor: 20)
        },
        PlanCase(.targetOlder, .warning, "17 to 15") { $0.target.server.version = 150_018 },
        PlanCase(.featureMissing, .blocking, "17 to 15, with a feature of 17") {
            $0.target.server.version = 150_018
            $0.source.features = [PlanCases.feature(17)]
        },
        PlanCase(.encodingDiffers, .warning, "to LATIN1") { $0.target.server.encoding = "LATIN1" },
        PlanCase(.encodingDiffers, .info, "from LATIN1") { $0.source.server.encoding = "LATIN1" },
        PlanCase(.encodingDiffers, .warning, "from SQL_ASCII") {
            $0.source.server.encoding = "SQL_ASCII"
        },
        PlanCase(.encodingDiffers, .warning, "to SQL_ASCII") {
            $0.target.server.encoding = "SQL_ASCII"
        },
        PlanCase(.collationDiffers, .warning, "by ICU") {
            $0.target.server.locale = LocaleFacts(
                provider: "icu", collate: "C", ctype: "C", locale: "de")
        },
        PlanCase(.collationMissing, .blocking, "a locale not installed") {
            $0.source.usedCollations = ["de_DE.utf8"]
        },
        PlanCase(.collationVersion, .warning, "a library that changed") {
            $0.target.changedCollations = ["database app (made with 2.31, …)"]
        },
    ]

    private static func feature(_ since: Int) -> FeatureUse {
        FeatureUse(
            feature: "a built-in collation", since: since, object: "public.c", schema: "public")
    }

    private static let extensions: [PlanCase] = [
        PlanCase(.extensionMissing, .blocking, "nowhere") {
            $0.source.extensions.append(PlanFixture.installed("vector"))
        },
        PlanCase(.extensionMissing, .blocking, "not installed, and only a schema is deployed") {
            $0.source.extensions.append(PlanFixture.installed("vector"))
            $0.target.availableExtensions["vector"] = PlanFixture.available()
            $0.source.dependencies = [PlanFixture.uses("vector")]
            $0.options.schemas = ["public"]
        },
        PlanCase(.extensionNotAllowed, .blocking, "a superuser's") {
            $0.source.extensions.append(PlanFixture.installed("vector"))
            $0.target.availableExtensions["vector"] = PlanFixture.available(needsSuperuser: true)
        },
        PlanCase(.extensionOtherSchema, .blocking, "vector in extensions") {
            $0.source.extensions.append(PlanFixture.installed("vector"))
            $0.target.extensions.append(PlanFixture.installed("vector", schema: "extensions"))
        },
        PlanCase(.extensionOtherSchema, .warning, "the same, and nothing needs it") {
            $0.source.extensions.append(PlanFixture.installed("vector", isUsed: false))
            $0.target.extensions.append(PlanFixture.installed("vector", schema: "extensions"))
        },
        PlanCase(.extensionOlder, .warning, "installed") {
            $0.source.extensions.append(PlanFixture.installed("vector", "0.10.0"))
            $0.target.extensions.append(PlanFixture.installed("vector", "0.9.1"))
        },
        PlanCase(.extensionOlder, .warning, "to be installed") {
            $0.source.extensions.append(PlanFixture.installed("vector", "0.10.0"))
            $0.target.availableExtensions["vector"] = PlanFixture.available("0.9.1")
        },
        PlanCase(.extensionCreated, .info, "a trusted one") {
            $0.source.extensions.append(PlanFixture.installed("hstore"))
            $0.target.availableExtensions["hstore"] = PlanFixture.available()
        },
        PlanCase(.extensionLeftOut, .warning, "pg_cron to Supabase") {
            $0.provider = .supabase
            $0.source.extensions.append(PlanFixture.installed("pg_cron"))
        },
        PlanCase(.extensionCommentLeftOut, .info, "a comment on hstore") {
            $0.contents.entries.append(PlanFixture.entry(9, "COMMENT", nil, "EXTENSION hstore"))
        },
        PlanCase(.languageMissing, .warning, "a function in PL/Python") {
            $0.contents.entries.append(PlanFixture.python(9))
        },
        PlanCase(.languageNeeded, .blocking, "a table whose default calls it") {
            $0.contents.entries += [
                PlanFixture.python(9), PlanFixture.entry(10, "TABLE", "public", "t", needs: [9]),
            ]
        },
    ]

    private static let roles: [PlanCase] = [
        PlanCase(.roleMissing, .blocking, "an owner, kept as asked") {
            $0.options.ownership = .keep
            $0.source.roleUses = [PlanFixture.use("boss", .owner)]
        },
        PlanCase(.policyRoleMissing, .blocking, "a policy's") {
            $0.source.policyRoles = [PlanFixture.use("clerk", .policy)]
        },
        PlanCase(.ownershipLeftOut, .info, "an owner that the target lacks") {
            $0.source.roleUses = [PlanFixture.use("boss", .owner)]
        },
        PlanCase(.ownershipLeftOut, .warning, "grants to roles that the target lacks") {
            $0.source.roleUses = [PlanFixture.use("clerk", .grant)]
        },
        PlanCase(.ownershipLeftOut, .info, "as asked") { $0.options.ownership = .leaveOut },
        PlanCase(.ownerNotMember, .blocking, "kept as asked, for another") {
            $0.options.ownership = .keep
            $0.source.roleUses = [PlanFixture.use("postgres", .owner)]
        },
        PlanCase(.noCreateOnDatabase, .blocking, "revoked") {
            $0.target.role.canCreateInDatabase = false
        },
        PlanCase(.noCreateInSchema, .blocking, "public of Postgres 15") {
            $0.target.schemas = [PlanFixture.schema("public", canCreate: false)]
        },
        PlanCase(.sourceUnreadable, .blocking, "a table") {
            $0.source.relations[0].isReadable = false
        },
        PlanCase(.rowSecurityApplies, .blocking, "a table") {
            $0.source.relations[0].rowSecurityApplies = true
        },
        PlanCase(.rowSecurityForced, .warning, "a table") {
            $0.source.relations[0].hasRowSecurity = true
            $0.source.relations[0].forcesRowSecurity = true
        },
    ]
}
