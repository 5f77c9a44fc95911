import GRDB

extension DeploymentRecord {
    init(row: Row) throws(DamagedRow) {
        guard let action = Action(rawValue: row["action"]),
            let state = State(rawValue: row["state"]),
            let pid = Int32(exactly: row["pid"] as Int64)
        else { throw DamagedRow(table: "deployment") }
        let heartbeat = StoreMoment(
            date: StoreTime.date(row["heartbeat_at"]),
            uptimeNanoseconds: UInt64(clamping: row["heartbeat_uptime"] as Int64))
        let lease = DeploymentLease(
            pid: pid, processStart: (row["process_start"] as Int64?).map { UInt64(clamping: $0) },
            host: row["host"], boot: row["boot"], processSpace: row["process_space"],
            heartbeat: heartbeat)
        self.init(
            id: row["id"], action: action, source: row["source"], target: row["target"],
            key: row["key"], lease: lease, now: heartbeat)
        self.state = state
        self.startedAt = StoreTime.date(row["started_at"])
        self.finishedAt = (row["finished_at"] as Int64?).map(StoreTime.date)
        self.plan = row["plan"]
        self.report = row["report"]
        self.message = row["message"]
        self.project = row["project"]
        self.keptIn = row["kept_in"]
    }

    /// The record as the named arguments of a statement, secrets taken out.
    var arguments: StatementArguments {
        [
            "id": self.id,
            "action": self.action.rawValue,
            "source": SecretText.redacted(self.source),
            "target": SecretText.redacted(self.target),
            "key": self.key,
            "state": self.state.rawValue,
            "started_at": StoreTime.milliseconds(self.startedAt),
            "finished_at": self.finishedAt.map(StoreTime.milliseconds),
            "pid": self.lease.pid,
            "process_start": self.lease.processStart.map { Int64(clamping: $0) },
            "host": self.lease.host,
            "boot": self.lease.boot,
            "process_space": self.lease.processSpace,
            "heartbeat_at": StoreTime.milliseconds(self.lease.heartbeat.date),
            "heartbeat_uptime": Int64(clamping: self.lease.heartbeat.uptimeNanoseconds),
            "plan": self.plan.map(SecretText.redacted),
            "report": self.report.map(SecretText.redacted),
            "message": self.message.map(SecretText.redacted),
            "project": self.project.map(SecretText.redacted),
            "kept_in": self.keptIn,
        ]
    }
}
