package import NIOCore
package import TunnelWire

/// Joins a far socket on one event loop to a stream of a link on another.
///
/// The correct fallback, never the norm: a hop costs half the throughput of one client. Two small
/// objects, each on its own event loop, send each other what they are told.
package enum StreamCrossing {
    /// Makes the two halves. Bind `port` on the link's event loop, give `sink` to the splice.
    ///
    /// - Parameters:
    ///   - link: The link; only its event loop touches it.
    ///   - linkLoop: That event loop.
    ///   - loop: The far socket's event loop, where this is called.
    /// - Returns: What the splice sends to, and what the link delivers to.
    package static func make(
        link: NIOLoopBound<Link>, linkLoop: any EventLoop, from loop: any EventLoop
    ) -> (sink: CrossingSink, port: CrossingPort) {
        let port = CrossingPort(farLoop: loop, linkLoop: linkLoop)
        let sink = CrossingSink(link: link, linkLoop: linkLoop, port: port)
        return (sink, port)
    }

    /// What the splice uses as its handle: the true one lives on the link's event loop.
    package static let handle = StreamHandle.crossing
}

/// The far socket's half: everything said to it happens on the link's event loop, in order.
package final class CrossingSink: StreamSink, Sendable {
    private let link: NIOLoopBound<Link>
    private let linkLoop: any EventLoop
    private let port: CrossingPort

    init(link: NIOLoopBound<Link>, linkLoop: any EventLoop, port: CrossingPort) {
        self.link = link
        self.linkLoop = linkLoop
        self.port = port
    }

    package func send(_ handle: StreamHandle, _ bytes: ByteBuffer) -> Bool {
        self.linkLoop.execute {
            guard let handle = self.port.handle else { return }
            if !self.link.value.send(handle, bytes) { self.port.pauseSource() }
        }
        return true
    }

    package func finish(_ handle: StreamHandle) {
        self.linkLoop.execute {
            guard let handle = self.port.handle else { return }
            self.link.value.finish(handle)
        }
    }

    package func reset(_ handle: StreamHandle, _ reset: StreamReset) {
        self.linkLoop.execute {
            guard let handle = self.port.handle else { return }
            self.link.value.reset(handle, reset)
        }
    }

    package func consumed(_ handle: StreamHandle, bytes: Int) {
        self.linkLoop.execute {
            guard let handle = self.port.handle else { return }
            self.link.value.consumed(handle, bytes: bytes)
        }
    }
}

/// The link's half: what arrives is handed to the splice on its own event loop, once a read.
package final class CrossingPort: StreamPort, Sendable {
    private struct LinkState {
        var handle: StreamHandle?
        var arrived: [ByteBuffer] = []
    }

    private let farLoop: any EventLoop
    private let linkState: NIOLoopBoundBox<LinkState>
    /// Weak: the splice holds this port by its sink. Its channel's pipeline keeps it alive.
    private struct FarState {
        weak var splice: SpliceHandler?
    }

    private let farState: NIOLoopBoundBox<FarState>

    init(farLoop: any EventLoop, linkLoop: any EventLoop) {
        self.farLoop = farLoop
        self.farState = NIOLoopBoundBox(FarState(), eventLoop: farLoop)
        self.linkState = NIOLoopBoundBox.makeBoxSendingValue(LinkState(), eventLoop: linkLoop)
    }

    /// The stream; on the link's event loop, set once it is open.
    package var handle: StreamHandle? {
        get { self.linkState.value.handle }
        set { self.linkState.value.handle = newValue }
    }

    /// The splice; on its own event loop, set before the stream is opened.
    package func bind(_ splice: SpliceHandler) { self.farState.value.splice = splice }

    private func tell(_ what: @escaping @Sendable (SpliceHandler) -> Void) {
        self.farLoop.execute {
            if let splice = self.farState.value.splice { what(splice) }
        }
    }

    package func deliver(_ bytes: ByteBuffer) { self.linkState.value.arrived.append(bytes) }

    package func flush() {
        let arrived = self.linkState.value.arrived
        self.linkState.value.arrived = []
        guard !arrived.isEmpty else { return }
        self.tell { splice in
            for bytes in arrived { splice.deliver(bytes) }
            splice.flush()
        }
    }

    package func deliverEnd() {
        self.flush()
        self.tell { $0.deliverEnd() }
    }

    package func deliverReset(_ reset: StreamReset) {
        self.flush()
        self.linkState.value.handle = nil
        self.tell { $0.deliverReset(reset) }
    }

    package func accepted(_ payload: ByteBuffer) { self.tell { $0.accepted(payload) } }
    package func resumeSource() { self.tell { $0.resumeSource() } }
    func pauseSource() { self.tell { $0.pauseSource() } }
}
