package import NIOCore

/// What the peer sends: frames in, events out.
extension LinkMachine {
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

    mutating func receiveData(
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
    mutating func takePendingFin() -> Event? {
        guard let handle = self.finPending else { return nil }
        self.finPending = nil
        return self.streams.contains(handle) ? self.receiveFin(handle) : nil
    }

    mutating func receiveFin(_ handle: StreamHandle) -> Event {
        self.streams[handle].finReceived = true
        self.closeIfDone(handle)
        return .finished(handle)
    }

    mutating func receiveControl(
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

    mutating func receiveOpen(
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

    mutating func receiveWindow(_ handle: StreamHandle, _ limit: UInt64) -> Event? {
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
    func live(_ id: UInt32) throws(LinkViolation) -> StreamHandle? {
        if let handle = self.streams.find(id) { return handle }
        guard id <= self.lastStreamID else { throw .streamNeverOpened(id) }
        return nil
    }

    /// The peer broke the rules of one stream: that stream ends, the link lives.
    mutating func breakStream(
        _ handle: StreamHandle, _ code: StreamReset.Code, _ text: String
    ) -> Event {
        let reset = StreamReset(code, sqlState: "08P01", text: text)
        self.reset(handle, reset)
        return .reset(handle, reset)
    }
}
