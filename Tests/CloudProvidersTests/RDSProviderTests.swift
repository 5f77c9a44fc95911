import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import Testing

@testable import CloudProviders

/// The provider on real HTTP: what is sent, what is repeated, what is told.
struct RDSProviderTests {
    /// A server that gives its replies in order, and keeps what it was asked.
    actor Script {
        private var replies: [(status: HTTPResponse.Status, body: String)]
        private(set) var asked: [(action: String, headers: HTTPFields)] = []

        init(_ replies: [(HTTPResponse.Status, String)]) {
            self.replies = replies.map { (status: $0.0, body: $0.1) }
        }

        func answer(_ form: String, _ headers: HTTPFields) -> Response {
            let action = form.split(separator: "&").first.map(String.init) ?? ""
            self.asked.append((action, headers))
            guard !self.replies.isEmpty else { return Response(status: .gone) }
            let reply = self.replies.removeFirst()
            return Response(
                status: reply.status, headers: [.contentType: "text/xml"],
                body: .init(byteBuffer: ByteBuffer(string: reply.body)))
        }
    }

    /// Remembers what it is told.
    actor Journal: ProviderJournal {
        private(set) var notes: [String] = []
        func knows(_ project: ProviderProject) -> Bool { false }
        func creating(_ project: ProviderProject) { self.notes.append("creating") }
        func created(_ project: ProviderProject) { self.notes.append("created") }
        func adopted(_ project: ProviderProject) { self.notes.append("adopted") }
    }

    private static let throttled = (
        HTTPResponse.Status.badRequest,
        "<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error>"
            + "</ErrorResponse>"
    )
    private static let notFound = (
        HTTPResponse.Status.notFound,
        "<ErrorResponse><Error><Code>DBInstanceNotFound</Code></Error></ErrorResponse>"
    )

    private static func instance(_ status: String, port: Int? = nil) -> (
        HTTPResponse.Status, String
    ) {
        let place = port.map {
            "<Endpoint><Address>127.0.0.1</Address><Port>\($0)</Port></Endpoint>"
        }
        return (
            .ok,
            """
            <DescribeDBInstancesResponse><DescribeDBInstancesResult><DBInstances><DBInstance>
            <DBInstanceIdentifier>shop</DBInstanceIdentifier><Engine>postgres</Engine>
            <DBInstanceStatus>\(status)</DBInstanceStatus><DBName>app</DBName>\(place ?? "")
            <MasterUsername>postgres</MasterUsername></DBInstance></DBInstances>
            </DescribeDBInstancesResult></DescribeDBInstancesResponse>
            """
        )
    }

    private static func serve(
        _ script: Script,
        _ body: @escaping @Sendable (_ url: String) async throws -> Void
    ) async throws {
        let (ports, opened) = AsyncStream<Int>.makeStream()
        let router = Router()
        router.post("/") { request, _ in
            let form = try await request.body.collect(upTo: 1 << 20)
            return await script.answer(String(buffer: form), request.headers)
        }
        let server = Application(
            router: router,
            configuration: .init(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { opened.yield($0.localAddress?.port ?? 0) })
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            var iterator = ports.makeAsyncIterator()
            let port = try #require(await iterator.next())
            try await body("http://127.0.0.1:\(port)")
            group.cancelAll()
        }
    }

    private static func provider(_ url: String) throws -> RDSProvider {
        let folder = FileManager.default.temporaryDirectory.appending(
            path: "pgshare-rds-\(UUID().uuidString)")
        var provider = try RDSProvider(
            environment: [
                "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "hush-hush",
                "AWS_SESSION_TOKEN": "token", "AWS_REGION": "eu-a-1", "PGSHARE_RDS_URL": url,
            ], stateFolder: folder.path, readFile: { _ in nil })
        provider.clock.sleep = { _ in try Task.checkCancellation() }
        provider.reach = { host, port in host == "127.0.0.1" && port == 5432 }
        return provider
    }

    private static func request(
        _ text: String,
        password: ProviderSecret? = nil
    ) throws -> ProviderRequest {
        let reference = try #require(try ProviderReference.parse("rds:\(text)"))
        return ProviderRequest(reference: reference, name: "shop", password: password)
    }

    @Test func `an instance is made through throttling, an error and a page of a proxy`()
        async throws
    {
        let script = Script([
            Self.throttled, Self.notFound, (.internalServerError, "oops"), Self.throttled,
            Self.instance("creating"), Self.instance("creating"), (.ok, "<html>a proxy</html>"),
            Self.instance("available", port: 5432),
        ])
        let journal = Journal()
        try await Self.serve(script) { url in
            let provider = try Self.provider(url)
            let database = try await provider.prepare(
                try Self.request("new", password: ProviderSecret("given")), journal: journal,
                progress: { _ in })
            #expect(database.keywords["host"] == "127.0.0.1" && database.isNew)
            #expect(database.project.region == "eu-a-1")
            #expect(database.password.reveal == "given")
        }
        #expect(await journal.notes == ["creating", "created"])
        let asked = await script.asked
        let look = "Action=DescribeDBInstances"
        let make = "Action=CreateDBInstance"
        #expect(asked.map(\.action) == [look, look, make, make, make, look, look, look])
        for headers in asked.map(\.headers) {
            #expect(headers[.authorization]?.hasPrefix("AWS4-HMAC-SHA256 Credential=AKID/") == true)
            #expect(headers[.accept] == "text/xml")
            #expect(HTTPField.Name("X-Amz-Security-Token").flatMap { headers[$0] } == "token")
        }
    }

    @Test func `what a provider says shows no secret`() async throws {
        let script = Script([
            (
                .forbidden,
                "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code>"
                    + "<Message>not hush-hush</Message></Error></ErrorResponse>"
            )
        ])
        try await Self.serve(script) { url in
            let provider = try Self.provider(url)
            let failure = await #expect(throws: ProviderFailure.self) {
                try await provider.survey(try Self.request("new"))
            }
            #expect(failure?.message == "Amazon RDS refused: SignatureDoesNotMatch: not …")
            #expect(failure?.advice?.hasPrefix("Check AWS_ACCESS_KEY_ID") == true)
        }
    }

    @Test func `a password that is nowhere is asked for with words`() async throws {
        let script = Script([Self.instance("available", port: 5432)])
        try await Self.serve(script) { url in
            let provider = try Self.provider(url)
            let failure = await #expect(throws: ProviderFailure.self) {
                try await provider.prepare(
                    try Self.request("shop"), journal: Journal(), progress: { _ in })
            }
            #expect(failure?.message.hasPrefix("the password of postgres is not known") == true)
            #expect(failure?.advice == "Set PGSHARE_TARGET_PASSWORD.")
        }
    }

    @Test(arguments: [
        (["PGSHARE_RDS_URL": "http://rds.example"], "PGSHARE_RDS_URL"),
        (["PGSHARE_RDS_URL": "https://rds.example/path"], "PGSHARE_RDS_URL"),
        (["PGSHARE_RDS_POLL_SECONDS": "0"], "PGSHARE_RDS_POLL_SECONDS"),
        (["AWS_REGION": "evil.example/"], "no AWS region"),
        (["AWS_REGION": ""], "needs a region"),
    ])
    func `an environment that cannot be right is refused`(
        environment: [String: String],
        words: String
    ) async throws {
        let keys = [
            "AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "B", "AWS_REGION": "eu-a-1",
        ]
        let failure = await #expect(throws: ProviderFailure.self) {
            let provider = try RDSProvider(
                environment: keys.merging(environment) { $1 }, stateFolder: "/nonexistent",
                readFile: { _ in nil })
            _ = try await provider.survey(try Self.request("shop"))
        }
        #expect(failure?.message.contains(words) == true)
    }
}
