import Foundation
import NIOCore
import TestSupport
import Testing

/// Clients that share one session see what they see alone on Postgres.
@Suite(.serialized)
struct OracleTests {
    static let seeds: Range<UInt64> = {
        let asked = ProcessInfo.processInfo.environment["PGSHARE_TEST_SEEDS"].flatMap(UInt64.init)
        return 0..<(asked ?? 20)
    }()

    @Test(arguments: OracleTests.seeds)
    func `a script that is alone on Postgres comes to its end`(seed: UInt64) throws {
        let fixture = try OracleFixture(.v15)
        try fixture.reset()
        for number in 0..<2 {
            var generator = ScriptGenerator(client: number, seed: seed)
            let script = generator.script(length: 20)
            let client = try AloneClient.run(
                script, on: fixture.server, database: OracleFixture.aloneDatabase)
            #expect(client.isDead || client.isAtEnd)
            for line in client.transcript.lines { print(line) }
        }
    }
}
