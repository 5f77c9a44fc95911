/// The rows of ``SupabaseMachine``'s table, from the reference to a project with an id.
extension SupabaseMachine {
    func found(_ projects: [SupabaseReply.Project]) -> (Phase, Step) {
        let named = projects.filter { $0.name == self.name && $0.status != "REMOVED" }
        guard named.count < 2 else {
            let refs = named.compactMap(\.reference).map { Printable.text($0, atMost: 64) }
            return (
                .ended,
                .fail(
                    "\(named.count) Supabase projects are named \(self.name)",
                    advice: "Name one by its ref: \(refs.joined(separator: ", ")).")
            )
        }
        guard let project = named.first else {
            return (.choosing, SupabaseCalls.organizations())
        }
        guard let found = Self.read(project, name: self.name) else { return Self.noReference }
        switch (self.request.reference.place, self.goal) {
        case (.new, .prepare): return (.recalling(found), Step(.recall(self.project(found))))
        case (.new, .survey):
            let state = "\(found.status); taken if an earlier run made it, else refused"
            return (.ended, Step(.surveyed(.existing(self.project(found), state: state))))
        case (.named, _), (.existing, _): return self.adopt(found)
        }
    }

    func opened(_ project: SupabaseReply.Project) -> (Phase, Step) {
        guard let found = Self.read(project, name: "") else { return Self.noReference }
        return self.adopt(found)
    }

    func recalled(_ found: Found, _ isOurs: Bool) -> (Phase, Step) {
        guard isOurs else {
            return (
                .ended,
                .fail(
                    "there is a Supabase project named \(self.name) already",
                    advice: "To deploy into it, write supabase:\(found.ref).")
            )
        }
        return self.adopt(found)
    }

    private func adopt(_ found: Found) -> (Phase, Step) {
        let project = self.project(found)
        switch self.goal {
        case .survey:
            return (
                .ended, Step(.surveyed(.existing(project, state: Printable.text(found.status))))
            )
        case .prepare:
            return (
                .noting(found, isNew: false),
                Step(.note(.adopted(project)), says: "Supabase project \(found.ref) found")
            )
        }
    }

    func chosen(_ organizations: [SupabaseReply.Organization]) -> (Phase, Step) {
        let wanted = self.request.reference.options["org"]
        let fitting = organizations.filter { organization in
            guard let wanted else { return true }
            return [organization.slug, organization.id, organization.name].contains(wanted)
        }
        guard let organization = fitting.first, fitting.count == 1 else {
            let slugs = organizations.map { Printable.text($0.slug ?? $0.id, atMost: 64) }
            guard !slugs.isEmpty else {
                return (
                    .ended,
                    .fail(
                        "the token belongs to no Supabase organization",
                        advice: "Make one at https://supabase.com/dashboard/new.")
                )
            }
            return (
                .ended,
                .fail(
                    wanted == nil
                        ? "the token belongs to \(slugs.count) Supabase organizations"
                        : "the token belongs to no Supabase organization of that name",
                    advice: "Name one: supabase:new?org=…; there are "
                        + slugs.prefix(20).joined(separator: ", ") + ".")
            )
        }
        let project = ProviderProject(
            provider: .supabase, id: nil, name: self.name, region: self.region)
        switch self.goal {
        case .survey: return (.ended, Step(.surveyed(.wouldCreate(project))))
        case .prepare:
            let slug = organization.slug ?? organization.id
            return (.announcing(organization: slug), Step(.note(.creating(project))))
        }
    }

    func create(in organization: String) -> (Phase, Step) {
        guard case .prepare(let password) = self.goal else {
            return (.ended, .fail("a survey creates nothing"))
        }
        var step = SupabaseCalls.create(
            name: self.name, organization: organization, region: self.region, password: password)
        step.says = "Creating the Supabase project \(self.name) in \(self.region)"
        return (.creating, step)
    }

    func created(_ project: SupabaseReply.Project) -> (Phase, Step) {
        guard let found = Self.read(project, name: self.name) else { return Self.noReference }
        return (
            .noting(found, isNew: true),
            Step(.note(.created(self.project(found))), says: "Supabase project \(found.ref) made")
        )
    }

    func look(_ looks: Int, _ reason: String) -> (Phase, Step) {
        let seconds = self.limits.firstBackOffSeconds * Double(1 << looks)
        return (
            .looking(looks: looks, isWaiting: true, reason: reason), Step(.wait(seconds: seconds))
        )
    }

    func looked(
        _ projects: [SupabaseReply.Project], _ looks: Int, _ reason: String
    ) -> (Phase, Step) {
        let named = projects.first { $0.name == self.name && $0.status != "REMOVED" }
        if let named {
            guard let found = Self.read(named, name: self.name) else { return Self.noReference }
            // Another run may have made it, with another password: not "new" to us.
            return (
                .noting(found, isNew: false),
                Step(
                    .note(.created(self.project(found))),
                    says: "Supabase project \(found.ref) was made although no answer came")
            )
        }
        guard looks < Self.maximumLooks else {
            // Asking again could make a second one, which somebody would pay for.
            return (
                .ended,
                .fail(
                    "Supabase did not say whether it made the project: \(reason)",
                    advice: "Run the deploy again: a project that was made is found by its name.")
            )
        }
        return self.look(looks + 1, reason)
    }

    /// Reads what is needed of a project; nil if its ref is none.
    static func read(_ project: SupabaseReply.Project, name: String) -> Found? {
        guard let ref = project.reference, SupabaseStatus.isReference(ref) else { return nil }
        return Found(
            ref: ref, name: Printable.text(project.name ?? name, atMost: 256),
            region: project.region.map { Printable.text($0, atMost: 64) },
            status: Printable.text(project.status ?? "UNKNOWN", atMost: 64),
            host: project.database?.host ?? "db.\(ref).supabase.co",
            port: project.database?.port ?? 5_432)
    }

    static let noReference: (Phase, Step) = (
        .ended, .fail("Supabase answered with a project that has no usable ref")
    )

    func project(_ found: Found) -> ProviderProject {
        ProviderProject(
            provider: .supabase, id: found.ref, name: found.name, region: found.region)
    }
}
