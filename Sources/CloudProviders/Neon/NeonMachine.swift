/// Neon's protocol: from a reference to a database that takes connections. Pure.
///
/// | state | does | next |
/// |---|---|---|
/// | finding | `GET /projects?search=NAME`, all pages | recalling (`new`), noting, or announcing |
/// | opening | `GET /projects/{id}` | noting |
/// | recalling | asks the journal | noting if we began it, else refused: the name is taken |
/// | announcing | tells the journal that we create | creating |
/// | creating | `POST /projects` | noting; looking if it may have been done |
/// | looking | waits, searches again, three times | noting if it is there, else failed |
/// | noting | tells the journal of the id | settling |
/// | settling | `GET …/operations` | operating on those that run, else branching |
/// | operating | `GET …/operations/{op}` until finished | branching, or reading |
/// | branching | `GET …/branches` | reading, or growing if the named branch is missing |
/// | growing | `POST …/branches` with an endpoint | operating; branching if it may have been done |
/// | reading | `GET …/branches/{b}/databases` | connecting |
/// | connecting | `GET …/connection_uri?…&pooled=false` | the end, on the direct host |
///
/// A survey ends where the project is found or would be announced. A POST is repeated after 423,
/// 429 and 503 alone, which Neon promises to have left undone.
///
/// An operation that is failed, error or cancelled ends it; so does the deadline. An operation
/// that had failed before we came is history, and not waited for.
///
/// **Passwords.** Neon tells the password of a role by `connection_uri` whenever it is asked, so
/// none is kept: a run that dies leaves a project that the next run finds by its name and enters.
package struct NeonMachine: ProviderMachine {
    package typealias Step = ProviderStep<NeonReply>

    /// What the machine is for.
    package enum Goal: Sendable, Hashable {
        /// Say what would be done.
        case survey
        /// Do it.
        case prepare
    }

    /// Looks for a project or a branch whose creation was not answered.
    static let maximumLooks = 3
    /// Pages of a search that are read; a page has up to 400 projects.
    static let maximumPages = 10
    /// Operations that are waited for. A new project has two or three.
    static let maximumOperations = 20
    /// The versions of Postgres that Neon offers.
    static let versions = 14...18

    /// Why projects are listed.
    enum Search: Sendable, Hashable {
        case finding
        case looking(looks: Int, isWaiting: Bool, reason: String)
    }

    /// What becomes of a project that has an id.
    struct Entry: Sendable, Hashable {
        var project: NeonReply.Project
        var isNew: Bool
        /// The branch, once it is known.
        var branch: NeonReply.Branch?
        /// Times that a branch was asked for without an answer.
        var looks = 0
    }

    enum Phase: Sendable, Hashable {
        case searching(Search, seen: [NeonReply.Project], page: Int)
        case opening
        case recalling(NeonReply.Project)
        case announcing
        case creating
        case noting(Entry)
        case settling(Entry)
        case operating(Entry, [NeonReply.Operation], isWaiting: Bool)
        case branching(Entry, isWaiting: Bool)
        case growing(Entry)
        case reading(Entry)
        case connecting(Entry)
        case ended
    }

    let request: ProviderRequest
    let goal: Goal
    let limits: ProviderLimits
    var phase = Phase.opening
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
    /// The organization, for tokens that belong to a person.
    var organization: String? { self.request.reference.options["org"] }
    /// The branch that the user named, by name or id.
    var wantedBranch: String? {
        switch self.request.reference.place {
        case .existing(_, let branch): branch
        case .named, .new: nil
        }
    }

    package mutating func start(now: Double) -> Step {
        self.deadline = now + self.limits.readySeconds
        if let version = self.request.reference.options["version"] {
            guard let number = Int(version), Self.versions.contains(number) else {
                let range = "\(Self.versions.lowerBound) to \(Self.versions.upperBound)"
                return .fail("Neon has the Postgres versions \(range)")
            }
        }
        switch self.request.reference.place {
        case .named, .new:
            self.phase = .searching(.finding, seen: [], page: 1)
            return self.search(cursor: nil)
        case .existing(let id, _):
            guard NeonStatus.isIdentifier(id) else {
                return .fail("'\(Printable.text(id))' is no id of a Neon project")
            }
            self.phase = .opening
            return NeonCalls.project(id)
        }
    }

    package mutating func receive(_ event: ProviderEvent<NeonReply>, now: Double) -> Step {
        let (next, step) =
            switch event {
            case .answered(let reply): self.answered(reply, now: now)
            case .failed(let failure): self.failed(failure)
            case .waited: self.waited()
            case .known(let isOurs): self.known(isOurs)
            case .noted: self.noted()
            case .reached: Self.astray
            }
        self.phase = next
        return step
    }

    private mutating func answered(_ reply: NeonReply, now: Double) -> (Phase, Step) {
        switch reply {
        case .projects(let page):
            guard case .searching(let search, let seen, let number) = self.phase else { break }
            return self.searched(search, seen + page.projects, page, number)
        case .project(let project):
            if case .opening = self.phase { return self.adopt(project) }
            guard case .creating = self.phase else { break }
            return self.note(project, isNew: true)
        case .operations(let operations):
            guard case .settling(let entry) = self.phase else { break }
            return self.settled(entry, operations)
        case .operation(let operation):
            guard case .operating(let entry, let all, false) = self.phase else { break }
            return self.operated(entry, all, operation, now: now)
        case .branches(let branches):
            guard case .branching(let entry, false) = self.phase else { break }
            return self.branched(entry, branches)
        case .branch(let branch, let operations):
            guard case .growing(let entry) = self.phase else { break }
            return self.grown(entry, branch, operations)
        case .databases(let databases):
            guard case .reading(let entry) = self.phase else { break }
            return self.read(entry, databases)
        case .connection(let uri):
            guard case .connecting(let entry) = self.phase else { break }
            return self.connected(entry, uri)
        }
        return Self.astray
    }

    private func failed(_ failure: ProviderCallFailure) -> (Phase, Step) {
        switch (self.phase, failure) {
        case (.creating, .unknown(let reason)): self.look(1, reason)
        case (.growing(let entry), .unknown(let reason)): self.lookForBranch(entry, reason)
        case (let phase, let failure): (.ended, Step(.fail(self.explain(failure, in: phase))))
        }
    }

    private func waited() -> (Phase, Step) {
        switch self.phase {
        case .searching(.looking(let looks, true, let reason), _, _):
            let next = Search.looking(looks: looks, isWaiting: false, reason: reason)
            return (.searching(next, seen: [], page: 1), self.search(cursor: nil))
        case .operating(let entry, let all, true): return self.operate(entry, all)
        case .branching(let entry, true): return self.branch(entry)
        case .searching, .opening, .recalling, .announcing, .creating, .noting, .settling,
            .operating, .branching, .growing, .reading, .connecting, .ended:
            return Self.astray
        }
    }

    private func known(_ isOurs: Bool) -> (Phase, Step) {
        guard case .recalling(let project) = self.phase else { return Self.astray }
        return self.recalled(project, isOurs)
    }

    private func noted() -> (Phase, Step) {
        switch self.phase {
        case .announcing: return self.create()
        case .noting(let entry): return (.settling(entry), NeonCalls.operations(entry.project.id))
        case .searching, .opening, .recalling, .creating, .settling, .operating, .branching,
            .growing, .reading, .connecting, .ended:
            return Self.astray
        }
    }

    /// A machine asks for one thing at a time, so only a bug of ours gets here.
    private static let astray: (Phase, Step) = (
        .ended, .fail("Neon was asked one thing and answered another")
    )
}
