/// The statements that write the ledger's rows.
enum LedgerRows {
    static func deployed(
        _ objects: [DeployedObject],
        carried: Set<ObjectAddress>,
        deploymentID: String
    ) -> [String] {
        self.insert(
            "deployed_object", "\(self.columns), is_carried",
            objects.map { self.values($0, deploymentID) + ", \(carried.contains($0.address))" })
    }

    static func kept(_ objects: [KeptObject], deploymentID: String) -> [String] {
        self.insert(
            "kept_object", "\(self.columns), is_foreign",
            objects.map { self.values($0.object, deploymentID) + ", \($0.isForeign)" })
    }

    static func keptSchemas(
        _ schemas: [LedgerRecords.KeptSchema],
        deploymentID: String
    ) -> [String] {
        self.insert(
            "kept_schema", "deployment, kept, origin",
            schemas.map { self.texts([deploymentID, $0.kept, $0.origin]) })
    }

    static func saved(
        _ saved: [LedgerRecords.Saved],
        firstNumber: Int,
        deploymentID: String
    ) -> [String] {
        self.insert(
            "saved_statement", "deployment, number, identity, sql, sql_otherwise",
            saved.enumerated().map { index, statement in
                "\(SQLText.literal(deploymentID)), \(firstNumber + index), "
                    + self.texts([statement.identity, statement.sql, statement.otherwise])
            })
    }

    static func settings(_ changes: [LedgerRecords.Change], deploymentID: String) -> [String] {
        self.insert(
            "setting", "deployment, key, base, before",
            changes.map {
                self.texts([deploymentID, $0.before.key, $0.base.json, $0.before.json])
            })
    }

    /// Forgets what a deployment had set aside.
    static func forgetKept(deploymentID: String) -> [String] {
        self.delete(
            from: [
                "kept_object", "kept_schema", "saved_statement", "kept_large_object",
                "kept_large_object_data",
            ], deploymentID)
    }

    /// Forgets what a deployment made and changed.
    static func forgetMade(deploymentID: String) -> [String] {
        self.delete(from: ["deployed_object", "deployed_large_object", "setting"], deploymentID)
    }

    private static func delete(from tables: [String], _ deploymentID: String) -> [String] {
        let id = SQLText.literal(deploymentID)
        return tables.map { "delete from pgshare.\($0) where deployment = \(id)" }
    }

    private static let columns = "deployment, kind, classid, objid, schema, name, identity, owner"

    private static func values(_ object: DeployedObject, _ deploymentID: String) -> String {
        let head = self.texts([deploymentID, object.kind.rawValue])
        let tail = self.texts([object.schema, object.name, object.identity, object.owner])
        return "\(head), \(object.classID), \(object.oid), \(tail)"
    }

    static func texts(_ values: [String?]) -> String {
        values.map { $0.map(SQLText.literal) ?? "null" }.joined(separator: ", ")
    }

    private static func insert(_ table: String, _ columns: String, _ rows: [String]) -> [String] {
        rows.map { "insert into pgshare.\(table) (\(columns)) values (\($0))" }
    }
}
