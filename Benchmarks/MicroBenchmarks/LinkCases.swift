import NIOCore
import TunnelWire

/// Two ends of a link in memory, with one stream open: what the splice asks of the machines.
enum LinkCases {
    private static let count = 1_000
    private static let smallBytes = 64
    private static let largeBytes = 64 * 1024

    /// 1,000 small queries up and their answers down, one after the other.
    static func roundtrip() throws -> (() throws -> Int) {
        let pair = try LinkPair()
        let message = ByteBuffer(repeating: 0x71, count: self.smallBytes)
        return {
            var arrived = 0
            for _ in 0..<self.count {
                arrived += try pair.toAgent(message)
                arrived += try pair.toRelay(message)
            }
            guard arrived == 2 * self.count * self.smallBytes else {
                throw UnexpectedResult(what: "\(arrived) bytes arrived")
            }
            return arrived
        }
    }

    /// 1,000 reads of 64 KiB down a COPY, credit and acknowledgements flowing back.
    static func splice() throws -> (() throws -> Int) {
        let pair = try LinkPair()
        let block = ByteBuffer(repeating: 0x62, count: self.largeBytes)
        return {
            var arrived = 0
            for _ in 0..<self.count {
                arrived += try pair.toRelay(block)
            }
            guard arrived == self.count * self.largeBytes else {
                throw UnexpectedResult(what: "\(arrived) bytes arrived")
            }
            return arrived
        }
    }
}

/// A relay's and an agent's link, joined without a network. Time stands still, so
/// ACK goes by bytes alone.
private final class LinkPair {
    private let now = NIODeadline.uptimeNanoseconds(1_000_000_000)
    private var relay: LinkMachine
    private var agent: LinkMachine
    private var relayStream: StreamHandle
    private var agentStream: StreamHandle?
    private var arrived = 0

    init() throws {
        let now = self.now
        var relay = LinkMachine(role: .relay, limits: LinkLimits(), now: now)
        let stream = relay.open(now: now) { window in
            Open(window: window, client: nil, parameters: [["user", "bench"]]).payload
        }
        guard let stream else { throw UnexpectedResult(what: "no stream") }
        self.relay = relay
        self.relayStream = stream
        self.agent = LinkMachine(role: .agent, limits: LinkLimits(), now: now)
        try self.settle()
        guard let accepted = self.agentStream else { throw UnexpectedResult(what: "no OPEN") }
        let window = self.agent.window(of: accepted)
        self.agent.accept(accepted, payload: OpenOK(window: window).payload)
        try self.settle()
    }

    /// Bytes of the client, and everything that follows from them. Returns the bytes that arrived.
    func toAgent(_ bytes: ByteBuffer) throws -> Int {
        _ = self.relay.send(self.relayStream, bytes)
        return try self.settle()
    }

    /// Bytes of the backend, likewise.
    func toRelay(_ bytes: ByteBuffer) throws -> Int {
        guard let stream = self.agentStream else { return 0 }
        _ = self.agent.send(stream, bytes)
        return try self.settle()
    }

    /// Moves chunks until both ends are silent.
    @discardableResult
    private func settle() throws -> Int {
        let before = self.arrived
        var moved = true
        while moved {
            moved = false
            while let chunk = self.relay.nextChunk() {
                moved = true
                try self.deliver(chunk.head) { try self.agentReceives(&$0) }
                if let payload = chunk.payload {
                    try self.deliver(payload) { try self.agentReceives(&$0) }
                }
            }
            while let chunk = self.agent.nextChunk() {
                moved = true
                try self.deliver(chunk.head) { try self.relayReceives(&$0) }
                if let payload = chunk.payload {
                    try self.deliver(payload) { try self.relayReceives(&$0) }
                }
            }
        }
        return self.arrived - before
    }

    private func deliver(
        _ bytes: ByteBuffer, to receive: (inout ByteBuffer) throws -> Void
    ) throws {
        var bytes = bytes
        try receive(&bytes)
    }

    private func agentReceives(_ bytes: inout ByteBuffer) throws {
        while let event = try self.agent.receive(&bytes, now: self.now) {
            switch event {
            case .opened(let handle, let payload):
                self.agentStream = handle
                let open = try Open(payload: payload)
                self.agent.granted(handle, windowBytes: UInt64(open.window))
            case .data(let handle, let payload):
                self.arrived += payload.readableBytes
                self.agent.consumed(handle, bytes: payload.readableBytes, now: self.now)
            case .accepted, .finished, .reset, .goAway, .failed:
                throw UnexpectedResult(what: "\(event)")
            }
        }
    }

    private func relayReceives(_ bytes: inout ByteBuffer) throws {
        while let event = try self.relay.receive(&bytes, now: self.now) {
            switch event {
            case .accepted(let handle, let payload):
                let accepted = try OpenOK(payload: payload)
                self.relay.granted(handle, windowBytes: UInt64(accepted.window))
            case .data(let handle, let payload):
                self.arrived += payload.readableBytes
                self.relay.consumed(handle, bytes: payload.readableBytes, now: self.now)
            case .opened, .finished, .reset, .goAway, .failed:
                throw UnexpectedResult(what: "\(event)")
            }
        }
    }
}
