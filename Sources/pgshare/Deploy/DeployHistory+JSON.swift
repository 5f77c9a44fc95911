import Deploy
import Foundation
import Relay
import ShareStore

/// What the history tells of a deployment, as JSON and as a line.
struct DeploymentEntry: Codable, Hashable {
    var id: String
    var action: DeploymentRecord.Action
    var state: DeploymentRecord.State
    var source: String
    var target: String
    var startedAt: Date
    var finishedAt: Date?
    /// The last sign of life of a run that runs, or crashed.
    var heartbeatAt: Date?
    /// From the beginning to the end, or to the last sign of life.
    var seconds: Double
    var pid: Int32
    var host: String
    /// How a crashed run was found dead.
    var crash: DeploymentLease.Crash?
    var message: String?
    var keptIn: String?
    /// What a person can do now; nil where nothing is to be done.
    var next: String?

    private enum CodingKeys: String, CodingKey {
        case id, action, state, source, target, seconds, pid, host, crash, message, next
        case startedAt = "started_at"
        case finishedAt = "finished_at"
        case heartbeatAt = "heartbeat_at"
        case keptIn = "kept_in"
    }

    init(_ record: DeploymentRecord, now: StoreMoment, on machine: DeploymentMachine) {
        self.id = record.id
        self.action = record.action
        self.state = record.state(now: now, on: machine)
        self.source = record.source
        self.target = record.target
        self.startedAt = record.startedAt
        self.finishedAt = record.finishedAt
        self.pid = record.lease.pid
        self.host = record.lease.host
        self.message = record.message
        self.keptIn = record.keptIn
        let end: Date
        switch self.state {
        case .running:
            end = now.date
            self.heartbeatAt = record.lease.heartbeat.date
        case .crashed:
            end = record.lease.heartbeat.date
            self.heartbeatAt = end
            self.crash = record.lease.crash(now: now, on: machine)
        case .succeeded, .failed, .rolledBack:
            end = record.finishedAt ?? record.lease.heartbeat.date
        }
        // A clock that was set back must not make a run shorter than nothing.
        self.seconds = max(0, end.timeIntervalSince(record.startedAt))
        self.next = DeployHistory.next(self, record)
    }
}

/// What `deploy list --json` prints.
struct ListedDeployments: Codable, Hashable {
    var deployments: [DeploymentEntry]
}

/// What `deploy show --json` prints: the entry, with plan and report as the run wrote them.
struct ShownDeployment: Encodable {
    private let entry: DeploymentEntry
    private let plan: JSONValue?
    private let report: JSONValue?
    private let project: JSONValue?

    private enum CodingKeys: String, CodingKey {
        case plan, report, project
    }

    init(_ entry: DeploymentEntry, _ record: DeploymentRecord) {
        self.entry = entry
        self.plan = record.plan.flatMap(JSONValue.init(json:))
        self.report = record.report.flatMap(JSONValue.init(json:))
        self.project = record.project.flatMap(JSONValue.init(json:))
    }

    func encode(to encoder: any Encoder) throws {
        try self.entry.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encodeIfPresent(self.plan, forKey: .plan)
        try container.encodeIfPresent(self.report, forKey: .report)
        try container.encodeIfPresent(self.project, forKey: .project)
    }
}

/// Any JSON, to be passed on.
enum JSONValue: Codable, Hashable {
    case null
    case bool(Bool)
    case integer(Int64)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    /// Nil if it is none.
    init?(json: String) {
        guard let value = try? JSONDecoder().decode(JSONValue.self, from: Data(json.utf8)) else {
            return nil
        }
        self = value
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? container.decode(Int64.self) {
            self = .integer(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .string(value)
        } else if let value = try? container.decode([JSONValue].self) {
            self = .array(value)
        } else {
            self = .object(try container.decode([String: JSONValue].self))
        }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .integer(let value): try container.encode(value)
        case .number(let value): try container.encode(value)
        case .string(let value): try container.encode(value)
        case .array(let value): try container.encode(value)
        case .object(let value): try container.encode(value)
        }
    }
}

/// What a run came to, as ``DeploymentRecord/report`` keeps it.
struct DeployReport: Codable, Hashable {
    /// Counts and time of a run that worked.
    var finished: RunFinished?
    /// Why it did not, and what the target holds.
    var failed: RunFailed?
    /// Rows and checksums of every table, and what differs.
    var verification: VerificationReport?

    init(
        finished: RunFinished? = nil, failed: RunFailed? = nil,
        verification: VerificationReport? = nil
    ) {
        self.finished = finished
        self.failed = failed
        self.verification = verification
    }

    /// One line of JSON, its keys as a plan's.
    ///
    /// - Throws: `EncodingError`, which only a number that is none causes.
    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }

    /// Nil for what another version wrote and this one does not understand.
    init?(json: String) {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        guard let report = try? decoder.decode(Self.self, from: Data(json.utf8)) else { return nil }
        self = report
    }
}

extension Output {
    /// JSON that may quote a stranger's names, for a terminal as well as a program.
    static func printSafeJSON(_ value: some Encodable) throws {
        let json = String(decoding: try APIJSON.encode(value), as: UTF8.self)
        print(ProgressText.safeJSON(json))
    }
}
