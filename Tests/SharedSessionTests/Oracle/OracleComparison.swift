import NIOCore
import Simulation

/// Runs the scripts of a seed together and each of them alone, and tells where they differ.
struct OracleComparison {
    let plan: SharedRunPlan
    let fixture: OracleFixture

    init(_ plan: SharedRunPlan, _ fixture: OracleFixture) {
        self.plan = plan
        self.fixture = fixture
    }

    private var hidesParameters: Bool { self.plan.seed % 4 < 2 }

    /// For a person; none where all is well.
    func differences() throws -> [String] {
        try self.fixture.reset()
        let scripts = self.plan.leavesTogether ? self.notifyingScripts() : self.scripts()
        let engine = try EngineSession(
            self.fixture.server, database: OracleFixture.engineDatabase,
            quirks: EngineQuirks(
                surplusReady: self.plan.seed % 3 == 0, rollbackWarnings: self.plan.seed % 2 == 0,
                hidesParameters: self.hidesParameters))
        var run = SharedRun(self.plan, scripts: scripts, engine: engine)
        do {
            try run.run()
            try run.page.end(engine)
        } catch {
            return ["after \(run.moves) moves: \(error)"]
        }
        var found: [String] = []
        if run.repliedBytes != run.creditedBytes {
            found.append("\(run.repliedBytes) bytes replied, credit for \(run.creditedBytes)")
        }
        found += try OracleFixture.remains(in: engine).map { "the engine still has: \($0)" }
        if self.plan.leavesTogether { return found + (try self.replay(run)) }
        for (peer, script) in zip(run.peers, scripts) where !peer.hasLostState {
            found += try self.compare(peer, script.number, script.script)
        }
        return found
    }

    private func scripts() -> [(number: Int, script: ClientScript)] {
        var random = SeededGenerator(seed: self.plan.seed &* 17 &+ 3)
        let count = Int.random(in: 2...4, using: &random)
        let length = Int.random(in: 3...10, using: &random)
        return (0..<count).map { number in
            var generator = ScriptGenerator(client: number, seed: self.plan.seed)
            var script = generator.script(length: length)
            if self.plan.faults != nil {
                // What a session knows of its sequences is lost with the engine.
                script.steps.removeAll { $0.label.contains("_seq'") }
            }
            if self.hidesParameters {
                // The machine asks after SET and set_config, not after each function of somebody.
                script.steps.removeAll { $0.label.contains("set_style(") }
            }
            return (number, script)
        }
    }

    private func compare(
        _ peer: SharedPeer, _ number: Int, _ script: ClientScript
    ) throws -> [String] {
        let alone = try AloneClient.run(
            script, on: self.fixture.server, database: OracleFixture.aloneDatabase,
            cancelled: peer.client.cancelled)
        var lines = Transcript.comparable(peer.client.transcript.lines)
        let isTold = lines.last?.contains("|C=58000|") == true
        if isTold { lines.removeLast() }
        // In the middle of a message it cannot be told.
        let isPrefix = peer.hasVanished || peer.hasFaulted || isTold
        var found: [String] = []
        let difference = Transcript.difference(
            shared: lines, alone: Transcript.comparable(alone.transcript.lines),
            isPrefix: isPrefix)
        if let difference { found.append("client \(number) \(difference)") }
        guard !isPrefix else { return found }
        if peer.client.holdsBytes { found.append("client \(number) got half a message") }
        return found + (try self.fixture.differences(of: [number]))
    }
}
