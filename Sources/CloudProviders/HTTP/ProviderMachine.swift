/// One provider's protocol: pure. An event in, a step out; a shell (``ProviderShell``) performs it.
package protocol ProviderMachine: Sendable {
    /// What the provider may answer, made from JSON.
    associatedtype Reply: Sendable

    /// The first step.
    ///
    /// - Parameter now: Seconds that only go forward.
    /// - Returns: What the shell does first.
    mutating func start(now: Double) -> ProviderStep<Reply>

    /// The next step. Never called again after `finish`, `surveyed` or `fail`.
    mutating func receive(_ event: ProviderEvent<Reply>, now: Double) -> ProviderStep<Reply>
}

/// What the shell does next, and what it tells the user before.
package struct ProviderStep<Reply: Sendable>: Sendable {
    /// The deed.
    package var action: ProviderAction<Reply>
    /// A sentence for the user, if there is news.
    package var says: String?

    /// Creates a step.
    package init(_ action: ProviderAction<Reply>, says: String? = nil) {
        self.action = action
        self.says = says
    }

    package static func fail(_ message: String, advice: String? = nil) -> ProviderStep {
        ProviderStep(.fail(ProviderFailure(message, advice: advice)))
    }
}

/// A deed of the shell. Each but the last three is answered by one event.
package enum ProviderAction<Reply: Sendable>: Sendable {
    /// Send the request: `answered` or `failed`.
    case send(ProviderCall, read: @Sendable (ProviderAnswer) throws -> Reply)
    /// Wait: `waited`.
    case wait(seconds: Double)
    /// Ask the journal whether we began to make this: `known`.
    case recall(ProviderProject)
    /// Tell the journal: `noted`.
    case note(ProviderNote)
    /// Try to open a TCP connection: `reached`.
    case reach(host: String, port: Int)
    /// The end of a preparation.
    case finish(ProviderDatabase)
    /// The end of a survey.
    case surveyed(ProviderSurvey)
    /// The end of either.
    case fail(ProviderFailure)
}

/// What the journal is told.
package enum ProviderNote: Sendable, Hashable {
    case creating(ProviderProject)
    case created(ProviderProject)
    case adopted(ProviderProject)
}

/// What became of a deed.
package enum ProviderEvent<Reply: Sendable>: Sendable {
    case answered(Reply)
    case failed(ProviderCallFailure)
    case waited
    case known(Bool)
    case noted
    case reached(Bool)
}

/// The end of a machine.
package enum ProviderEnd: Sendable {
    case prepared(ProviderDatabase)
    case surveyed(ProviderSurvey)
}

/// Performs the steps of a machine until its end. It decides nothing.
package struct ProviderShell: Sendable {
    package let http: ProviderHTTP
    package let clock: ProviderClock
    package let reach: @Sendable (_ host: String, _ port: Int) async -> Bool
    package let journal: any ProviderJournal
    package let progress: @Sendable (String) -> Void

    package init(
        http: ProviderHTTP,
        clock: ProviderClock,
        reach: @escaping @Sendable (_ host: String, _ port: Int) async -> Bool,
        journal: any ProviderJournal,
        progress: @escaping @Sendable (String) -> Void
    ) {
        self.http = http
        self.clock = clock
        self.reach = reach
        self.journal = journal
        self.progress = progress
    }

    package init(
        _ http: ProviderHTTP, _ settings: ProviderSettings, journal: any ProviderJournal,
        progress: @escaping @Sendable (String) -> Void
    ) {
        self.init(
            http: http, clock: settings.clock, reach: settings.reach, journal: journal,
            progress: progress)
    }

    /// Runs a machine whose goal is a database.
    package func prepare(
        _ machine: some ProviderMachine
    ) async throws(ProviderFailure) -> ProviderDatabase {
        switch try await self.run(machine) {
        case .prepared(let database): return database
        case .surveyed: throw ProviderFailure("the provider was asked and not told to act")
        }
    }

    /// Runs a machine whose goal is a survey.
    package func survey(
        _ machine: some ProviderMachine
    ) async throws(ProviderFailure) -> ProviderSurvey {
        switch try await self.run(machine) {
        case .surveyed(let survey): return survey
        case .prepared: throw ProviderFailure("the provider acted and was asked only")
        }
    }

    /// Runs a machine from its start to its end.
    package func run<Machine: ProviderMachine>(
        _ machine: Machine
    ) async throws(ProviderFailure) -> ProviderEnd {
        var machine = machine
        var step = machine.start(now: self.clock.seconds())
        while true {
            if let sentence = step.says { self.progress(sentence) }
            let event: ProviderEvent<Machine.Reply>
            switch step.action {
            case .send(let call, let read): event = await self.send(call, read)
            case .wait(let seconds): event = try await self.wait(seconds)
            case .recall(let project): event = .known(try await self.journal.knows(project))
            case .note(let note): event = try await self.note(note)
            case .reach(let host, let port): event = .reached(await self.reach(host, port))
            case .finish(let database): return .prepared(database)
            case .surveyed(let survey): return .surveyed(survey)
            case .fail(let failure): throw failure
            }
            guard !Task.isCancelled else { throw Self.stopped }
            step = machine.receive(event, now: self.clock.seconds())
        }
    }

    private static let stopped = ProviderFailure(
        "stopped while the provider was preparing the database",
        advice: "What was created is found by its name when the deploy is run again.")

    private func send<Reply: Sendable>(
        _ call: ProviderCall, _ read: @Sendable (ProviderAnswer) throws -> Reply
    ) async -> ProviderEvent<Reply> {
        do {
            return .answered(try await self.http.send(call, read: read))
        } catch {
            return .failed(error)
        }
    }

    private func wait<Reply: Sendable>(
        _ seconds: Double
    ) async throws(ProviderFailure) -> ProviderEvent<Reply> {
        do {
            try await self.clock.sleep(seconds)
            return .waited
        } catch {
            throw Self.stopped
        }
    }

    private func note<Reply: Sendable>(
        _ note: ProviderNote
    ) async throws(ProviderFailure) -> ProviderEvent<Reply> {
        switch note {
        case .creating(let project): try await self.journal.creating(project)
        case .created(let project): try await self.journal.created(project)
        case .adopted(let project): try await self.journal.adopted(project)
        }
        return .noted
    }
}

/// The journal of a survey, which neither reads nor writes one.
package struct SurveyJournal: ProviderJournal {
    package init() {}

    package func knows(_ project: ProviderProject) -> Bool { false }

    package func creating(_ project: ProviderProject) {}

    package func created(_ project: ProviderProject) {}

    package func adopted(_ project: ProviderProject) {}
}
