@testable import Deploy

extension PlanCases {
    static let held: [PlanCase] = [
        PlanCase(.objectInTheWay, .blocking, "a table of the same name") {
            $0.target.objects = [PlanFixture.object(.table, "public", "orders", oid: 20_101)]
        },
        PlanCase(.objectInTheWay, .blocking, "a view where a table goes") {
            $0.target.objects = [PlanFixture.object(.view, "public", "orders", oid: 20_101)]
        },
        PlanCase(.objectReplaced, .warning, "as asked") {
            $0.options.replaceForeign = true
            $0.target.objects = [PlanFixture.object(.table, "public", "orders", oid: 20_101)]
        },
        PlanCase(.foreignObjectsKept, .info, "a table of another name") {
            $0.target.objects = [PlanFixture.object(.table, "public", "other", oid: 20_101)]
        },
        PlanCase(.dependedOn, .blocking, "a view over the last deploy's table") {
            $0.ledger = PlanFixture.ledger(dependentIsBlocking: true)
        },
        PlanCase(.dependedOn, .warning, "a publication of the last deploy's table") {
            $0.ledger = PlanFixture.ledger(dependentIsBlocking: false)
        },
        PlanCase(.objectsRemoved, .warning, "gone at the source") {
            $0.ledger = PlanFixture.ledger()
            $0.ledger?.objects = [PlanFixture.object(.table, "public", "gone", oid: 20_105)]
        },
        PlanCase(.objectsChanged, .warning, "renamed by somebody") {
            let object = PlanFixture.object(.table, "public", "orders", oid: 20_105)
            $0.ledger = PlanFixture.ledger()
            $0.ledger?.changed = [.init(object: object, change: .renamed(to: "public.mine"))]
        },
        PlanCase(.ledgerUnusable, .blocking, "somebody's schema pgshare") {
            $0.ledger = LedgerState()
            $0.ledger?.refusal = "the schema pgshare is somebody's"
        },
        PlanCase(.targetTableMissing, .blocking, "rows only, no table") {
            $0.options.content = .dataOnly
        },
        PlanCase(.targetTableMissing, .blocking, "rows only, a column less") {
            $0.options.content = .dataOnly
            $0.target.relations = $0.source.relations
            $0.target.relations[0].columns = ["id"]
        },
        PlanCase(.targetTableNotEmpty, .blocking, "rows only, into rows") {
            $0.options.content = .dataOnly
            $0.target.relations = $0.source.relations
        },
        PlanCase(.targetTableNotEmpty, .warning, "the same, as asked") {
            $0.options.content = .dataOnly
            $0.options.replaceForeign = true
            $0.target.relations = $0.source.relations
        },
    ]

    static let left: [PlanCase] = [
        PlanCase(.nothingSelected, .blocking, "a schema that is not there") {
            $0.options.schemas = ["publik"]
        },
        PlanCase(.nothingSelected, .blocking, "an empty source, and a target that is not") {
            $0.source.relations = []
            $0.source.objects = []
            $0.contents.entries = []
            $0.target.objects = [PlanFixture.object(.table, "public", "mine", oid: 20_105)]
        },
        PlanCase(.nothingSelected, .warning, "an empty source") {
            $0.source.relations = []
            $0.source.objects = []
            $0.contents.entries = []
        },
        PlanCase(.providerSchemaLeftOut, .warning, "a schema auth of one's own, to Supabase") {
            $0.provider = .supabase
            $0.source.schemas.append(PlanFixture.schema("auth"))
        },
        PlanCase(.providerSchemaLeftOut, .info, "Supabase to Supabase") {
            $0.provider = .supabase
            $0.source.server.provider = "supabase"
            $0.source.schemas.append(PlanFixture.schema("auth"))
        },
        PlanCase(.eventTriggerLeftOut, .warning, "always") {
            $0.source.eventTriggers = ["e"]
        },
        PlanCase(.publicationLeftOut, .warning, "no superuser") { $0.source.publications = ["p"] },
        PlanCase(.subscriptionLeftOut, .warning, "always") { $0.source.subscriptions = ["s"] },
        PlanCase(.securityLabelLeftOut, .warning, "of a provider not there") {
            $0.source.securityLabels = ["dummy on table public.orders"]
        },
        PlanCase(.defaultPrivilegesLeftOut, .warning, "of another role") {
            $0.source.defaultPrivileges = [
                DefaultPrivilegeFacts(role: "boss", objects: "tables", grantees: ["owner"])
            ]
        },
        PlanCase(.tablespaceLeftOut, .info, "a fast one") {
            $0.source.tablespaces = ["fast": ["public.orders"]]
        },
        PlanCase(.invalidIndexLeftOut, .warning, "a failed CONCURRENTLY") {
            $0.source.invalidIndexes = [.init(schema: "public", identity: "public.i")]
        },
        PlanCase(.foreignKeyOutside, .warning, "to a table that stays") {
            PlanFixture.leaveOutUsers(&$0)
        },
        PlanCase(.foreignKeyOutside, .warning, "to a table that the target has") {
            PlanFixture.leaveOutUsers(&$0)
            $0.target.relations = [PlanFixture.relation("auth", "users")]
        },
        PlanCase(.triggerOutside, .warning, "a function that stays") {
            PlanFixture.leaveOutUsers(&$0)
            $0.source.triggers = [PlanFixture.trigger("public", "orders", calls: "auth")]
        },
        PlanCase(.triggerOutside, .warning, "a table that stays") {
            PlanFixture.leaveOutUsers(&$0)
            $0.source.triggers = [PlanFixture.trigger("auth", "users", calls: "public")]
        },
        PlanCase(.needsOutside, .blocking, "a view over a table that stays") {
            PlanFixture.leaveOutUsers(&$0)
            $0.source.dependencies = [PlanFixture.needsUsers]
        },
        PlanCase(.needsOutside, .blocking, "a table that needs an extension that stays") {
            $0.provider = .supabase
            $0.source.extensions.append(PlanFixture.installed("pgmq"))
            $0.contents.entries += [
                PlanFixture.entry(8, "EXTENSION", nil, "pgmq"),
                PlanFixture.entry(9, "TABLE", "public", "t", needs: [8]),
            ]
        },
        PlanCase(.unloggedTable, .info, "a cache") { $0.source.relations[0].isUnlogged = true },
        PlanCase(.unloggedTable, .warning, "of a standby") {
            $0.source.relations[0].isUnlogged = true
            $0.source.server.isInRecovery = true
        },
        PlanCase(.foreignTable, .warning, "one") { $0.source.relations[0].kind = .foreignTable },
        PlanCase(.unvalidatedConstraint, .info, "NOT VALID") {
            $0.source.unvalidatedConstraints = [.init(schema: "public", identity: "c on public.t")]
        },
        PlanCase(.generatedColumns, .info, "one") {
            $0.source.relations[0].generatedColumns = ["twice"]
        },
        PlanCase(.largeObjects, .info, "all") { $0.source.largeObjects.count = 3 },
        PlanCase(.largeObjects, .blocking, "of a browser's database") {
            $0.source.largeObjects.count = 3
            $0.source.server.acceptsSecondConnection = false
        },
        PlanCase(.largeObjects, .warning, "of a schema") {
            $0.source.largeObjects.count = 3
            $0.options.schemas = ["public"]
        },
    ]

    static let method: [PlanCase] = [
        PlanCase(.locksShort, .blocking, "ten thousand relations") {
            $0.source.lockableRelations = 10_000
        },
        PlanCase(.swapNotPossible, .blocking, "asked for, and something is there") {
            $0.options.method = .swap
            $0.target.objects = [PlanFixture.object(.table, "public", "other", oid: 20_101)]
        },
        PlanCase(.jobsReduced, .info, "in place") { $0.options.jobs = 8 },
        PlanCase(.jobsReduced, .info, "few connections") {
            $0.options.jobs = 8
            $0.options.method = .swap
            $0.source.server.freeConnections = 4
        },
    ]

    /// Close to a case above, and without its finding.
    static let harmless: [PlanCase] = [
        PlanCase(.targetIsSource, .info, "another database of the same server") {
            $0.target.server.systemIdentifier = $0.source.server.systemIdentifier
            $0.target.server.startedAt = $0.source.server.startedAt
            $0.target.server.databaseOID = "16999"
        },
        PlanCase(.targetIsSource, .info, "a copy of the same cluster, started by itself") {
            $0.target.server.systemIdentifier = $0.source.server.systemIdentifier
        },
        PlanCase(.targetIsSource, .info, "two databases without a postmaster") {
            $0.target.server.systemIdentifier = $0.source.server.systemIdentifier
            $0.target.server.startedAt = nil
            $0.source.server.startedAt = nil
        },
        PlanCase(.transactionPooler, .info, "a session pool") {
            $0.targetEnd = .init("s", host: "aws-0-eu.pooler.supabase.com", port: 5432)
        },
        PlanCase(.featureMissing, .info, "a feature that 15 has") {
            $0.target.server.version = 150_018
            $0.source.features = [
                FeatureUse(feature: "f", since: 15, object: "public.i", schema: "public")
            ]
        },
        PlanCase(.collationDiffers, .info, "another spelling") {
            $0.source.server.locale.collate = "en_US.UTF-8"
            $0.target.server.locale.collate = "en_US.utf8"
        },
        PlanCase(.extensionOlder, .info, "newer, where text would say older") {
            $0.source.extensions.append(PlanFixture.installed("vector", "0.9.1"))
            $0.target.extensions.append(PlanFixture.installed("vector", "0.10.0"))
        },
        PlanCase(.extensionNotAllowed, .info, "a provider that lets its role") {
            $0.provider = .neon
            $0.source.extensions.append(PlanFixture.installed("vector"))
            $0.target.availableExtensions["vector"] = PlanFixture.available(needsSuperuser: true)
        },
        PlanCase(.languageMissing, .info, "a language that comes along") {
            $0.source.extensions.append(PlanFixture.installed("plpython3u"))
            $0.target.availableExtensions["plpython3u"] = PlanFixture.available()
            $0.contents.entries.append(PlanFixture.python(9))
        },
        PlanCase(.languageNeeded, .info, "only a trigger needs the function") {
            $0.contents.entries += [
                PlanFixture.python(9),
                PlanFixture.entry(10, "TRIGGER", "public", "orders t", needs: [9]),
            ]
        },
        PlanCase(.objectInTheWay, .info, "what the last deploy made") {
            let object = PlanFixture.object(.table, "public", "orders", oid: 20_105)
            $0.target.objects = [object]
            $0.ledger = PlanFixture.ledger()
            $0.ledger?.objects = [object]
        },
        PlanCase(.objectInTheWay, .info, "a schema that both have") {
            $0.source.objects.append(PlanFixture.object(.schema, nil, "other", oid: 20_106))
            $0.target.objects.append(PlanFixture.object(.schema, nil, "other", oid: 20_107))
        },
        PlanCase(.targetTableNotEmpty, .info, "an empty table") {
            $0.options.content = .dataOnly
            $0.target.relations = $0.source.relations
            $0.target.relations[0].isEmpty = true
        },
        PlanCase(.rowSecurityForced, .info, "a role that bypasses it") {
            $0.target.role.bypassesRowSecurity = true
            $0.source.relations[0].hasRowSecurity = true
            $0.source.relations[0].forcesRowSecurity = true
        },
        PlanCase(.needsOutside, .info, "a view over a table that the target has") {
            PlanFixture.leaveOutUsers(&$0)
            $0.source.dependencies = [PlanFixture.needsUsers]
            $0.target.relations = [PlanFixture.relation("auth", "users")]
        },
        PlanCase(.locksShort, .info, "ten thousand relations, and a schema of few") {
            $0.source.lockableRelations = 10_000
            $0.source.schemas.append(PlanFixture.schema("small"))
            $0.source.relations += (0..<97).map { PlanFixture.relation("other", "t\($0)") }
            $0.options.schemas = ["public"]
        },
        PlanCase(.eventTriggerLeftOut, .info, "of one schema there are none") {
            $0.options.schemas = ["public"]
            $0.source.eventTriggers = ["e"]
        },
    ]
}

extension PlanFixture {
    /// A deploy that was made before, of nothing.
    static func ledger(dependentIsBlocking: Bool? = nil) -> LedgerState {
        var state = LedgerState()
        state.hasLedger = true
        state.deployments = [
            LedgerDeployment(
                id: "0123456789abcdef", source: "shop on localhost",
                madeAt: "2026-11-20T10:00:00Z", plan: "{}", rowCounts: ["public.orders": 10],
                previous: nil, undo: .nothingBefore)
        ]
        state.dependents =
            dependentIsBlocking.map { isBlocking in
                [
                    ForeignDependent(
                        dependent: self.object(.view, "public", "theirs", oid: 20_106),
                        needs: self.object(.table, "public", "orders", oid: 20_105),
                        isBlocking: isBlocking)
                ]
            } ?? []
        return state
    }

    /// A function in a language that the target lacks.
    static func python(_ dumpID: Int) -> TableOfContents.Entry {
        self.entry(
            dumpID, "FUNCTION", "public", "py()", 1255, 20_009,
            definition: "CREATE FUNCTION public.py() RETURNS integer\n    LANGUAGE plpython3u\n")
    }

    static func use(_ role: String, _ reason: RoleUse.Reason) -> RoleUse {
        RoleUse(role: role, reason: reason, schema: "public", object: "public.orders")
    }

    static func uses(_ name: String) -> Dependency {
        Dependency(
            schema: "public", kind: "table", identity: "public.orders", host: "public.orders",
            neededSchema: "public", neededKind: "type", needed: "public.vector",
            neededExtension: name)
    }

    /// A foreign key from orders to a table of a schema that is not deployed.
    static func leaveOutUsers(_ input: inout PlanInput) {
        input.source.schemas.append(self.schema("auth"))
        input.source.relations.append(self.relation("auth", "users"))
        input.options.excludedSchemas = ["auth"]
        input.source.foreignKeys = [
            ForeignKeyFacts(
                name: "orders_user_fkey", schema: "public", table: "orders",
                referencedSchema: "auth", referencedTable: "users",
                definition: "FOREIGN KEY (id) REFERENCES auth.users(id)")
        ]
        input.contents.entries.append(
            self.entry(7, "FK CONSTRAINT", "public", "orders orders_user_fkey", needs: [1]))
    }

    static let needsUsers = Dependency(
        schema: "public", kind: "view", identity: "public.totals", host: "public.totals",
        neededSchema: "auth", neededKind: "table", needed: "auth.users")

    static func trigger(
        _ schema: String, _ table: String, calls functionSchema: String
    ) -> TriggerFacts {
        TriggerFacts(
            name: "t", schema: schema, table: table, functionSchema: functionSchema,
            function: "\(functionSchema).g()",
            definition: "CREATE TRIGGER t BEFORE INSERT ON \(schema).\(table) "
                + "FOR EACH ROW EXECUTE FUNCTION \(functionSchema).g()")
    }
}
