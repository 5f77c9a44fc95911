public import Foundation
import GRDB

/// The history of deploys on this machine, and the lease that keeps two from running at once.
extension SQLiteShareStore {
    /// The most deployments that are remembered; the oldest go first.
    public static let maximumDeployments = 1_000

    /// The most bytes of plans and reports; of older deployments the rest is kept.
    ///
    /// A plan of 10,000 tables has some 2 MB.
    public static let maximumDeploymentBytes = 64 * 1_024 * 1_024

    /// Begins a run: puts it into the history and takes the lease of its pair of databases.
    ///
    /// A run of the same pair that is found dead is marked as crashed in the same transaction.
    ///
    /// - Parameters:
    ///   - record: The run. It must say that it is running.
    ///   - now: The time.
    ///   - machine: What tells whether another run's process still lives.
    /// - Returns: The record as it is kept, and whom it took over from.
    /// - Throws: ``ShareStoreError/deploymentRunning(_:)`` if another run of the pair lives.
    public func beginDeployment(
        _ record: DeploymentRecord, now: StoreMoment, on machine: DeploymentMachine = .current
    ) async throws(ShareStoreError) -> BegunDeployment {
        try await self.write { database in
            let sql = "SELECT * FROM deployment WHERE key = ? AND state = 'running'"
            var crashed: [DeploymentRecord] = []
            for row in try Row.fetchAll(database, sql: sql, arguments: [record.key]) {
                let other = try DeploymentRecord(row: row)
                guard other.lease.crash(now: now, on: machine) != nil else {
                    throw ShareStoreError.deploymentRunning(other)
                }
                try database.execute(
                    sql: "UPDATE deployment SET state = 'crashed' WHERE id = ?",
                    arguments: [other.id])
                crashed.append(try Self.deployment(other.id, in: database))
            }
            try database.execute(sql: Self.insertDeployment, arguments: record.arguments)
            try Self.forgetOldDeployments(in: database)
            let kept = try Self.deployment(record.id, in: database)
            return BegunDeployment(record: kept, crashed: crashed)
        }
    }

    private static let insertDeployment = """
        INSERT INTO deployment (id, action, source, target, key, state, started_at, finished_at,
            pid, process_start, host, boot, process_space, heartbeat_at, heartbeat_uptime, plan,
            report, message, project, kept_in)
        VALUES (:id, :action, :source, :target, :key, :state, :started_at, :finished_at, :pid,
            :process_start, :host, :boot, :process_space, :heartbeat_at, :heartbeat_uptime, :plan,
            :report, :message, :project, :kept_in)
        """

    /// Says that a run lives. Call it every ``DeploymentLease/heartbeatInterval``.
    ///
    /// - Throws: ``ShareStoreError/deploymentTakenOver(id:)`` if another run took the lease: stop
    ///   before the target is committed.
    public func heartbeat(_ id: String, now: StoreMoment) async throws(ShareStoreError) {
        try await self.updateRunning(
            id, set: "heartbeat_at = ?, heartbeat_uptime = ?",
            [
                StoreTime.milliseconds(now.date), Int64(clamping: now.uptimeNanoseconds),
            ])
    }

    /// Says that a run lives until the task is cancelled.
    ///
    /// A store that cannot be written for a while (a full disk, another process) is no reason to
    /// stop, unless it lasts until others may take the lease.
    ///
    /// - Parameters:
    ///   - id: The run.
    ///   - sleep: Waits for so many seconds; throws when the task is cancelled.
    ///   - now: The time.
    /// - Throws: ``ShareStoreError/deploymentTakenOver(id:)`` if another run took the lease; what
    ///   the store failed with, if it did for ``DeploymentLease/staleAfter``. Stop before the
    ///   target is committed.
    public func keepLease(
        _ id: String,
        sleep: @Sendable (TimeInterval) async throws -> Void = {
            try await Task.sleep(for: .seconds($0))
        },
        now: @Sendable () -> StoreMoment = { .now() }
    ) async throws(ShareStoreError) {
        var heard = now()
        while (try? await sleep(DeploymentLease.heartbeatInterval)) != nil {
            let moment = now()
            do {
                try await self.heartbeat(id, now: moment)
                heard = moment
            } catch .deploymentTakenOver(let id) {
                throw .deploymentTakenOver(id: id)
            } catch {
                if Task.isCancelled { return }
                let silence = Double(moment.uptimeNanoseconds) - Double(heard.uptimeNanoseconds)
                guard silence / 1e9 < DeploymentLease.staleAfter else { throw error }
            }
        }
    }

    /// Keeps what a run has found out so far; nil leaves what is there.
    ///
    /// - Parameters:
    ///   - id: The run, which must hold its lease.
    ///   - plan: The plan as JSON.
    ///   - project: The provider's project as JSON, as soon as there is one.
    ///   - keptIn: Where at the target the state before is kept.
    /// - Throws: ``ShareStoreError/deploymentTakenOver(id:)`` if another run took the lease.
    public func updateDeployment(
        _ id: String, plan: String? = nil, project: String? = nil, keptIn: String? = nil
    ) async throws(ShareStoreError) {
        try await self.updateRunning(
            id,
            set: """
                plan = coalesce(?, plan), project = coalesce(?, project), \
                kept_in = coalesce(?, kept_in)
                """,
            [plan.map(SecretText.redacted), project.map(SecretText.redacted), keptIn])
    }

    /// Ends a run and gives its lease back. A run that was taken for dead may still say how it
    /// ended: nobody knows better.
    ///
    /// - Parameters:
    ///   - id: The run.
    ///   - hasSucceeded: Whether it did what it was asked.
    ///   - report: The outcome as JSON.
    ///   - message: Why it failed.
    ///   - now: The time.
    /// - Throws: ``ShareStoreError/deploymentUnknown(_:)`` if it is not running, nor crashed.
    public func finishDeployment(
        _ id: String, hasSucceeded: Bool, report: String?, message: String?, now: StoreMoment
    ) async throws(ShareStoreError) {
        let state = hasSucceeded ? DeploymentRecord.State.succeeded : .failed
        let report = report.map(SecretText.redacted)
        let message = message.map(SecretText.redacted)
        try await self.writeAnyway { database in
            let sql = """
                UPDATE deployment SET state = ?, report = coalesce(?, report), message = ?,
                    finished_at = ?
                WHERE id = ? AND state IN ('running', 'crashed')
                """
            try database.execute(
                sql: sql,
                arguments: [
                    state.rawValue, report, message, StoreTime.milliseconds(now.date), id,
                ])
            guard database.changesCount > 0 else { throw ShareStoreError.deploymentUnknown(id) }
            try Self.forgetOldDeployments(in: database)
        }
    }

    /// Notes that a deployment which had succeeded was taken back.
    ///
    /// - Returns: Whether there was one. The target may hold a deploy of another machine.
    @discardableResult
    public func markRolledBack(_ id: String) async throws(ShareStoreError) -> Bool {
        try await self.writeAnyway { database in
            try database.execute(
                sql: """
                    UPDATE deployment SET state = 'rolled_back'
                    WHERE id = ? AND state IN ('succeeded', 'crashed')
                    """,
                arguments: [id])
            return database.changesCount > 0
        }
    }

    /// The newest deployments, newest first, at most `limit`.
    ///
    /// - Parameters:
    ///   - key: Of this pair of databases only; nil for all.
    ///   - limit: The most that are returned.
    /// - Returns: Records without plan and report, which ``deployment(_:)`` has.
    /// - Throws: ``ShareStoreError`` if the file cannot be used.
    public func deployments(
        key: String? = nil, limit: Int
    ) async throws(ShareStoreError) -> [DeploymentRecord] {
        try await self.read { database in
            let sql = """
                SELECT *, NULL AS plan, NULL AS report FROM (
                    SELECT id, action, source, target, key, state, started_at, finished_at, pid,
                        process_start, host, boot, process_space, heartbeat_at, heartbeat_uptime,
                        message, project, kept_in
                    FROM deployment WHERE ?1 IS NULL OR key = ?1
                    ORDER BY started_at DESC, rowid DESC LIMIT ?2)
                """
            return try Row.fetchAll(database, sql: sql, arguments: [key, max(0, limit)])
                .map { try DeploymentRecord(row: $0) }
        }
    }

    /// The deployment whose id begins like this.
    ///
    /// - Throws: ``ShareStoreError/deploymentUnknown(_:)`` if there is none,
    ///   ``ShareStoreError/deploymentAmbiguous(_:)`` if there are several.
    public func deployment(_ prefix: String) async throws(ShareStoreError) -> DeploymentRecord {
        guard !prefix.isEmpty else { throw .deploymentUnknown(prefix) }
        return try await self.read { database in
            let sql = "SELECT * FROM deployment WHERE substr(id, 1, length(?1)) = ?1 LIMIT 2"
            let rows = try Row.fetchAll(database, sql: sql, arguments: [prefix])
            guard let first = rows.first else { throw ShareStoreError.deploymentUnknown(prefix) }
            guard rows.count == 1 else { throw ShareStoreError.deploymentAmbiguous(prefix) }
            return try DeploymentRecord(row: first)
        }
    }

    // MARK: Shared steps

    /// Writes also when the task is cancelled: a run that was stopped must still say so, and GRDB
    /// refuses to work for a task that is.
    private func writeAnyway<Value: Sendable>(
        _ body: @escaping @Sendable (Database) throws -> Value
    ) async throws(ShareStoreError) -> Value {
        let task = Task { () -> Result<Value, ShareStoreError> in
            do throws(ShareStoreError) {
                return .success(try await self.write(body))
            } catch {
                return .failure(error)
            }
        }
        return try await task.value.get()
    }

    private func updateRunning(
        _ id: String, set columns: String, _ values: [(any DatabaseValueConvertible & Sendable)?]
    ) async throws(ShareStoreError) {
        try await self.writeAnyway { database in
            var arguments = StatementArguments(values)
            arguments += [id]
            try database.execute(
                sql: "UPDATE deployment SET \(columns) WHERE id = ? AND state = 'running'",
                arguments: arguments)
            guard database.changesCount > 0 else {
                throw ShareStoreError.deploymentTakenOver(id: id)
            }
        }
    }

    private static func deployment(_ id: String, in database: Database) throws -> DeploymentRecord {
        let sql = "SELECT * FROM deployment WHERE id = ?"
        guard let row = try Row.fetchOne(database, sql: sql, arguments: [id]) else {
            throw DamagedRow(table: "deployment")
        }
        return try DeploymentRecord(row: row)
    }

    /// Runs that say they run stay: they hold their lease.
    private static func forgetOldDeployments(in database: Database) throws {
        try database.execute(
            sql: """
                DELETE FROM deployment WHERE state <> 'running' AND id NOT IN (
                    SELECT id FROM deployment ORDER BY started_at DESC, rowid DESC LIMIT ?)
                """,
            arguments: [Self.maximumDeployments])
        try database.execute(
            sql: """
                UPDATE deployment SET plan = NULL, report = NULL
                WHERE state <> 'running' AND (plan IS NOT NULL OR report IS NOT NULL) AND id IN (
                    SELECT id FROM (
                        SELECT id, sum(coalesce(length(CAST(plan AS BLOB)), 0)
                            + coalesce(length(CAST(report AS BLOB)), 0))
                            OVER (ORDER BY started_at DESC, rowid DESC) AS bytes
                        FROM deployment)
                    WHERE bytes > ?)
                """,
            arguments: [Self.maximumDeploymentBytes])
    }
}
