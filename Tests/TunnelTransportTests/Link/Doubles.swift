import NIOCore
import TunnelWire

@testable import TunnelTransport

/// A connection that keeps what was written.
final class ConnectionDouble: LinkConnection {
    var isWritable = true
    private(set) var written = ByteBuffer()
    private(set) var flushes = 0
    private(set) var isDetached = false
    private(set) var isClosedAfterFlush = false

    func write(_ chunk: Chunk) {
        self.written.writeImmutableBuffer(chunk.head)
        if let payload = chunk.payload { self.written.writeImmutableBuffer(payload) }
    }

    func flush() { self.flushes += 1 }
    func detach() { self.isDetached = true }
    func closeAfterFlush() { self.isClosedAfterFlush = true }

    /// What was written since the last call.
    func take() -> ByteBuffer {
        defer { self.written = ByteBuffer() }
        return self.written
    }
}

/// A port that keeps what it was told.
final class PortDouble: StreamPort {
    private(set) var told: [String] = []

    func deliver(_ bytes: ByteBuffer) { self.told.append("deliver \(String(buffer: bytes))") }
    func flush() { self.told.append("flush") }
    func deliverEnd() { self.told.append("end") }
    func deliverReset(_ reset: StreamReset) { self.told.append("reset \(reset.code)") }
    func accepted(_ payload: ByteBuffer) { self.told.append("accepted") }
    func resumeSource() { self.told.append("resume") }
}

/// A sink that keeps what it was told.
final class SinkDouble: StreamSink {
    var mayGoOn = true
    private(set) var sent = ""
    private(set) var told: [String] = []
    private(set) var consumedBytes = 0

    func send(_ handle: StreamHandle, _ bytes: ByteBuffer) -> Bool {
        self.sent += String(buffer: bytes)
        return self.mayGoOn
    }

    func finish(_ handle: StreamHandle) { self.told.append("finish") }
    func reset(_ handle: StreamHandle, _ reset: StreamReset) {
        self.told.append("reset \(reset.code)")
    }
    func consumed(_ handle: StreamHandle, bytes: Int) { self.consumedBytes += bytes }
}

/// Whoever made a link.
final class DelegateDouble: LinkDelegate {
    private(set) var told: [String] = []
    private(set) var opened: [StreamHandle] = []
    var port: (any StreamPort)?

    func link(_ link: Link, opened handle: StreamHandle, _ open: Open) {
        self.opened.append(handle)
        if let port { link.bind(handle, to: port) }
    }

    func linkGoesAway(_ link: Link) { self.told.append("goes away") }
    func linkHeard(_ link: Link) { self.told.append("heard") }
    func linkDisconnected(_ link: Link, reason: LinkLoss) {
        self.told.append("disconnected \(reason)")
    }
    func linkEnded(_ link: Link, error: LinkError?) {
        self.told.append("ended \(error?.code ?? "-")")
    }
}

/// Stands before a splice and counts what it asks of its socket.
final class SocketDouble: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer

    private(set) var reads = 0
    private(set) var closes: [CloseMode] = []
    /// Whether the far end reads nothing: writes wait here.
    var isStuck = false
    private var waiting: [(NIOAny, EventLoopPromise<Void>?)] = []

    func write(
        context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?
    ) {
        guard self.isStuck else { return context.write(data, promise: promise) }
        self.waiting.append((data, promise))
    }

    /// The far end reads again.
    func release() {
        self.isStuck = false
        for (_, promise) in self.waiting { promise?.succeed() }
        self.waiting = []
    }

    func read(context: ChannelHandlerContext) { self.reads += 1 }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        self.closes.append(mode)
        guard mode == .all else {
            promise?.succeed()
            return
        }
        context.close(mode: mode, promise: promise)
    }
}
