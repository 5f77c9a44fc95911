import NIOCore

/// What leaves: link frames first, then control, then data in deficit round robin.
extension LinkMachine {
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

    var hasLinkFrames: Bool {
        self.linkFrames.readableBytes > 0 || self.isAcknowledgeDue || self.pongDue != nil
    }

    mutating func takeLinkFrames() -> ByteBuffer {
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
    var hasControlRoom: Bool {
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

    mutating func gatherChunk() -> Chunk {
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
    mutating func writeFrame(
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

    mutating func endTurn(_ handle: StreamHandle, staysActive: Bool) {
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

    mutating func activate(_ handle: StreamHandle) {
        guard !self.streams[handle].isActive, self.streams[handle].isReady else { return }
        self.streams[handle].isActive = true
        self.active.append(handle)
    }

    mutating func resumeIfDrained(_ handle: StreamHandle) {
        guard self.streams[handle].isPaused,
            self.streams[handle].queuedBytes < self.limits.queueHighWaterBytes / 2
        else { return }
        self.streams[handle].isPaused = false
        self.resumable.append(handle)
    }

    mutating func closeIfDone(_ handle: StreamHandle) {
        guard self.streams[handle].isClosed else { return }
        self.closed.append(handle)
        self.remove(handle)
    }

    mutating func remove(_ handle: StreamHandle) {
        self.windowBytesInUse -= self.streams[handle].receiveWindow.capacity
        self.streams.remove(handle)
        if self.streams.count == 0 { self.forgetRounds() }
    }

    /// No stream is left: gives back what the lists grew to.
    mutating func forgetRounds() {
        self.active = CircularBuffer(initialCapacity: 4)
        self.isInTurn = false
        self.windowsDue = []
        self.resumable = []
    }

    mutating func takeWindow() -> Int {
        let room = self.limits.windowBudgetBytes - self.windowBytesInUse
        let window = max(
            self.limits.minimumWindowBytes, min(self.limits.initialWindowBytes, room / 8))
        self.windowBytesInUse += window
        return window
    }
}
