import Foundation

/// What Neon's API answers, as far as we read it. Unknown keys are skipped.
///
/// Source: `https://console.neon.tech/api/v2`.
package enum NeonReply: Sendable, Hashable {
    case projects(Projects)
    case project(Project)
    case operations([Operation])
    case operation(Operation)
    case branches([Branch])
    case branch(Branch, operations: [Operation])
    case databases([Database])
    case connection(uri: String)

    /// One page of projects.
    package struct Projects: Sendable, Hashable, Decodable {
        /// Where the next page begins.
        package struct Pagination: Sendable, Hashable, Decodable {
            package var cursor: String?
        }

        package var projects: [Project]
        package var pagination: Pagination?
    }

    /// A project.
    package struct Project: Sendable, Hashable, Decodable {
        package var id: String
        package var name: String
        package var region: String?

        private enum CodingKeys: String, CodingKey {
            case id
            case name
            case region = "region_id"
        }
    }

    /// Something that Neon does meanwhile.
    package struct Operation: Sendable, Hashable, Decodable {
        package var id: String
        package var action: String?
        package var status: String
    }

    /// A branch of a project.
    package struct Branch: Sendable, Hashable, Decodable {
        package var id: String
        package var name: String
        package var isDefault: Bool?

        private enum CodingKeys: String, CodingKey {
            case id
            case name
            case isDefault = "default"
        }
    }

    /// A database of a branch.
    package struct Database: Sendable, Hashable, Decodable {
        package var name: String
        package var owner: String

        private enum CodingKeys: String, CodingKey {
            case name
            case owner = "owner_name"
        }
    }
}

/// The requests. Every part of a path is an id that ``NeonStatus/isIdentifier(_:)`` has checked.
enum NeonCalls {
    typealias Step = ProviderStep<NeonReply>

    /// What Neon promises to have left undone. Source: Neon's documentation of its API, "errors".
    static let undone: ProviderCall.Safety = .once(alsoAfter: [423, 503])

    static func projects(named name: String, organization: String?, cursor: String?) -> Step {
        var query = [(name: "limit", value: "400"), (name: "search", value: name)]
        if let organization { query.append((name: "org_id", value: organization)) }
        if let cursor { query.append((name: "cursor", value: cursor)) }
        let call = ProviderCall(.get, "/projects", query: query)
        return self.send(call, NeonReply.Projects.self) { .projects($0) }
    }

    static func project(_ id: String) -> Step {
        struct Body: Decodable {
            var project: NeonReply.Project
        }
        return self.send(ProviderCall(.get, "/projects/\(id)"), Body.self) {
            .project($0.project)
        }
    }

    static func create(_ project: NeonNewProject) -> Step {
        struct Body: Encodable {
            var project: NeonNewProject
        }
        struct Made: Decodable {
            var project: NeonReply.Project
        }
        let call = ProviderCall.json(
            .post, "/projects", Body(project: project), safety: self.undone)
        return self.send(call, Made.self) { .project($0.project) }
    }

    static func operations(_ project: String) -> Step {
        struct Body: Decodable {
            var operations: [NeonReply.Operation]
        }
        let call = ProviderCall(
            .get, "/projects/\(project)/operations", query: [(name: "limit", value: "100")])
        return self.send(call, Body.self) { .operations($0.operations) }
    }

    static func operation(_ project: String, _ id: String) -> Step {
        struct Body: Decodable {
            var operation: NeonReply.Operation
        }
        let call = ProviderCall(.get, "/projects/\(project)/operations/\(id)")
        return self.send(call, Body.self) { .operation($0.operation) }
    }

    static func branches(_ project: String) -> Step {
        struct Body: Decodable {
            var branches: [NeonReply.Branch]
        }
        let call = ProviderCall(
            .get, "/projects/\(project)/branches", query: [(name: "limit", value: "1000")])
        return self.send(call, Body.self) { .branches($0.branches) }
    }

    static func createBranch(_ project: String, name: String) -> Step {
        struct Branch: Encodable {
            var name: String
        }
        struct Endpoint: Encodable {
            var type = "read_write"
        }
        struct Body: Encodable {
            var branch: Branch
            var endpoints = [Endpoint()]
        }
        struct Made: Decodable {
            var branch: NeonReply.Branch
            var operations: [NeonReply.Operation]?
        }
        let call = ProviderCall.json(
            .post, "/projects/\(project)/branches", Body(branch: Branch(name: name)),
            safety: self.undone)
        return self.send(call, Made.self) { .branch($0.branch, operations: $0.operations ?? []) }
    }

    static func databases(_ project: String, _ branch: String) -> Step {
        struct Body: Decodable {
            var databases: [NeonReply.Database]
        }
        let path = "/projects/\(project)/branches/\(branch)/databases"
        return self.send(ProviderCall(.get, path), Body.self) { .databases($0.databases) }
    }

    static func connection(
        _ project: String, _ branch: String, database: String, role: String
    ) -> Step {
        struct Body: Decodable {
            var uri: String
        }
        let call = ProviderCall(
            .get, "/projects/\(project)/connection_uri",
            query: [
                (name: "branch_id", value: branch), (name: "database_name", value: database),
                (name: "role_name", value: role), (name: "pooled", value: "false"),
            ])
        return self.send(call, Body.self) { .connection(uri: $0.uri) }
    }

    private static func send<Body: Decodable & SendableMetatype>(
        _ call: ProviderCall, _ type: Body.Type, _ make: @escaping @Sendable (Body) -> NeonReply
    ) -> Step {
        Step(.send(call, read: { make(try JSONDecoder().decode(Body.self, from: $0.body)) }))
    }
}

/// What a new project is asked for with.
struct NeonNewProject: Sendable, Hashable, Encodable {
    var name: String
    var region: String?
    var version: Int?
    var organization: String?

    private enum CodingKeys: String, CodingKey {
        case name
        case region = "region_id"
        case version = "pg_version"
        case organization = "org_id"
    }
}
