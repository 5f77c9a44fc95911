import PostgresWire

/// Why a client is ended, and what it is told.
struct ClientEnding: Hashable, Sendable {
    var error: PostgresError

    init(_ error: PostgresError) { self.error = error }

    private init(_ sqlState: SQLState, _ message: String, hint: String? = nil) {
        self.error = PostgresError(sqlState: sqlState, message: message, hint: hint)
    }

    static let replication = Self(
        .featureNotSupported, "this sandbox cannot be replicated: its session is shared")
    static let tooManyStatements = Self(
        .configurationLimitExceeded, "too many prepared statements",
        hint: "Close or DEALLOCATE statements that are not needed any more.")
    static let tooManyPortals = Self(
        .configurationLimitExceeded, "too many portals",
        hint: "Close portals, or end the transaction.")
    static let tooManyChannels = Self(
        .configurationLimitExceeded, "too many channels or savepoints",
        hint: "UNLISTEN, or RELEASE savepoints that are not needed any more.")
    static let tooManyNotifications = Self(
        .configurationLimitExceeded, "notifications were not read")
    static let notUnderstood = Self(
        .internalError, "the engine's answer about its session was not understood")

    static func violation(_ what: String) -> Self { Self(.protocolViolation, what) }
    static func noDatabase(_ name: String, there: String) -> Self {
        Self(
            .invalidCatalogName, "database \"\(name)\" does not exist",
            hint: "This sandbox has one database: \"\(there)\".")
    }
    static func gone(_ sqlState: SQLState, _ message: String) -> Self { Self(sqlState, message) }
    static func faulted(_ message: String) -> Self {
        Self(
            SQLState(rawValue: "58000"), "the engine in the browser failed: \(message)",
            hint: "Connect again; the engine is restarted.")
    }
    static let idle = Self.idle("terminating connection due to idle-in-transaction timeout")
    /// It sent too little, and the engine waits for it.
    static let slowToSend = Self.idle("terminating connection: its data came too slowly")
    /// It takes nothing of its result.
    static let slowToRead = Self.idle("terminating connection: its results were not taken")

    private static func idle(_ message: String) -> Self {
        Self(
            .idleInTransactionTimeout, message,
            hint: "Other clients waited for the one session of this sandbox.")
    }
}
