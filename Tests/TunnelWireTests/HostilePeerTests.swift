import NIOCore
import Simulation
import Testing

@testable import TunnelWire

/// Whatever a peer sends, the machine answers with events, a reset stream or a violation, and
/// keeps its memory.
struct HostilePeerTests {
    private static let limits: LinkLimits = {
        var limits = LinkLimits()
        limits.initialWindowBytes = 4_096
        limits.minimumWindowBytes = 1_024
        limits.windowBudgetBytes = 64 * 1_024
        limits.replayBytes = 32 * 1_024
        limits.maximumStreams = 20
        return limits
    }()

    @Test(arguments: UInt64(0)..<300)
    func `random frames never break a relay`(seed: UInt64) {
        var attack = Attack(seed: seed, role: .relay, limits: Self.limits)
        attack.run(frames: 300)
    }

    @Test(arguments: UInt64(0)..<300)
    func `random frames never break an agent`(seed: UInt64) {
        var attack = Attack(seed: seed, role: .agent, limits: Self.limits)
        attack.run(frames: 300)
    }

    @Test(arguments: UInt64(0)..<300)
    func `random bytes never break a link`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let role: LinkMachine.Role = Bool.random(using: &random) ? .relay : .agent
        var machine = LinkMachine(role: role, limits: Self.limits, now: start)
        let bytes = (0..<2_000).map { _ in UInt8.random(in: 0...255, using: &random) }
        // Random bytes are no frames for long: the first wrong one ends the link, at the latest
        // behind the longest payload.
        #expect(throws: LinkViolation.self) {
            for _ in 0..<70 { _ = try machine.events(of: ByteBuffer(bytes: bytes)) }
        }
    }
}

/// One end under attack, with an application behind it that does what it may.
private struct Attack {
    private var machine: LinkMachine
    private var random: SeededGenerator
    private let limits: LinkLimits
    private var handles: [StreamHandle] = []
    private var unconsumed = 0

    init(seed: UInt64, role: LinkMachine.Role, limits: LinkLimits) {
        self.machine = LinkMachine(role: role, limits: limits, now: start)
        self.random = SeededGenerator(seed: seed)
        self.limits = limits
    }

    mutating func run(frames: Int) {
        for _ in 0..<frames {
            self.applicationActs()
            var bytes = self.frame()
            let kept = Int.random(in: 0...bytes.readableBytes, using: &self.random)
            do {
                if Int.random(in: 0..<20, using: &self.random) == 0 {
                    _ = try self.machine.events(of: bytes.cut(at: kept).front)
                    try self.drop()
                    bytes = ByteBuffer()
                }
                for event in try self.machine.events(of: bytes) { self.perform(event) }
            } catch {
                // A violation ends the link: nothing may be left.
                self.checkMemory()
                _ = self.machine.expire()
                #expect(self.machine.streamCount == 0)
                #expect(self.machine.windowBytesInUse == 0)
                #expect(self.machine.nextChunk() == nil)
                return
            }
            self.checkMemory()
        }
    }

    /// A drop, and a RESUME that tells any offset, true or not.
    private mutating func drop() throws(LinkViolation) {
        self.machine.disconnected()
        let claimed = UInt64.random(in: 0...2_000, using: &self.random)
        try self.machine.resumed(peerReceived: claimed, now: start)
    }

    private mutating func applicationActs() {
        if self.machine.role == .relay {
            let opened = self.machine.open(now: start) { OpenOK(window: $0).payload }
            if let opened { self.handles.append(opened) }
        }
        if let handle = self.handles.randomElement(using: &self.random) {
            switch Int.random(in: 0..<6, using: &self.random) {
            case 0: self.machine.reset(handle, StreamReset(.closed))
            case 1: self.machine.finish(handle)
            case 2: self.machine.accept(handle, payload: OpenOK(window: 9).payload)
            case 3: self.machine.consumed(handle, bytes: self.unconsumed, now: start)
            default: _ = self.machine.send(handle, ByteBuffer(repeating: 7, count: 500))
            }
        }
        if Bool.random(using: &self.random) { _ = self.machine.nextChunk() }
        while self.machine.popClosed() != nil {}
        while self.machine.popResumable() != nil {}
    }

    private mutating func perform(_ event: LinkMachine.Event) {
        switch event {
        case .opened(let handle, _), .accepted(let handle, _):
            self.handles.append(handle)
            let windows: [UInt64] = [0, 1, 65_536, .max]
            let window = windows.randomElement(using: &self.random) ?? 0
            self.machine.granted(handle, windowBytes: window)
        case .data(_, let bytes):
            self.unconsumed = bytes.readableBytes
        case .finished, .reset, .goAway, .failed:
            break
        }
    }

    private func checkMemory() {
        let least = self.machine.streamCount * self.limits.minimumWindowBytes
        #expect(self.machine.windowBytesInUse <= self.limits.windowBudgetBytes + least)
        #expect(self.machine.streamCount <= self.limits.maximumStreams)
        let chunk = self.limits.replayBytes + 2 * LinkLimits.chunkBytes
        #expect(self.machine.unacknowledgedBytes <= self.limits.replayBytes + chunk)
    }

    /// Mostly frames that look right, sometimes with anything in them.
    private mutating func frame() -> ByteBuffer {
        let type = FrameType.allCases.randomElement(using: &self.random) ?? .data
        if Int.random(in: 0..<200, using: &self.random) == 0 { return self.garbage() }
        let ids: [UInt32] = [1, 2, 3, UInt32(self.handles.count) + 1, .max]
        let id = type.isCounted ? ids.randomElement(using: &self.random) ?? 1 : 0
        let numbers: [UInt64] = [0, 1, 500, 70_000, .max / 2, .max]
        let number = numbers.randomElement(using: &self.random) ?? 0
        switch type {
        case .ack, .ping, .pong, .window: return .number(type, stream: id, number)
        case .data:
            let size = Int.random(in: 0...3_000, using: &self.random)
            var bytes = ByteBuffer()
            let flags = UInt8.random(in: 0...255, using: &self.random) & 0x11
            bytes.writeFrame(
                .data, flags: flags, streamID: id, payload: ByteBuffer(repeating: 1, count: size))
            return bytes
        case .reset: return .frame(.reset, stream: id, StreamReset(.refused, text: "x").payload)
        case .open, .openOK, .goAway:
            return .frame(type, stream: id, ByteBuffer(string: "{\"window\":\(number)}"))
        case .hello, .helloOK, .resume, .resumeOK, .error:
            // Ends the link at once: rare.
            guard Int.random(in: 0..<20, using: &self.random) == 0 else {
                return .number(.ping, number)
            }
            return .frame(type, ByteBuffer(string: "{}"))
        }
    }

    private mutating func garbage() -> ByteBuffer {
        let count = Int.random(in: 1...40, using: &self.random)
        return ByteBuffer(
            bytes: (0..<count).map { _ in UInt8.random(in: 0...255, using: &self.random) })
    }
}
