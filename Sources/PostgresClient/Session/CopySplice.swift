import NIOCore

/// Moves the buffers of one COPY from the source's socket to the target's. Lives on the target's
/// event loop; a source on another one hands its buffers over.
final class CopySplice {
    /// How long both sides may take to end once one has failed; who has not is closed.
    static let unwindTimeout = TimeAmount.seconds(60)

    private let source: NIOLoopBoundBox<CopySourceRun?>
    private let eventLoop: any EventLoop
    private let continuation: CheckedContinuation<Result<CopyResult, CopyError>, Never>
    private var target: CopyTargetRun?
    private var machine = CopyMachine()
    private var backlog: [(bytes: ByteBuffer, cutBytes: Int)] = []
    private var isForwarding = false
    private var unacknowledgedBytes = 0
    private var movedBytes: Int64 = 0
    private var timer: Scheduled<Void>?

    init(
        source: NIOLoopBoundBox<CopySourceRun?>,
        on eventLoop: any EventLoop,
        _ continuation: CheckedContinuation<Result<CopyResult, CopyError>, Never>
    ) {
        self.source = source
        self.eventLoop = eventLoop
        self.continuation = continuation
    }

    func enter(_ target: CopyTargetRun, _ line: SessionHandler) {
        self.target = target
        line.enter(target)
    }

    /// A buffer of the source's rows.
    func data(_ bytes: ByteBuffer, cutBytes: Int) {
        guard !self.machine.isFailing, let target = self.target else { return }
        guard self.isForwarding else { return self.backlog.append((bytes, cutBytes)) }
        target.write(bytes, cutBytes: cutBytes)
        self.unacknowledgedBytes += bytes.readableBytes
        if target.isWritable { self.acknowledge() }
    }

    func targetBecameWritable() {
        if self.unacknowledgedBytes > 0 { self.acknowledge() }
    }

    /// The source's session is free, or gone.
    func sourceOver(bytes: Int64) {
        self.movedBytes = bytes
        self.receive(.over(.source))
    }

    func receive(_ event: CopyMachine.Event) {
        let actions = self.machine.receive(event)
        if self.machine.isFailing, !self.machine.hasEnded { self.startTimer() }
        for action in actions { self.perform(action) }
    }

    private func perform(_ action: CopyMachine.Action) {
        switch action {
        case .forward: self.forward()
        case .finishTarget: self.target?.finish()
        case .failTarget: self.target?.fail("the copy was given up")
        case .cancelSource: self.stopSource()
        case .cancelTarget: self.target?.stop()
        case .end(let result): self.end(result)
        }
    }

    private func forward() {
        self.isForwarding = true
        let backlog = self.backlog
        self.backlog = []
        for (bytes, cutBytes) in backlog { self.data(bytes, cutBytes: cutBytes) }
    }

    private func acknowledge() {
        let bytes = self.unacknowledgedBytes
        self.unacknowledgedBytes = 0
        self.onSource { $0.acknowledge(bytes) }
    }

    private func stopSource() {
        self.backlog = []
        self.onSource { $0.stop() }
    }

    private func startTimer() {
        guard self.timer == nil else { return }
        self.timer = self.eventLoop.assumeIsolated().scheduleTask(in: Self.unwindTimeout) {
            let late = SessionError.connectionLost(detail: "no answer after a failed COPY")
            self.target?.giveUp(late)
            self.onSource { $0.giveUp(late) }
        }
    }

    private func end(_ result: Result<Int64, CopyError>) {
        self.timer?.cancel()
        self.target = nil
        // It holds this splice.
        let source = self.source
        source.eventLoop.runHere { source.value = nil }
        let bytes = self.movedBytes
        self.continuation.resume(
            returning: result.map { CopyResult(rows: $0, bytes: bytes) })
    }

    private func onSource(_ body: @escaping @Sendable (CopySourceRun) -> Void) {
        let box = self.source
        box.eventLoop.runHere {
            if let source = box.value { body(source) }
        }
    }
}
