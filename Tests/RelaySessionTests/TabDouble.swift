import NIOCore
import NIOEmbedded
import SharedSession
import TunnelWire

/// The page's end of a tunnel: a bare machine, and an engine that answers by itself.
final class TabDouble {
    /// What it was asked, in the order of asking.
    private enum Job {
        case hold
        case restart
        case run(ByteBuffer)
    }

    private(set) var channel: NIOAsyncTestingChannel
    private var machine = LinkMachine(role: .agent, limits: .browser, now: .now())
    private var handshake: AgentHandshake?
    private var unread = ByteBuffer()
    private var handle: StreamHandle?
    private var jobs: [Job] = []
    private var inbox = ByteBuffer()
    private var gathered = ByteBuffer()

    private(set) var welcome: HelloOK?
    private var resumeSecret = ""
    /// What ended its link.
    private(set) var error: LinkError?
    /// Records it got, DATA and RUN left out.
    private(set) var told: [String] = []
    /// Bytes of DATA frames that it has sent.
    private(set) var sentBytes = 0
    var engine = EngineDouble()
    /// What it says of its engine; nil for an OPEN that it does not answer.
    var answer: OpenOK.Engine? = OpenOK.Engine()
    /// Whether HOLD fails.
    var failsHolds = false
    /// And only the next one.
    var failsNextOnly = false
    var failsRestarts = false
    /// Whether its bytes arrive one at a time.
    var isCut = false

    init(channel: NIOAsyncTestingChannel, hello: Hello) {
        self.channel = channel
        self.handshake = AgentHandshake(hello: hello)
    }

    /// The share it has.
    var id: String { self.welcome?.share ?? "" }

    // MARK: The connection

    func greet() async throws {
        guard let first = self.handshake?.start() else { return }
        try await self.channel.writeInbound(first)
    }

    /// The network is gone.
    func cut() async throws {
        self.machine.disconnected()
        try await self.channel.close().get()
    }

    /// Comes back on another connection.
    func resume(on channel: NIOAsyncTestingChannel) async throws {
        self.channel = channel
        self.unread = ByteBuffer()
        self.handshake = AgentHandshake(
            resume: Resume(
                session: self.welcome?.session ?? "", secret: self.resumeSecret,
                received: self.machine.received))
        try await self.greet()
        try self.hear(await channel.waitForOutboundWrite(as: ByteBuffer.self))
    }

    /// Says goodbye and closes.
    func leave(_ error: LinkError) async throws {
        try await self.channel.writeInbound(error.frame)
    }

    // MARK: Turns

    /// Reads what came, works, and writes.
    ///
    /// - Returns: whether there was anything to do.
    func pump() async throws -> Bool {
        var moved = false
        while let bytes = try await self.channel.readOutbound(as: ByteBuffer.self) {
            moved = true
            try self.hear(bytes)
        }
        self.work()
        let bytes = self.written()
        guard bytes.readableBytes > 0, self.channel.isActive else { return moved }
        if self.isCut {
            for byte in bytes.readableBytesView {
                try await self.channel.writeInbound(ByteBuffer(bytes: [byte]))
            }
        } else {
            try await self.channel.writeInbound(bytes)
        }
        return true
    }

    private func written() -> ByteBuffer {
        var bytes = ByteBuffer()
        while self.machine.isConnected, let chunk = self.machine.nextChunk() {
            bytes.writeImmutableBuffer(chunk.head)
            self.sentBytes += chunk.payload?.readableBytes ?? chunk.head.readableBytes
            if let payload = chunk.payload { bytes.writeImmutableBuffer(payload) }
        }
        return bytes
    }

    func hear(_ bytes: ByteBuffer) throws {
        self.unread.writeImmutableBuffer(bytes)
        if var handshake = self.handshake {
            let answer = try handshake.receive(&self.unread)
            self.handshake = handshake
            switch answer {
            case .readMore: return
            case .welcomed(let welcome):
                self.welcome = welcome
                self.resumeSecret = welcome.resumeSecret
            case .resumed(let ok):
                self.resumeSecret = ok.resumeSecret
                try self.machine.resumed(peerReceived: ok.received, now: .now())
            case .refused(let error): self.error = error
            }
            self.handshake = nil
        }
        while self.error == nil, let event = try self.machine.receive(&self.unread, now: .now()) {
            try self.perform(event)
        }
    }

    private func perform(_ event: LinkMachine.Event) throws {
        switch event {
        case .opened(let handle, let payload):
            self.handle = handle
            guard let answer else { return }
            let open = try Open(payload: payload)
            _ = self.machine.granted(handle, windowBytes: UInt64(open.window))
            let ok = OpenOK(window: self.machine.window(of: handle), engine: answer)
            self.machine.accept(handle, payload: ok.payload)
        case .data(let handle, let bytes):
            self.machine.consumed(handle, bytes: bytes.readableBytes, now: .now())
            self.inbox.writeImmutableBuffer(bytes)
            try self.readRecords()
        case .failed(let payload): self.error = try LinkError(payload: payload)
        case .reset(_, let reset): self.told.append("RESET \(reset.sqlState)")
        case .accepted, .finished, .goAway: break
        }
    }

    // MARK: Records

    private func readRecords() throws {
        while let number: UInt8 = self.inbox.getInteger(at: self.inbox.readerIndex),
            let length: UInt32 = self.inbox.getInteger(at: self.inbox.readerIndex + 1),
            self.inbox.readableBytes >= EngineRecord.headerBytes + Int(length)
        {
            self.inbox.moveReaderIndex(forwardBy: EngineRecord.headerBytes)
            let payload = self.inbox.readSlice(length: Int(length)) ?? ByteBuffer()
            guard let type = EngineRecordType(rawValue: number) else {
                throw EngineRecordViolation.badLength(number, Int(length))
            }
            self.take(type, payload)
        }
    }

    private func take(_ type: EngineRecordType, _ payload: ByteBuffer) {
        switch type {
        case .data: self.gathered.writeImmutableBuffer(payload)
        case .run:
            self.jobs.append(.run(self.gathered))
            self.gathered = ByteBuffer()
        case .drop:
            self.told.append("DROP")
            self.gathered = ByteBuffer()
        case .hold:
            self.told.append("HOLD")
            self.jobs.append(.hold)
        case .restart:
            self.told.append("RESTART")
            self.jobs.append(.restart)
        case .release: self.told.append("RELEASE")
        case .event: self.told.append("EVENT \(String(buffer: payload))")
        case .reply, .done, .fault, .notify, .restarted, .held:
            self.told.append("\(type)")
        }
    }

    /// Does what it was asked for, one after another.
    private func work() {
        while let job = self.jobs.first {
            switch job {
            case .hold:
                self.failsHolds ? self.fault(false) : self.say(.held)
                if self.failsNextOnly { self.failsHolds = false }
            case .restart:
                if self.failsRestarts {
                    self.fault(false)
                } else {
                    self.engine.restart()
                    self.say(.restarted)
                }
            case .run(let call):
                switch self.engine.run(call) {
                case .stuck: return
                case .fault(let restarted): self.fault(restarted)
                case .reply(let bytes):
                    self.say(.reply, bytes)
                    self.say(.done)
                }
            }
            self.jobs.removeFirst()
        }
    }

    private func fault(_ restarted: Bool) {
        self.say(.fault, ByteBuffer(string: "{\"message\":\"trap\",\"restarted\":\(restarted)}"))
    }

    func say(_ type: EngineRecordType, _ payload: ByteBuffer = ByteBuffer()) {
        var record = ByteBuffer()
        record.writeRecord(type, payload)
        self.say(record)
    }

    /// Bytes as they are.
    func say(_ bytes: ByteBuffer) {
        guard let handle else { return }
        _ = self.machine.send(handle, bytes)
    }

    /// Ends its stream.
    func finish() {
        if let handle { self.machine.finish(handle) }
    }
}
