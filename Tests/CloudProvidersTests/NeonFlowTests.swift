import CloudProviders
import Foundation
import Testing

@Suite(.timeLimit(.minutes(5)))
struct NeonFlowTests {
    struct State: Sendable {
        var projects: [String] = []
        var branches = ["main"]
        /// Looks until every operation is over.
        var looks = 2
        var final = "finished"
    }

    private static func api(
        _ state: State = State(), fault: PlannedFault? = nil
    ) -> FaultyAPI<State> {
        FaultyAPI(state, fault: fault, name: Self.step) { state, step, heard in
            let running = #"{"id":"op-1","action":"start_compute","status":"running"}"#
            switch step {
            case "list":
                let all = state.projects.enumerated().map { Self.json($0.element, $0.offset) }
                return .answer(200, #"{"projects":[\#(all.joined(separator: ","))]}"#)
            case "create":
                state.projects.append(heard.string("project.name") ?? "")
                return .answer(
                    201,
                    #"{"project":\#(Self.json(state.projects[0], state.projects.count - 1))}"#)
            case "show":
                return .answer(200, #"{"project":\#(Self.json(state.projects.first ?? "", 0))}"#)
            case "operations": return .answer(200, #"{"operations":[\#(running)]}"#)
            case "operation":
                state.looks -= 1
                let status = state.looks < 0 ? state.final : "running"
                return .answer(
                    200, #"{"operation":{"id":"op-1","action":"x","status":"\#(status)"}}"#)
            case "branches":
                let all = state.branches.enumerated().map { number, name in
                    #"{"id":"br-\#(number)","name":"\#(name)","default":\#(number == 0)}"#
                }
                return .answer(200, #"{"branches":[\#(all.joined(separator: ","))]}"#)
            case "grow":
                let name = heard.string("branch.name") ?? ""
                if state.branches.contains(name) { return .answer(409, #"{"message":"there"}"#) }
                state.branches.append(name)
                state.looks = 1
                return .answer(
                    201,
                    #"{"branch":{"id":"br-1","name":"\#(name)"},"operations":[\#(running)]}"#)
            case "databases":
                return .answer(
                    200, #"{"databases":[{"name":"neondb","owner_name":"neondb_owner"}]}"#)
            case "connection":
                return .answer(
                    200,
                    #"{"uri":"postgresql://neondb_owner:p%2Fw@ep-a-b-pooler.x.neon.tech/neondb"#
                        + #"?sslmode=require&channel_binding=require"}"#)
            default: return .answer(404, #"{"message":"no such path"}"#)
            }
        }
    }

    private static func json(_ name: String, _ number: Int) -> String {
        #"{"id":"quiet-sun-\#(number)","name":"\#(name)","region_id":"aws-us-east-2"}"#
    }

    private static func step(_ heard: Heard) -> String {
        let parts = heard.path.split(separator: "/").map(String.init)
        switch (heard.method, parts.count, parts.last ?? "") {
        case ("GET", 1, _): return "list"
        case ("POST", 1, _): return "create"
        case ("GET", 2, _): return "show"
        case ("GET", 3, "operations"): return "operations"
        case ("GET", 4, _): return "operation"
        case ("GET", 3, "branches"): return "branches"
        case ("POST", 3, "branches"): return "grow"
        case ("GET", 5, "databases"): return "databases"
        case ("GET", 3, "connection_uri"): return "connection"
        default: return "none"
        }
    }

    @Test func `a new project is made, written down, waited for and entered directly`() async throws
    {
        let api = Self.api()
        let outcome = try await Flow.prepare("neon:", api.answer)
        let database = try outcome.result.get()
        #expect(database.isNew)
        #expect(database.keywords["host"] == "ep-a-b.x.neon.tech")
        #expect(database.keywords["user"] == "neondb_owner")
        #expect(database.password.reveal == "p/w")
        #expect(database.connectionStrings.map(\.label) == ["direct", "pooler, transaction mode"])
        #expect(outcome.journal == ["creating pgshare-abc -", "created pgshare-abc quiet-sun-0"])
        #expect(
            api.steps == [
                "list", "create", "operations", "operation", "operation", "operation",
                "branches", "databases", "connection",
            ])
    }

    @Test func `an orphan is adopted by its name`() async throws {
        let api = Self.api(State(projects: ["pgshare-abc", "pgshare-abcd"]))
        let outcome = try await Flow.prepare("neon:", api.answer)
        #expect(try outcome.result.get().isNew == false)
        #expect(outcome.journal == ["adopted pgshare-abc quiet-sun-0"])
        #expect(!api.steps.contains("create"))
    }

    @Test func `two projects of the name are not guessed between`() async throws {
        let api = Self.api(State(projects: ["pgshare-abc", "pgshare-abc"]))
        let outcome = try await Flow.prepare("neon:", api.answer)
        let failure = #expect(throws: ProviderFailure.self) { try outcome.result.get() }
        #expect(try #require(failure).description.contains("quiet-sun-1"))
    }

    @Test func `a branch that is missing is made, and one that is there is taken`() async throws {
        let api = Self.api(State(projects: ["x"]))
        let made = try await Flow.prepare("neon:quiet-sun-0/dev", api.answer)
        let there = try await Flow.prepare("neon:quiet-sun-0/dev", api.answer)
        #expect(throws: Never.self) { try made.result.get() }
        #expect(throws: Never.self) { try there.result.get() }
        #expect(api.state.branches == ["main", "dev"])
        #expect(api.steps.filter { $0 == "grow" }.count == 1)
    }

    @Test(arguments: ["failed", "error", "cancelled"])
    func `an operation that cannot finish ends it`(status: String) async throws {
        let outcome = try await Flow.prepare("neon:", Self.api(State(final: status)).answer)
        let failure = #expect(throws: ProviderFailure.self) { try outcome.result.get() }
        #expect(try #require(failure).message.contains(status))
    }

    @Test func `an operation that never ends stops at the deadline`() async throws {
        let outcome = try await Flow.prepare("neon:", Self.api(State(final: "running")).answer)
        #expect(throws: ProviderFailure.self) { try outcome.result.get() }
        #expect(outcome.waitedSeconds < 1_000)
    }

    @Test(
        arguments: PlannedFault.all([
            "list", "create", "operations", "operation", "branches", "databases", "connection",
        ]))
    func `a fault at any step of a creation never makes a second project`(
        fault: PlannedFault
    ) async throws {
        let api = Self.api(fault: fault)
        let outcome = try await Flow.prepare("neon:", api.answer)
        SupabaseFlowTests.check(outcome, fault, projects: api.state.projects.count)
        let again = Self.api(api.state)
        let second = try await Flow.prepare("neon:", again.answer)
        #expect(throws: Never.self) { try second.result.get() }
        #expect(again.state.projects.count == 1)
    }

    @Test(arguments: PlannedFault.all(["show", "branches", "grow", "operation"]))
    func `a fault at any step of a branch never makes a second branch`(
        fault: PlannedFault
    ) async throws {
        let api = Self.api(State(projects: ["x"]), fault: fault)
        let outcome = try await Flow.prepare("neon:quiet-sun-0/dev", api.answer)
        #expect(api.state.branches.count <= 2)
        #expect(api.steps.count < 300)
        if case .failure(let failure) = outcome.result { SupabaseFlowTests.check(failure) }
    }

    @Test(arguments: [
        ("ep-a-pooler.us.neon.tech", "ep-a.us.neon.tech"),
        ("ep-a.us.neon.tech", "ep-a.us.neon.tech"),
        ("localhost", "localhost"), ("x-pooler", "x-pooler"),
    ])
    func `the direct host has no pooler in its name`(host: String, direct: String) {
        #expect(NeonStatus.directHost(host) == direct)
    }

    @Test(arguments: [
        "", "http://u:p@h/d", "postgresql://u@h/d", "postgresql://u:p@h/d?sslmode=disable",
        "postgresql://u:p@/d", "postgresql://u:p@h/", "postgresql://u:p@h%2Fx/d",
        "postgresql://u:p@h,i/d", "postgresql://u:p@h/d?sslmode=require&sslmode=prefer",
    ])
    func `a connection URI that is none, or not encrypted, is refused`(uri: String) {
        #expect(NeonStatus.address(uri) == nil)
    }
}
