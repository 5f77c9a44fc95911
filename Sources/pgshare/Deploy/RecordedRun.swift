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
        let report: DeployReport?
        do {
            report = try await self.whileBeating { try await body(crashed) }
        } catch {
            await self.finish(failed: error)
            throw error
        }
        try await self.finish(report)
    }

    /// The target has changed: whatever fails from here on must not hide that.
    private func finish(_ report: DeployReport?) async throws {
        do {
            let json = try report?.json()
            try await self.finish(report != nil, json, report == nil ? "declined" : nil)
        } catch {
            guard report != nil else { throw error }
            throw DeployFailure(
                "the deploy is done, but the history cannot be written: \(error)",
                target: .complete)
        }
    }

    private func finish(failed error: any Error) async {
        let failed = (error as? DeployFailure).map {
            RunFailed(message: $0.message, hint: $0.hint, target: $0.target)
        }
        let report = failed.flatMap { try? DeployReport(failed: $0).json() }
        try? await self.finish(false, report, failed?.message ?? "\(error)")
    }

    /// Without regard to a cancelled task: the history must know.
    private func finish(_ succeeded: Bool, _ report: String?, _ message: String?) async throws {
        let store = self.store
        let id = self.record.id
        try await Task {
            try await store.finishDeployment(
                id, hasSucceeded: succeeded, report: report, message: message, now: .now())
        }.value
    }

    private enum Part: Sendable {
        case ran(Result<DeployReport?, any Error>)
        case beat((any Error)?)
    }

    /// Says that the run lives as long as it does; stops it when another took its lease. What the
    /// run came to is what counts: it may have been over by then.
    private func whileBeating(
        _ body: @escaping @Sendable () async throws -> DeployReport?
    ) async throws -> DeployReport? {
        let store = self.store
        let id = self.record.id
        return try await withTaskGroup(of: Part.self) { group in
            group.addTask {
                do { return .ran(.success(try await body())) } catch {
                    return .ran(.failure(error))
                }
            }
            group.addTask {
                do { try await store.keepLease(id) } catch { return .beat(error) }
                return .beat(nil)
            }
            var lost: (any Error)?
            for await part in group {
                switch part {
                case .beat(let error):
                    lost = error
                    // Without an error it is the task that was cancelled, and the run with it.
                    if error != nil { group.cancelAll() }
                case .ran(let result):
                    group.cancelAll()
                    return result.mapError { Self.failure($0, lost: lost) }
                }
            }
            preconditionFailure("the run is one of the two")
        }.get()
    }

    /// Why a run stopped that lost its lease, or was told to.
    private static func failure(_ error: any Error, lost: (any Error)?) -> any Error {
        guard let lost else {
            return error is CancellationError ? DeployFailure(error) : error
        }
        let target = (error as? DeployFailure)?.target ?? .untouched
        return DeployFailure("\(lost)", target: target)
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
