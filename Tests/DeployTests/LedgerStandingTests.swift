import Deploy
import TestSupport
import Testing

/// Whose ledger it is, who may run, and what became of a COMMIT.
struct LedgerStandingTests {
    private let version: TestPostgres.Version
    private let id = deploymentID("first")

    init() throws {
        self.version = try #require(TestPostgres.Version.available.last)
    }

    @Test(arguments: [
        ("create schema pgshare", "that no pgshare deploy made"),
        ("create schema pgshare; create table pgshare.ledger (version int)", "no pgshare deploy"),
        ("create schema pgshare authorization trusty", "that no pgshare deploy made"),
    ])
    func `a stranger's schema of that name is refused`(
        statement: String, words: String
    ) async throws {
        let target = try LedgerTarget.make(self.version, "ledger_stranger_\(statement.utf8.count)")
        try target.others(statement)
        let state = try await target.state()
        #expect(state.hasLedger)
        #expect(!state.canUse)
        #expect(state.refusal?.contains(words) == true)
        let failure = await #expect(throws: LedgerFailure.self) {
            try await target.deploy(self.id, "")
        }
        #expect(failure?.description == state.refusal)
    }

    @Test func `a newer program's ledger is refused`() async throws {
        let target = try LedgerTarget.make(self.version, "ledger_newer")
        try await target.deploy(self.id, "create table public.t (i int)")
        try await target.session.rows("update pgshare.ledger set version = 99")
        #expect(try await target.state().refusal?.contains("newer pgshare (layout 99") == true)
        let failure = await #expect(throws: LedgerFailure.self) { try await target.rollback() }
        #expect(failure?.description.contains("use a newer pgshare") == true)
    }

    /// What it says is run as SQL: a superuser must not believe what an ordinary role wrote.
    @Test func `another role's ledger is refused`() async throws {
        let target = try LedgerTarget.make(self.version, "ledger_other_role")
        try await target.deploy(self.id, "create table public.t (i int)")
        let superuser = try LibpqSession(target.server.conninfo(database: target.database))
        let state = try await Ledger.read(superuser)
        #expect(state.refusal == "the ledger of this target belongs to trusty: deploy as that role")
    }

    @Test func `a role that may not create schemas is told what to grant`() async throws {
        let target = try LedgerTarget.make(self.version, "ledger_no_rights")
        try target.others("revoke create on database ledger_no_rights from trusty")
        let failure = await #expect(throws: LedgerFailure.self) {
            try await target.deploy(self.id, "")
        }
        #expect(
            failure?.description.hasSuffix("GRANT CREATE ON DATABASE ledger_no_rights TO trusty")
                == true)
    }

    @Test func `the state for a plan says what was deployed`() async throws {
        let target = try LedgerTarget.make(self.version, "ledger_state")
        #expect(try await target.state() == LedgerState())
        try await target.deploy(
            self.id, "create table public.t (i serial); select lo_create(0)")
        let state = try await target.state()
        let live = try #require(state.live)
        #expect(live.id == self.id)
        #expect(live.source == "app.example.com/app")
        #expect(live.rowCounts == ["public.t": 3])
        #expect(live.toolVersions == ["pg_dump": "17.6"])
        #expect(live.undo == .nothingBefore)
        #expect(live.madeAt.hasSuffix("Z"))
        #expect(state.objects.map(\.title) == ["table public.t"])
        #expect(state.largeObjects == 1)
        #expect(
            Ledger.identitiesGone(state, from: []).map(\.identity) == ["public.t"])
        #expect(
            Ledger.identitiesGone(
                state, from: [ObjectKey(kind: .table, identity: "public.t")]
            ).isEmpty)
    }

    @Test func `the outcome is known as soon as no deploy is open`() async throws {
        let target = try LedgerTarget.make(self.version, "ledger_outcome")
        let other = try LibpqSession(
            target.server.conninfo(user: "trusty", database: target.database))
        let id = self.id
        #expect(try await Ledger.outcome(other, deploymentID: id) == .absent)
        try await target.session.rows("begin")
        try await Ledger.lock(target.session)
        #expect(try await Ledger.outcome(other, deploymentID: id) == .undecided)
        await #expect(throws: LedgerFailure.busy) { try await Ledger.lock(other) }
        try await target.session.rows("rollback")
        try await target.deploy(id, "create table public.t (i int)")
        #expect(try await Ledger.outcome(other, deploymentID: id) == .committed)
        try await target.deploy(deploymentID("second"), "create table public.t (i int)")
        try await target.rollback()
        #expect(
            try await Ledger.outcome(other, deploymentID: deploymentID("second")) == .absent)
        #expect(try await Ledger.outcome(other, deploymentID: id) == .committed)
    }

    @Test func `an id of another shape is refused`() async throws {
        let target = try LedgerTarget.make(self.version, "ledger_id")
        await #expect(throws: LedgerFailure.self) {
            try await target.deploy("x'; drop schema public", "")
        }
    }

    @Test func `a deployment that changed others' rows has no way back`() async throws {
        let target = try LedgerTarget.make(self.version, "ledger_rows_only")
        try await target.transaction { session in
            try await Ledger.prepare(session)
            _ = try await Ledger.setAside(session, deploymentID: self.id, keeps: true)
            try await Ledger.record(
                session,
                NewDeployment(id: self.id, source: "s", plan: "{}", isReversible: false),
                before: try await ObjectInventory.read(session))
        }
        let failure = await #expect(throws: LedgerFailure.self) { try await target.rollback() }
        #expect(failure?.description.contains("did not make") == true)
    }
}
