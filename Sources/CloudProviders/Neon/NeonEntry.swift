/// The rows of ``NeonMachine``'s table, from a project with an id to a way in.
extension NeonMachine {
    func settled(_ entry: Entry, _ operations: [NeonReply.Operation]) -> (Phase, Step) {
        let running = operations.filter { NeonStatus($0.status) == .running }
        if entry.isNew, let failed = operations.first(where: { NeonStatus($0.status) == .failed }) {
            return self.failed(entry, failed)
        }
        return self.operate(entry, Array(running.prefix(Self.maximumOperations)))
    }

    func operate(_ entry: Entry, _ operations: [NeonReply.Operation]) -> (Phase, Step) {
        guard let first = operations.first else {
            return entry.branch == nil ? self.branch(entry) : self.readDatabases(entry)
        }
        guard NeonStatus.isIdentifier(first.id) else {
            return (.ended, .fail("Neon answered with an operation that has no usable id"))
        }
        return (
            .operating(entry, operations, isWaiting: false),
            NeonCalls.operation(entry.project.id, first.id)
        )
    }

    mutating func operated(
        _ entry: Entry, _ operations: [NeonReply.Operation], _ operation: NeonReply.Operation,
        now: Double
    ) -> (Phase, Step) {
        switch NeonStatus(operation.status) {
        case .finished: return self.operate(entry, Array(operations.dropFirst()))
        case .failed: return self.failed(entry, operation)
        case .running:
            let what = Printable.text(operation.action ?? "an operation", atMost: 64)
            let why = "\(what) is \(Printable.text(operation.status, atMost: 64))"
            guard now < self.deadline else {
                return (
                    .ended,
                    .fail(
                        "Neon was not ready in \(Int(self.limits.readySeconds)) s: \(why)",
                        advice: "Run the deploy again when Neon's console shows it finished.")
                )
            }
            let seconds = self.limits.poll(self.polls)
            self.polls += 1
            let isNews = self.polls == 1 || self.polls.isMultiple(of: 12)
            return (
                .operating(entry, operations, isWaiting: true),
                Step(.wait(seconds: seconds), says: isNews ? "Waiting for Neon: \(why)" : nil)
            )
        }
    }

    private func failed(_ entry: Entry, _ operation: NeonReply.Operation) -> (Phase, Step) {
        let what = Printable.text(operation.action ?? "an operation", atMost: 64)
        let status = Printable.text(operation.status, atMost: 64)
        return (
            .ended,
            .fail(
                "in the Neon project \(entry.project.id) \(what) ended as \(status)",
                advice: "Look at the project in Neon's console; delete it to start again.")
        )
    }

    func branch(_ entry: Entry) -> (Phase, Step) {
        (.branching(entry, isWaiting: false), NeonCalls.branches(entry.project.id))
    }

    func branched(_ entry: Entry, _ branches: [NeonReply.Branch]) -> (Phase, Step) {
        guard let wanted = self.wantedBranch else {
            guard let main = branches.first(where: { $0.isDefault == true }) ?? branches.first
            else {
                return (.ended, .fail("the Neon project \(entry.project.id) has no branch"))
            }
            return self.take(entry, main, [])
        }
        if let branch = branches.first(where: { $0.id == wanted || $0.name == wanted }) {
            return self.take(entry, branch, [])
        }
        var step = NeonCalls.createBranch(entry.project.id, name: wanted)
        step.says = "Creating the branch \(wanted) from the default branch"
        return (.growing(entry), step)
    }

    func lookForBranch(_ entry: Entry, _ reason: String) -> (Phase, Step) {
        var entry = entry
        entry.looks += 1
        guard entry.looks <= Self.maximumLooks else {
            return (
                .ended,
                .fail(
                    "Neon did not say whether it made the branch: \(reason)",
                    advice: "Run the deploy again: a branch that was made is found by its name.")
            )
        }
        // Names of branches are unique in a project: asking again cannot make a second one.
        let seconds = self.limits.firstBackOffSeconds * Double(1 << entry.looks)
        return (.branching(entry, isWaiting: true), Step(.wait(seconds: seconds)))
    }

    func grown(
        _ entry: Entry, _ branch: NeonReply.Branch, _ operations: [NeonReply.Operation]
    ) -> (Phase, Step) {
        if let failed = operations.first(where: { NeonStatus($0.status) == .failed }) {
            return self.failed(entry, failed)
        }
        return self.take(
            entry, branch, operations.filter { NeonStatus($0.status) == .running })
    }

    private func take(
        _ entry: Entry, _ branch: NeonReply.Branch, _ operations: [NeonReply.Operation]
    ) -> (Phase, Step) {
        guard NeonStatus.isIdentifier(branch.id) else {
            return (.ended, .fail("Neon answered with a branch that has no usable id"))
        }
        var entry = entry
        entry.branch = branch
        return self.operate(entry, Array(operations.prefix(Self.maximumOperations)))
    }

    private func readDatabases(_ entry: Entry) -> (Phase, Step) {
        guard let branch = entry.branch else { return self.branch(entry) }
        return (.reading(entry), NeonCalls.databases(entry.project.id, branch.id))
    }

    func read(_ entry: Entry, _ databases: [NeonReply.Database]) -> (Phase, Step) {
        guard let branch = entry.branch else { return self.branch(entry) }
        let wanted = self.request.reference.options["database"]
        let fitting = databases.filter { wanted == nil || $0.name == wanted }
        let usual = fitting.first { $0.name == "neondb" }
        guard let database = usual ?? (fitting.count == 1 ? fitting.first : nil) else {
            let names = databases.prefix(20).map { Printable.text($0.name, atMost: 64) }
            return (
                .ended,
                .fail(
                    wanted == nil
                        ? "the Neon branch has \(databases.count) databases"
                        : "the Neon branch has no database of that name",
                    advice: "Name one: neon:…?database=…; there are "
                        + names.joined(separator: ", ") + ".")
            )
        }
        let role = self.request.reference.options["role"] ?? database.owner
        return (
            .connecting(entry),
            NeonCalls.connection(
                entry.project.id, branch.id, database: database.name, role: role)
        )
    }

    func connected(_ entry: Entry, _ uri: String) -> (Phase, Step) {
        guard let (address, password) = NeonStatus.address(uri) else {
            return (.ended, .fail("Neon answered with a connection URI that cannot be used"))
        }
        var strings = [
            ProviderDatabase.ConnectionString(label: "direct", url: address.url)
        ]
        if let pooler = NeonStatus.poolerHost(address.host) {
            var pooled = address
            pooled.host = pooler
            strings.append(.init(label: "pooler, transaction mode", url: pooled.url))
        }
        let database = ProviderDatabase(
            project: self.described(entry.project), keywords: address.keywords,
            password: password, isNew: entry.isNew, connectionStrings: strings)
        return (.ended, Step(.finish(database), says: "Neon is ready"))
    }

    /// A sentence for a request that failed, by what it was for.
    func explain(_ failure: ProviderCallFailure, in phase: Phase) -> ProviderFailure {
        let deed =
            switch phase {
            case .searching: "list the projects"
            case .opening: "show the project"
            case .creating: "create the project"
            case .settling, .operating: "show the project's operations"
            case .branching: "list the branches"
            case .growing: "create the branch"
            case .reading: "list the databases"
            case .connecting: "tell how to connect"
            case .recalling, .announcing, .noting, .ended: "answer"
            }
        let explained = failure.explained(provider: .neon, deed: deed)
        guard case .refused(400, let message) = failure, message.contains("org_id") else {
            return explained
        }
        return ProviderFailure(
            explained.message,
            advice: "A personal key needs the organization: neon:?org=org-…")
    }
}
