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

    enum Phase: Sendable { case connected, disconnected, ended }

    package let role: Role
    package let limits: LinkLimits

    var phase = Phase.connected
    var decoder = FrameDecoder()
    var streams = StreamTable()
    var replay: ReplayBuffer
    /// Link frames to write: not counted, always ahead of everything else. Only what this side
    /// decides to say, so that a peer that never reads cannot make it grow; ACK and PONG are
    /// written from the two below.
    var linkFrames = ByteBuffer()
    var isAcknowledgeDue = false
    /// The last question of the peer that was not answered yet. Older ones need no answer.
    var pongDue: UInt64?
    /// Stream control frames to write: ahead of data.
    var controlFrames = ByteBuffer()
    var windowsDue: [StreamHandle] = []
    var active = CircularBuffer<StreamHandle>(initialCapacity: 4)
    /// The stream in front of `active` is in the middle of its turn.
    var isInTurn = false
    var resumable: [StreamHandle] = []
    var closed: [StreamHandle] = []
    /// A FIN whose last bytes were just told; the next ``receive(_:now:)`` tells it.
    var finPending: StreamHandle?
    var lastStreamID: UInt32 = 0
    /// What the windows of all streams add up to, in bytes.
    package internal(set) var windowBytesInUse = 0
    /// Counted bytes taken from the peer, and how many of them it knows of.
    package internal(set) var received: UInt64 = 0
    var receivedAcknowledged: UInt64 = 0
    var keepalive: Keepalive
    /// GOAWAY was sent or came: no new streams.
    package internal(set) var isDraining = false
    /// What GOAWAY said, if this side sent it: said again after a drop.
    var goAwayPayload: ByteBuffer?

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
    /// A PING, or counted bytes, wait for an answer of the peer.
    package var isAwaiting: Bool { self.keepalive.isAsking || self.unacknowledgedBytes > 0 }
    /// Changes with every PONG and every ACK of more bytes.
    package var answered: UInt64 { self.replay.acknowledged &+ self.keepalive.answers }
    /// Counted bytes that the peer has not acknowledged.
    package var unacknowledgedBytes: Int { Int(self.replay.sent - self.replay.acknowledged) }
    /// Bytes came that were not acknowledged: call ``acknowledge()`` within
    /// ``LinkLimits/acknowledgeWithin``.
    package var owesAcknowledgement: Bool { self.received > self.receivedAcknowledged }
    /// The next bytes to write go on in the middle of a frame: nothing else may come before them.
    package var isInsideFrame: Bool { self.replay.isInsideFrame }
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
    ///   - isCancel: Whether it concerns a stream that is there: that is taken while draining, too.
    ///   - payload: Makes the JSON of OPEN from the credit that this side grants, in bytes.
    /// - Returns: nil when the link takes no new stream: ended, draining, or full.
    package mutating func open(
        now: NIODeadline, isCancel: Bool = false, payload: (_ windowBytes: Int) -> ByteBuffer
    ) -> StreamHandle? {
        precondition(self.role == .relay, "only the relay opens streams")
        guard self.phase != .ended, !self.isDraining || isCancel, self.lastStreamID < .max,
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

    // MARK: Acknowledging, keepalive, drops

    mutating func acknowledgeIfMuch() {
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

    /// Asks whether the peer is there, before the keepalive would, unless it is being asked.
    package mutating func ask(now: NIODeadline) {
        guard self.phase == .connected, !self.keepalive.isAsking else { return }
        self.keepalive.ask(into: &self.linkFrames, now: now)
    }

    /// The connection is lost, or is being replaced. Nothing of it may be delivered any more.
    package mutating func disconnected() {
        guard self.phase == .connected else { return }
        self.phase = .disconnected
        self.decoder.disconnected()
        self.forgetLinkFrames()
    }

    mutating func forgetLinkFrames() {
        self.linkFrames = ByteBuffer()
        self.isAcknowledgeDue = false
        self.pongDue = nil
    }

    /// Whether the peer had acknowledged more than `peerReceived` counted bytes.
    package func isBehind(_ peerReceived: UInt64) -> Bool {
        peerReceived < self.replay.acknowledged
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
