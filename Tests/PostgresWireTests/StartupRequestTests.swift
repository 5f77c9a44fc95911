import NIOCore
import Testing

@testable import PostgresWire

struct StartupRequestTests {
    @Test(
        arguments: [
            ("-c pgshare.share=abc", "abc", nil),
            ("-cpgshare.share=abc", "abc", nil),
            ("--pgshare.share=abc", "abc", nil),
            ("--PGSHARE.share=abc", "abc", nil),
            ("-c geqo=off -c pgshare.share=abc", "abc", "-c geqo=off"),
            ("-c pgshare.share=abc  -c geqo=off", "abc", "-c geqo=off"),
            ("-c a=1  -c pgshare.share=abc -c b=2", "abc", "-c a=1  -c b=2"),
            (#"-c pgshare.share=a\ b -c x=y\ z"#, "a b", #"-c x=y\ z"#),
            (#"-c\ pgshare.share=a"#, nil, #"-c\ pgshare.share=a"#),
            ("-c pgshare.share=a -c pgshare.share=b", "b", nil),
            ("-ec pgshare.share=a", "a", "-e"),
            ("-d -c pgshare.share=a", nil, "-d -c pgshare.share=a"),
            ("-c pgshare.share", nil, "-c pgshare.share"),
            ("-c geqo=off", nil, "-c geqo=off"),
            ("-c", nil, "-c"), ("-", nil, "-"), ("", nil, ""), (#"\"#, nil, #"\"#),
        ] as [(String, String?, String?)])
    func `options are taken apart as Postgres does`(
        options: String, taken: String?, left: String?
    ) {
        var request = StartupRequest(parameters: [.init(name: "options", value: options)])
        #expect(request.takeOption("pgshare.share") == taken)
        #expect(request.parameter("options") == left)
    }

    @Test func `a parameter of the option's name wins and is removed`() {
        var request = StartupRequest(parameters: [
            .init(name: "pgshare.share", value: "direct"),
            .init(name: "options", value: "-c pgshare.share=other"),
        ])
        #expect(request.takeOption("pgshare.share") == "direct")
        #expect(request.parameters.isEmpty)
    }

    @Test(
        arguments: [
            (0, [], nil, .v3_0), (2, [], nil, .v3_2), (1, [], 0, .v3_0), (3, [], 2, .v3_2),
            (9999, [], 2, .v3_2), (0, ["_pq_.a"], 0, .v3_0), (2, ["_pq_.a", "_pq_.b"], 2, .v3_2),
        ] as [(UInt16, [String], UInt16?, ProtocolVersion)])
    func `a version is negotiated down and unknown names are listed`(
        minor: UInt16, names: [String], answered: UInt16?, agreed: ProtocolVersion
    ) {
        let request = StartupRequest(
            version: ProtocolVersion(major: 3, minor: minor), parameters: [],
            protocolOptions: names)
        let expected = answered.map { NegotiateProtocolVersion(minor: $0, unknown: names) }
        #expect(request.negotiation == expected)
        #expect(request.agreedVersion == agreed)
    }

    @Test func `NegotiateProtocolVersion has the bytes that libpq reads`() {
        var buffer = ByteBuffer()
        NegotiateProtocolVersion(minor: 2, unknown: ["_pq_.a"]).write(into: &buffer)
        let expected: [UInt8] =
            [0x76, 0, 0, 0, 19, 0, 3, 0, 2, 0, 0, 0, 1] + Array("_pq_.a\0".utf8)
        #expect(buffer.array == expected)
    }

    @Test func `names of protocol extensions are kept apart`() throws {
        var body = ByteBuffer(string: "user\0a\0_pq_.x\01\0replication\0database\0\0")
        body.moveReaderIndex(to: 0)
        let request = try StartupRequest(version: .v3_2, body: body)
        #expect(request.protocolOptions == ["_pq_.x"])
        #expect(request.parameters.map(\.name) == ["user", "replication"])
        #expect(request.isReplication)
    }

    @Test(arguments: [
        ("database", true), ("1", true), ("on", true), ("true", true), ("T", true), ("yes", true),
        ("", false), ("0", false), ("off", false), ("false", false), ("no", false),
    ])
    func `replication is a boolean or a database`(value: String, expected: Bool) {
        let request = StartupRequest(parameters: [.init(name: "replication", value: value)])
        #expect(request.isReplication == expected)
    }
}
