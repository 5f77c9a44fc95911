package import NIOCore

/// One end of a link: streams, credit, turns, and what must survive a lost connection.
///
///                 disconnected()                 expire()
///     connected ─────────────────▶ disconnected ──────────▶ ended
///         ▲                            │
///         └────────────────────────────┘ resumed(peerReceived:)
///
/// Both ends run the same machine; ``Role`` says who opens streams. The handshake (HELLO, RESUME)
/// comes before it: see ``AgentHandshake`` and ``RelayHandshake``.
///
/// Pure: bytes, verbs and the time go in; events, chunks to write and small lists come out.
/// After every verb the shell writes what ``nextChunk()`` gives, and empties
/// ``popResumable()`` and ``popClosed()``.
package struct LinkMachine: Sendable {
    /// Which end this is.
    package enum Role: Sendable {
        /// The relay: it opens streams.
        case relay
        /// The agent or browser: it accepts them.
        case agent
    }

    /// What the peer did.
    package enum Event: Hashable, Sendable {
        /// A client arrived; the payload is the JSON of OPEN. Agent only.
        case opened(StreamHandle, ByteBuffer)
        /// The backend is there. Relay only.
        case accepted(StreamHandle, ByteBuffer)
        /// Bytes for the far socket. Say ``consumed(_:bytes:now:)`` once it has taken them.
        case data(StreamHandle, ByteBuffer)
        /// The peer's direction has ended: half-close.
        case finished(StreamHandle)
        /// The stream is gone, in both directions. Its handle is stale.
        case reset(StreamHandle, StreamReset)
        /// The peer wants no new streams here.
        case goAway(ByteBuffer)
        /// The peer ends the link for good.
        case failed(ByteBuffer)
    }

    private enum Phase: Sendable { case connected, disconnected, ended }

    package let role: Role
    package let limits: LinkLimits

    private var phase = Phase.connected
    private var decoder = FrameDecoder()
    private var streams = StreamTable()
    private var replay: ReplayBuffer
    /// Link frames to write: not counted, always ahead of everything else. Only what this side
    /// decides to say, so that a peer that never reads cannot make it grow; ACK and PONG are
    /// written from the two below.
    private var linkFrames = ByteBuffer()
    private var isAcknowledgeDue = false
    /// The last question of the peer that was not answered yet. Older ones need no answer.
    private var pongDue: UInt64?
    /// Stream control frames to write: ahead of data.
    private var controlFrames = ByteBuffer()
    private var windowsDue: [StreamHandle] = []
    private var active = CircularBuffer<StreamHandle>(initialCapacity: 4)
    /// The stream in front of `active` is in the middle of its turn.
    private var isInTurn = false
    private var resumable: [StreamHandle] = []
    private var closed: [StreamHandle] = []
    /// A FIN whose last bytes were just told; the next ``receive(_:now:)`` tells it.
    private var finPending: StreamHandle?
    private var lastStreamID: UInt32 = 0
    /// What the windows of all streams add up to, in bytes.
    package private(set) var windowBytesInUse = 0
    /// Counted bytes taken from the peer, and how many of them it knows of.
    package private(set) var received: UInt64 = 0
    private var receivedAcknowledged: UInt64 = 0
    private var keepalive: Keepalive
    /// GOAWAY was sent or came: no new streams.
    package private(set) var isDraining = false
    /// What GOAWAY said, if this side sent it: said again after a drop.
    private var goAwayPayload: ByteBuffer?

    package init(role: Role, limits: LinkLimits, now: NIODeadline) {
        self.role = role
        self.limits = limits
        self.replay = ReplayBuffer(capacity: limits.replayBytes)
        self.keepalive = Keepalive(limits: limits, now: now)
        self.keepalive.ask(into: &self.linkFrames, now: now)
    }

    package var isConnected: Bool { self.phase == .connected }
    package var streamCount: Int { self.streams.count }
    package var handles: [StreamHandle] { self.streams.handles }
    /// The last round trip that was measured.
    package var roundTrip: TimeAmount? { self.keepalive.roundTrip }
    /// Counted bytes that the peer has not acknowledged.
    package var unacknowledgedBytes: Int { Int(self.replay.sent - self.replay.acknowledged) }
    /// Bytes came that were not acknowledged: call ``acknowledge()`` within
    /// ``LinkLimits/acknowledgeWithin``.
    package var owesAcknowledgement: Bool { self.received > self.receivedAcknowledged }
    package func contains(_ handle: StreamHandle) -> Bool { self.streams.contains(handle) }
    /// DATA bytes that came on this stream so far, and that were accepted for sending.
    package func offsets(of handle: StreamHandle) -> (received: UInt64, accepted: UInt64)? {
        guard self.streams.contains(handle) else { return nil }
        let stream = self.streams[handle]
        return (stream.receiveWindow.received, stream.sent + UInt64(stream.queuedBytes))
    }
    /// Bytes that wait on this stream for their turn or for credit.
    package func queuedBytes(of handle: StreamHandle) -> Int {
        self.streams.contains(handle) ? self.streams[handle].queuedBytes : 0
    }
    /// The live stream with this id.
    package func find(_ id: UInt32) -> StreamHandle? { self.streams.find(id) }

    // MARK: Streams, from this side

    /// Opens a stream. Relay only.
    ///
    /// - Parameters:
    ///   - now: The time.
    ///   - payload: Makes the JSON of OPEN from the credit that this side grants, in bytes.
    /// - Returns: nil when the link takes no new stream: ended, draining, or full.
    package mutating func open(
        now: NIODeadline, payload: (_ windowBytes: Int) -> ByteBuffer
    ) -> StreamHandle? {
        precondition(self.role == .relay, "only the relay opens streams")
        guard self.phase != .ended, !self.isDraining, self.lastStreamID < .max,
            self.streams.count < self.limits.maximumStreams, self.hasControlRoom
        else { return nil }
        self.lastStreamID += 1
        let window = self.takeWindow()
        let json = payload(window)
        guard json.readableBytes <= FrameHeader.maximumPayloadBytes else {
            self.windowBytesInUse -= window
            return nil
        }
        let handle = self.streams.insert(
            StreamState(
                id: self.lastStreamID,
                receiveWindow: ReceiveWindow(capacity: window, now: now)))
        self.controlFrames.writeFrame(.open, streamID: handle.id, payload: json)
        return handle
    }

    /// The backend is there: sends OPEN_OK. Agent only; a stale handle does nothing.
    package mutating func accept(_ handle: StreamHandle, payload: ByteBuffer) {
        guard self.streams.contains(handle), !self.streams[handle].isAccepted else { return }
        self.streams[handle].isAccepted = true
        self.controlFrames.writeFrame(.openOK, streamID: handle.id, payload: payload)
    }

    /// The credit that this side grants on a stream, in bytes from its start; for OPEN_OK.
    package func window(of handle: StreamHandle) -> Int {
        self.streams.contains(handle) ? self.streams[handle].receiveWindow.capacity : 0
    }

    /// Queues bytes on a stream. A stale handle drops them: that stream was just reset. So does
    /// a stream that this side has finished.
    ///
    /// - Returns: whether its source may go on; if not, wait for ``popResumable()``.
    package mutating func send(_ handle: StreamHandle, _ bytes: ByteBuffer) -> Bool {
        guard self.streams.contains(handle), !self.streams[handle].finQueued,
            bytes.readableBytes > 0
        else { return true }
        let mayGoOn: Bool = {
            self.streams[handle].enqueue(bytes)
            guard self.streams[handle].queuedBytes >= self.limits.queueHighWaterBytes else {
                return true
            }
            self.streams[handle].isPaused = true
            return false
        }()
        self.activate(handle)
        return mayGoOn
    }

    /// Ends this direction once what is queued has gone.
    package mutating func finish(_ handle: StreamHandle) {
        guard self.streams.contains(handle) else { return }
        self.streams[handle].finQueued = true
        self.activate(handle)
    }

    /// Ends a stream at once, in both directions. The handle is stale afterwards.
    package mutating func reset(_ handle: StreamHandle, _ reset: StreamReset) {
        guard self.streams.contains(handle) else { return }
        self.controlFrames.writeFrame(.reset, streamID: handle.id, payload: reset.payload)
        self.remove(handle)
    }

    /// The far socket took `bytes` of what came on this stream.
    package mutating func consumed(_ handle: StreamHandle, bytes: Int, now: NIODeadline) {
        guard self.streams.contains(handle) else { return }
        let growth = self.streams[handle].receiveWindow.consume(
            bytes, now: now, roundTrip: self.keepalive.roundTrip,
            maximum: self.limits.maximumWindowBytes,
            room: self.limits.windowBudgetBytes - self.windowBytesInUse)
        guard let growth else { return }
        self.windowBytesInUse += growth
        self.keepalive.askAgainIfOld(into: &self.linkFrames, now: now)
        // After FIN the peer sends no more: credit would be noise.
        guard !self.streams[handle].windowDue, !self.streams[handle].finReceived else { return }
        self.streams[handle].windowDue = true
        self.windowsDue.append(handle)
    }

    /// Tells the peer that no new streams are wanted here.
    package mutating func goAway(payload: ByteBuffer) {
        guard self.phase != .ended, !self.isDraining else { return }
        self.isDraining = true
        self.goAwayPayload = payload
        if self.phase == .connected { self.linkFrames.writeFrame(.goAway, payload: payload) }
    }

    /// A source that was paused and may go on; nil when there is none.
    package mutating func popResumable() -> StreamHandle? {
        while let handle = self.resumable.popLast() {
            if self.streams.contains(handle) { return handle }
        }
        return nil
    }

    /// A stream that has ended in both directions; nil when there is none.
    package mutating func popClosed() -> StreamHandle? { self.closed.popLast() }

    // MARK: The peer

    /// Takes bytes of the peer until something is worth telling.
    ///
    /// Without a connection nothing is taken: these bytes come again after the next resume.
    ///
    /// - Returns: nil when `bytes` is empty and nothing is left to tell: call until then.
    /// - Throws: ``LinkViolation``; end the link for good.
    package mutating func receive(
        _ bytes: inout ByteBuffer, now: NIODeadline
    ) throws(LinkViolation) -> Event? {
        guard self.phase == .connected else { return nil }
        if let event = self.takePendingFin() { return event }
        self.keepalive.heard()
        while let event = try self.decoder.next(&bytes) {
            let told: Event?
            switch event {
            case .data(let header, let part, let isFirst, let isLast):
                self.received += UInt64(part.readableBytes + (isFirst ? FrameHeader.bytes : 0))
                told = try self.receiveData(header, part, isLast: isLast)
            case .control(let header, let payload):
                if header.type.isCounted {
                    self.received += UInt64(FrameHeader.bytes + header.length)
                }
                told = try self.receiveControl(header, payload, now: now)
            }
            self.acknowledgeIfMuch()
            if let told { return told }
        }
        return nil
    }

    private mutating func receiveData(
        _ header: FrameHeader, _ part: ByteBuffer, isLast: Bool
    ) throws(LinkViolation) -> Event? {
        guard let handle = self.streams.find(header.streamID) else {
            guard header.streamID <= self.lastStreamID else {
                throw .streamNeverOpened(header.streamID)
            }
            // The race of a stream that this side has just reset or seen reset.
            return nil
        }
        guard !self.streams[handle].finReceived else {
            return self.breakStream(handle, .protocolError, "bytes after the end of the stream")
        }
        guard self.role == .agent || self.streams[handle].isAccepted else {
            return self.breakStream(handle, .protocolError, "bytes before OPEN_OK")
        }
        guard self.streams[handle].receiveWindow.receive(part.readableBytes) else {
            return self.breakStream(handle, .flowControl, "more bytes than credit")
        }
        let ends = isLast && header.isFin
        if part.readableBytes > 0, !ends { return .data(handle, part) }
        if part.readableBytes > 0 {
            // Two events from one part: the bytes now, the end on the next call.
            self.finPending = handle
            return .data(handle, part)
        }
        return ends ? self.receiveFin(handle) : nil
    }

    /// The end that came with the bytes just told, if it did and the stream still lives.
    private mutating func takePendingFin() -> Event? {
        guard let handle = self.finPending else { return nil }
        self.finPending = nil
        return self.streams.contains(handle) ? self.receiveFin(handle) : nil
    }

    private mutating func receiveFin(_ handle: StreamHandle) -> Event {
        self.streams[handle].finReceived = true
        self.closeIfDone(handle)
        return .finished(handle)
    }

    private mutating func receiveControl(
        _ header: FrameHeader, _ payload: ByteBuffer, now: NIODeadline
    ) throws(LinkViolation) -> Event? {
        var payload = payload
        let id = header.streamID
        switch header.type {
        case .ack:
            try self.replay.acknowledge(payload.readInteger() ?? 0)
            return nil
        case .ping:
            self.pongDue = payload.readInteger()
            return nil
        case .pong:
            self.keepalive.answered(payload.readInteger() ?? 0, now: now)
            return nil
        case .goAway:
            self.isDraining = true
            return .goAway(payload)
        case .error:
            return .failed(payload)
        case .hello, .helloOK, .resume, .resumeOK:
            throw .unexpected(header.type)
        case .open:
            return try self.receiveOpen(id, payload, now: now)
        case .openOK:
            guard let handle = try self.live(id) else { return nil }
            guard self.role == .relay, !self.streams[handle].isAccepted else {
                throw .unexpected(.openOK)
            }
            self.streams[handle].isAccepted = true
            return .accepted(handle, payload)
        case .window:
            guard let handle = try self.live(id) else { return nil }
            return self.receiveWindow(handle, payload.readInteger() ?? 0)
        case .reset:
            guard let handle = try self.live(id) else { return nil }
            guard let reset = StreamReset(payload: payload) else { throw .badPayload(.reset) }
            self.remove(handle)
            return .reset(handle, reset)
        case .data:
            preconditionFailure("the decoder passes DATA on as data")
        }
    }

    private mutating func receiveOpen(
        _ id: UInt32, _ payload: ByteBuffer, now: NIODeadline
    ) throws(LinkViolation) -> Event? {
        guard self.role == .agent else { throw .unexpected(.open) }
        guard id > self.lastStreamID else { throw .streamIDReused(id) }
        guard self.streams.count < self.limits.maximumStreams, self.hasControlRoom else {
            throw .tooManyStreams(limit: self.limits.maximumStreams)
        }
        self.lastStreamID = id
        let window = self.takeWindow()
        let handle = self.streams.insert(
            StreamState(
                id: id, receiveWindow: ReceiveWindow(capacity: window, now: now)))
        return .opened(handle, payload)
    }

    /// The peer's grant in OPEN or OPEN_OK, in bytes from the start of the stream.
    ///
    /// - Returns: the end of the stream if the grant is a lie; perform it like one that came.
    @discardableResult
    package mutating func granted(_ handle: StreamHandle, windowBytes: UInt64) -> Event? {
        guard self.streams.contains(handle) else { return nil }
        return self.receiveWindow(handle, windowBytes)
    }

    private mutating func receiveWindow(_ handle: StreamHandle, _ limit: UInt64) -> Event? {
        let sent = self.streams[handle].sent
        guard limit <= sent + LinkLimits.maximumClaimedWindowBytes else {
            return self.breakStream(handle, .flowControl, "a window beyond the limit")
        }
        // Offsets are absolute: an old update, replayed, changes nothing.
        if limit > self.streams[handle].sendLimit { self.streams[handle].sendLimit = limit }
        self.activate(handle)
        return nil
    }

    /// The live stream of that id, nil for one just closed, a violation for one never opened.
    private func live(_ id: UInt32) throws(LinkViolation) -> StreamHandle? {
        if let handle = self.streams.find(id) { return handle }
        guard id <= self.lastStreamID else { throw .streamNeverOpened(id) }
        return nil
    }

    /// The peer broke the rules of one stream: that stream ends, the link lives.
    private mutating func breakStream(
        _ handle: StreamHandle, _ code: StreamReset.Code, _ text: String
    ) -> Event {
        let reset = StreamReset(code, sqlState: "08P01", text: text)
        self.reset(handle, reset)
        return .reset(handle, reset)
    }

    // MARK: Writing

    /// What to write next; nil when there is nothing, no connection, or no room for replay.
    ///
    /// The shell asks again as long as its socket takes more.
    package mutating func nextChunk() -> Chunk? {
        guard self.phase == .connected else { return nil }
        if self.hasLinkFrames, !self.replay.isInsideFrame {
            return Chunk(head: self.takeLinkFrames())
        }
        if let again = self.replay.nextReplay() { return again }
        guard !self.replay.isFull else { return nil }
        let chunk = self.gatherChunk()
        guard chunk.readableBytes > 0 else { return nil }
        self.replay.append(chunk)
        return chunk
    }

    private var hasLinkFrames: Bool {
        self.linkFrames.readableBytes > 0 || self.isAcknowledgeDue || self.pongDue != nil
    }

    private mutating func takeLinkFrames() -> ByteBuffer {
        var frames = ByteBuffer()
        swap(&frames, &self.linkFrames)
        if let number = self.pongDue { frames.writeFrame(.pong, number: number) }
        self.pongDue = nil
        if self.isAcknowledgeDue {
            frames.writeFrame(.ack, number: self.received)
            self.receivedAcknowledged = self.received
        }
        self.isAcknowledgeDue = false
        return frames
    }

    /// Whether stream control frames may still be added: streams that come and go while the peer
    /// acknowledges nothing must not fill the memory.
    private var hasControlRoom: Bool {
        self.controlFrames.readableBytes < self.limits.replayBytes
    }

    /// Whether ``nextChunk()`` would give something that did not wait before.
    package var hasSomethingToWrite: Bool {
        guard self.phase == .connected else { return false }
        if self.hasLinkFrames || self.replay.isReplaying { return true }
        guard !self.replay.isFull else { return false }
        return self.controlFrames.readableBytes > 0 || !self.windowsDue.isEmpty
            || !self.active.isEmpty
    }

    private mutating func gatherChunk() -> Chunk {
        var head = ByteBuffer()
        swap(&head, &self.controlFrames)
        for handle in self.windowsDue where self.streams.contains(handle) {
            self.streams[handle].windowDue = false
            let limit = self.streams[handle].receiveWindow.limit
            head.writeFrame(.window, streamID: handle.id, number: limit)
        }
        self.windowsDue.removeAll(keepingCapacity: true)
        while head.readableBytes < LinkLimits.chunkBytes, let handle = self.active.first {
            guard self.streams.contains(handle), self.streams[handle].isReady else {
                self.endTurn(handle, staysActive: false)
                continue
            }
            if !self.isInTurn {
                self.isInTurn = true
                self.streams[handle].deficit +=
                    self.active.count == 1 ? LinkLimits.chunkBytes : LinkLimits.quantumBytes
            }
            if let payload = self.writeFrame(of: handle, into: &head) {
                return Chunk(head: head, payload: payload)
            }
        }
        return Chunk(head: head)
    }

    /// Writes one DATA frame of the stream whose turn it is.
    ///
    /// - Returns: its payload, if that is too large to be copied.
    private mutating func writeFrame(
        of handle: StreamHandle, into head: inout ByteBuffer
    ) -> ByteBuffer? {
        let stream = self.streams[handle]
        let waiting = stream.head?.readableBytes ?? 0
        var length = min(waiting, stream.credit, max(stream.deficit, 1))
        if length > FrameHeader.maximumPayloadBytes {
            // 64 KiB in two equal frames, not one full and one of a byte.
            length = min(length, 2 * FrameHeader.maximumPayloadBytes) / 2
        }
        let isFin = stream.finQueued && length == stream.queuedBytes
        head.writeFrameHeader(
            FrameHeader(
                type: .data, flags: isFin ? FrameHeader.finFlag : 0, length: length,
                streamID: handle.id))
        let payload = length > 0 ? self.streams[handle].dequeue(length) : ByteBuffer()
        self.streams[handle].sent += UInt64(length)
        self.streams[handle].deficit -= max(length, FrameHeader.bytes)
        self.resumeIfDrained(handle)
        if isFin { self.streams[handle].finSent = true }
        let isReady = self.streams[handle].isReady
        if !isReady || self.streams[handle].deficit <= 0 {
            self.endTurn(handle, staysActive: isReady)
        }
        if isFin { self.closeIfDone(handle) }
        guard length > LinkLimits.inlinePayloadBytes else {
            head.writeImmutableBuffer(payload)
            return nil
        }
        return payload
    }

    private mutating func endTurn(_ handle: StreamHandle, staysActive: Bool) {
        self.isInTurn = false
        self.active.removeFirst()
        guard self.streams.contains(handle) else { return }
        if staysActive {
            self.active.append(handle)
        } else {
            self.streams[handle].isActive = false
            self.streams[handle].deficit = 0
        }
    }

    private mutating func activate(_ handle: StreamHandle) {
        guard !self.streams[handle].isActive, self.streams[handle].isReady else { return }
        self.streams[handle].isActive = true
        self.active.append(handle)
    }

    private mutating func resumeIfDrained(_ handle: StreamHandle) {
        guard self.streams[handle].isPaused,
            self.streams[handle].queuedBytes < self.limits.queueHighWaterBytes / 2
        else { return }
        self.streams[handle].isPaused = false
        self.resumable.append(handle)
    }

    private mutating func closeIfDone(_ handle: StreamHandle) {
        guard self.streams[handle].isClosed else { return }
        self.closed.append(handle)
        self.remove(handle)
    }

    private mutating func remove(_ handle: StreamHandle) {
        self.windowBytesInUse -= self.streams[handle].receiveWindow.capacity
        self.streams.remove(handle)
        if self.streams.count == 0 { self.forgetRounds() }
    }

    /// No stream is left: gives back what the lists grew to.
    private mutating func forgetRounds() {
        self.active = CircularBuffer(initialCapacity: 4)
        self.isInTurn = false
        self.windowsDue = []
        self.resumable = []
    }

    private mutating func takeWindow() -> Int {
        let room = self.limits.windowBudgetBytes - self.windowBytesInUse
        let window = max(
            self.limits.minimumWindowBytes, min(self.limits.initialWindowBytes, room / 8))
        self.windowBytesInUse += window
        return window
    }

    // MARK: Acknowledging, keepalive, drops

    private mutating func acknowledgeIfMuch() {
        let owed = self.received - self.receivedAcknowledged
        if owed >= UInt64(self.limits.acknowledgeEveryBytes) { self.acknowledge() }
    }

    /// Acknowledges everything that came so far.
    package mutating func acknowledge() {
        guard self.phase == .connected, self.owesAcknowledgement else { return }
        self.isAcknowledgeDue = true
    }

    /// Looks at the clock. Call every ``LinkLimits/tickEvery`` while connected.
    ///
    /// - Returns: whether the peer still counts as alive; if not, drop the connection.
    package mutating func tick(now: NIODeadline) -> Bool {
        guard self.phase == .connected else { return true }
        return self.keepalive.tick(into: &self.linkFrames, now: now)
    }

    /// The connection is lost, or is being replaced. Nothing of it may be delivered any more.
    package mutating func disconnected() {
        guard self.phase == .connected else { return }
        self.phase = .disconnected
        self.decoder.disconnected()
        self.forgetLinkFrames()
    }

    private mutating func forgetLinkFrames() {
        self.linkFrames = ByteBuffer()
        self.isAcknowledgeDue = false
        self.pongDue = nil
    }

    /// A new connection stands, and the peer has taken `peerReceived` counted bytes.
    ///
    /// - Throws: ``LinkViolation/badOffset(claimed:acknowledged:sent:)``: the two ends have lost
    ///   count; end the link for good.
    package mutating func resumed(
        peerReceived: UInt64, now: NIODeadline
    ) throws(LinkViolation) {
        precondition(self.phase == .disconnected, "resumed without a drop")
        try self.replay.rewind(to: peerReceived)
        self.phase = .connected
        // RESUME and RESUME_OK told the peer what came.
        self.receivedAcknowledged = self.received
        self.keepalive.connected(now: now)
        self.keepalive.ask(into: &self.linkFrames, now: now)
        if let goAwayPayload { self.linkFrames.writeFrame(.goAway, payload: goAwayPayload) }
    }

    /// The link is over: it was not resumed in time, or a violation ended it.
    ///
    /// - Returns: the streams that end with it.
    package mutating func expire() -> [StreamHandle] {
        guard self.phase != .ended else { return [] }
        self.phase = .ended
        let handles = self.streams.handles
        self.streams = StreamTable()
        self.replay = ReplayBuffer(capacity: self.limits.replayBytes)
        self.windowBytesInUse = 0
        self.forgetLinkFrames()
        self.controlFrames = ByteBuffer()
        self.forgetRounds()
        self.finPending = nil
        return handles
    }
}
