/// Brings an instance of RDS up, or finds out what there is.
///
///     looking ──notFound──▶ announcing ──noted──▶ creating ──answered──▶ noting ──noted──▶ waiting
///        │                                          │ taken                 ▲               │  ▲
///        │ found, may be used                       ▼                       │        waited ▼  │
///        ├──────────────────────────────────▶ noting            checking ───┘             polling
///        └─ found, "new" ─▶ recalling ─known─▶ noting                              ready │  ▲
///                                                                                       ▼  │ no
///                                                     finish ◀──reached── reaching ────────┘
///
/// Pure. Source: FIELD-NOTES "Provider APIs"; RDS User Guide.
struct RDSMachine: ProviderMachine {
    typealias Reply = RDSInstance
    typealias Step = ProviderStep<RDSInstance>

    /// The tag that says for which share an instance was made.
    static let deploymentTag = "pgshare:deployment"
    /// The tag that says from what its password is derived: name of the key, hyphen, salt.
    static let keyTag = "pgshare:key"
    /// How often in a row an instance that is there may be missing or out of reach: neither RDS nor
    /// the names of its hosts are the same everywhere at once.
    static let mostMisses = 3

    /// What is wanted.
    struct Task {
        /// Which instance.
        var reference: RDSReference
        /// The name of the share's projects.
        var name: String
        /// Where.
        var region: String
        /// Whether to look only.
        var isSurvey: Bool
        /// What the password is derived from; nil in a survey.
        var key: RDSKey?
        /// Random text for a new instance.
        var salt: String
        /// The password where the user gave one.
        var password: ProviderSecret?
        /// A file with the certificates of RDS's authorities, or nil: then TLS without a check.
        var certificateFile: String?
        /// How long and how often to look.
        var limits: ProviderLimits
    }

    private enum Phase {
        case looking
        case recalling(RDSInstance)
        case announcing
        case creating
        case checking
        case noting(RDSInstance)
        case waiting
        case polling
        case reaching(RDSInstance, RDSInstance.Endpoint)
    }

    private let task: Task
    private var phase = Phase.looking
    private var isNew = false
    private var misses = 0
    private var deadline = 0.0
    private var lastStatus = ""

    init(_ task: Task) {
        self.task = task
    }

    mutating func start(now: Double) -> Step {
        self.deadline = now + self.task.limits.readySeconds
        return self.send(.describe(self.identifier), then: .looking)
    }

    mutating func receive(_ event: ProviderEvent<RDSInstance>, now: Double) -> Step {
        switch (self.phase, event) {
        case (.looking, .answered(let instance)):
            self.found(instance)
        case (.looking, .failed(let failure)) where Self.refusal(failure)?.isNotFound == true:
            self.missing()
        case (.recalling(let instance), .known(true)):
            self.adopt(instance)
        case (.recalling(let instance), .known(false)):
            .fail(
                "there is an instance \(instance.identifier) already, in \(self.task.region)",
                advice: "Deploy into it with rds:\(instance.identifier), or choose another name=.")
        case (.announcing, .noted):
            self.create()
        case (.creating, .answered(let instance)):
            self.made(instance)
        case (.creating, .failed(let failure)) where Self.refusal(failure)?.isTaken == true:
            // The answer to an earlier attempt was lost, or somebody else was faster.
            self.send(.describe(self.identifier), then: .checking)
        case (.checking, .answered(let instance)) where instance.tags[Self.keyTag] == self.keyTag:
            self.made(instance)
        case (.checking, .answered):
            .fail(
                "somebody else has just made an instance \(self.identifier)",
                advice: "Choose another name=.")
        case (.noting(let instance), .noted):
            self.look(at: instance, now: now)
        case (.waiting, .waited):
            self.send(.describe(self.identifier), then: .polling)
        case (.polling, .answered(let instance)):
            self.look(at: instance, now: now)
        case (.polling, .failed(let failure)):
            self.missed(failure, now: now)
        case (.reaching(let instance, let endpoint), .reached(true)):
            Step(.finish(self.database(instance, endpoint)))
        case (.reaching(let instance, let endpoint), .reached(false)):
            self.unreached(instance, endpoint, now: now)
        case (.looking, .failed(let failure)), (.creating, .failed(let failure)),
            (.checking, .failed(let failure)):
            self.failed(failure)
        case (.recalling, _), (.announcing, _), (.noting, _), (.waiting, _), (.looking, _),
            (.creating, _), (.checking, _), (.polling, _), (.reaching, _):
            preconditionFailure("the shell answers each step with its own event")
        }
    }

    // Finding

    private mutating func found(_ instance: RDSInstance) -> Step {
        guard ["postgres", "aurora-postgresql"].contains(instance.engine) else {
            return .fail(
                "the instance \(instance.identifier) is no PostgreSQL but \(instance.engine)")
        }
        guard self.task.reference.creation != nil else { return self.adopt(instance) }
        guard instance.tags[Self.deploymentTag] != nil else {
            return .fail(
                "there is an instance \(instance.identifier) that pgshare did not make",
                advice: "Deploy into it with rds:\(instance.identifier), or choose another name=.")
        }
        guard self.task.reference.mustBeNew, !self.task.isSurvey else {
            return self.adopt(instance)
        }
        self.phase = .recalling(instance)
        return Step(.recall(self.project(instance)))
    }

    private mutating func adopt(_ instance: RDSInstance) -> Step {
        let project = self.project(instance)
        if self.task.isSurvey {
            return Step(.surveyed(.existing(project, state: instance.status)))
        }
        return self.note(.adopted(project), instance)
    }

    private mutating func missing() -> Step {
        guard self.task.reference.creation != nil else {
            return .fail(
                "there is no instance \(self.identifier) in \(self.task.region)",
                advice: "Check the name and region=, or write rds:new?name=\(self.identifier).")
        }
        let project = self.project(nil)
        if self.task.isSurvey { return Step(.surveyed(.wouldCreate(project))) }
        self.phase = .announcing
        return Step(.note(.creating(project)))
    }

    // Making

    private mutating func create() -> Step {
        guard let creation = self.task.reference.creation, let password = self.ownPassword else {
            preconditionFailure("an instance is made where the task says how and with what key")
        }
        let tags = [
            (name: Self.deploymentTag, value: self.task.name), (Self.keyTag, self.keyTag),
        ]
        let request = RDSRequest.create(
            self.task.reference, creation, password: password, tags: tags)
        let size = "\(creation.instanceClass), \(creation.storage) GiB"
        return self.send(
            request, then: .creating,
            says: "creating the RDS instance \(self.identifier) in \(self.task.region) (\(size))")
    }

    private mutating func made(_ instance: RDSInstance) -> Step {
        self.isNew = true
        return self.note(.created(self.project(instance)), instance)
    }

    // Waiting

    private mutating func look(at instance: RDSInstance, now: Double) -> Step {
        switch instance.readiness {
        case .ready(let endpoint):
            guard self.address(instance, endpoint).isPrintable else {
                return .fail("Amazon RDS told a host, a user or a database that cannot be")
            }
            self.phase = .reaching(instance, endpoint)
            return Step(.reach(host: endpoint.host, port: endpoint.port))
        case .ended(let advice):
            return .fail(
                "the RDS instance \(self.identifier) is \(instance.status)",
                advice: advice.prefix(1).uppercased() + advice.dropFirst() + ".")
        case .waiting:
            self.misses = 0
            // Nobody can have been told the password of an instance that was never ready.
            if instance.tags[Self.deploymentTag] != nil, instance.status == "creating" {
                self.isNew = true
            }
            let sentence =
                "the RDS instance \(self.identifier) is \(Printable.text(instance.status))"
            let isNews = instance.status != self.lastStatus
            self.lastStatus = instance.status
            return self.wait(says: isNews ? sentence : nil, now: now)
        }
    }

    /// A look that showed nothing. A network that is away for a minute ends no wait of ten.
    private mutating func missed(_ failure: ProviderCallFailure, now: Double) -> Step {
        switch failure {
        case .refused where Self.refusal(failure)?.isNotFound == true:
            self.misses += 1
            guard self.misses < Self.mostMisses else {
                return .fail("the RDS instance \(self.identifier) has been deleted")
            }
            return self.wait(says: nil, now: now)
        case .refused where Self.refusal(failure)?.isThrottling == true, .busy:
            return self.wait(says: "Amazon RDS wants fewer questions; still waiting", now: now)
        case .unanswered(let reason), .unknown(let reason):
            return self.wait(
                says: "Amazon RDS does not answer (\(reason)); still waiting", now: now)
        case .refused, .cancelled:
            return self.failed(failure)
        }
    }

    /// The name of a new host takes a while to be known everywhere.
    private mutating func unreached(
        _ instance: RDSInstance,
        _ endpoint: RDSInstance.Endpoint,
        now: Double
    ) -> Step {
        self.misses += 1
        let place = "\(endpoint.host):\(endpoint.port)"
        guard self.misses < Self.mostMisses else {
            return .fail(
                "\(place) takes no connections from here",
                advice: instance.isPublic
                    ? "Let this machine into a security group of the instance."
                    : "It has no public address: run the deploy inside its network, "
                        + "or make it with public=yes.")
        }
        return self.wait(says: "\(place) takes no connections yet", now: now)
    }

    private mutating func wait(says sentence: String?, now: Double) -> Step {
        guard now + self.task.limits.pollSeconds <= self.deadline else {
            let minutes = Int(self.task.limits.readySeconds / 60)
            let status = self.lastStatus.isEmpty ? "not there" : self.lastStatus
            return .fail(
                "the RDS instance \(self.identifier) is still \(status) after \(minutes) minutes",
                advice: "Run the same deploy again later: it goes on with this instance.")
        }
        self.phase = .waiting
        return Step(.wait(seconds: self.task.limits.pollSeconds), says: sentence)
    }

    // Answers

    private func failed(_ failure: ProviderCallFailure) -> Step {
        let later = "Run the same deploy again: an instance that was made is found by its name."
        switch failure {
        case .refused(let status, let message):
            let advice = Self.refusal(failure)?.advice
            let said = message.isEmpty ? "status \(status)" : message
            return .fail("Amazon RDS refused: \(said)", advice: advice)
        case .unknown(let reason), .unanswered(let reason):
            return .fail("Amazon RDS does not answer: \(reason)", advice: later)
        case .busy(let seconds):
            return .fail(
                "Amazon RDS wants us to wait for \(Int(seconds)) seconds", advice: later)
        case .cancelled:
            return .fail("stopped while Amazon RDS was asked", advice: later)
        }
    }

    private static func refusal(_ failure: ProviderCallFailure) -> RDSRefusal? {
        guard case .refused(_, let message) = failure else { return nil }
        return RDSRefusal(description: message)
    }

    // Small parts

    private var identifier: String { self.task.reference.identifier }

    private var keyTag: String { "\(self.task.key?.name ?? "")-\(self.task.salt)" }

    private var ownPassword: ProviderSecret? {
        self.task.key?.password(
            region: self.task.region, identifier: self.identifier, salt: self.task.salt)
    }

    private func project(_ instance: RDSInstance?) -> ProviderProject {
        ProviderProject(
            provider: .rds, id: instance?.identifier, name: self.identifier,
            region: self.task.region)
    }

    private mutating func send(
        _ request: RDSRequest,
        then phase: Phase,
        says sentence: String? = nil
    ) -> Step {
        self.phase = phase
        let action = ProviderAction.send(request.call) { try RDSInstance(answer: $0.body) }
        return Step(action, says: sentence)
    }

    private mutating func note(_ note: ProviderNote, _ instance: RDSInstance) -> Step {
        self.phase = .noting(instance)
        return Step(.note(note))
    }

    // The end

    private func database(
        _ instance: RDSInstance,
        _ endpoint: RDSInstance.Endpoint
    ) -> ProviderDatabase {
        let address = self.address(instance, endpoint)
        var keywords = address.keywords
        keywords["sslrootcert"] = self.task.certificateFile
        let label = instance.isPublic ? "direct" : "direct, inside its network"
        let password =
            self.task.password ?? (address.user == instance.user ? self.kept(instance) : nil)
        return ProviderDatabase(
            project: self.project(instance), keywords: keywords,
            password: password ?? ProviderSecret(""), isNew: self.isNew,
            connectionStrings: [.init(label: label, url: address.url)])
    }

    private func address(
        _ instance: RDSInstance,
        _ endpoint: RDSInstance.Endpoint
    ) -> PostgresAddress {
        PostgresAddress(
            host: endpoint.host, port: endpoint.port,
            user: self.task.reference.user ?? instance.user,
            database: self.task.reference.database ?? instance.database ?? "postgres",
            sslMode: self.task.certificateFile == nil ? "require" : "verify-full")
    }

    /// The password that an instance was made with, where it was derived from our key.
    private func kept(_ instance: RDSInstance) -> ProviderSecret? {
        guard let key = self.task.key, let tag = instance.tags[Self.keyTag] else { return nil }
        let parts = tag.split(separator: "-", maxSplits: 1).map(String.init)
        guard parts.count == 2, parts[0] == key.name else { return nil }
        return key.password(
            region: self.task.region, identifier: instance.identifier, salt: parts[1])
    }
}
