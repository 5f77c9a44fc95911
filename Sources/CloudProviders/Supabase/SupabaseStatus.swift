/// What a project's status means for somebody who wants its database. Pure.
package enum SupabaseStatus: Hashable, Sendable {
    /// It runs.
    case ready
    /// It will run, or we cannot know: the deadline decides.
    case waiting
    /// It was paused and can be woken.
    case paused
    /// It will never run.
    case failed

    /// Reads a status. Words that are not known count as waiting: they may be newer than we are.
    package init(_ status: String) {
        switch status {
        case "ACTIVE_HEALTHY": self = .ready
        case "INACTIVE": self = .paused
        case "INIT_FAILED", "REMOVED", "RESTORE_FAILED", "PAUSE_FAILED": self = .failed
        default: self = .waiting
        }
    }

    /// Whether both services that a deploy may need are up.
    package static func isHealthy(_ services: [SupabaseReply.Service]) -> Bool {
        ["db", "pooler"].allSatisfy { name in
            services.contains { $0.name == name && $0.status == "ACTIVE_HEALTHY" }
        }
    }

    /// Whether a text has the form of a project's ref, and so may stand in a path.
    package static func isReference(_ text: String) -> Bool {
        text.utf8.count <= 64 && text.wholeMatch(of: /[A-Za-z0-9][A-Za-z0-9_-]*/) != nil
    }

    /// The session pooler of a project.
    ///
    /// The API often names the transaction pooler alone; the session pooler is the same host on
    /// 5432. Transaction mode cannot take a restore.
    package static func sessionPooler(
        of poolers: [SupabaseReply.Pooler]
    ) -> SupabaseReply.Pooler? {
        let primary = poolers.filter { ($0.databaseType ?? "PRIMARY") == "PRIMARY" }
        if let session = primary.first(where: { $0.mode == "session" }) { return session }
        guard var pooler = primary.first else { return nil }
        pooler.port = 5_432
        pooler.mode = "session"
        return pooler
    }
}
