import NIOCore
import PostgresClient
import PostgresWire

/// What one table's rows came to.
struct CopiedTable: Hashable, Sendable {
    var table: PlannedTable
    var rows: Int64
    var bytes: Int64
}

/// Moves the rows of a table from one session into another, and tells how far it is.
struct TableCopy: Sendable {
    /// Told of the table.
    let observer: DeployObserver

    /// Copies one table.
    ///
    /// - Parameters:
    ///   - table: Which.
    ///   - pages: See ``CopyStatements``.
    ///   - source: In the snapshot.
    ///   - target: In a transaction.
    ///   - freezes: See ``CopyStatements``.
    /// - Returns: Its rows and bytes, by the count of both ends.
    /// - Throws: ``DeployFailure`` that names the table and the side.
    func copy(
        _ table: PlannedTable, pages: Range<Int64>? = nil, from source: DeploySession,
        to target: DeploySession, freezes: Bool
    ) async throws(DeployFailure) -> CopiedTable {
        let statements = CopyStatements(table, pages: pages, freezes: freezes)
        let started = NIODeadline.now()
        let observer = self.observer
        let progress = { @Sendable (bytes: Int64, rows: Int64?) in
            let nanoseconds = (NIODeadline.now() - started).nanoseconds
            return TableProgress(
                schema: table.schema, name: table.name, rows: rows, bytes: bytes,
                expectedBytes: table.bytes, seconds: Double(nanoseconds) / 1e9)
        }
        observer(.tableStarted(progress(0, nil)))
        do throws(CopyError) {
            let result = try await source.session.copy(
                statements.out, into: target.session, statements.into
            ) { observer(.tableProgress(progress($0, nil))) }
            observer(.tableFinished(progress(result.bytes, result.rows)))
            return CopiedTable(table: table, rows: result.rows, bytes: result.bytes)
        } catch {
            throw Self.failure(error, table)
        }
    }

    private static func failure(_ error: CopyError, _ table: PlannedTable) -> DeployFailure {
        let name = "table \(table.schema).\(table.name)"
        switch error {
        case .source(.cancelled), .target(.cancelled):
            return DeployFailure("stopped", isCancelled: true)
        case .source(.server(let server)) where server.sqlState.rawValue == "57014",
            .target(.server(let server)) where server.sqlState.rawValue == "57014":
            guard Task.isCancelled else { break }
            return DeployFailure("stopped", isCancelled: true)
        case .source, .target, .rowsDiffer, .formatsDiffer:
            break
        }
        switch error {
        case .source(let error):
            return DeployFailure(SQLFailure(error), at: "reading \(name) at the source")
        case .target(let error):
            return DeployFailure(SQLFailure(error), at: "writing \(name) at the target")
        case .rowsDiffer, .formatsDiffer:
            return DeployFailure("\(name): \(error)")
        }
    }
}
