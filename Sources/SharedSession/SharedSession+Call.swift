import NIOCore
import PostgresWire

/// Handing a call on to the engine.
extension SharedSession {
    mutating func gather(_ bytes: ByteBuffer) {
        guard var call = self.call else { return }
        self.call = nil
        call.gathered.writeImmutableBuffer(bytes)
        if call.gathered.readableBytes >= Self.pieceBytes { self.handOn(&call) }
        self.call = call
    }

    mutating func runGathered() {
        guard var call = self.call, !call.isRunning else { return }
        self.call = nil
        self.handOn(&call)
        call.isRunning = true
        self.call = call
        self.actions.append(.run)
    }

    /// Runs what is there of a pipeline, its Sync not being among it.
    mutating func runWithoutSync() {
        self.gather(SessionMessage.flush)
        self.runGathered()
    }

    /// A pipeline without an end is run in parts.
    mutating func runIfLarge(_ id: SessionClientID) {
        guard let call = self.call, self.clients[id]?.copy == nil else { return }
        guard
            call.sentBytes + call.gathered.readableBytes >= Self.pipelineBytes
                || call.matcher.slots.count >= Self.pipelineMessages
        else { return }
        guard self.clients[id]?.inbox.passingBytes == 0 else { return }
        self.runWithoutSync()
    }

    mutating func dropGathered() {
        guard let call = self.call, !call.isRunning else { return }
        if call.sentBytes > 0 { self.actions.append(.drop) }
        if call.preface != .none { self.settingsAreUnknown() }
        self.call = nil
    }

    private mutating func handOn(_ call: inout EngineCall) {
        guard call.gathered.readableBytes > 0 else { return }
        call.sentBytes += call.gathered.readableBytes
        self.actions.append(.data(call.gathered))
        call.gathered = ByteBuffer()
    }
}
