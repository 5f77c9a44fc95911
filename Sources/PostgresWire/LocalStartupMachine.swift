public import NIOCore

/// The server's half of the start-up talk at a unix socket of our own: no TLS, no GSS, no password.
///
///                SSLRequest, GSSENCRequest/decline (each once)
///                ┌───┐
///                ▼   │   StartupMessage/start
///     start ──▶ waiting ──────────────────────▶ finished
///                   │    CancelRequest/cancel      ▲
///                   └──────────────────────────────┘
/// Anything else is a violation and ends in finished.
///
/// Source: PostgreSQL documentation, "Message Flow", "Start-up".
public struct LocalStartupMachine: Sendable {
    /// What to do next.
    public enum OnReceive: Equatable, Sendable {
        /// Not a whole packet yet.
        case readMore
        /// Send the byte `N` and go on.
        case declineEncryption
        /// The program wants a session; what is behind the packet stayed in the bytes.
        case start(StartupRequest)
        /// The program wants a statement cancelled. Answer nothing and close.
        case cancel(CancelKey)
    }

    private var hasDeclinedTLS = false
    private var hasDeclinedGSS = false
    private var isFinished = false

    /// Creates a machine for a connection that was just accepted.
    public init() {}

    /// Takes at most one packet off the front of `bytes`.
    ///
    /// - Throws: ``StartupViolation`` if the program broke the protocol. The machine is then
    ///   finished.
    public mutating func receive(
        _ bytes: inout ByteBuffer
    ) throws(StartupViolation) -> OnReceive {
        guard !self.isFinished else { return .readMore }
        do throws(StartupViolation) {
            let limit = StartupMachine.maximumPacketBytes
            guard let packet = try StartupPacket.read(from: &bytes, maximumBytes: limit) else {
                return .readMore
            }
            return try self.transition(packet)
        } catch {
            self.isFinished = true
            throw error
        }
    }

    private mutating func transition(
        _ packet: StartupPacket
    ) throws(StartupViolation) -> OnReceive {
        switch packet {
        case .sslRequest where !self.hasDeclinedTLS:
            self.hasDeclinedTLS = true
            return .declineEncryption
        case .gssRequest where !self.hasDeclinedGSS:
            self.hasDeclinedGSS = true
            return .declineEncryption
        case .sslRequest, .gssRequest:
            throw .unexpected(packet.name)
        case .startup(let request):
            self.isFinished = true
            return .start(request)
        case .cancel(let key):
            self.isFinished = true
            return .cancel(key)
        }
    }
}
