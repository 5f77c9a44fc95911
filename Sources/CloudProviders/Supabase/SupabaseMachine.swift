/// Supabase's protocol: from a reference to a database that takes connections. Pure.
///
/// | state | does | next |
/// |---|---|---|
/// | finding | `GET /v1/projects` | by name: recalling (`new`), noting, or choosing |
/// | opening | `GET /v1/projects/{ref}` | noting |
/// | recalling | asks the journal | noting if we began it, else refused: the name is taken |
/// | choosing | `GET /v1/organizations` | announcing; or, as a survey, the end |
/// | announcing | tells the journal that we create | creating |
/// | creating | `POST /v1/projects`, never twice | noting; looking if it may have been done |
/// | looking | waits, `GET /v1/projects`, three times | noting if it is there, else failed |
/// | noting | tells the journal of the id | checking |
/// | checking | `GET /v1/projects/{ref}` until ACTIVE_HEALTHY | health; restoring if INACTIVE |
/// | restoring | `POST /v1/projects/{ref}/restore`, once | checking |
/// | health | `GET …/health?services=db&services=pooler` until both are up | reaching |
/// | reaching | tries the direct host | pooling if it cannot be reached, else loggingIn |
/// | pooling | `GET …/config/database/pooler` | loggingIn, on the session pooler |
/// | loggingIn | `POST …/cli/login-role` where no password is known | the end |
///
/// INIT_FAILED, REMOVED, RESTORE_FAILED and PAUSE_FAILED end it; so does the deadline.
///
/// **Passwords.** A project is created with a random password that only this process knows. It is
/// not stored: a run that dies leaves a project that the next run finds by its name and enters by
/// a temporary login role, as it does any project whose password it was not told.
package struct SupabaseMachine: ProviderMachine {
    package typealias Step = ProviderStep<SupabaseReply>
    typealias Event = ProviderEvent<SupabaseReply>

    /// What the machine is for.
    package enum Goal: Sendable, Hashable {
        /// Say what would be done.
        case survey
        /// Do it. A project that must be made gets this password.
        case prepare(newPassword: ProviderSecret)
    }

    /// Where a new project goes if nobody says where.
    package static let defaultRegion = "us-east-1"
    /// Looks for a project whose creation was not answered.
    static let maximumLooks = 3
    /// The role that owns what a deploy makes.
    static let owner = "postgres"
    /// The database that every project has.
    static let database = "postgres"

    enum Phase: Sendable, Hashable {
        case finding
        case opening
        case recalling(Found)
        case choosing
        case announcing(organization: String)
        case creating
        case looking(looks: Int, isWaiting: Bool, reason: String)
        case noting(Found, isNew: Bool)
        case checking(Found, isNew: Bool, wasWoken: Bool, isWaiting: Bool)
        case restoring(Found)
        case health(Found, isNew: Bool, isWaiting: Bool)
        case reaching(Found, isNew: Bool)
        case pooling(Found, isNew: Bool)
        case loggingIn(Found, isNew: Bool, Route)
        case ended
    }

    /// A project that exists.
    struct Found: Sendable, Hashable {
        var ref: String
        var name: String
        var region: String?
        var status: String
        var host: String
        var port: Int
    }

    /// The way in.
    struct Route: Sendable, Hashable {
        var host: String
        var port: Int
        /// Behind the user: the pooler finds the project by `.REF`.
        var userSuffix: String
        /// Whether it is the session pooler.
        var isPooler: Bool
    }

    let request: ProviderRequest
    let goal: Goal
    let limits: ProviderLimits
    var phase = Phase.finding
    /// When the project must be ready, in the shell's seconds.
    var deadline = 0.0
    /// Polls so far, which lengthens the waits between them.
    var polls = 0

    /// Creates a machine.
    package init(_ request: ProviderRequest, goal: Goal, limits: ProviderLimits) {
        self.request = request
        self.goal = goal
        self.limits = limits
    }

    /// The name of the project that this request may make.
    var name: String { self.request.reference.options["name"] ?? self.request.name }
    /// Its region.
    var region: String { self.request.reference.options["region"] ?? Self.defaultRegion }

    package mutating func start(now: Double) -> Step {
        self.deadline = now + self.limits.readySeconds
        switch self.request.reference.place {
        case .named, .new:
            self.phase = .finding
            return SupabaseCalls.projects()
        case .existing(let ref, _):
            guard SupabaseStatus.isReference(ref) else {
                return .fail("'\(Printable.text(ref))' is no ref of a Supabase project")
            }
            self.phase = .opening
            return SupabaseCalls.project(ref)
        }
    }

    package mutating func receive(
        _ event: ProviderEvent<SupabaseReply>, now: Double
    ) -> Step {
        let (next, step) = self.transition(event, now: now)
        self.phase = next
        return step
    }

    private mutating func transition(_ event: Event, now: Double) -> (Phase, Step) {
        switch event {
        case .answered(let reply): self.answered(reply, now: now)
        case .failed(let failure): self.failed(failure)
        case .waited: self.waited()
        case .known(let isOurs): self.known(isOurs)
        case .noted: self.noted()
        case .reached(let isOpen): self.reached(isOpen)
        }
    }

    private mutating func answered(_ reply: SupabaseReply, now: Double) -> (Phase, Step) {
        switch reply {
        case .projects(let projects):
            if case .finding = self.phase { return self.found(projects) }
            guard case .looking(let looks, false, let reason) = self.phase else { break }
            return self.looked(projects, looks, reason)
        case .project(let project):
            if case .opening = self.phase { return self.opened(project) }
            if case .creating = self.phase { return self.created(project) }
            guard case .checking(let found, let isNew, let wasWoken, false) = self.phase else {
                break
            }
            return self.checked(found, isNew: isNew, wasWoken: wasWoken, project, now: now)
        case .organizations(let organizations):
            guard case .choosing = self.phase else { break }
            return self.chosen(organizations)
        case .health(let services):
            guard case .health(let found, let isNew, false) = self.phase else { break }
            return self.examined(found, isNew, services, now: now)
        case .poolers(let poolers):
            guard case .pooling(let found, let isNew) = self.phase else { break }
            return self.pooled(found, isNew, poolers)
        case .loginRole(let role):
            guard case .loggingIn(let found, let isNew, let route) = self.phase else { break }
            return self.loggedIn(found, isNew, route, role)
        case .done:
            guard case .restoring(let found) = self.phase else { break }
            return self.check(found, isNew: false, wasWoken: true)
        }
        return Self.astray
    }

    private func failed(_ failure: ProviderCallFailure) -> (Phase, Step) {
        switch (self.phase, failure) {
        case (.creating, .unknown(let reason)): self.look(1, reason)
        // Whether it is waking is seen by asking for its status.
        case (.restoring(let found), .unknown): self.check(found, isNew: false, wasWoken: true)
        case (let phase, let failure): (.ended, Step(.fail(self.explain(failure, in: phase))))
        }
    }

    private func waited() -> (Phase, Step) {
        switch self.phase {
        case .looking(let looks, true, let reason):
            let next = Phase.looking(looks: looks, isWaiting: false, reason: reason)
            return (next, SupabaseCalls.projects())
        case .checking(let found, let isNew, let wasWoken, true):
            return self.check(found, isNew: isNew, wasWoken: wasWoken)
        case .health(let found, let isNew, true): return self.askHealth(found, isNew)
        case .finding, .opening, .recalling, .choosing, .announcing, .creating, .looking, .noting,
            .checking, .restoring, .health, .reaching, .pooling, .loggingIn, .ended:
            return Self.astray
        }
    }

    private func known(_ isOurs: Bool) -> (Phase, Step) {
        guard case .recalling(let found) = self.phase else { return Self.astray }
        return self.recalled(found, isOurs)
    }

    private func noted() -> (Phase, Step) {
        switch self.phase {
        case .announcing(let organization): return self.create(in: organization)
        case .noting(let found, let isNew): return self.check(found, isNew: isNew, wasWoken: false)
        case .finding, .opening, .recalling, .choosing, .creating, .looking, .checking, .restoring,
            .health, .reaching, .pooling, .loggingIn, .ended:
            return Self.astray
        }
    }

    private func reached(_ isOpen: Bool) -> (Phase, Step) {
        guard case .reaching(let found, let isNew) = self.phase else { return Self.astray }
        return self.reached(found, isNew, isOpen)
    }

    /// A machine asks for one thing at a time, so only a bug of ours gets here.
    private static let astray: (Phase, Step) = (
        .ended, .fail("Supabase was asked one thing and answered another")
    )
}
