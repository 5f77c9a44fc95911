import Foundation
import NIOCore
import SharePolicy

/// What the front door may use, and where it listens. Each default says why.
struct FrontDoorConfiguration: Sendable {
    /// The address to listen on.
    var host = "127.0.0.1"

    /// The port to listen on; 0 picks a free one.
    var port = 15_432

    /// Whether a second relay of this user may listen on the same port, to take over.
    var sharesPort = false

    /// The domain below which shares have host names.
    var domain = "localhost"

    /// Proxies that say in a PROXY header where a client is; from nobody else is one read.
    var proxies = TrustedProxies()

    /// How long a cancelling client is held while its request travels.
    var cancelTimeout = TimeAmount.seconds(10)

    /// How long a client that was refused in plaintext may take to read why and to close.
    ///
    /// In TLS the bound is that of ``TLSContextBox``.
    var closeTimeout = TimeAmount.seconds(1)

    /// Connections that the kernel completes before they are accepted.
    ///
    /// A pool that reconnects at once opens a few hundred; Linux caps it at `somaxconn`, 4096.
    var backlog: Int32 = 1_024

    /// Bytes that a client may send behind its password before it has its answer.
    ///
    /// As much as one read takes from a socket; what comes later waits in the kernel.
    var maximumEarlyBytes = 64 * 1_024

    /// Random bytes from which the salts of shares that do not exist are made.
    ///
    /// Kept across restarts: a salt that changes would tell that there is no such share.
    var mockSecret: [UInt8]

    /// The time of day, for expiry.
    var wallClock: @Sendable () -> Date = { Date() }

    /// Creates a configuration with the defaults.
    init(mockSecret: [UInt8]) {
        self.mockSecret = mockSecret
    }
}
