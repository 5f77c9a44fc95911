package import PostgresWire

/// A client of the session, numbered by the relay; numbers are never used twice.
package struct SessionClientID: RawRepresentable, Hashable, Sendable {
    package var rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// What a client said when it came, and what the relay gave it.
package struct SessionArrival: Hashable, Sendable {
    /// Its startup packet, our own option taken out.
    package var request: StartupRequest
    /// What it cancels with; its process id is also the sender of its notifications.
    package var cancelKey: CancelKey
    /// Where it connects from, for the words of notices; nil where that is not known.
    package var address: String?

    package init(request: StartupRequest, cancelKey: CancelKey, address: String?) {
        self.request = request
        self.cancelKey = cancelKey
        self.address = address
    }
}
