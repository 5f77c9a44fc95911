import CloudProviders
import Foundation
import Testing

@Suite(.timeLimit(.minutes(5)))
struct SupabaseFlowTests {
    struct Project: Sendable {
        var ref: String
        var name: String
        var status: String
        var looks = 0
    }

    static let ref = "abcdefghijklmnopqrst"

    private static func api(
        _ projects: [Project] = [], fault: PlannedFault? = nil, final: String = "ACTIVE_HEALTHY"
    ) -> FaultyAPI<[Project]> {
        FaultyAPI(projects, fault: fault, name: Self.step) { projects, step, heard in
            switch step {
            case "organizations": return .answer(200, #"[{"id":"o","slug":"acme","name":"A"}]"#)
            case "list":
                return .answer(200, "[" + projects.map(Self.json).joined(separator: ",") + "]")
            case "create":
                projects.append(
                    Project(
                        ref: Self.ref, name: heard.string("name") ?? "", status: "COMING_UP"))
                return .answer(201, Self.json(projects[projects.count - 1]))
            case "show":
                guard let index = projects.indices.last else { return .answer(404, "{}") }
                projects[index].looks += 1
                if projects[index].status == "COMING_UP", projects[index].looks > 2 {
                    projects[index].status = final
                }
                return .answer(200, Self.json(projects[index]))
            case "restore":
                projects[0].status = "COMING_UP"
                return .answer(200, "{}")
            case "health":
                return .answer(
                    200,
                    #"[{"name":"db","status":"ACTIVE_HEALTHY"},"#
                        + #"{"name":"pooler","status":"ACTIVE_HEALTHY"}]"#)
            case "pooler":
                return .answer(
                    200,
                    #"[{"database_type":"PRIMARY","db_user":"postgres.\#(Self.ref)","#
                        + #""db_host":"pool.example.com","db_port":6543,"db_name":"postgres","#
                        + #""pool_mode":"transaction"}]"#)
            case "login":
                return .answer(
                    201, #"{"role":"cli_login_postgres","password":"pw","ttl_seconds":300}"#)
            default: return .answer(404, #"{"message":"no such path"}"#)
            }
        }
    }

    private static func json(_ project: Project) -> String {
        #"{"id":"\#(project.ref)","ref":"\#(project.ref)","name":"\#(project.name)","#
            + #""region":"us-east-1","status":"\#(project.status)","#
            + #""database":{"host":"db.example.com"}}"#
    }

    private static func step(_ heard: Heard) -> String {
        let parts = heard.path.split(separator: "/").map(String.init)
        switch (heard.method, parts.count, parts.last ?? "") {
        case ("GET", 2, "organizations"): return "organizations"
        case ("GET", 2, "projects"): return "list"
        case ("POST", 2, "projects"): return "create"
        case ("GET", 3, _): return "show"
        case ("POST", 4, "restore"): return "restore"
        case ("GET", 4, "health"): return "health"
        case ("GET", _, "pooler"): return "pooler"
        case ("POST", _, "login-role"): return "login"
        default: return "none"
        }
    }

    @Test func `a new project is made, written down, waited for and entered`() async throws {
        let api = Self.api()
        let outcome = try await Flow.prepare("supabase:", api.answer)
        let database = try outcome.result.get()
        #expect(database.isNew)
        #expect(database.keywords["host"] == "db.example.com")
        #expect(database.keywords["user"] == "postgres")
        #expect(database.keywords["port"] == "5432")
        #expect(database.keywords["sslmode"] == "require")
        #expect(database.sessionRole == nil)
        #expect(database.password.reveal.count == 40)
        #expect(outcome.journal == ["creating pgshare-abc -", "created pgshare-abc \(Self.ref)"])
        #expect(
            api.steps == [
                "list", "organizations", "create", "show", "show", "show", "health",
            ])
    }

    @Test func `an orphan is adopted by its name and entered by a login role`() async throws {
        let orphan = Project(ref: Self.ref, name: "pgshare-abc", status: "COMING_UP")
        let api = Self.api([orphan])
        let outcome = try await Flow.prepare("supabase:", isReachable: false, api.answer)
        let database = try outcome.result.get()
        #expect(!database.isNew)
        #expect(database.keywords["host"] == "pool.example.com")
        #expect(database.keywords["port"] == "5432")
        #expect(database.keywords["user"] == "cli_login_postgres.\(Self.ref)")
        #expect(database.sessionRole == "postgres")
        #expect(database.passwordSeconds == 300)
        #expect(outcome.journal == ["adopted pgshare-abc \(Self.ref)"])
        #expect(!api.steps.contains("create"))
    }

    @Test func `a paused project is woken once and entered with the known password`() async throws {
        let paused = Project(ref: Self.ref, name: "x", status: "INACTIVE")
        let api = Self.api([paused])
        let outcome = try await Flow.prepare(
            "supabase:\(Self.ref)", password: "known", api.answer)
        #expect(try outcome.result.get().password.reveal == "known")
        #expect(api.steps.filter { $0 == "restore" }.count == 1)
        #expect(!api.steps.contains("login"))
    }

    @Test func `new is refused where the name is taken, unless we began it`() async throws {
        let taken = [Project(ref: Self.ref, name: "mine", status: "ACTIVE_HEALTHY")]
        let refused = try await Flow.prepare("supabase:new?name=mine", Self.api(taken).answer)
        let ours = try await Flow.prepare(
            "supabase:new?name=mine", isKnown: true, Self.api(taken).answer)
        #expect(throws: ProviderFailure.self) { try refused.result.get() }
        #expect(refused.journal.isEmpty)
        #expect(try ours.result.get().isNew == false)
    }

    @Test(arguments: ["INIT_FAILED", "REMOVED", "RESTORE_FAILED", "PAUSE_FAILED"])
    func `a terminal state ends it at once`(status: String) async throws {
        let outcome = try await Flow.prepare("supabase:", Self.api(final: status).answer)
        let failure = #expect(throws: ProviderFailure.self) { try outcome.result.get() }
        #expect(try #require(failure).message.contains(status))
    }

    @Test func `a project that never comes up ends at the deadline`() async throws {
        let outcome = try await Flow.prepare("supabase:", Self.api(final: "COMING_UP").answer)
        let failure = #expect(throws: ProviderFailure.self) { try outcome.result.get() }
        #expect(try #require(failure).message.contains("COMING_UP"))
        #expect(outcome.waitedSeconds < 1_000)
    }

    @Test(
        arguments: PlannedFault.all([
            "list", "organizations", "create", "show", "health", "pooler",
        ]))
    func `a fault at any step of a creation never makes a second project`(
        fault: PlannedFault
    ) async throws {
        let api = Self.api(fault: fault)
        let outcome = try await Flow.prepare("supabase:", isReachable: false, api.answer)
        Self.check(outcome, fault, projects: api.state.count)
        // The next run, without the fault, finds what there is.
        let again = Self.api(api.state)
        let second = try await Flow.prepare("supabase:", isReachable: false, again.answer)
        #expect(throws: Never.self) { try second.result.get() }
        #expect(again.state.count == 1)
    }

    @Test(arguments: PlannedFault.all(["show", "restore", "health", "login"]))
    func `a fault at any step into an existing project is a clear end`(
        fault: PlannedFault
    ) async throws {
        let paused = Project(ref: Self.ref, name: "x", status: "INACTIVE")
        let api = Self.api([paused], fault: fault)
        let outcome = try await Flow.prepare("supabase:\(Self.ref)", api.answer)
        #expect(api.state.count == 1)
        #expect(api.steps.count < 200)
        if case .failure(let failure) = outcome.result { Self.check(failure) }
    }

    static func check(_ outcome: FlowOutcome, _ fault: PlannedFault, projects: Int) {
        #expect(projects <= 1)
        #expect(outcome.waitedSeconds < 1_100)
        switch (fault.kind, outcome.result) {
        case (.unauthorized, .success), (.forbidden, .success), (.quota, .success):
            Issue.record("a refusal was passed over")
        case (.busy, .failure(let failure)) where fault.times == 1:
            Issue.record("\(failure)")
        case (_, .failure(let failure)): Self.check(failure)
        case (_, .success): break
        }
        if case .success(let database) = outcome.result {
            #expect(outcome.journal.last?.hasSuffix(database.project.id ?? "?") == true)
        }
    }

    static func check(_ failure: ProviderFailure) {
        #expect(!failure.message.isEmpty)
        #expect(!failure.description.contains(Flow.token))
    }
}
