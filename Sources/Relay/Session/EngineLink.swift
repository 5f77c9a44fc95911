import NIOCore
import PostgresWire
import SharePolicy
import SharedSession

/// The way to the one session of a sandbox: a stream of a tunnel, or database.build's page.
///
/// Lives on one event loop, that of the ``SessionHost`` it serves. What is said is sent at the
/// latest with ``flush()``.
protocol EngineLink: AnyObject {
    /// Told what happens, from when it is set. A link that is open by then says so at once.
    var delegate: (any EngineLinkDelegate)? { get set }

    /// Keep the page's own queries out.
    func hold()
    /// The page's own queries may run.
    func release()
    /// More bytes of the next call.
    func data(_ bytes: ByteBuffer)
    /// Run what was gathered as one call.
    func run()
    /// Forget what was gathered.
    func drop()
    /// Restart the engine.
    func restart()
    /// Something that the page may show. May be dropped.
    func event(_ event: PageEvent)
    /// Bytes of replies were taken by who they are for.
    func credit(_ bytes: Int)
    /// What was said leaves now.
    func flush()
    /// Ends it for good; the sandbox is told why. Its delegate hears
    /// ``EngineLinkDelegate/engineGone(_:)`` as usual.
    func close(_ reason: Refusal.Reason)
}

/// What happens on the way to an engine. On the same event loop.
protocol EngineLinkDelegate: AnyObject {
    /// The engine is there. Once, and before anything else but ``engineGone(_:)``.
    func engineOpened(_ capabilities: EngineCapabilities)
    /// HOLD is done.
    func engineHeld()
    /// Bytes of the reply to the call at work. Give credit for each of them.
    func engineReplied(_ bytes: ByteBuffer)
    /// That call is over.
    func engineDone()
    /// It failed outside of SQL and is over, or a restart failed.
    func engineFaulted(_ message: String, restarted: Bool)
    /// The engine is away with its session; ``engineRestarted()`` follows when there is one again.
    func engineSessionLost(_ message: String)
    /// The engine's session is new.
    func engineRestarted()
    /// One NotificationResponse that came up outside of any call.
    func engineNotified(_ message: ByteBuffer)
    /// What came in one read has been told: what it led to may leave now.
    func engineFlushed()
    /// Whether more may be sent. While not, no client is read.
    func engineMayGoOn(_ mayGoOn: Bool)
    /// The sandbox is away for a while, or back. Nothing was lost; clients wait.
    func engineAway(_ isAway: Bool)
    /// It is gone for good. The last call.
    func engineGone(_ end: EngineEnd)
}

/// Why an engine is gone: what its clients are told.
struct EngineEnd: Sendable, Hashable {
    /// Five characters.
    var sqlState: String
    /// One sentence.
    var message: String

    /// The relay's own reason.
    init(_ reason: Refusal.Reason) {
        self.init(sqlState: reason.sqlState.rawValue, message: reason.message)
    }

    /// Whoever shares has stopped it.
    static let stopped = EngineEnd(
        sqlState: SQLState.adminShutdown.rawValue,
        message: "the page that shares this database has stopped sharing it")

    init(sqlState: String, message: String) {
        self.sqlState = sqlState
        self.message = message
    }

    /// As clients get it.
    var error: PostgresError {
        PostgresError(sqlState: SQLState(rawValue: self.sqlState), message: self.message)
    }
}

/// What a page is told of its clients.
enum PageEvent: Sendable, Hashable {
    /// A client came; numbers are never used twice.
    case connected(UInt32, address: String?, application: String?)
    /// It left.
    case disconnected(UInt32)
}
