import Synchronization

/// Counts and sums the tables of one side, by as many sessions as there are.
struct TableReader: Sendable {
    let side: VerifiedSide
    let sessions: [any SQLSession]
    /// Nil: rows are only counted.
    let checksum: ChecksumSQL?
    let progress: @Sendable (VerificationStep) -> Void

    /// A table to read: its shape here, and the columns that both sides have.
    struct Job: Hashable, Sendable {
        var table: VerifiedTable
        var shape: TableShape
        var columns: [ColumnShape]
    }

    /// Reads every table, the largest first; each by one session.
    func sums(_ jobs: [Job]) async throws(SQLFailure) -> [VerifiedTable: TableSum] {
        let total = jobs.reduce(0) { $0 + $1.shape.bytes }
        let queue = Queue(jobs.sorted { $0.shape.bytes > $1.shape.bytes })
        let result = await withTaskGroup(
            of: Result<[VerifiedTable: TableSum], SQLFailure>.self
        ) { group in
            for session in self.sessions {
                group.addTask { await self.drain(queue, session, total) }
            }
            var all: Result<[VerifiedTable: TableSum], SQLFailure> = .success([:])
            for await part in group {
                all = Self.merged(all, part)
                if case .failure = part { group.cancelAll() }
            }
            return all
        }
        return try result.get()
    }

    /// One table, or nil when its answer was not legible.
    func sum(
        _ job: Job,
        _ session: any SQLSession,
        _ totalBytes: Int64
    ) async throws(SQLFailure) -> TableSum {
        var rows: Int64 = 0
        var sum = WideSum()
        let parts =
            job.table.filter == nil
            ? PageRange.parts(pages: job.shape.pages, bytes: job.shape.bytes) : [nil]
        for part in parts {
            let answer = try await session.rows(self.statement(job, part))
            guard let row = answer.first, let count = row.first?.flatMap({ Int64($0) }),
                sum.add(row.count > 1 ? row[1] : nil)
            else { throw SQLFailure(sqlState: nil, message: "a checksum is not legible") }
            rows += count
            self.progress(
                VerificationStep(
                    side: self.side, table: job.table.text,
                    bytes: job.shape.bytes / Int64(parts.count), totalBytes: totalBytes))
        }
        let checksum = self.checksum == nil ? nil : "\(sum.value)"
        return TableSum(table: job.table.text, rows: rows, checksum: checksum)
    }

    /// Runs `body` while the owner sees the rows that FORCE ROW LEVEL SECURITY hides from him.
    ///
    /// Only the target's owner may; it is undone before anybody else sees the table, as the change
    /// is part of the deploy's transaction or of the staging database.
    func seeingAllRows<Value: Sendable>(
        _ job: Job,
        _ session: any SQLSession,
        _ body: () async throws(SQLFailure) -> Value
    ) async throws(SQLFailure) -> Value {
        guard self.side == .target, job.shape.hidesRows else { return try await body() }
        let table = SQLText.identifier(job.table.schema, job.table.name)
        try await session.rows("alter table only \(table) no force row level security")
        let value = try await body()
        try await session.rows("alter table only \(table) force row level security")
        return value
    }

    private func statement(_ job: Job, _ part: PageRange?) -> String {
        guard let checksum = self.checksum else { return ChecksumSQL.count(job.table) }
        return checksum.sum(job.table, job.columns, where: part?.condition)
    }

    private func drain(
        _ queue: Queue,
        _ session: any SQLSession,
        _ totalBytes: Int64
    ) async -> Result<[VerifiedTable: TableSum], SQLFailure> {
        var done: [VerifiedTable: TableSum] = [:]
        do throws(SQLFailure) {
            while !Task.isCancelled, let job = queue.next() {
                done[job.table] = try await self.seeingAllRows(job, session) {
                    () async throws(SQLFailure) in
                    try await self.sum(job, session, totalBytes)
                }
            }
            return .success(done)
        } catch {
            return .failure(error)
        }
    }

    private static func merged(
        _ all: Result<[VerifiedTable: TableSum], SQLFailure>,
        _ part: Result<[VerifiedTable: TableSum], SQLFailure>
    ) -> Result<[VerifiedTable: TableSum], SQLFailure> {
        guard case .success(let old) = all else { return all }
        return part.map { old.merging($0) { first, _ in first } }
    }

    /// What no session has taken yet.
    private final class Queue: Sendable {
        private let jobs: Mutex<[Job]>

        init(_ jobs: [Job]) {
            self.jobs = Mutex(jobs.reversed())
        }

        func next() -> Job? {
            self.jobs.withLock { $0.popLast() }
        }
    }
}
