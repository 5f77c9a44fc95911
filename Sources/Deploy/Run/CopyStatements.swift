/// The COPY statements of one table, for both ends.
///
/// Text format, because it is what every version reads of every other. A COPY of a table is of that
/// table alone, never of what inherits from it.
///
/// Source: PostgreSQL documentation, "COPY"; the conditions of extension tables are pg_dump's.
struct CopyStatements: Hashable {
    /// At the source.
    let out: String
    /// At the target.
    let into: String

    /// Words the statements.
    ///
    /// - Parameters:
    ///   - table: What is copied.
    ///   - pages: Blocks of the table at the source, for one lane of several; nil for all. Only for
    ///     tables without a condition of their own.
    ///   - freezes: Whether the rows arrive frozen. Legal only where the target's transaction has
    ///     made or truncated the table; then no later vacuum has to write every page again.
    init(_ table: PlannedTable, pages: Range<Int64>? = nil, freezes: Bool) {
        let name = SQLText.identifier(table.schema, table.name)
        let columns = table.columns.map(SQLText.identifier).joined(separator: ", ")
        let list = table.columns.isEmpty ? "" : " (\(columns))"
        let condition =
            pages.map {
                "WHERE ctid >= '(\($0.lowerBound),0)' AND ctid < '(\($0.upperBound),0)'"
            } ?? table.copyFilter
        self.out =
            condition.map { "COPY (SELECT \(columns) FROM ONLY \(name) \($0)) TO STDOUT" }
            ?? "COPY \(name)\(list) TO STDOUT"
        self.into = "COPY \(name)\(list) FROM STDIN" + (freezes ? " WITH (FREEZE)" : "")
    }
}
