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

    /// The seeds are one test: what they need of the server is made once.
    @Test func `scripts that are alone on Postgres come to their ends`() throws {
        let fixture = try OracleFixture(.v15)
        for seed in Self.seeds {
            try fixture.reset()
            var generator = ScriptGenerator(client: Int(seed % 5), seed: seed)
            let script = generator.script(length: 20)
            let client = try AloneClient.run(
                script, on: fixture.server, database: OracleFixture.aloneDatabase)
            #expect(client.isDead || client.isAtEnd, "seed \(seed)")
            #expect(!client.holdsBytes, "seed \(seed)")
        }
    }
}
