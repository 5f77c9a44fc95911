/// The rows of ``SupabaseMachine``'s table, from a project with an id to a way in.
extension SupabaseMachine {
    func check(_ found: Found, isNew: Bool, wasWoken: Bool) -> (Phase, Step) {
        (
            .checking(found, isNew: isNew, wasWoken: wasWoken, isWaiting: false),
            SupabaseCalls.project(found.ref)
        )
    }

    mutating func checked(
        _ found: Found, isNew: Bool, wasWoken: Bool, _ project: SupabaseReply.Project, now: Double
    ) -> (Phase, Step) {
        guard let current = Self.read(project, name: found.name), current.ref == found.ref else {
            return Self.noReference
        }
        switch (SupabaseStatus(current.status), wasWoken) {
        case (.ready, _): return self.askHealth(current, isNew)
        case (.paused, false):
            var step = SupabaseCalls.restore(current.ref)
            step.says = "Waking the paused Supabase project \(current.ref)"
            return (.restoring(current), step)
        case (.failed, _):
            return (
                .ended,
                .fail(
                    "the Supabase project \(current.ref) is \(current.status)",
                    advice: "Delete or restore it in Supabase's dashboard.")
            )
        case (.waiting, _), (.paused, true):
            let next = Phase.checking(
                current, isNew: isNew, wasWoken: wasWoken, isWaiting: true)
            return self.pause(next, "the project is \(current.status)", now: now)
        }
    }

    func askHealth(_ found: Found, _ isNew: Bool) -> (Phase, Step) {
        (.health(found, isNew: isNew, isWaiting: false), SupabaseCalls.health(found.ref))
    }

    mutating func examined(
        _ found: Found, _ isNew: Bool, _ services: [SupabaseReply.Service], now: Double
    ) -> (Phase, Step) {
        guard SupabaseStatus.isHealthy(services) else {
            let states = services.prefix(8).map { "\($0.name) is \($0.status)" }
            let why = Printable.text(states.joined(separator: ", "))
            return self.pause(.health(found, isNew: isNew, isWaiting: true), why, now: now)
        }
        return (
            .reaching(found, isNew: isNew), Step(.reach(host: found.host, port: found.port))
        )
    }

    /// Waits for the next poll, until the deadline.
    private mutating func pause(_ next: Phase, _ why: String, now: Double) -> (Phase, Step) {
        guard now < self.deadline else {
            return (
                .ended,
                .fail(
                    "Supabase was not ready in \(Int(self.limits.readySeconds)) s: \(why)",
                    advice: "Run the deploy again when the dashboard shows the project healthy.")
            )
        }
        let seconds = self.limits.poll(self.polls)
        self.polls += 1
        let isNews = self.polls == 1 || self.polls.isMultiple(of: 12)
        return (
            next,
            Step(.wait(seconds: seconds), says: isNews ? "Waiting for Supabase: \(why)" : nil)
        )
    }

    func reached(_ found: Found, _ isNew: Bool, _ isOpen: Bool) -> (Phase, Step) {
        guard isOpen else {
            var step = SupabaseCalls.poolers(found.ref)
            step.says =
                "The direct host takes no connections from here (it is IPv6 only): "
                + "the session pooler is taken"
            return (.pooling(found, isNew: isNew), step)
        }
        return self.enter(
            found, isNew, Route(host: found.host, port: found.port, userSuffix: "", isPooler: false)
        )
    }

    func pooled(
        _ found: Found, _ isNew: Bool, _ poolers: [SupabaseReply.Pooler]
    ) -> (Phase, Step) {
        guard let pooler = SupabaseStatus.sessionPooler(of: poolers) else {
            return (
                .ended,
                .fail(
                    "the Supabase project \(found.ref) has no pooler, and its direct host takes "
                        + "no connections from here",
                    advice: "Deploy from a machine with IPv6, or add the IPv4 add-on.")
            )
        }
        // The user names the project behind a dot: `postgres.REF`.
        let suffix = pooler.user.firstIndex(of: ".").map { String(pooler.user[$0...]) } ?? ""
        return self.enter(
            found, isNew,
            Route(
                host: pooler.host, port: pooler.port, userSuffix: suffix, isPooler: true))
    }

    private func enter(_ found: Found, _ isNew: Bool, _ route: Route) -> (Phase, Step) {
        switch self.goal {
        case .prepare(let password) where isNew:
            return self.end(found, isNew, route, user: Self.owner, password: password)
        case .prepare, .survey:
            if let password = self.request.password {
                return self.end(found, isNew, route, user: Self.owner, password: password)
            }
            var step = SupabaseCalls.loginRole(found.ref)
            step.says = "Asking Supabase for a temporary login role"
            return (.loggingIn(found, isNew: isNew, route), step)
        }
    }

    func loggedIn(
        _ found: Found, _ isNew: Bool, _ route: Route, _ role: SupabaseReply.LoginRole
    ) -> (Phase, Step) {
        self.end(
            found, isNew, route, user: role.role, password: ProviderSecret(role.password),
            seconds: role.seconds ?? 300)
    }

    private func end(
        _ found: Found, _ isNew: Bool, _ route: Route, user: String, password: ProviderSecret,
        seconds: Int? = nil
    ) -> (Phase, Step) {
        let login = user + route.userSuffix
        let address = PostgresAddress(
            host: route.host, port: route.port, user: login, database: Self.database,
            sslMode: "require")
        guard address.isPrintable else {
            return (.ended, .fail("Supabase named a host or a user that is none"))
        }
        var shown = address
        shown.user = Self.owner + route.userSuffix
        let label = route.isPooler ? "session pooler" : "direct"
        let database = ProviderDatabase(
            project: self.project(found), keywords: address.keywords, password: password,
            sessionRole: user == Self.owner ? nil : Self.owner, passwordSeconds: seconds,
            isNew: isNew, connectionStrings: [.init(label: label, url: shown.url)])
        return (.ended, Step(.finish(database), says: "Supabase is ready"))
    }

    /// A sentence for a request that failed, by what it was for.
    func explain(_ failure: ProviderCallFailure, in phase: Phase) -> ProviderFailure {
        let deed =
            switch phase {
            case .finding, .looking: "list the projects"
            case .opening, .checking: "show the project"
            case .choosing: "list the organizations"
            case .creating: "create the project"
            case .restoring: "wake the project"
            case .health: "show the project's health"
            case .pooling: "show the pooler"
            case .loggingIn: "make a temporary login role"
            case .recalling, .announcing, .noting, .reaching, .ended: "answer"
            }
        let explained = failure.explained(provider: .supabase, deed: deed)
        if case .loggingIn = phase {
            return ProviderFailure(
                explained.message,
                advice: "Set SUPABASE_DB_PASSWORD to the password of the role postgres.")
        }
        return explained
    }
}
