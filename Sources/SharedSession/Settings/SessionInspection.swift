package import PostgresWire

/// The SQL of hidden queries that look at a session and give it settings, and what they answer.
///
/// All of it is ASCII and means the same whatever the session's settings are: `search_path`,
/// `client_encoding`, `standard_conforming_strings`, an unprivileged role.
package enum SessionInspection {
    /// A name and a value.
    package typealias Parameter = StartupRequest.Parameter

    /// What a session was found to hold, between transactions.
    package struct Inspection: Sendable, Hashable {
        /// What it has set.
        package var settings: SessionSettings
        /// Whether it has temporary tables, views, sequences, types or functions.
        package var hasTempObjects: Bool
        /// Whether it has advisory locks.
        package var hasAdvisoryLocks: Bool
        /// Whether it has WITH HOLD cursors.
        package var hasHoldCursors: Bool
        /// What the code stored in the database may do; nil where that was not asked for.
        package var storedCode: StoredCode?
    }

    /// What functions, triggers, views and so on of a database may do to a session.
    package struct StoredCode: Sendable, Hashable {
        /// Whether any of it may change settings, make temporary objects, lock or hold cursors. If
        /// not, ``SQLStatement/Flags/mayRunStoredCode`` is harmless.
        package var mayTouchSession: Bool
        /// Custom settings that it names.
        package var customSettings: Set<String>
    }

    /// The engine as it greets a client.
    package struct Engine: Sendable, Hashable {
        /// What it reports at the start of a session, in Postgres's order.
        package var reported: [Parameter]
        /// `current_database()`.
        package var database: String
        /// `session_user`: whose `SET SESSION AUTHORIZATION` changes nothing.
        package var user: String
    }
}
