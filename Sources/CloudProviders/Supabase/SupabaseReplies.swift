import Foundation

/// What Supabase's management API answers, as far as we read it. Unknown keys are skipped.
///
/// Source: `https://api.supabase.com/api/v1`.
package enum SupabaseReply: Sendable, Hashable {
    case organizations([Organization])
    case projects([Project])
    case project(Project)
    case health([Service])
    case poolers([Pooler])
    case loginRole(LoginRole)
    /// An answer whose body says nothing that we need.
    case done

    /// An organization, which pays.
    package struct Organization: Sendable, Hashable, Decodable {
        package var id: String
        package var slug: String?
        package var name: String
    }

    /// A project. The list and the single answer have the same keys.
    package struct Project: Sendable, Hashable, Decodable {
        package var ref: String?
        package var id: String?
        package var name: String?
        package var region: String?
        package var status: String?
        package var database: Database?

        /// Its id: 20 letters, called `ref` or, in older answers, `id`.
        package var reference: String? { self.ref ?? self.id }
    }

    /// Where a project's Postgres listens.
    package struct Database: Sendable, Hashable, Decodable {
        package var host: String?
        /// The API names no port today: it is 5432.
        package var port: Int?
        package var version: String?
    }

    /// One part of a project.
    package struct Service: Sendable, Hashable, Decodable {
        package var name: String
        package var status: String
    }

    /// One way through the pooler.
    package struct Pooler: Sendable, Hashable, Decodable {
        package var databaseType: String?
        package var user: String
        package var host: String
        package var port: Int
        package var database: String
        package var mode: String?

        private enum CodingKeys: String, CodingKey {
            case databaseType = "database_type"
            case user = "db_user"
            case host = "db_host"
            case port = "db_port"
            case database = "db_name"
            case mode = "pool_mode"
        }
    }

    /// A login for some minutes.
    package struct LoginRole: Sendable, Hashable, Decodable {
        package var role: String
        package var password: String
        package var seconds: Int?

        private enum CodingKeys: String, CodingKey {
            case role
            case password
            case seconds = "ttl_seconds"
        }
    }
}

/// The requests. Every part of a path is a ref that ``ProviderReference`` or
/// ``SupabaseStatus/isReference(_:)`` has checked.
package enum SupabaseCalls {
    typealias Step = ProviderStep<SupabaseReply>

    static func organizations() -> Step {
        self.get("/v1/organizations", [SupabaseReply.Organization].self) { .organizations($0) }
    }

    static func projects() -> Step {
        self.get("/v1/projects", [SupabaseReply.Project].self) { .projects($0) }
    }

    static func project(_ ref: String) -> Step {
        self.get("/v1/projects/\(ref)", SupabaseReply.Project.self) { .project($0) }
    }

    static func health(_ ref: String) -> Step {
        let query = [(name: "services", value: "db"), (name: "services", value: "pooler")]
        return self.get("/v1/projects/\(ref)/health", query: query, [SupabaseReply.Service].self) {
            .health($0)
        }
    }

    static func poolers(_ ref: String) -> Step {
        let path = "/v1/projects/\(ref)/config/database/pooler"
        return self.get(path, [SupabaseReply.Pooler].self) { .poolers($0) }
    }

    static func create(
        name: String, organization: String, region: String, password: ProviderSecret
    ) -> Step {
        struct Region: Encodable {
            var type = "specific"
            var code: String
        }
        struct Body: Encodable {
            var db_pass: String
            var name: String
            var organization_slug: String
            var region_selection: Region
        }
        let body = Body(
            db_pass: password.reveal, name: name, organization_slug: organization,
            region_selection: Region(code: region))
        let call = ProviderCall.json(
            .post, "/v1/projects", body, safety: .once(alsoAfter: []), secrets: [password])
        return self.send(call, SupabaseReply.Project.self) { .project($0) }
    }

    static func restore(_ ref: String) -> Step {
        let call = ProviderCall(
            .post, "/v1/projects/\(ref)/restore", safety: .once(alsoAfter: []))
        return Step(.send(call, read: { _ in .done }))
    }

    static func loginRole(_ ref: String) -> Step {
        struct Body: Encodable {
            var read_only = false
        }
        // A second role replaces the first one's password: nothing is left over.
        let path = "/v1/projects/\(ref)/cli/login-role"
        let call = ProviderCall.json(.post, path, Body(), safety: .repeatable)
        return self.send(call, SupabaseReply.LoginRole.self) { .loginRole($0) }
    }

    package static func deleteLoginRoles(_ ref: String) -> ProviderCall {
        ProviderCall(.delete, "/v1/projects/\(ref)/cli/login-role")
    }

    private static func get<Body: Decodable & SendableMetatype>(
        _ path: String, query: [(name: String, value: String)] = [], _ type: Body.Type,
        _ make: @escaping @Sendable (Body) -> SupabaseReply
    ) -> Step {
        self.send(ProviderCall(.get, path, query: query), type, make)
    }

    private static func send<Body: Decodable & SendableMetatype>(
        _ call: ProviderCall, _ type: Body.Type,
        _ make: @escaping @Sendable (Body) -> SupabaseReply
    ) -> Step {
        Step(.send(call, read: { make(try JSONDecoder().decode(Body.self, from: $0.body)) }))
    }
}
