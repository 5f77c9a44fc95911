import Foundation
import NIOCore
import NIOPosix
import PostgresWire
import SharePolicy
import Testing

@testable import Relay

/// A real psql against a real socket. Needs psql in the path.
struct PsqlTests {
    struct Ended: Sendable {
        var status: Int32
        var text: String
    }

    /// Runs psql against the fixture's door with settings on top of those that work.
    private func psql(
        _ fixture: Fixture,
        _ settings: [String: String],
        environment: [String: String] = [:]
    ) async throws -> Ended {
        let services = fixture.services
        let door = FrontDoor(
            group: MultiThreadedEventLoopGroup.singleton,
            configuration: services.configuration,
            directory: services.directory,
            cancels: services.cancels,
            admission: services.admission,
            tls: services.tls,
            metrics: services.metrics,
            logger: services.logger
        )
        let server = try await door.start()
        let port = try #require(server.localAddress?.port)
        var all = [
            "host": "share.test", "hostaddr": "127.0.0.1", "port": "\(port)", "user": "ann.blue",
            "password": Fixture.password, "dbname": "shop", "sslmode": "verify-full",
            "sslrootcert": fixture.caFile, "connect_timeout": "60",
        ]
        all.merge(settings) { _, new in new }
        let conninfo = all.filter { !$0.value.isEmpty }
            .map { "\($0.key)='\($0.value)'" }.joined(separator: " ")
        let ended = try await Self.run(["psql", "-X", "-c", "", conninfo], environment)
        try await server.close()
        return ended
    }

    /// All tests of a run begin at once: a psql may wait long for its turn on a core.
    private static func fixture(
        isOnline: Bool = true,
        change: (inout Share, inout FrontDoorConfiguration) -> Void = { _, _ in }
    ) throws -> Fixture {
        var limits = AdmissionLimits()
        limits.handshakeTimeout = .seconds(60)
        return try Fixture(isOnline: isOnline, limits: limits, change: change)
    }

    private static func run(
        _ arguments: [String],
        _ environment: [String: String]
    ) async throws -> Ended {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment
            .filter { !$0.key.hasPrefix("PG") }.merging(environment) { _, new in new }
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        process.standardInput = FileHandle.nullDevice
        try process.run()
        return try await NIOThreadPool.singleton.runIfActive {
            let bytes = output.fileHandleForReading.readDataToEndOfFile()
            let text = String(decoding: bytes, as: UTF8.self)
            process.waitUntilExit()
            return Ended(status: process.terminationStatus, text: text)
        }
    }

    @Test(arguments: ["require", "verify-ca", "verify-full", "prefer", "allow"])
    func `psql gets in`(sslmode: String) async throws {
        let fixture = try Self.fixture()
        let ended = try await self.psql(fixture, ["sslmode": sslmode])

        #expect(ended.status == 0, "\(ended.text)")
        #expect(fixture.acceptor.clients.first?.request.user == "ann")
    }

    @Test func `psql without TLS is told to use it`() async throws {
        let ended = try await self.psql(try Self.fixture(), ["sslmode": "disable"])

        #expect(ended.status == 2)
        #expect(ended.text.contains("FATAL:  " + Refusal.Reason.tlsRequired.message))
    }

    @Test(arguments: ["require", "prefer"])
    func `a wrong password and an unknown share read the same`(sslmode: String) async throws {
        let fixture = try Self.fixture()
        let wrong = try await self.psql(
            fixture, ["password": "guess", "sslmode": sslmode])
        let unknown = try await self.psql(fixture, ["user": "ann.green", "sslmode": sslmode])

        for ended in [wrong, unknown] {
            #expect(ended.status == 2)
            #expect(ended.text.contains("FATAL:  " + Refusal.Reason.invalidPassword.message))
            #expect(!ended.text.contains("green") && !ended.text.contains("blue"))
        }
    }

    @Test(arguments: ["disable", "prefer", "require"])
    func `psql binds to the channel as it likes`(policy: String) async throws {
        let ended = try await self.psql(try Self.fixture(), ["channel_binding": policy])

        #expect(ended.status == 0, "\(ended.text)")
    }

    @Test func `the server name names the share`() async throws {
        let fixture = try Self.fixture()
        let ended = try await self.psql(
            fixture, ["host": "\(fixture.id).share.test", "user": "ann"])

        #expect(ended.status == 0, "\(ended.text)")
        #expect(fixture.acceptor.clients.first?.request.user == "ann")
    }

    @Test func `the option names the share and goes no further`() async throws {
        let fixture = try Self.fixture()
        let ended = try await self.psql(
            fixture, ["user": "ann"],
            environment: ["PGOPTIONS": "-c pgshare.share=\(fixture.id) -c work_mem=4MB"])

        #expect(ended.status == 0, "\(ended.text)")
        let options = fixture.acceptor.clients.first?.request.parameter("options")
        #expect(options?.contains("work_mem") == true)
        #expect(options?.contains("pgshare") == false)
    }

    @Test func `a share that asks for a cleartext password gets it inside TLS`() async throws {
        let fixture = try Self.fixture(change: { share, _ in share.authMethod = .password })
        let right = try await self.psql(fixture, [:])
        let wrong = try await self.psql(fixture, ["password": "guess"])

        #expect(right.status == 0, "\(right.text)")
        #expect(wrong.text.contains("FATAL:  " + Refusal.Reason.invalidPassword.message))
    }

    @Test func `psql shows that the agent is offline`() async throws {
        let ended = try await self.psql(try Self.fixture(isOnline: false), [:])

        #expect(ended.status == 2)
        #expect(ended.text.contains("FATAL:  " + Refusal.Reason.agentOffline.message))
    }

    @Test func `psql shows that no share was named`() async throws {
        let ended = try await self.psql(try Self.fixture(), ["user": "ann", "sslmode": "prefer"])

        #expect(ended.status == 2)
        #expect(ended.text.contains(Refusal.Reason.shareNotNamed.message))
    }
}
