package import NIOCore
package import PostgresWire

extension SharedSession {
    /// What the shell does next. In order; each exactly once.
    package enum Action: Sendable, Equatable {
        /// Bytes for a client. `credit` are the bytes of the engine's reply they stand for: given
        /// back to the engine once the socket took them, or is gone.
        case send(SessionClientID, ByteBuffer, credit: Int)
        /// Bytes of the engine's reply that go nowhere: given back now.
        case credit(Int)
        /// Do not read this client's socket for a while.
        case pause(SessionClientID)
        /// Read it again.
        case resume(SessionClientID)
        /// End this client's connection, behind what was sent.
        case close(SessionClientID)
        /// Ask for the engine; it answers ``SharedSession/held(now:)``. Calls may follow at once.
        case hold
        /// The page's own queries may run.
        case release
        /// More bytes of the next call.
        case data(ByteBuffer)
        /// Run what was gathered as one call.
        case run
        /// Forget what was gathered.
        case drop
        /// Restart the engine.
        case restart
        /// Something an operator may want to know.
        case log(SessionEvent)
    }
}

/// What happened, for the log and for metrics: facts, no SQL, no names of strangers.
package enum SessionEvent: Sendable, Hashable {
    /// A client had its turn `waited` after it asked for it. Once an exchange that waited.
    case served(SessionClientID, waited: TimeAmount)
    /// A client waited too long for another one.
    case waitTimedOut(SessionClientID, holder: SessionClientID?)
    /// The holder was silent for too long while others waited, and was ended.
    case holderTimedOut(SessionClientID)
    /// The transaction of a client that went away was rolled back.
    case rolledBack(SessionClientID)
    /// A client was ended by an error of this code.
    case ended(SessionClientID, SQLState)
    /// A call failed outside of SQL; nil where it was none of a client's.
    case faulted(SessionClientID?)
    /// The engine's session is new.
    case restarted
}
