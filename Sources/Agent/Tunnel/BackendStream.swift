import NIOCore
import PostgresClient
import PostgresWire
import TunnelTransport
import TunnelWire

/// One client of the tunnel and its backend: logs in, lets the greeting through without the
/// backend's key, then gets out of the way. Lives on the link's event loop.
///
/// Until the backend is there it is the stream's port itself, and keeps what the client sent:
/// no more than its window.
final class BackendStream: StreamPort {
    private let handle: StreamHandle
    private let link: Link
    private let open: Open
    private let service: AgentService
    private let onKey: (CancelKey?, Bool) -> Void
    private let onEnd: () -> Void

    /// How long a client waits for a place, and how often it looks. The relay counts clients,
    /// the agent backends: one that is still shutting down may take up the place of a client
    /// that has just left.
    private static let placePatience = TimeAmount.seconds(2)
    private static let placePoll = TimeAmount.milliseconds(20)

    private var request: BackendRequest?
    private var waiting: [ByteBuffer] = []
    private var isClientGone = false
    private var greeting = GreetingMachine(replacement: nil)
    private var unread = ByteBuffer()
    private var key: CancelKey?
    private var isEncrypted = false
    /// Counted among the share's clients.
    private var isAdmitted = false
    private var isConnecting = false
    /// The backend's channel while it greets.
    private var channel: (any Channel)?
    private var isConnected = false
    private var isOver = false

    init(
        handle: StreamHandle, link: Link, open: Open, service: AgentService,
        onKey: @escaping (CancelKey?, Bool) -> Void, onEnd: @escaping () -> Void
    ) {
        self.handle = handle
        self.link = link
        self.open = open
        self.service = service
        self.onKey = onKey
        self.onEnd = onEnd
    }

    private var client: String { self.open.client ?? "unknown" }

    func start() {
        self.link.bind(self.handle, to: self)
        self.enter(until: .now() + Self.placePatience)
    }

    private func enter(until deadline: NIODeadline) {
        guard !self.isOver else { return }
        switch self.service.admit(self.open) {
        case .serve(let request):
            self.connect(request)
        case .refuse(let reset) where reset.sqlState == "53300" && NIODeadline.now() < deadline:
            self.link.eventLoop.assumeIsolated().scheduleTask(in: Self.placePoll) {
                self.enter(until: deadline)
            }
        case .refuse(let reset):
            self.service.tell(
                .clientRefused(client: self.client, sqlState: reset.sqlState, reason: reset.text))
            self.end()
            self.link.reset(self.handle, reset)
        }
    }

    private func connect(_ request: BackendRequest) {
        self.request = request
        self.isAdmitted = true
        let connected = self.service.connector.connect(request, on: self.link.eventLoop)
        self.isConnecting = true
        connected.assumeIsolated().whenComplete { result in
            self.isConnecting = false
            // A client that left in the meantime kept its place until here: its connection to
            // Postgres counted for as long as it was being made.
            if self.isOver { self.service.release() }
            switch result {
            case .success(let backend): self.connected(backend)
            case .failure(let error): self.failed(error)
            }
        }
    }

    private func failed(_ error: any Error) {
        guard !self.isOver else { return }
        let failure =
            (error as? BackendFailure) ?? BackendFailure(.unreachable, detail: "\(error)")
        let told = failure.clientError
        self.service.tell(
            .clientRefused(
                client: self.client, sqlState: told.sqlState.rawValue, reason: failure.detail))
        self.end()
        self.link.reset(
            self.handle,
            StreamReset(.refused, sqlState: told.sqlState.rawValue, text: told.message))
    }

    private func connected(_ backend: Backend) {
        guard !self.isOver, self.link.machine.contains(self.handle) else {
            self.end()
            return backend.channel.close(promise: nil)
        }
        self.isEncrypted = backend.isEncrypted
        let splice = SpliceHandler(side: .backend, sink: self.link)
        splice.handle = self.handle
        splice.inboundStage = { bytes in self.greet(bytes) }
        splice.onEvent = { event in
            if event == .closed { self.closed() }
        }
        do {
            try backend.channel.pipeline.syncOperations.addHandler(splice)
            try backend.channel.syncOptions?.setOption(.maxMessagesPerRead, value: 1)
            try backend.channel.syncOptions?.setOption(.autoRead, value: true)
        } catch {
            backend.channel.close(promise: nil)
            return self.failed(error)
        }
        self.isConnected = true
        self.channel = backend.channel
        self.link.bind(self.handle, to: splice)
        self.link.accept(self.handle)
        self.tellConnected()
        splice.injectStaged(backend.early)
        for bytes in self.waiting { splice.deliver(bytes) }
        self.waiting = []
        splice.flush()
        if self.isClientGone { splice.deliverEnd() }
    }

    private func tellConnected() {
        let parameters = self.request?.parameters ?? []
        // Not needed again, and a client may stay for days.
        self.request = nil
        let name = parameters.first { $0.name == "application_name" }?.value ?? ""
        self.service.tell(.clientConnected(client: self.client, applicationName: name))
    }

    /// The backend's key stays here: the relay makes its own.
    private func greet(_ bytes: ByteBuffer) -> SpliceHandler.StageResult {
        self.unread.writeImmutableBuffer(bytes)
        var out = ByteBuffer()
        do {
            while true {
                switch try self.greeting.receive(&self.unread) {
                case .readMore:
                    return .pass(out)
                case .forward(let messages):
                    out.writeImmutableBuffer(messages)
                case .finished(let messages, let key):
                    out.writeImmutableBuffer(messages)
                    out.writeImmutableBuffer(self.unread)
                    self.unread = ByteBuffer()
                    self.key = key
                    self.channel = nil
                    self.onKey(key, self.isEncrypted)
                    return .last(out)
                case .failed(let error, _):
                    self.failed(BackendFailure(server: error, afterLogin: true))
                    return .ended
                }
            }
        } catch {
            self.failed(BackendFailure(.protocolViolation, detail: "\(error)"))
            self.channel?.close(promise: nil)
            return .ended
        }
    }

    /// The backend's socket is closed. Where the stream was cut off, Postgres may be in the middle
    /// of a query, and would notice only at its end that nobody waits for it.
    private func closed() {
        if let key, !self.link.machine.contains(self.handle) {
            self.service.cancelAbandoned(
                key, isEncrypted: self.isEncrypted, on: self.link.eventLoop)
        }
        self.end()
    }

    private func end() {
        guard !self.isOver else { return }
        self.isOver = true
        self.waiting = []
        self.onEnd()
        if self.isAdmitted, !self.isConnecting { self.service.release() }
        if self.isConnected { self.service.tell(.clientDisconnected(client: self.client)) }
    }

    // MARK: StreamPort, until the backend is there

    func deliver(_ bytes: ByteBuffer) { self.waiting.append(bytes) }
    func flush() {}
    func deliverEnd() { self.isClientGone = true }
    func deliverReset(_ reset: StreamReset) { self.end() }
    func accepted(_ payload: ByteBuffer) {}
    func resumeSource() {}
}
