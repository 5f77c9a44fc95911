import NIOCore
import Simulation
import TestSupport

/// Notifications go from one client to another, so no client can be run alone: all are run again,
/// each on a backend of its own, in the order in which they were served.
extension OracleComparison {
    func notifyingScripts() -> [(number: Int, script: ClientScript)] {
        var random = SeededGenerator(seed: self.plan.seed &* 23 &+ 5)
        let count = Int.random(in: 2...4, using: &random)
        return (0..<count).map { number in
            var generator = ScriptGenerator(client: number, seed: self.plan.seed)
            return (number, generator.notifyingScript(length: 25))
        }
    }

    /// Runs every exchange of a run again, one backend a client, and compares.
    func replay(_ run: SharedRun) throws -> [String] {
        var backends = try run.peers.map {
            try Backend($0.client.script, self.fixture.server)
        }
        for index in run.served { try backends[index].step() }
        var found: [String] = []
        for (index, peer) in run.peers.enumerated() {
            try backends[index].finish()
            let alone = backends[index].client
            let difference =
                Transcript.difference(
                    shared: Transcript.comparable(peer.client.transcript.lines),
                    alone: Transcript.comparable(alone.transcript.lines), isPrefix: false)
                ?? Transcript.difference(
                    shared: peer.client.sharedNotifications, alone: alone.sharedNotifications,
                    isPrefix: false)
            if let difference { found.append("client \(index) \(difference)") }
        }
        return found
    }

    private struct Backend {
        var client: ScriptedClient
        private let socket: BackendSocket

        init(_ script: ClientScript, _ server: TestPostgres) throws {
            self.client = ScriptedClient(script)
            self.socket = try BackendSocket(server)
            let own = [("user", "postgres"), ("database", OracleFixture.aloneDatabase)]
            for message in try self.socket.start(own + script.startup) {
                self.client.receive(message)
            }
        }

        mutating func step() throws {
            guard let step = self.client.next() else {
                throw OracleFailure("more calls than steps")
            }
            self.socket.send(step.bytes)
            try self.readAnswer()
        }

        private mutating func readAnswer() throws {
            while !self.client.isReady {
                guard let message = try self.socket.next() else {
                    throw OracleFailure("Postgres closed the connection")
                }
                self.client.receive(message)
            }
        }

        /// Takes the notifications that came since its last exchange.
        mutating func finish() throws {
            for message in try OracleFixture.run("select 1", on: self.socket)
            where message.isType("A") {
                self.client.receive(message)
            }
        }
    }
}

extension ScriptGenerator {
    /// Clients that listen to and notify each other; one call a step.
    mutating func notifyingScript(length: Int) -> ClientScript {
        var script = ClientScript()
        for _ in 0..<length { self.notifyingTopic() }
        self.settle()
        script.steps = self.steps
        return script
    }

    private mutating func notifyingTopic() {
        let channel = self.pick(["shared_a", "shared_b", "\"shared C\""])
        let payload = "'\(self.client) \(self.steps.count)'"
        switch self.number(0..<14) {
        case 0, 1: self.query("listen \(channel)")
        case 2: self.query("unlisten \(self.pick([channel, channel, "*"]))")
        case 3, 4: self.query("notify \(channel), \(payload)")
        case 5: self.query("select pg_notify('shared_a', \(payload)); notify shared_b, \(payload)")
        case 6: self.query("notify \(channel), \(payload); select 1/0")
        case 7: self.query("begin")
        case 8: self.query(self.pick(["commit", "commit", "rollback"]))
        case 9: self.query(self.pick(["savepoint s", "rollback to s", "release s"]))
        case 10:
            self.exchange(
                "PBES",
                [
                    FrontendMessage.parse(
                        "", self.pick(["listen \(channel)", "notify \(channel), \(payload)"])),
                    FrontendMessage.bind(""), FrontendMessage.execute(),
                ])
        case 11:
            self.query("begin; notify \(channel), \(payload); listen \(channel); commit; select 2")
        case 12: self.query(self.pick(["discard all", "select 1", "unlisten \(channel); selec"]))
        default: self.query("select 'nothing'")
        }
    }
}
