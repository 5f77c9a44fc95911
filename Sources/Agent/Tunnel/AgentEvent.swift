public import Foundation

/// What happens to a share, for who runs the agent.
public enum AgentEvent: Sendable {
    /// The share stands, for the first time or anew.
    case shared(SharedAddress)
    /// A client got its backend.
    case clientConnected(client: String, applicationName: String)
    /// It is gone.
    case clientDisconnected(client: String)
    /// A client got none, and why, for the owner's eyes.
    case clientRefused(client: String, sqlState: String, reason: String)
    /// The connection was lost, or is silent: nothing was heard of the relay since then, and so
    /// many clients wait. Told once, for the first of several links.
    case tunnelLost(link: Int, since: Date, clients: Int)
    /// All that was lost came back, after so many seconds; no client noticed.
    case resumed(link: Int, seconds: Double)
    /// It did not come back in time; its clients, so many, were ended, after so many seconds.
    case tunnelExpired(link: Int, seconds: Double, clients: Int)
    /// The relay is being replaced; the agent moves on while its clients finish.
    case draining
    /// Dialling did not succeed; tried again after the wait.
    case retrying(reason: String, seconds: Double)
    /// Somebody dropped the role of a read-only share: no client can log in any more.
    case readOnlyRoleGone(role: String)
}

/// How clients reach a share, as the relay says.
public struct SharedAddress: Hashable, Sendable {
    /// The share's id.
    public var id: String
    /// Its name, if it has one.
    public var name: String?
    /// The host clients connect to.
    public var host: String
    /// The port clients connect to.
    public var port: Int
    /// When it ends.
    public var expiresAt: Date

    /// Whether the host names the share by itself; if not, the user name must.
    public var hostNamesShare: Bool {
        let labels = [self.id, self.name].compactMap { $0 }
        return labels.contains { self.host.hasPrefix($0 + ".") }
    }
}

/// Why an agent stops for good.
public struct AgentError: Error, Sendable, CustomStringConvertible {
    /// A stable word: a code of `PROTOCOL.md`, "Close reasons", or of the dialer.
    public var code: String
    /// A sentence for a person.
    public var message: String

    /// The sentence.
    public var description: String { self.message }
}
