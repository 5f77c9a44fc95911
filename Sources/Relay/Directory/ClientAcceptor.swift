import NIOCore
import PostgresWire
import SharePolicy

/// One live tunnel, as the front door sees it.
protocol ClientAcceptor: AnyObject, Sendable {
    /// Takes over a client whose password was right, and opens a stream for it.
    ///
    /// Called on the client's event loop. The channel's pipeline holds TLS and nothing else; the
    /// acceptor adds its own handlers before it returns, or the client's next bytes are lost. It
    /// writes ``AdmittedClient/bufferedLoginReply`` first, reads ``AdmittedClient/earlyBytes``
    /// before anything from the channel, refuses by itself from here on, and releases the lease.
    func accept(_ client: AdmittedClient, channel: any Channel)

    /// Whether a client would be served now, and not wait for a tunnel. Any thread.
    var canAccept: Bool { get }

    /// Ends every stream of the tunnel's share: it was revoked or has expired. Any thread.
    func end(_ reason: Refusal.Reason)
}

extension ClientAcceptor {
    var canAccept: Bool { true }
}

/// A client that may open one stream: it named a share, knew its password, and a place was free.
///
/// Only the front door makes one, so that whoever holds it need not ask again.
struct AdmittedClient: Sendable {
    /// The share it reached.
    let shareID: ShareID
    /// What it asked for. Our own option is removed and the user is the one typed, without the
    /// share; the rest is as the client wrote it, and still a stranger's text.
    let request: StartupRequest
    /// The version to speak from here on. A NegotiateProtocolVersion was sent where one was due.
    let version: ProtocolVersion
    /// Where it connects from.
    let remoteAddress: SocketAddress?
    /// The host name that it asked for in TLS.
    let serverName: String?
    /// SASLFinal and AuthenticationOk, not yet sent.
    let bufferedLoginReply: ByteBuffer
    /// What the client sent behind its password, 0 to 64 KiB: the start of its session.
    private(set) var earlyBytes: ByteBuffer
    /// Its place among the share's clients.
    let lease: ClientLease
    /// What its password was right for.
    let verifier: SCRAMVerifier
    /// Until when it waits for a tunnel, once it does.
    var waitsUntil: NIODeadline?

    /// Admits a client. Called by the front door's login alone.
    init(
        shareID: ShareID,
        request: StartupRequest,
        remoteAddress: SocketAddress?,
        serverName: String?,
        bufferedLoginReply: ByteBuffer,
        earlyBytes: ByteBuffer,
        lease: ClientLease,
        verifier: SCRAMVerifier
    ) {
        self.shareID = shareID
        self.request = request
        self.version = request.agreedVersion
        self.remoteAddress = remoteAddress
        self.serverName = serverName
        self.bufferedLoginReply = bufferedLoginReply
        self.earlyBytes = earlyBytes
        self.lease = lease
        self.verifier = verifier
    }

    /// It has sent more while it waited.
    mutating func sent(_ bytes: ByteBuffer) {
        self.earlyBytes.writeImmutableBuffer(bytes)
    }
}
