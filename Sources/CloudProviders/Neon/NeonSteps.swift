/// The rows of ``NeonMachine``'s table, from the reference to a project with an id.
extension NeonMachine {
    func search(cursor: String?) -> Step {
        NeonCalls.projects(named: self.name, organization: self.organization, cursor: cursor)
    }

    func searched(
        _ search: Search, _ seen: [NeonReply.Project], _ page: NeonReply.Projects, _ number: Int
    ) -> (Phase, Step) {
        // The search looks for parts of names; ours must be the whole.
        let named = seen.filter { $0.name == self.name }
        // Neon repeats the last cursor on an empty page.
        if let cursor = page.pagination?.cursor, !cursor.isEmpty, !page.projects.isEmpty {
            guard number < Self.maximumPages else {
                return (.ended, .fail("Neon lists more projects than can be searched by name"))
            }
            return (
                .searching(search, seen: named, page: number + 1), self.search(cursor: cursor)
            )
        }
        switch search {
        case .finding: return self.found(named)
        case .looking(let looks, _, let reason): return self.looked(named, looks, reason)
        }
    }

    private func found(_ named: [NeonReply.Project]) -> (Phase, Step) {
        guard named.count < 2 else { return self.several(named) }
        guard let project = named.first else {
            let new = self.described(id: nil, region: self.request.reference.options["region"])
            switch self.goal {
            case .survey: return (.ended, Step(.surveyed(.wouldCreate(new))))
            case .prepare: return (.announcing, Step(.note(.creating(new))))
            }
        }
        switch (self.request.reference.place, self.goal) {
        case (.new, .prepare): return (.recalling(project), Step(.recall(self.described(project))))
        case (.new, .survey):
            let state = "found; taken if an earlier run made it, else refused"
            return (.ended, Step(.surveyed(.existing(self.described(project), state: state))))
        case (.named, _), (.existing, _): return self.adopt(project)
        }
    }

    private func several(_ named: [NeonReply.Project]) -> (Phase, Step) {
        let ids = named.prefix(10).map { Printable.text($0.id, atMost: 64) }
        return (
            .ended,
            .fail(
                "\(named.count) Neon projects are named \(self.name)",
                advice: "Name one by its id: \(ids.joined(separator: ", ")).")
        )
    }

    func recalled(_ project: NeonReply.Project, _ isOurs: Bool) -> (Phase, Step) {
        guard isOurs else {
            return (
                .ended,
                .fail(
                    "there is a Neon project named \(self.name) already",
                    advice: "To deploy into it, write neon:\(Printable.text(project.id)).")
            )
        }
        return self.adopt(project)
    }

    func adopt(_ project: NeonReply.Project) -> (Phase, Step) {
        switch self.goal {
        case .survey:
            let state = "found"
            return (
                .ended, Step(.surveyed(.existing(self.described(project), state: state)))
            )
        case .prepare: return self.note(project, isNew: false)
        }
    }

    func create() -> (Phase, Step) {
        let options = self.request.reference.options
        // A source that is newer than Neon's default could not be restored into it.
        let version = options["version"].flatMap { Int($0) } ?? self.request.sourceMajor
        let project = NeonNewProject(
            name: self.name, region: options["region"],
            version: version.flatMap { Self.versions.contains($0) ? $0 : nil },
            organization: self.organization)
        var step = NeonCalls.create(project)
        step.says = "Creating the Neon project \(self.name)"
        return (.creating, step)
    }

    func note(
        _ project: NeonReply.Project, isNew: Bool, wasUnanswered: Bool = false
    ) -> (Phase, Step) {
        guard NeonStatus.isIdentifier(project.id) else {
            return (.ended, .fail("Neon answered with a project that has no usable id"))
        }
        let described = self.described(project)
        let verb =
            wasUnanswered ? "was made although no answer came" : isNew ? "made" : "found"
        return (
            .noting(Entry(project: project, isNew: isNew)),
            Step(
                .note(isNew ? .created(described) : .adopted(described)),
                says: "Neon project \(project.id) \(verb)")
        )
    }

    func look(_ looks: Int, _ reason: String) -> (Phase, Step) {
        let seconds = self.limits.firstBackOffSeconds * Double(1 << looks)
        let search = Search.looking(looks: looks, isWaiting: true, reason: reason)
        return (.searching(search, seen: [], page: 1), Step(.wait(seconds: seconds)))
    }

    private func looked(
        _ named: [NeonReply.Project], _ looks: Int, _ reason: String
    ) -> (Phase, Step) {
        guard named.count < 2 else { return self.several(named) }
        if let project = named.first {
            return self.note(project, isNew: true, wasUnanswered: true)
        }
        guard looks < Self.maximumLooks else {
            // Asking again could make a second one, which somebody would pay for.
            return (
                .ended,
                .fail(
                    "Neon did not say whether it made the project: \(reason)",
                    advice: "Run the deploy again: a project that was made is found by its name.")
            )
        }
        return self.look(looks + 1, reason)
    }

    func described(_ project: NeonReply.Project) -> ProviderProject {
        self.described(
            id: project.id, name: project.name,
            region: project.region.map { Printable.text($0, atMost: 64) })
    }

    private func described(id: String?, name: String? = nil, region: String?) -> ProviderProject {
        ProviderProject(
            provider: .neon, id: id, name: Printable.text(name ?? self.name, atMost: 256),
            region: region)
    }
}
