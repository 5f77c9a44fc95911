import NIOCore
import Simulation

@testable import SharedSession

/// Scripted clients on one machine with one engine, in an order that a seed alone decides.
///
/// Whatever the shell promises the machine, and the machine the shell, is checked at every move.
struct SharedRun {
    var session: SharedSession
    let engine: EngineSession
    var peers: [SharedPeer]
    var random: SeededGenerator
    var now = NIODeadline.uptimeNanoseconds(1_000_000_000)
    let plan: SharedRunPlan

    // MARK: The engine's side

    /// Whether the machine has asked for the engine, and whether it knows that it has it.
    var isHeld = false
    var owesHeld = false
    var gathered = ByteBuffer()
    /// Calls that were run and that the engine has not begun.
    var calls = CircularBuffer<ByteBuffer>()
    /// What is left of the reply to the call that is under way; nil where there is none.
    var reply: ByteBuffer?
    var owesRestart = false
    /// Bytes of replies that the machine got, and that were given back.
    var repliedBytes = 0
    var creditedBytes = 0
    var page = OraclePage()
    /// Whose calls the engine ran, one after the other.
    var served: [Int] = []
    private(set) var moves = 0
    var faults = 0

    /// More moves than any run needs.
    private static let maximumMoves = 2_000_000

    init(
        _ plan: SharedRunPlan, scripts: [(number: Int, script: ClientScript)],
        engine: EngineSession
    ) {
        self.plan = plan
        self.session = SharedSession(limits: plan.limits, capabilities: EngineCapabilities())
        self.engine = engine
        self.peers = scripts.map { SharedPeer(number: $0.number, script: $0.script) }
        self.random = SeededGenerator(seed: plan.seed &* 7_919 &+ 13)
        _ = self.random.next()
    }

    /// Runs until every client is gone and the page has its engine back.
    mutating func run() throws(OracleFailure) {
        while true {
            self.moves += 1
            guard self.moves < Self.maximumMoves else { throw OracleFailure("it never ends") }
            let moves = self.possibleMoves
            if moves.isEmpty {
                if self.isOver { return }
                try self.passTime()
            } else if self.random(1, of: self.plan.hasPage ? 15 : 50) {
                let longest: Int64 = self.plan.hasPage ? 150 : 40
                let passed = Int64.random(in: 0...longest, using: &self.random)
                self.now = self.now + .milliseconds(passed)
                self.session.tick(now: self.now)
            } else {
                let index = Int.random(in: 0..<moves.count, using: &self.random)
                try self.make(self.trouble(insteadOf: moves[index]) ?? moves[index])
            }
            try self.drain()
        }
    }

    private var isOver: Bool {
        self.peers.allSatisfy { $0.stage == .gone } && !self.isHeld
            && self.session.nextDeadline == nil
    }

    /// Nothing can happen but by a clock: only the short times may be waited for.
    private mutating func passTime() throws(OracleFailure) {
        guard let deadline = self.session.nextDeadline,
            deadline - self.now < SharedRunPlan.patience
        else { throw OracleFailure("a deadlock: \(self.outline)") }
        self.now = max(self.now, deadline)
        self.session.tick(now: self.now)
    }

    /// Where everybody stands, for a person.
    var outline: String {
        let peers = self.peers.map { peer in
            "\(peer.id.rawValue) \(peer.stage) step \(peer.client.position) "
                + "out \(peer.outbound.readableBytes) in \(peer.inbound.count) "
                + "ready \(peer.client.isReady) paused \(peer.isPaused)"
        }
        let holder = self.session.holder.map { "\($0.rawValue)" } ?? "nobody"
        let queue = self.session.queue.all.map { "\($0.rawValue)" }.joined(separator: " ")
        return "held \(self.isHeld), calls \(self.calls.count), under way \(self.reply != nil), "
            + "holder \(holder), pinned \(self.session.pinned?.rawValue ?? 0), "
            + "queue [\(queue)], \(peers.joined(separator: "; "))"
    }

    mutating func random(_ part: Int, of whole: Int) -> Bool {
        Int.random(in: 0..<whole, using: &self.random) < part
    }

    // MARK: Moves

    enum Move {
        case arrive(Int)
        case write(Int)
        case deliver(Int)
        case take(Int)
        case hangUp(Int)
        case held
        case begin
        case piece
        case done
        case restarted
        case vanish(Int)
        case cancel(Int)
        case fault
        case page
    }

    private var possibleMoves: [Move] {
        var moves: [Move] = []
        for (index, peer) in self.peers.enumerated() {
            switch peer.stage {
            case .gone: continue
            case .absent: moves.append(.arrive(index))
            case .connected: self.addMoves(of: peer, index, to: &moves)
            }
        }
        if self.owesHeld { moves.append(.held) }
        if self.owesRestart { moves.append(.restarted) }
        guard let reply = self.reply else {
            if !self.calls.isEmpty, !self.owesHeld { moves.append(.begin) }
            return moves
        }
        if reply.readableBytes == 0 {
            moves.append(.done)
        } else if self.repliedBytes - self.creditedBytes < self.plan.window {
            moves.append(.piece)
        }
        return moves
    }

    private func addMoves(of peer: SharedPeer, _ index: Int, to moves: inout [Move]) {
        if peer.mayWrite, self.mayGoOn(peer) { moves.append(.write(index)) }
        if peer.mayDeliver { moves.append(.deliver(index)) }
        if !peer.inbound.isEmpty { moves.append(.take(index)) }
        if peer.mayHangUp { moves.append(.hangUp(index)) }
    }

    /// At the end of its script a client may have to wait for the others.
    private func mayGoOn(_ peer: SharedPeer) -> Bool {
        guard self.plan.leavesTogether, peer.client.isAtEnd else { return true }
        return self.peers.allSatisfy {
            $0.stage != .absent && $0.client.isAtEnd && $0.inbound.isEmpty
        }
    }

    private mutating func make(_ move: Move) throws(OracleFailure) {
        switch move {
        case .arrive(let index):
            self.peers[index].stage = .connected
            self.session.arrived(
                self.peers[index].id, self.peers[index].arrival, now: self.now)
        case .write(let index): self.peers[index].write()
        case .deliver(let index):
            var outbound = self.peers[index].outbound
            let bytes = self.piece(of: &outbound)
            self.peers[index].outbound = outbound
            self.session.received(bytes, from: self.peers[index].id, now: self.now)
        case .take(let index): self.take(index)
        case .hangUp(let index): self.hangUp(index)
        case .held:
            self.owesHeld = false
            self.session.held(now: self.now)
        case .begin: try self.begin()
        case .piece: self.deliverReply()
        case .done:
            self.reply = nil
            self.session.done(now: self.now)
        case .restarted:
            self.owesRestart = false
            try self.restartEngine()
            self.session.restarted(now: self.now)
        case .vanish(let index):
            self.peers[index].hasVanished = true
            self.hangUp(index)
        case .cancel(let index): self.session.cancel(self.peers[index].id, now: self.now)
        case .fault: try self.fault()
        case .page: try self.turnOfPage()
        }
    }

    /// Now and then something goes wrong, where the plan says so.
    private mutating func trouble(insteadOf move: Move) -> Move? {
        if self.plan.hasPage, self.pageHasEngine, self.random(1, of: 3) { return .page }
        let connected = self.peers.indices.filter { self.peers[$0].stage == .connected }
        guard let index = connected.randomElement(using: &self.random) else { return nil }
        if let rarity = self.plan.vanishing, self.random(1, of: rarity) { return .vanish(index) }
        if let rarity = self.plan.cancels, self.random(1, of: rarity), self.mayCancel(index) {
            return .cancel(index)
        }
        guard let rarity = self.plan.faults, self.faults < 2 else { return nil }
        switch move {
        case .done, .piece: return self.random(1, of: rarity) ? .fault : nil
        default: return nil
        }
    }

    /// A cancel of an exchange that waits, so that it is known what must come of it.
    private func mayCancel(_ index: Int) -> Bool {
        let peer = self.peers[index]
        return peer.client.isInPlainExchange && peer.inbound.isEmpty
            && self.session.queue.contains(peer.id)
    }
}
