import Agent
import Deploy
import Dispatch
import Foundation
import NIOConcurrencyHelpers
import PostgresClient
import PostgresWire
import SharePolicy
import TunnelTransport

/// Tells the person, or the program, behind `pgshare share` what happens.
final class SharePrinter: Sendable {
    private let plan: SharePlan
    private let json: Bool
    private let state = NIOLockedValueBox(State())

    /// Lines that may wait for a terminal that takes none. Further ones are dropped.
    private static let maximumWaitingLines = 10_000

    private let queue = DispatchQueue(label: "pgshare.printer")

    private struct State {
        var waiting = 0
        var probe: DatabaseProbe?
        var address: SharedAddress?
    }

    init(plan: SharePlan, json: Bool) {
        self.plan = plan
        self.json = json
    }

    /// The database answered.
    func found(_ probe: DatabaseProbe) { self.state.withLockedValue { $0.probe = probe } }

    /// One thing happened. Any thread.
    func happened(_ event: AgentEvent) {
        switch event {
        case .shared(let address): self.shared(address)
        case .clientConnected(let client, let name):
            let program = name.isEmpty ? "" : " (\(Self.printable(name)))"
            self.line("client connected from \(Self.printable(client))\(program)") {
                EventLine(event: "client_connected", client: client, applicationName: name)
            }
        case .clientDisconnected(let client):
            self.line("client from \(Self.printable(client)) disconnected") {
                EventLine(event: "client_disconnected", client: client)
            }
        case .clientRefused(let client, let sqlState, let reason):
            let why = "\(Self.printable(reason)) (\(Self.printable(sqlState)))"
            self.line("client from \(Self.printable(client)) refused: \(why)") {
                EventLine(
                    event: "client_refused", client: client, sqlState: sqlState, reason: reason)
            }
        case .tunnelLost, .resumed, .tunnelExpired: self.outage(event)
        case .draining:
            self.line("the relay is being replaced; moving on") { EventLine(event: "draining") }
        case .retrying(let reason, let seconds):
            let wait = String(format: "%.1f", seconds)
            self.line("\(Self.printable(reason)); trying again in \(wait) s") {
                EventLine(event: "retrying", reason: reason, seconds: seconds)
            }
        case .readOnlyRoleGone(let role):
            let reason = "the role \(role) of this read-only share was dropped"
            self.line("\(Self.printable(reason)): clients cannot log in; share again") {
                EventLine(event: "read_only_role_gone", reason: reason)
            }
        }
    }

    private func outage(_ event: AgentEvent) {
        switch event {
        case .tunnelLost(let link, let since, let clients):
            let who =
                switch clients {
                case 0: "no client is connected"
                case 1: "1 client waits"
                default: "\(clients) clients wait"
                }
            let time = Self.timeOfDay(since)
            self.line("connection to the relay lost, silent since \(time); \(who)") {
                EventLine(event: "tunnel_lost", link: link, since: since, clients: clients)
            }
        case .resumed(let link, let seconds):
            let after = String(format: "%.1f", seconds)
            self.line("connection to the relay resumed after \(after) s; no client noticed") {
                EventLine(event: "resumed", seconds: seconds, link: link)
            }
        case .tunnelExpired(let link, let seconds, let clients):
            let after = String(format: "%.1f", seconds)
            let who =
                switch clients {
                case 0: ""
                case 1: "; its client was disconnected"
                default: "; its \(clients) clients were disconnected"
                }
            self.line("the connection to the relay was away for \(after) s\(who)") {
                EventLine(event: "tunnel_expired", seconds: seconds, link: link, clients: clients)
            }
        case .shared, .clientConnected, .clientDisconnected, .clientRefused, .draining, .retrying,
            .readOnlyRoleGone:
            break
        }
    }

    private func shared(_ address: SharedAddress) {
        let (old, probe) = self.state.withLockedValue { state in
            defer { state.address = address }
            return (state.address, state.probe)
        }
        guard let probe else { return }
        guard old != address else {
            return self.line("connected to the relay again") { EventLine(event: "reconnected") }
        }
        let shared = SharedLine(
            address, probe, password: self.plan.password.reveal,
            bindsChannel: self.plan.auth == .scram)
        if self.json {
            try? Output.printJSON(shared)
            return Output.flush()
        }
        print(
            """
            Sharing \(Self.printable(probe.database)) \
            (PostgreSQL \(Self.version(probe.serverVersion))) \
            as \(Self.printable(probe.role))\(self.plan.readOnly ? ", read-only" : "")

              \(shared.url)

              \(shared.psql)

            until \(Output.time(address.expiresAt)), or Ctrl-C
            """)
        if probe.isSuperuser, !self.plan.readOnly {
            print(
                """

                Clients are superusers: they can read files and run programs on this machine.
                If that is not meant, share as another role, or with --read-only.
                """)
        }
        Output.flush()
    }

    /// Prints away from the event loops: a terminal that is paused must not stall a client.
    private func line(
        _ text: @autoclosure @escaping @Sendable () -> String,
        _ event: @escaping @Sendable () -> EventLine
    ) {
        let isFull = self.state.withLockedValue { state in
            guard state.waiting < Self.maximumWaitingLines else { return true }
            state.waiting += 1
            return false
        }
        guard !isFull else { return }
        self.queue.async {
            self.state.withLockedValue { $0.waiting -= 1 }
            if self.json {
                try? Output.printJSON(event())
            } else {
                print("\(Self.timeOfDay())  \(text())")
            }
            Output.flush()
        }
    }

    /// Waits until everything said so far is printed, or a second: the reader may be gone.
    func finish() {
        let printed = DispatchSemaphore(value: 0)
        self.queue.async { printed.signal() }
        _ = printed.wait(timeout: .now() + .seconds(1))
    }

    /// `14:03:27`, in local time.
    private static func timeOfDay(_ date: Date = Date()) -> String {
        var now = time_t(date.timeIntervalSince1970)
        var parts = tm()
        localtime_r(&now, &parts)
        return String(format: "%02d:%02d:%02d", parts.tm_hour, parts.tm_min, parts.tm_sec)
    }

    /// `15.18`, `18.1` of Postgres's number.
    static func version(_ number: Int) -> String { "\(number / 10_000).\(number % 10_000)" }

    /// A stranger's text on a terminal: nothing that could move the cursor, and not much of it.
    static func printable(_ text: String) -> String { ProgressText.printable(text) }
}

/// The first line of `pgshare share --json`.
struct SharedLine: Encodable, Hashable {
    var event = "shared"
    var id: String
    var name: String?
    var url: String
    var host: String
    var port: Int
    var user: String
    var password: String
    var database: String
    var expiresAt: Date
    /// A line to paste.
    var psql: String

    private enum CodingKeys: String, CodingKey {
        case event, id, name, url, host, port, user, password, database, psql
        case expiresAt = "expires_at"
    }

    init(
        _ address: SharedAddress, _ probe: DatabaseProbe, password: String, bindsChannel: Bool
    ) {
        self.id = address.id
        self.name = address.name
        self.host = address.host
        self.port = address.port
        // Where the host does not name the share, the user does.
        self.user =
            address.hostNamesShare ? probe.role : "\(probe.role).\(address.name ?? address.id)"
        self.password = password
        self.database = probe.database
        self.expiresAt = address.expiresAt
        self.url = ConnectionURL.share(
            user: self.user, password: password, host: address.host, port: address.port,
            database: probe.database)
        // Channel binding proves the relay by the password, without a certificate authority.
        self.psql = "psql '\(self.url)\(bindsChannel ? "&channel_binding=require" : "")'"
    }
}

/// Every further line of `pgshare share --json`.
private struct EventLine: Encodable {
    var event: String
    var client: String?
    var applicationName: String?
    var sqlState: String?
    var reason: String?
    var seconds: Double?
    var link: Int?
    var since: Date?
    var clients: Int?

    private enum CodingKeys: String, CodingKey {
        case event, client, reason, seconds, link, since, clients
        case applicationName = "application_name"
        case sqlState = "sqlstate"
    }
}
