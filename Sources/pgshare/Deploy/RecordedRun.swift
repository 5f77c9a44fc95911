import Crypto
import Deploy
import Foundation
import ShareStore

/// A run's place in the history: its lease, its heartbeat, its outcome.
struct RecordedRun: Sendable {
    private let store: SQLiteShareStore
    private let record: DeploymentRecord

    /// Opens the store of a state folder.
    init(
        _ state: String, id: String, action: DeploymentRecord.Action, source: String,
        target: String
    ) throws {
        self.store = try SQLiteShareStore(folder: state)
        let now = StoreMoment.now()
        let digest = SHA256.hash(data: Data("\(source)\n\(target)".utf8))
        let key = digest.map { String(format: "%02x", $0) }.joined()
        self.record = DeploymentRecord(
            id: id, action: action, source: source, target: target, key: key,
            lease: .mine(now: now), now: now)
    }

    /// Runs `body` with the lease of its pair of databases; its outcome is kept.
    ///
    /// - Parameter body: Is given sentences about crashed runs that were found. Returns nil where
    ///   nothing was done.
    /// - Throws: What `body` throws, and ``ShareStoreError``.
    func run(_ body: @escaping @Sendable ([String]) async throws -> DeployReport?) async throws {
        let begun = try await self.store.beginDeployment(self.record, now: .now())
        let crashed = begun.crashed.map {
            "deploy \($0.id) of \(Output.time($0.startedAt)) crashed; this run looks after what "
                + "it left"
        }
        do {
            let report = try await self.whileBeating { try await body(crashed) }
            try await self.finish(
                report != nil, try report?.json(), report == nil ? "declined" : nil)
        } catch {
            let store = self.store
            let id = self.record.id
            let failed = (error as? DeployFailure).map {
                RunFailed(message: $0.message, hint: $0.hint, target: $0.target)
            }
            // A cancelled task must not keep the history from knowing.
            await Task {
                try? await store.finishDeployment(
                    id, hasSucceeded: false,
                    report: failed.flatMap {
                        try? DeployReport(failed: $0).json()
                    }, message: failed?.message ?? "\(error)", now: .now())
            }.value
            throw error
        }
    }

    private func finish(_ succeeded: Bool, _ report: String?, _ message: String?) async throws {
        try await self.store.finishDeployment(
            self.record.id, hasSucceeded: succeeded, report: report, message: message,
            now: .now())
    }

    /// Says that the run lives as long as it does; ends it when another took its lease.
    private func whileBeating(
        _ body: @escaping @Sendable () async throws -> DeployReport?
    ) async throws -> DeployReport? {
        let store = self.store
        let id = self.record.id
        return try await withThrowingTaskGroup(of: DeployReport??.self) { group in
            group.addTask { .some(try await body()) }
            group.addTask {
                try await store.keepLease(id)
                return nil
            }
            defer { group.cancelAll() }
            return try await group.next()??.flatMap { $0 }
        }
    }

    /// Keeps the plan.
    func keep(plan: DeployPlan) async throws {
        try await self.store.updateDeployment(self.record.id, plan: try plan.json())
    }

    /// Keeps what a provider made for this run, so that a crash does not orphan it.
    func keep(project: String) async throws {
        try await self.store.updateDeployment(self.record.id, project: project)
    }

    /// Keeps where at the target the state before is.
    func keep(keptIn: String) async throws {
        try await self.store.updateDeployment(self.record.id, keptIn: keptIn)
    }

    /// Projects of earlier runs of the same pair that did not succeed.
    func projects() async throws -> [String] {
        try await self.store.deployments(key: self.record.key, limit: 100).compactMap(\.project)
    }

    /// Notes that a deploy was taken back.
    func markRolledBack(_ id: String) async throws {
        try await self.store.markRolledBack(id)
    }
}
