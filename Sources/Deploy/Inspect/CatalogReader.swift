/// Runs the statements and reads their rows.
struct CatalogReader {
    var session: any SQLSession
    var queries: CatalogQueries

    init(session: any SQLSession) {
        self.session = session
        self.queries = CatalogQueries(version: session.serverVersion)
    }

    func rows<Value>(
        _ sql: String,
        _ read: (inout CatalogRow) -> Value
    ) async throws(SQLFailure) -> [Value] {
        var values: [Value] = []
        for row in try await self.session.rows(sql) {
            var row = CatalogRow(row)
            values.append(read(&row))
        }
        return values
    }

    /// The first row of a statement that always has one.
    func row(_ sql: String) async throws(SQLFailure) -> CatalogRow {
        CatalogRow(try await self.session.rows(sql).first ?? [])
    }

    func texts(_ sql: String) async throws(SQLFailure) -> [String] {
        try await self.rows(sql) { $0.text() }
    }

    func count(_ sql: String) async throws(SQLFailure) -> Int {
        var row = try await self.row(sql)
        return row.int()
    }
}
