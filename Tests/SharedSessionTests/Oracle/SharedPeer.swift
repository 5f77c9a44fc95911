import NIOCore
import PostgresWire

@testable import SharedSession

/// A scripted client and both directions of its socket.
struct SharedPeer {
    enum Stage {
        /// Has not come yet.
        case absent
        case connected
        /// Its connection is over, by whichever side.
        case gone
    }

    let id: SessionClientID
    var client: ScriptedClient
    var stage = Stage.absent
    /// Written by the client and not read by the relay.
    var outbound = ByteBuffer()
    /// Sent by the machine and not taken by the client's socket, with the credit of each piece.
    var inbound = CircularBuffer<(bytes: ByteBuffer, credit: Int)>()
    var isPaused = false
    /// The machine has ended it: nothing more may be sent.
    var isClosed = false
    /// Everything of its script is written.
    var hasFinished = false
    /// It went away in the middle of its script.
    var hasVanished = false
    /// A fault of the engine was in its call.
    var hasFaulted = false
    /// The engine was restarted when it had something in its session that nobody knew of.
    var hasLostState = false

    init(number: Int, script: ClientScript) {
        self.id = SessionClientID(rawValue: UInt32(number + 1))
        self.client = ScriptedClient(script)
    }

    var arrival: SessionArrival {
        let own = [("user", "postgres"), ("database", OracleFixture.engineDatabase)]
        let parameters = (own + self.client.script.startup).map {
            StartupRequest.Parameter(name: $0.0, value: $0.1)
        }
        let number = Int32(self.id.rawValue)
        return SessionArrival(
            request: StartupRequest(parameters: parameters),
            cancelKey: CancelKey(processID: number, secret: [1, 2, 3, 4]) ?? .zero, address: nil)
    }

    /// Whether its script is at a place where it sends something, or ends.
    var mayWrite: Bool {
        self.stage == .connected && !self.hasFinished && !self.client.isDead && !self.isClosed
            && self.client.isReady
    }

    /// Writes the next step of the script, or its end.
    mutating func write() {
        if let step = self.client.next() {
            self.outbound.writeImmutableBuffer(step.bytes)
            return
        }
        self.hasFinished = true
        if self.client.script.isPolite {
            self.outbound.writeImmutableBuffer(FrontendMessage.terminate)
        }
    }

    var mayDeliver: Bool {
        self.stage == .connected && !self.isPaused && self.outbound.readableBytes > 0
    }

    /// Whether its socket is closed now, by it or by the machine.
    var mayHangUp: Bool {
        guard self.stage == .connected, self.inbound.isEmpty else { return false }
        if self.isClosed || self.client.isDead { return true }
        return self.hasFinished && self.outbound.readableBytes == 0
    }
}
