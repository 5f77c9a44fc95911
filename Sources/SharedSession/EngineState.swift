import NIOCore
import PostgresWire

/// The engine as it is known here.
struct EngineState: Sendable {
    enum Presence: Sendable, Hashable {
        /// The page's own queries may run.
        case withPage
        /// It was asked for, and calls may be sent.
        case ours
        /// It was asked to start anew.
        case restarting
        case gone
    }

    var presence = Presence.withPage
    /// What clients are told where it is gone.
    var ending: ClientEnding?
    /// Since when it answered that it is ours; nil before.
    var heldSince: NIODeadline?
    /// The way to it takes nothing for now.
    var isStalled = false
    var status = TransactionStatus.idle
    /// Counts the sessions it has had.
    var generation = 0
    /// Faults without a call between them that went well.
    var faultsInARow = 0

    /// What it said of itself.
    var info: SessionInspection.Engine?
    /// What it said before its last session ended.
    var lastInfo: SessionInspection.Engine?
    /// Whether it says by itself when a setting changes. Some builds of PGlite do not.
    var reportsItself = false
    /// What it reports now, by name.
    var reported: [String: String] = [:]
    /// What is set in its session now; nil where that must be looked up.
    var settings: SessionSettings?
    /// What the page had set, which it gets back.
    var pageSettings = SessionSettings()
    /// Whether the page may have changed something since.
    var needsPageLook = true
    /// Whether that is because it had the session, and not because the session is new.
    var pageHadIt = false
    var storedCode: SessionInspection.StoredCode?
    var storedCodeSeen: NIODeadline?
    var customSettings: Set<String> = []

    /// Whether a client may have set some that nobody can find, see
    /// ``SQLStatement/Flags/mayNameSettings``.
    var mayHaveUnknownSettings = false

    /// Settings that are being changed now.
    var applying: Applying?
    /// Who left the session in which state.
    var cleanup: Cleanup?
    /// Statements of clients that have no use for them any more.
    var condemned: [String] = []
    /// Whether it must be told again which channels are listened to.
    var needsListens = false
    /// Whether a notification may be waiting in it for a call to bring it.
    var needsPoke = false
    /// Whose exchange was the last: who sent the notification that the next one brings.
    var lastSender: Int32 = 0

    struct Applying: Sendable {
        var statements: ArraySlice<String>
        var target: SessionSettings
        var client: SessionClientID?
    }

    struct Cleanup: Sendable {
        var client: SessionClientID
        /// An exchange was not ended by a Sync.
        var needsSync = false
        /// It may have left settings, temporary tables, locks or cursors behind.
        var needsReset = false
        /// A question about the session had no answer: it is not asked again.
        var wasNotUnderstood = false
    }

    /// The most names of custom settings that are looked for.
    static let maximumCustomSettings = 1_000

    mutating func noteCustomSettings(_ names: [String]) {
        for name in names where self.customSettings.count < Self.maximumCustomSettings {
            self.customSettings.insert(name)
        }
    }
}

/// One call of the engine, from its first byte to its DONE.
struct EngineCall: Sendable {
    enum Owner: Sendable, Hashable {
        case client(SessionClientID)
        case hidden(HiddenPurpose)
    }

    enum Preface: Sendable, Hashable {
        case none
        /// Its answer is not over.
        case underWay
        case over
    }

    var owner: Owner
    /// Which of the engine's sessions it was for.
    let generation: Int
    /// Whether it begins with a change of settings.
    var preface = Preface.none
    /// Whether only the engine's consent or refusal is asked for, see ``CopyIn``.
    var isProbe = false
    var matcher = ReplyMatcher()
    /// Not handed on yet.
    var gathered = ByteBuffer()
    /// Handed on.
    var sentBytes = 0
    var isRunning = false
    /// Run it once the message that is passed on is whole.
    var runsWhenPassed = false
    /// The text whose positions errors name.
    var plan: StatementPlan?
    /// What the client is told in place of the engine's error.
    var substitute: PostgresError?

    // MARK: What it brought

    var ready: TransactionStatus?
    var sawCopyIn = false
    var completed = 0
    var error: ByteBuffer?
    /// Of hidden calls alone.
    var rows: [[String?]] = []
    /// Their bytes.
    var rowBytes = 0
    /// Statements that were prepared again.
    var prepared: Set<String> = []
    /// NotificationResponses and who sent them.
    var notifications: [(message: ByteBuffer, sender: Int32)] = []
    var notificationBytes = 0
    /// Whether there were any.
    var sawNotifications = false

    /// - Parameters:
    ///   - owner: Whose call it is.
    ///   - generation: The engine's, when the call was begun.
    init(_ owner: Owner, generation: Int) {
        self.owner = owner
        self.generation = generation
    }
}

/// Why a call is made that no client asked for.
enum HiddenPurpose: Sendable, Hashable {
    /// What does it report of itself?
    case engineLook
    /// What has the page set?
    case pageLook
    /// What is set now, whoever did it?
    case look(SessionClientID?)
    /// Part of a change of settings.
    case apply
    /// What does it not report of its settings?
    case report
    /// One of a client's startup settings.
    case sync
    case rollback
    case reset
    case closings
    case reprepare(SessionClientID)
    case listens
    case poke
    /// What goes around a client's COPY.
    case copy(SessionClientID)
    /// What DISCARD ALL does besides.
    case discard(SessionClientID)
}
