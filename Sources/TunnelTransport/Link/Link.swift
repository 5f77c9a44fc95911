package import NIOCore
package import TunnelWire

/// Runs a ``LinkMachine`` on its event loop: moves bytes between the connection and the ports,
/// keeps the timers. It decides nothing.
///
/// A link outlives its connections: ``attach(_:)`` gives it one, and when that is lost the streams
/// wait for the next. Everything here happens on ``eventLoop``.
package final class Link: StreamSink {
    package let eventLoop: any EventLoop
    /// Told what happens, until the link has ended.
    package var delegate: (any LinkDelegate)?
    package private(set) var machine: LinkMachine
    /// What the peer ended the link with, if it did.
    package private(set) var peerError: LinkError?
    /// Bytes of DATA that left and came, for metrics.
    package private(set) var sentBytes: UInt64 = 0
    package private(set) var receivedBytes: UInt64 = 0
    /// How often bytes came: whether the peer is there can be seen by whether this changes.
    package private(set) var heard: UInt64 = 0

    /// By slot. A slot may have a new stream before the old one's end is told, hence the id.
    private var ports: ContiguousArray<(id: UInt32, port: any StreamPort)?> = []
    private var dirtyPorts: ContiguousArray<any StreamPort> = []
    private var connection: (any LinkConnection)?
    private var isFlushScheduled = false
    /// Made once: scheduling a flush is on the path of every small message.
    private var flushTask: @Sendable () -> Void = {}
    private var isReading = false
    private var isHeard = false
    private var isAcknowledgeScheduled = false
    private var ticker: RepeatedTask?
    private var graceTimer: Scheduled<Void>?
    private var bulkBytes = 0
    /// Set when much moved in the last tick: new streams had better go elsewhere.
    package let load: LinkLoad

    /// Bytes written before they are flushed: bounds what TLS holds at once.
    private static let flushEveryBytes = 128 * 1024

    package init(
        role: LinkMachine.Role, limits: LinkLimits, eventLoop: any EventLoop,
        load: LinkLoad = LinkLoad()
    ) {
        self.eventLoop = eventLoop
        self.load = load
        self.machine = LinkMachine(role: role, limits: limits, now: .now())
        let bound = NIOLoopBound(Weak(link: self), eventLoop: eventLoop)
        self.flushTask = { bound.value.link?.flush() }
    }

    private struct Weak {
        weak var link: Link?
    }

    package var isConnected: Bool { self.connection != nil }
    /// The link has ended for good.
    package private(set) var isOver = false

    // MARK: Connections

    /// The first connection of this link.
    package func attach(_ connection: any LinkConnection) {
        self.eventLoop.preconditionInEventLoop()
        self.connection = connection
        self.isHeard = false
        self.startTicking()
        self.scheduleFlush()
    }

    /// A new connection after a drop; the peer has taken `peerReceived` counted bytes.
    ///
    /// - Throws: ``LinkViolation``; the link has ended then.
    package func resume(
        on connection: any LinkConnection, peerReceived: UInt64
    ) throws(LinkViolation) {
        self.eventLoop.preconditionInEventLoop()
        self.graceTimer?.cancel()
        self.graceTimer = nil
        do {
            try self.machine.resumed(peerReceived: peerReceived, now: .now())
        } catch {
            self.end(LinkError(error), reset: .tunnelLost)
            throw error
        }
        self.attach(connection)
    }

    /// Stops listening to the connection there is: a newer one is about to report what came.
    ///
    /// - Returns: the counted bytes taken so far, final until the next resume.
    package func replaceConnection() -> UInt64 {
        self.eventLoop.preconditionInEventLoop()
        if self.connection != nil { self.lose(.replaced) }
        return self.machine.received
    }

    /// The connection is gone. A stale one says nothing.
    package func connectionLost(_ lost: any LinkConnection, reason: LinkLoss) {
        guard self.connection === lost else { return }
        self.lose(reason)
    }

    private func lose(_ reason: LinkLoss) {
        let connection = self.connection
        self.connection = nil
        self.ticker?.cancel()
        self.ticker = nil
        self.machine.disconnected()
        connection?.detach()
        self.readingIsOver()
        self.delegate?.linkDisconnected(self, reason: reason)
    }

    /// Ends the link unless it is resumed within `grace`.
    package func expire(in grace: TimeAmount) {
        self.graceTimer?.cancel()
        self.graceTimer = self.eventLoop.assumeIsolated().scheduleTask(in: grace) {
            self.end(nil, reset: .tunnelLost)
        }
    }

    /// Ends the link for good: tells the peer why, resets every stream.
    package func end(_ error: LinkError?, reset: StreamReset) {
        self.end(telling: error, reporting: error, reset: reset)
    }

    private func end(telling told: LinkError?, reporting error: LinkError?, reset: StreamReset) {
        self.eventLoop.preconditionInEventLoop()
        let connection = self.connection
        self.connection = nil
        self.ticker?.cancel()
        self.ticker = nil
        self.graceTimer?.cancel()
        self.graceTimer = nil
        guard !self.isOver else { return }
        self.isOver = true
        let isInsideFrame = self.machine.isInsideFrame
        let handles = self.machine.expire()
        // In the middle of a frame that is sent again, an ERROR would be taken for its bytes.
        if let told, !isInsideFrame { connection?.write(Chunk(head: told.frame)) }
        connection?.closeAfterFlush()
        let ports = handles.compactMap { self.port($0) }
        self.ports = []
        for port in ports { port.deliverReset(reset) }
        self.delegate?.linkEnded(self, error: error)
        self.delegate = nil
    }

    /// Asks the peer whether it is there.
    package func ask() {
        self.machine.ask(now: .now())
        self.scheduleFlush()
    }

    /// Tells the peer that this link drains.
    package func goAway(reason: String) {
        self.machine.goAway(payload: GoAway(reason: reason).payload)
        self.scheduleFlush()
    }

    // MARK: Streams

    /// Opens a stream. Relay only.
    ///
    /// - Parameters:
    ///   - open: Makes OPEN from the credit that this side grants.
    ///   - isCancel: Whether it cancels what runs on a stream of this link.
    ///   - port: The stream's near end.
    /// - Returns: nil if the link takes none.
    package func open(
        _ open: (_ windowBytes: Int) -> Open, isCancel: Bool = false, port: any StreamPort
    ) -> StreamHandle? {
        let handle = self.machine.open(now: .now(), isCancel: isCancel) { open($0).payload }
        guard let handle else { return nil }
        self.bind(handle, to: port)
        self.scheduleFlush()
        return handle
    }

    /// Takes a stream that the peer opened, without answering yet.
    package func bind(_ handle: StreamHandle, to port: any StreamPort) {
        while self.ports.count <= handle.slot { self.ports.append(nil) }
        self.ports[handle.slot] = (handle.id, port)
    }

    /// Answers OPEN. Agent only.
    package func accept(_ handle: StreamHandle) {
        let ok = OpenOK(window: self.machine.window(of: handle))
        self.machine.accept(handle, payload: ok.payload)
        self.scheduleFlush()
    }

    package func send(_ handle: StreamHandle, _ bytes: ByteBuffer) -> Bool {
        self.countBulk(bytes.readableBytes)
        self.sentBytes += UInt64(bytes.readableBytes)
        let mayGoOn = self.machine.send(handle, bytes)
        self.scheduleFlush()
        return mayGoOn
    }

    package func finish(_ handle: StreamHandle) {
        self.machine.finish(handle)
        self.scheduleFlush()
    }

    package func reset(_ handle: StreamHandle, _ reset: StreamReset) {
        guard self.machine.contains(handle) else { return }
        self.machine.reset(handle, reset)
        self.release(handle)
        self.scheduleFlush()
    }

    package func consumed(_ handle: StreamHandle, bytes: Int) {
        self.machine.consumed(handle, bytes: bytes, now: .now())
        if !self.isReading, self.machine.hasSomethingToWrite { self.scheduleFlush() }
    }

    private func port(_ handle: StreamHandle) -> (any StreamPort)? {
        guard handle.slot < self.ports.count, let entry = self.ports[handle.slot],
            entry.id == handle.id
        else { return nil }
        return entry.port
    }

    @discardableResult
    private func release(_ handle: StreamHandle) -> (any StreamPort)? {
        guard let port = self.port(handle) else { return nil }
        self.ports[handle.slot] = nil
        if self.machine.streamCount == 0 { self.ports = [] }
        return port
    }

    // MARK: The connection's events

    /// Bytes came on the connection.
    package func receive(_ bytes: ByteBuffer, on connection: any LinkConnection) {
        guard self.connection === connection else { return }
        self.isReading = true
        self.heard &+= 1
        if !self.isHeard {
            self.isHeard = true
            self.delegate?.linkHeard(self)
        }
        self.countBulk(bytes.readableBytes)
        var bytes = bytes
        do {
            let now = NIODeadline.now()
            while let event = try self.machine.receive(&bytes, now: now) {
                self.perform(event)
                guard self.connection === connection else { return }
            }
        } catch {
            self.end(LinkError(error), reset: .tunnelLost)
        }
    }

    private func perform(_ event: LinkMachine.Event) {
        switch event {
        case .data(let handle, let bytes):
            self.receivedBytes += UInt64(bytes.readableBytes)
            guard let port = self.port(handle) else { return }
            port.deliver(bytes)
            self.dirtyPorts.append(port)
        case .finished(let handle):
            self.port(handle)?.deliverEnd()
        case .reset(let handle, let reset):
            self.release(handle)?.deliverReset(reset)
        case .accepted(let handle, let payload):
            self.performAccepted(handle, payload)
        case .opened(let handle, let payload):
            self.performOpen(handle, payload)
        case .goAway:
            self.delegate?.linkGoesAway(self)
        case .failed(let payload):
            let error = try? LinkError(payload: payload)
            self.peerError = error
            self.end(telling: nil, reporting: error, reset: .tunnelLost)
        }
    }

    private func performAccepted(_ handle: StreamHandle, _ payload: ByteBuffer) {
        guard let ok = try? OpenOK(payload: payload), ok.window >= 0 else {
            let reset = StreamReset(
                .protocolError, sqlState: "08P01", text: "the answer could not be read")
            self.machine.reset(handle, reset)
            return self.perform(.reset(handle, reset))
        }
        if let end = self.machine.granted(handle, windowBytes: UInt64(ok.window)) {
            return self.perform(end)
        }
        self.port(handle)?.accepted(payload)
    }

    private func performOpen(_ handle: StreamHandle, _ payload: ByteBuffer) {
        guard let open = try? Open(payload: payload), open.window >= 0 else {
            let reset = StreamReset(
                .protocolError, sqlState: "08P01", text: "the request could not be read")
            return self.machine.reset(handle, reset)
        }
        // A grant that is a lie has ended the stream: nobody has heard of it yet.
        guard self.machine.granted(handle, windowBytes: UInt64(open.window)) == nil else { return }
        self.bind(handle, to: UnboundPort.shared)
        self.delegate?.link(self, opened: handle, open)
    }

    /// The connection has given all it had for now.
    package func readComplete(on connection: any LinkConnection) {
        guard self.connection === connection else { return }
        self.readingIsOver()
        self.tellPorts()
        if self.machine.hasSomethingToWrite { self.scheduleFlush() }
        self.scheduleAcknowledge()
    }

    private func readingIsOver() {
        self.isReading = false
        for port in self.dirtyPorts { port.flush() }
        self.dirtyPorts.removeAll(keepingCapacity: true)
    }

    /// The connection takes more, or does not.
    package func writabilityChanged(on connection: any LinkConnection) {
        guard self.connection === connection, connection.isWritable else { return }
        self.flush()
    }

    // MARK: Writing

    /// Writes once the tick is over, so that everything of one tick leaves together.
    private func scheduleFlush() {
        guard !self.isFlushScheduled else { return }
        self.isFlushScheduled = true
        self.eventLoop.execute(self.flushTask)
    }

    private func flush() {
        self.isFlushScheduled = false
        guard let connection else { return self.tellPorts() }
        var waiting = 0
        while connection.isWritable, let chunk = self.machine.nextChunk() {
            connection.write(chunk)
            waiting += chunk.readableBytes
            if waiting >= Self.flushEveryBytes {
                connection.flush()
                waiting = 0
            }
        }
        if waiting > 0 { connection.flush() }
        self.tellPorts()
    }

    /// Passes on which sources may go on and which streams are over.
    private func tellPorts() {
        while let handle = self.machine.popClosed() { self.release(handle) }
        while let handle = self.machine.popResumable() { self.port(handle)?.resumeSource() }
    }

    // MARK: Timers

    private func scheduleAcknowledge() {
        guard !self.isAcknowledgeScheduled, self.machine.owesAcknowledgement else { return }
        self.isAcknowledgeScheduled = true
        let delay = self.machine.limits.acknowledgeWithin
        self.eventLoop.assumeIsolated().scheduleTask(in: delay) {
            self.isAcknowledgeScheduled = false
            self.machine.acknowledge()
            self.flush()
        }
    }

    private func startTicking() {
        let every = self.machine.limits.tickEvery
        let isolated = NIOLoopBound(self, eventLoop: self.eventLoop)
        self.ticker = self.eventLoop.scheduleRepeatedTask(initialDelay: every, delay: every) { _ in
            isolated.value.tick()
        }
    }

    private func tick() {
        self.load.isBulk = self.bulkBytes >= LinkLoad.bulkBytesPerTick
        self.bulkBytes = 0
        guard self.machine.tick(now: .now()) else { return self.lose(.silent) }
        self.flush()
    }

    private func countBulk(_ bytes: Int) {
        self.bulkBytes += bytes
        if self.bulkBytes >= LinkLoad.bulkBytesPerTick, !self.load.isBulk {
            self.load.isBulk = true
        }
    }
}

/// Stands in for a port until the delegate binds one: nothing can arrive for it yet.
private final class UnboundPort: StreamPort, Sendable {
    static let shared = UnboundPort()
    func deliver(_ bytes: ByteBuffer) {}
    func flush() {}
    func deliverEnd() {}
    func deliverReset(_ reset: StreamReset) {}
    func accepted(_ payload: ByteBuffer) {}
    func resumeSource() {}
}
