import Foundation

extension DeployEvent {
    /// The event as one line of JSON, as ``DeployPlan/json()`` writes a plan.
    ///
    /// - Throws: `EncodingError`, which only a number that is none (a NaN) causes.
    public func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.dateEncodingStrategy = .iso8601
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }

    /// Reads what ``json()`` wrote.
    ///
    /// - Throws: `DecodingError`, also for an event that is not known here.
    public init(json: String) throws {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        decoder.dateDecodingStrategy = .iso8601
        self = try decoder.decode(Self.self, from: Data(json.utf8))
    }
}

extension DeployEvent {
    /// The name of an event, as `event` of its JSON has it.
    public enum Name: String, Sendable, Codable, Hashable, CaseIterable {
        /// See ``DeployEvent/started(_:)``.
        case started
        /// See ``DeployEvent/planned(_:)``.
        case planned
        /// See ``DeployEvent/finding(_:)``.
        case finding
        /// See ``DeployEvent/phase(_:)``.
        case phase
        /// See ``DeployEvent/step(_:)``.
        case step
        /// See ``DeployEvent/tableStarted(_:)``.
        case tableStarted = "table_started"
        /// See ``DeployEvent/tableProgress(_:)``.
        case tableProgress = "table_progress"
        /// See ``DeployEvent/tableFinished(_:)``.
        case tableFinished = "table_finished"
        /// See ``DeployEvent/notice(_:)``.
        case notice
        /// See ``DeployEvent/verified(_:)``.
        case verified
        /// See ``DeployEvent/committed``.
        case committed
        /// See ``DeployEvent/rolledBack``.
        case rolledBack = "rolled_back"
        /// See ``DeployEvent/finished(_:)``.
        case finished
        /// See ``DeployEvent/failed(_:)``.
        case failed
    }

    /// The event's name.
    public var name: Name {
        switch self {
        case .started: .started
        case .planned: .planned
        case .finding: .finding
        case .phase: .phase
        case .step: .step
        case .tableStarted: .tableStarted
        case .tableProgress: .tableProgress
        case .tableFinished: .tableFinished
        case .notice: .notice
        case .verified: .verified
        case .committed: .committed
        case .rolledBack: .rolledBack
        case .finished: .finished
        case .failed: .failed
        }
    }
}

extension DeployEvent: Codable {
    private enum Key: String, CodingKey {
        case event, phase, plan, finding
    }

    /// One flat object: `event`, and the facts beside it.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        try container.encode(self.name, forKey: .event)
        switch self {
        case .started(let facts): try facts.encode(to: encoder)
        case .planned(let plan): try container.encode(plan, forKey: .plan)
        case .finding(let finding): try container.encode(finding, forKey: .finding)
        case .phase(let phase): try container.encode(phase, forKey: .phase)
        case .step(let facts): try facts.encode(to: encoder)
        case .tableStarted(let facts), .tableProgress(let facts), .tableFinished(let facts):
            try facts.encode(to: encoder)
        case .notice(let facts): try facts.encode(to: encoder)
        case .verified(let facts): try facts.encode(to: encoder)
        case .committed, .rolledBack: break
        case .finished(let facts): try facts.encode(to: encoder)
        case .failed(let facts): try facts.encode(to: encoder)
        }
    }

    /// Reads what ``encode(to:)`` wrote.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        self =
            switch try container.decode(Name.self, forKey: .event) {
            case .started: .started(try RunStarted(from: decoder))
            case .planned: .planned(try container.decode(DeployPlan.self, forKey: .plan))
            case .finding: .finding(try container.decode(Finding.self, forKey: .finding))
            case .phase: .phase(try container.decode(DeployPhase.self, forKey: .phase))
            case .step: .step(try PhaseStep(from: decoder))
            case .tableStarted: .tableStarted(try TableProgress(from: decoder))
            case .tableProgress: .tableProgress(try TableProgress(from: decoder))
            case .tableFinished: .tableFinished(try TableProgress(from: decoder))
            case .notice: .notice(try RunNotice(from: decoder))
            case .verified: .verified(try RunVerified(from: decoder))
            case .committed: .committed
            case .rolledBack: .rolledBack
            case .finished: .finished(try RunFinished(from: decoder))
            case .failed: .failed(try RunFailed(from: decoder))
            }
    }
}
