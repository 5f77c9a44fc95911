package import NIOCore
package import TunnelWire

/// What stands at the near end of a stream, on the event loop of its link.
package protocol StreamPort: AnyObject {
    /// Bytes of the peer, in order. Say ``Link/consumed(_:bytes:)`` once the far socket took them.
    func deliver(_ bytes: ByteBuffer)
    /// The link's read is over: what was delivered may leave now.
    func flush()
    /// The peer's direction has ended.
    func deliverEnd()
    /// The stream is gone. Nothing may be sent on it any more.
    func deliverReset(_ reset: StreamReset)
    /// The backend is there; the payload is that of OPEN_OK.
    func accepted(_ payload: ByteBuffer)
    /// There is room again: the source may be read.
    func resumeSource()
}

/// Where a stream's bytes go: the link itself, or a way to its event loop.
package protocol StreamSink: AnyObject {
    /// - Returns: whether the source may go on.
    func send(_ handle: StreamHandle, _ bytes: ByteBuffer) -> Bool
    /// Nothing more comes from this side.
    func finish(_ handle: StreamHandle)
    /// The stream ends at once.
    func reset(_ handle: StreamHandle, _ reset: StreamReset)
    /// The far socket took bytes.
    func consumed(_ handle: StreamHandle, bytes: Int)
}

/// What a link tells who made it.
package protocol LinkDelegate: AnyObject {
    /// The relay opened a stream. Agent only: bind a port, then accept or reset.
    func link(_ link: Link, opened handle: StreamHandle, _ open: Open)
    /// The peer drains this link.
    func linkGoesAway(_ link: Link)
    /// The first bytes came on a connection: the peer has what was said on it before.
    func linkHeard(_ link: Link)
    /// The connection is lost; the link waits to be resumed.
    func linkDisconnected(_ link: Link, reason: LinkLoss)
    /// The link is over, and every stream of it was reset.
    func linkEnded(_ link: Link, error: LinkError?)
}

/// Why a connection under a link went away.
package enum LinkLoss: Hashable, Sendable {
    /// The socket closed or failed.
    case closed
    /// Nothing was heard for too long.
    case silent
    /// A newer connection took its place.
    case replaced
}
