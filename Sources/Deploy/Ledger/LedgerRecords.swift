import Foundation

/// What stands in the ledger's tables, as far as the live deployment needs it.
struct LedgerRecords: Sendable {
    /// A schema that holds what was set aside: the very schema with another name, or one made
    /// for it.
    struct KeptSchema: Hashable, Sendable {
        var kept: String
        var origin: String
    }

    /// A statement that makes something anew, and a weaker one for when it cannot be.
    struct Saved: Hashable, Sendable {
        var identity: String
        var sql: String
        var otherwise: String?
    }

    /// A setting that a deployment found (`before`), the first deployment found (`base`), and the
    /// deployment left (`after`).
    struct Change: Hashable, Sendable {
        var base: Setting
        var before: Setting
        var after: Setting?
    }

    var deployments: [LedgerDeployment] = []
    /// What the live deployment made or took over.
    var objects: [DeployedObject] = []
    /// Of ``objects``, what an earlier deployment had made.
    var carried: Set<ObjectAddress> = []
    /// What the live deployment set aside.
    var kept: [KeptObject] = []
    var keptSchemas: [KeptSchema] = []
    var saved: [Saved] = []
    var changes: [Change] = []
    /// Large objects that the live deployment made and that are there.
    var largeObjects = 0

    var live: LedgerDeployment? { self.deployments.first { !$0.isRolledBack } }

    static func read(_ session: any SQLSession) async throws(SQLFailure) -> LedgerRecords {
        var records = LedgerRecords()
        records.deployments = try await session.rows(
            """
            select id, source,
                to_char(made_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), plan,
                row_counts, checksums, tool_versions, previous, undo, is_rolled_back
            from pgshare.deployment order by number desc
            """
        ).compactMap(self.deployment)
        guard let live = records.live else { return records }
        let id = SQLText.literal(live.id)
        let columns = "kind, classid, objid, schema, name, identity, owner"
        for row in try await session.rows(
            "select \(columns), is_carried from pgshare.deployed_object where deployment = \(id)")
        {
            guard let object = DeployedObject(row: row) else { continue }
            records.objects.append(object)
            if row.last == "t" { records.carried.insert(object.address) }
        }
        records.kept = try await session.rows(
            "select \(columns), is_foreign from pgshare.kept_object where deployment = \(id)"
        ).compactMap { row in
            DeployedObject(row: row).map { KeptObject(object: $0, isForeign: row.last == "t") }
        }
        try await records.readRest(session, id)
        return records
    }

    private mutating func readRest(
        _ session: any SQLSession,
        _ id: String
    ) async throws(SQLFailure) {
        self.keptSchemas = try await session.rows(
            "select kept, origin from pgshare.kept_schema where deployment = \(id) order by kept"
        ).map { KeptSchema(kept: $0[0] ?? "", origin: $0[1] ?? "") }
        self.saved = try await session.rows(
            """
            select identity, sql, sql_otherwise from pgshare.saved_statement
            where deployment = \(id) order by number
            """
        ).map { Saved(identity: $0[0] ?? "", sql: $0[1] ?? "", otherwise: $0[2]) }
        self.changes = try await session.rows(
            "select base, before, after from pgshare.setting where deployment = \(id) order by key"
        ).compactMap { row in
            guard let base = Setting(json: row[0]), let before = Setting(json: row[1])
            else { return nil }
            return Change(base: base, before: before, after: Setting(json: row[2]))
        }
        let count = try await session.rows(
            """
            select count(*) from pgshare.deployed_large_object d
            join pg_largeobject_metadata m on m.oid = d.loid where d.deployment = \(id)
            """)
        self.largeObjects = count.first?.first?.flatMap { Int($0) } ?? 0
    }

    private static func deployment(_ row: [String?]) -> LedgerDeployment? {
        guard row.count == 10, let id = row[0], let source = row[1], let madeAt = row[2],
            let undo = row[8].flatMap(LedgerDeployment.Undo.init)
        else { return nil }
        return LedgerDeployment(
            id: id, source: source, madeAt: madeAt, plan: row[3] ?? "",
            rowCounts: Self.decode(row[4]), checksums: Self.decode(row[5]),
            toolVersions: Self.decode(row[6]), previous: row[7], undo: undo,
            isRolledBack: row[9] == "t")
    }

    private static func decode<Value: Decodable>(_ json: String?) -> [String: Value] {
        (try? JSONDecoder().decode([String: Value].self, from: Data((json ?? "").utf8))) ?? [:]
    }

    /// A dictionary as the ledger stores it.
    static func encode<Value: Encodable>(_ values: [String: Value]) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return (try? encoder.encode(values)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
    }
}
