/// What deploys leave in a target beside the objects: which they made, and what was there before.
///
/// Every verb runs inside one READ COMMITTED transaction that the caller has opened, and that the
/// caller rolls back when a verb fails. The order of a deploy:
/// ``lock(_:)``, ``prepare(_:)``, ``ObjectInventory/read(_:)`` (before),
/// ``setAside(_:deploymentID:keeps:)``, ``replaceForeign(_:deploymentID:objects:keeps:)``, the
/// restore itself, ``record(_:_:before:isOneTransaction:)``.
public enum Ledger {
    /// The advisory lock of a deploy: "pgshare" in ASCII, and 1.
    private static let lockKey = 0x7067_7368_6172_6501

    /// Takes the lock of this database until the transaction ends.
    ///
    /// - Throws: ``LedgerFailure/busy`` at once if another deploy or rollback holds it.
    public static func lock(_ session: any SQLSession) async throws(LedgerFailure) {
        let taken = try await LedgerSession(session: session).rows(
            "select pg_catalog.pg_try_advisory_xact_lock(\(self.lockKey))")
        guard taken.first?.first == "t" else { throw .busy }
    }

    /// The same until the session ends, for a deploy that is no single transaction.
    ///
    /// - Throws: ``LedgerFailure/busy`` where another has it.
    static func lockSession(_ session: any SQLSession) async throws(LedgerFailure) {
        let taken = try await LedgerSession(session: session).rows(
            "select pg_catalog.pg_try_advisory_lock(\(self.lockKey))")
        guard taken.first?.first == "t" else { throw .busy }
    }

    /// Makes the ledger where there is none.
    ///
    /// - Throws: ``LedgerFailure/refused(_:)`` where there is one that is not for us.
    public static func prepare(_ session: any SQLSession) async throws(LedgerFailure) {
        let session = LedgerSession(session: session)
        switch try await self.standing(session) {
        case .usable: return
        case .refused(let sentence): throw .refused(sentence)
        case .none: break
        }
        let may = try await session.rows(
            """
            select pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
                pg_catalog.quote_ident(current_user),
                pg_catalog.quote_ident(pg_catalog.current_database())
            """)
        guard let row = may.first, row.count == 3, row[0] == "t" else {
            let role = may.first?[1] ?? "the role"
            let database = may.first?[2] ?? "the database"
            throw .refused(
                """
                role \(role) may not create schemas in database \(database), and a deploy needs \
                one for its ledger: GRANT CREATE ON DATABASE \(database) TO \(role)
                """)
        }
        try await session.rows(LedgerLayout.create)
    }

    /// What the ledger says, for a plan. Changes nothing but the transaction's `search_path`.
    ///
    /// - Returns: A state that ``LedgerState/canUse`` is false for where the ledger is not for
    ///   us: a stranger's schema of that name, another role's, or a newer program's.
    public static func read(_ session: any SQLSession) async throws(LedgerFailure) -> LedgerState {
        let session = LedgerSession(session: session)
        switch try await self.standing(session) {
        case .usable: return try await session.survey().state
        case .none: return LedgerState()
        case .refused(let sentence):
            var state = LedgerState()
            state.hasLedger = true
            state.refusal = sentence
            return state
        }
    }

    /// What became of a deployment whose COMMIT was not answered: ask on a new session, outside
    /// any transaction.
    ///
    /// - Returns: ``DeploymentOutcome/undecided`` while a transaction of a deploy is open, be it
    ///   the lost one or another.
    public static func outcome(
        _ session: any SQLSession,
        deploymentID: String
    ) async throws(LedgerFailure) -> DeploymentOutcome {
        // Whoever has the lock has not finished committing; a snapshot taken later sees what they
        // did. Hence two statements.
        do {
            try await self.lock(session)
        } catch .busy {
            return .undecided
        }
        let session = LedgerSession(session: session)
        guard case .usable = try await self.standing(session) else { return .absent }
        let found = try await session.rows(
            """
            select from pgshare.deployment
            where id = \(SQLText.literal(deploymentID)) and not is_rolled_back
            """)
        return found.isEmpty ? .absent : .committed
    }

    /// What the last deploy made and the source no longer has, by kind and identity. Pure.
    ///
    /// - Parameters:
    ///   - state: Of the target.
    ///   - kept: What the new deploy will make.
    /// - Returns: What is set aside and not made anew.
    public static func identitiesGone(
        _ state: LedgerState,
        from kept: Set<ObjectKey>
    ) -> [DeployedObject] {
        let stays = Set(state.stays.map(\.address))
        return state.objects.filter { !kept.contains($0.key) && !stays.contains($0.address) }
    }
}

extension Ledger {
    /// Whether there is a ledger, and whose.
    enum Standing: Hashable, Sendable {
        case none
        case usable
        /// Why not, a sentence.
        case refused(String)
    }

    /// A ledger is believed only if its schema and tables belong to the current role or to a
    /// superuser: what it says is run as SQL.
    static func standing(_ session: LedgerSession) async throws(LedgerFailure) -> Standing {
        let trusted = """
            owner = (select oid from pg_catalog.pg_roles where rolname = current_user)
                or exists (select from pg_catalog.pg_roles r where r.oid = owner and r.rolsuper)
            """
        let rows = try await session.rows(
            """
            select coalesce(pg_catalog.obj_description(n.oid, 'pg_namespace'), ''),
                (select pg_catalog.count(*) from pg_catalog.pg_class c
                    where c.relnamespace = n.oid and c.relname = 'ledger' and c.relkind = 'r'),
                (select pg_catalog.string_agg(distinct
                        pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(owner)), ', ')
                    from (select n.nspowner as owner union
                        select relowner from pg_catalog.pg_class where relnamespace = n.oid) o
                    where not (\(trusted)))
            from pg_catalog.pg_namespace n where n.nspname = 'pgshare'
            """)
        guard let row = rows.first, row.count == 3 else { return .none }
        guard row[0] == LedgerLayout.mark, row[1] == "1" else {
            return .refused(
                """
                the target has a schema pgshare that no pgshare deploy made; a deploy needs that \
                name for its ledger: rename the schema
                """)
        }
        if let owners = row[2] {
            return .refused(
                "the ledger of this target belongs to \(owners): deploy as that role")
        }
        let version = try await session.rows("select version from pgshare.ledger")
        guard let number = version.first?.first?.flatMap({ Int($0) }) else {
            return .refused("the ledger of this target (schema pgshare) is damaged")
        }
        guard number <= LedgerLayout.version else {
            return .refused(
                """
                the ledger of this target was made by a newer pgshare (layout \(number), this \
                program knows \(LedgerLayout.version)): use a newer pgshare
                """)
        }
        return .usable
    }

    /// For verbs that need it.
    static func requireUsable(_ session: LedgerSession) async throws(LedgerFailure) {
        switch try await self.standing(session) {
        case .usable: return
        case .refused(let sentence): throw .refused(sentence)
        case .none: throw .impossible("nothing was deployed into this target with pgshare")
        }
    }
}
