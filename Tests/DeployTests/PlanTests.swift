import Testing

@testable import Deploy

@Suite struct PlanTests {
    @Test func `tables go largest first, with the columns that COPY moves`() {
        let plan = PlanFixture.plan { input in
            input.source.relations.append(PlanFixture.relation("public", "big", bytes: 1_000_000))
        }

        #expect(plan.tables.map(\.name) == ["big", "orders"])
        #expect(plan.tables.first?.columns == ["id", "note"])
        #expect(plan.sequences == [PlannedSequence(schema: "public", name: "orders_id_seq")])
    }

    @Test func `a table that is left out is not copied`() {
        let plan = PlanFixture.plan { input in
            input.source.extensions.append(PlanFixture.installed("plpython3u"))
            input.contents.entries[0].dependencies = [9]
            input.contents.entries.append(PlanFixture.python(9))
        }

        #expect(plan.tables.isEmpty)
        #expect(plan.leftOut.map(\.identity) == ["public.orders", "public.totals", "public.py()"])
    }

    @Test func `of an extension's tables only the user's rows go`() {
        let plan = PlanFixture.plan { input in
            var configuration = PlanFixture.relation("public", "spatial_ref_sys")
            configuration.extensionName = "postgis"
            configuration.configurationFilter = "WHERE srid > 998999"
            var own = PlanFixture.relation("public", "topology")
            own.extensionName = "postgis"
            input.source.relations += [configuration, own]
        }

        #expect(plan.tables.map(\.name) == ["orders", "spatial_ref_sys"])
        #expect(plan.tables.last?.copyFilter == "WHERE srid > 998999")
    }

    @Test(arguments: DeployOptions.Content.allCases)
    func `content decides on rows`(content: DeployOptions.Content) {
        let plan = PlanFixture.plan { $0.options.content = content }

        #expect(plan.tables.isEmpty == (content == .schemaOnly))
        #expect(plan.sequences.isEmpty == (content == .schemaOnly))
    }

    @Test func `a named table is dumped by its exact name`() {
        let plan = PlanFixture.plan { $0.options.tables = ["public.ord*s"] }

        #expect(plan.selection.tables == [.init(schema: "public", name: "orders")])
        #expect(plan.selection.schemas.isEmpty)
        #expect(!plan.selection.includesLargeObjects)
        #expect(plan.tables.map(\.name) == ["orders"])
    }

    @Test func `schemas of providers and of pgshare are not looked at`() {
        let plan = PlanFixture.plan { input in
            input.provider = .supabase
            input.source.schemas.append(PlanFixture.schema("auth"))
            input.source.ownSchemas = ["pgshare", "pgshare_kept_x"]
        }

        #expect(plan.selection.excludedSchemas == ["auth", "pgshare", "pgshare_kept_x"])
        #expect(plan.schemas == ["public"])
    }

    @Test func `what is in a schema that stays is listed with the reason`() {
        let plan = PlanFixture.plan { input in
            PlanFixture.leaveOutUsers(&input)
            input.source.objects.append(PlanFixture.object(.table, "auth", "users", oid: 20_010))
        }

        #expect(
            plan.leftOut.map { "\($0.kind) \($0.identity): \($0.reason)" } == [
                "fk constraint public.orders orders_user_fkey: auth.users is not deployed",
                "schema auth: the schema auth is excluded",
                "table auth.users: the schema auth is excluded",
            ])
    }

    @Test func `a foreign key that stays out comes with the SQL that adds it`() {
        let plan = PlanFixture.plan(PlanFixture.leaveOutUsers)
        let fix = plan.findings.first { $0.code == .foreignKeyOutside }?.fix

        #expect(
            fix?.hasSuffix(
                """
                ALTER TABLE "public"."orders" ADD CONSTRAINT "orders_user_fkey" \
                FOREIGN KEY (id) REFERENCES auth.users(id);
                """) == true)
    }

    @Test func `a foreign key stays out where the target has the table and no row in it`() {
        let plan = PlanFixture.plan { input in
            PlanFixture.leaveOutUsers(&input)
            var users = PlanFixture.relation("auth", "users")
            users.isEmpty = true
            input.target.relations = [users]
        }

        #expect(plan.rules.excludedEntries.keys.contains(7))
    }

    @Test(arguments: [
        (DeployOptions.Ownership.auto, ["owner"], true), (.auto, ["boss"], false),
        (.auto, ["postgres"], false), (.keep, ["boss"], true), (.leaveOut, ["owner"], false),
    ])
    func `ownership is kept where it can be`(
        wish: DeployOptions.Ownership, owners: [String], isKept: Bool
    ) {
        let plan = PlanFixture.plan { input in
            input.options.ownership = wish
            input.source.roleUses = owners.map { PlanFixture.use($0, .owner) }
        }

        #expect(plan.keepsOwnership == isKept)
        #expect(plan.rules.leavesOutOwnership == !isKept)
    }

    @Test func `replaced objects are named by kind and identity`() {
        let plan = PlanFixture.plan { input in
            input.options.replaceForeign = true
            input.target.objects = [
                PlanFixture.object(.table, "public", "orders", oid: 20_101),
                PlanFixture.object(.table, "public", "other", oid: 20_102),
            ]
        }

        #expect(plan.replaced == [ObjectKey(kind: .table, identity: "public.orders")])
        #expect(plan.foreign == ["table public.orders", "table public.other"])
    }

    @Test func `a schema that the last deploy made is made again`() {
        let plan = PlanFixture.plan { input in
            input.target.schemas += [PlanFixture.schema("made"), PlanFixture.schema("shared")]
            input.ledger = PlanFixture.ledger()
            input.ledger?.objects = [PlanFixture.object(.schema, nil, "made", oid: 20_109)]
        }

        #expect(plan.rules.existingSchemas == ["public", "shared"])
    }

    @Test func `SQL of a fix quotes hostile names`() {
        let plan = PlanFixture.plan { input in
            input.source.policyRoles = [PlanFixture.use("x\"; drop role y; --", .policy)]
        }
        let fix = plan.findings.first { $0.code == .policyRoleMissing }?.fix

        #expect(fix == "CREATE ROLE \"x\"\"; drop role y; --\" NOLOGIN;")
    }

    @Test(arguments: [
        ("db.abc.supabase.co", 6543, "Use db.abc.supabase.co:5432, which gives a session."),
        ("ep-x-1-pooler.eu.aws.neon.tech", 5432, "Use the direct host ep-x-1.eu.aws.neon.tech."),
    ])
    func `a known pooler's address has a direct one`(host: String, port: Int, advice: String) {
        let plan = PlanFixture.plan { $0.targetEnd = .init("t", host: host, port: port) }

        #expect(plan.findings.first { $0.code == .transactionPooler }?.fix == advice)
    }
}

@Suite struct PlanMethodTests {
    private static let big = Planner.swapThresholdBytes

    @Test(arguments: [
        (big, 2, DeployPlan.Method.swap, 2), (big, 8, .swap, 4), (big, 1, .inPlace, 1),
        (big - 1, 8, .inPlace, 1),
    ])
    func `a swap is for much data and several lanes`(
        bytes: Int64, cores: Int, method: DeployPlan.Method, jobs: Int
    ) {
        let plan = PlanFixture.plan { input in
            input.cores = cores
            input.source.relations[0].bytes = bytes
        }

        #expect(plan.method == method)
        #expect(plan.jobs == jobs)
    }

    private static let objections: [@Sendable (inout PlanInput) -> Void] = [
        { $0.options.content = .schemaOnly },
        { $0.options.schemas = ["public"] },
        { $0.provider = .supabase },
        { $0.target.role.canCreateDatabases = false },
        { $0.target.role.ownsDatabase = false },
        { $0.target.objects = [PlanFixture.object(.table, "public", "other", oid: 20_101)] },
        { $0.target.server.otherDatabases = [] },
        { $0.target.server.acceptsSecondConnection = false },
        { $0.source.server.acceptsSecondConnection = false },
        { $0.target.server.otherSessions = 1 },
    ]

    @Test(arguments: objections.indices)
    func `one objection keeps a deploy in place`(index: Int) {
        let plan = PlanFixture.plan { input in
            input.source.relations[0].bytes = Self.big
            Self.objections[index](&input)
        }

        #expect(plan.method == .inPlace)
    }

    @Test(arguments: objections.indices)
    func `a swap that was asked for names the objection`(index: Int) {
        let plan = PlanFixture.plan { input in
            input.options.method = .swap
            Self.objections[index](&input)
        }

        #expect(plan.findings.count { $0.code == .swapNotPossible } == 1)
    }
}
