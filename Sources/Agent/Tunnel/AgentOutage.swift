import Foundation

/// Which links of an agent are away, so that a person hears of an outage once and not once a link.
struct AgentOutage {
    private var away: Set<String> = []
    private var since = Date.distantPast
    private var hasExpired = false
    /// The most that were there while a link of it was lost.
    private var clients = 0

    /// - Returns: whether it is the first: the outage begins.
    mutating func lost(_ session: String, since: Date, clients: Int) -> Bool {
        let isFirst = self.away.isEmpty
        self.away.insert(session)
        self.clients = isFirst ? clients : max(self.clients, clients)
        if isFirst {
            self.since = since
            self.hasExpired = false
        }
        return isFirst
    }

    /// - Returns: how long the outage was, in seconds, if this was the last link of it.
    mutating func resumed(_ session: String, now: Date) -> Double? {
        guard self.away.remove(session) != nil, self.away.isEmpty else { return nil }
        return now.timeIntervalSince(self.since)
    }

    /// - Returns: how long the outage is, in seconds, and how many clients it costs, if this is the
    ///   first link that is given up.
    mutating func expired(_ session: String, now: Date) -> (seconds: Double, clients: Int)? {
        guard self.away.remove(session) != nil, !self.hasExpired else { return nil }
        self.hasExpired = true
        return (now.timeIntervalSince(self.since), self.clients)
    }

    /// The link is over, for whatever reason.
    mutating func ended(_ session: String) { self.away.remove(session) }
}
