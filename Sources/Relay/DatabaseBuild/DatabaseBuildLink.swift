import NIOCore
import PostgresWire
import SharePolicy
import SharedSession
import TunnelTransport

/// An ``EngineLink`` over the WebSocket of database.build's page; see ``DatabaseBuildMachine``.
///
/// Lives on the event loop of the first WebSocket; a later one may live on another.
final class DatabaseBuildLink: EngineLink {
    /// Bytes of replies that nobody has taken, above which the page is not read.
    static let windowBytes = 1_024 * 1_024

    private let loop: any EventLoop
    private let grace: TimeAmount
    private let onEnd: @Sendable () -> Void
    private var machine = DatabaseBuildMachine()
    private var page: PageConnection?
    private var untaken = 0
    private var isPaused = false
    private var mayGoOn = true
    private var isSettling = false
    private var end: EngineEnd?
    private var expiry: Scheduled<Void>?

    weak var delegate: (any EngineLinkDelegate)? {
        didSet {
            guard let delegate else { return }
            if self.page != nil { delegate.engineOpened(Self.capabilities) }
            if let end { delegate.engineGone(end) }
        }
    }

    /// That page cannot be asked to keep its own queries back, or to start its engine anew,
    /// and each message is a turn of its own.
    private static var capabilities: EngineCapabilities {
        var capabilities = EngineCapabilities()
        capabilities.batches = false
        capabilities.restarts = false
        capabilities.holds = false
        return capabilities
    }

    /// Prepares a link without a page.
    ///
    /// - Parameters:
    ///   - loop: Where it lives.
    ///   - grace: How long a page that is gone is waited for.
    ///   - onEnd: Called once, when it is over for good.
    init(loop: any EventLoop, grace: TimeAmount, onEnd: @escaping @Sendable () -> Void) {
        self.loop = loop
        self.grace = grace
        self.onEnd = onEnd
    }

    var isOver: Bool { self.end != nil }

    // MARK: The page

    /// A page is there, the first one or another; the one before it is closed.
    func attach(_ page: PageConnection) {
        guard self.end == nil else {
            return page.close(.serviceRestart, "the share has just ended; share again")
        }
        let isFirst = self.page == nil && self.expiry == nil
        let old = self.page
        if old != nil { self.sessionLost() }
        self.page = page
        old?.close(.policyViolation, TunnelRefusal.Reason.takenOver.message)
        self.expiry?.cancel()
        self.expiry = nil
        self.isPaused = false
        page.resume()
        self.machine.attached()
        if isFirst {
            self.delegate?.engineOpened(Self.capabilities)
        } else {
            self.delegate?.engineAway(false)
        }
        self.tellMayGoOn(true)
        self.settle()
        self.delegate?.engineFlushed()
        self.pauseIfNeeded()
    }

    /// Bytes of a frame. Of a page that was replaced nothing is heard.
    func received(_ bytes: ByteBuffer, from page: PageConnection) {
        guard self.page === page else { return }
        do {
            try self.machine.received(bytes)
        } catch {
            return self.violated(error)
        }
        self.settle()
        self.pauseIfNeeded()
    }

    /// A frame is whole.
    func frameEnded(from page: PageConnection) {
        guard self.page === page else { return }
        do {
            try self.machine.frameEnded()
        } catch {
            return self.violated(error)
        }
        self.settle()
    }

    /// Nothing more was read at once.
    func readEnded(from page: PageConnection) {
        guard self.page === page else { return }
        self.delegate?.engineFlushed()
        self.page?.flush()
    }

    /// The socket takes more, or does not.
    func writable(_ isWritable: Bool, of page: PageConnection) {
        guard self.page === page else { return }
        self.tellMayGoOn(isWritable)
    }

    /// The WebSocket is gone; with an `end` where the page is not to come back.
    func lost(_ page: PageConnection, end reason: Refusal.Reason?) {
        guard self.page === page, self.end == nil else { return }
        self.page = nil
        if let reason { return self.over(EngineEnd(reason)) }
        self.sessionLost()
        self.delegate?.engineAway(true)
        self.expiry = self.loop.assumeIsolated().scheduleTask(in: self.grace) {
            self.over(EngineEnd(.tunnelLost))
        }
    }

    private func sessionLost() {
        self.machine.lost()
        self.delegate?.engineSessionLost("its page was loaded anew or cut off")
    }

    /// No page ever came: nobody is to wait for one.
    func endIfNeverAttached() {
        guard self.page == nil, self.expiry == nil else { return }
        self.over(EngineEnd(.tunnelLost))
    }

    private func violated(_ violation: DatabaseBuildViolation) {
        self.over(EngineEnd(.tunnelLost)) { $0.close(.policyViolation, violation.rawValue) }
    }

    private func over(_ end: EngineEnd, saying goodbye: (PageConnection) -> Void = { _ in }) {
        guard self.end == nil else { return }
        self.end = end
        let page = self.page
        self.page = nil
        if let page { goodbye(page) }
        self.expiry?.cancel()
        self.expiry = nil
        self.delegate?.engineGone(end)
        self.onEnd()
    }

    // MARK: To the engine

    // The page's own queries cannot be kept out, and its engine cannot be started anew.
    func hold() {}
    func release() {}
    func restart() {}

    func data(_ bytes: ByteBuffer) { self.machine.data(bytes) }

    func run() {
        self.machine.run()
        self.settle()
    }

    func drop() { self.machine.drop() }

    func event(_ event: PageEvent) {
        switch event {
        case .connected(let id, let address, _): self.machine.clientCame(id, address: address)
        case .disconnected(let id): self.machine.clientLeft(id)
        }
        self.settle()
    }

    func credit(_ bytes: Int) {
        self.untaken -= bytes
        guard self.isPaused, self.untaken <= Self.windowBytes / 2 else { return }
        self.isPaused = false
        self.page?.resume()
    }

    func flush() { self.page?.flush() }

    func close(_ reason: Refusal.Reason) {
        self.over(EngineEnd(reason)) { page in
            switch reason {
            case .relayStopping: page.close(.serviceRestart, reason.message)
            case .shareEnded: page.close(.policyViolation, reason.message)
            default: page.close(.goingAway, reason.message)
            }
        }
    }

    // MARK: Performing

    /// Performs what the machine decided. What is asked for meanwhile is performed behind it.
    private func settle() {
        guard !self.isSettling else { return }
        self.isSettling = true
        defer { self.isSettling = false }
        repeat {
            while let action = self.machine.nextAction() { self.perform(action) }
            self.machine.rest()
        } while self.machine.hasActions
    }

    private func perform(_ action: DatabaseBuildMachine.Action) {
        switch action {
        case .send(let frame): self.page?.write(frame)
        case .reply(let bytes):
            self.untaken += bytes.readableBytes
            self.delegate?.engineReplied(bytes)
        case .done: self.delegate?.engineDone()
        case .restarted: self.delegate?.engineRestarted()
        }
    }

    private func pauseIfNeeded() {
        guard !self.isPaused, self.untaken > Self.windowBytes else { return }
        self.isPaused = true
        self.page?.pause()
    }

    private func tellMayGoOn(_ mayGoOn: Bool) {
        guard mayGoOn != self.mayGoOn else { return }
        self.mayGoOn = mayGoOn
        self.delegate?.engineMayGoOn(mayGoOn)
    }
}
