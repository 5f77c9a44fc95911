public import SharePolicy

/// Everything the relay counts, and the one place where a metric gets its name.
///
/// `GET /metrics` shows it in the Prometheus text format. Counters start at zero with the process.
/// Labels come from closed lists, never from the network, and no label names a share, an address or
/// a user. A test holds this list and the page together:
///
/// - `pgshare_clients_open` (gauge): clients connected now, from accept to close.
/// - `pgshare_clients_admitted_total` (counter): clients whose password was right.
/// - `pgshare_refusals_total{reason}` (counter): clients that were refused; reasons as in
///   PROTOCOL.md.
/// - `pgshare_sockets_displaced_total` (counter): connections to either door that had shown nothing
///   yet and made room for newer ones.
/// - `pgshare_login_failures_total` (counter): wrong passwords, unknown shares included.
/// - `pgshare_guessing_alarms_total` (counter): times that a hundred logins to one name had failed
///   faster than they are forgotten; the log names it.
/// - `pgshare_cancels_total{outcome}` (counter): CancelRequests: `routed` or `unknown`.
/// - `pgshare_handshake_seconds` (histogram): time from accept to admission.
/// - `pgshare_bytes_to_client_total` (counter): bytes from backends to clients, without TLS.
/// - `pgshare_bytes_to_database_total` (counter): bytes from clients to backends, without TLS
///   and frames.
/// - `pgshare_shares_online` (gauge): shares that have a tunnel now.
/// - `pgshare_tunnels_open` (gauge): tunnels that serve now.
/// - `pgshare_links_open{transport}` (gauge): links connected now: `websocket` or `raw`.
/// - `pgshare_streams_open` (gauge): client connections inside links now.
/// - `pgshare_tunnel_refusals_total{reason}` (counter): tunnels that were refused; reasons as
///   in PROTOCOL.md.
/// - `pgshare_link_resumes_total` (counter): links that came back and went on.
/// - `pgshare_links_lost_total` (counter): links that did not come back in time.
/// - `pgshare_tunnel_takeovers_total` (counter): tunnels that took over from an older one.
/// - `pgshare_session_clients_waiting` (gauge): clients of browsers' databases that wait for
///   their turn now.
/// - `pgshare_session_wait_seconds` (histogram): how long they waited, those that had to.
/// - `pgshare_session_timeouts_total{what}` (counter): clients that waited (`wait`) or kept others
///   waiting (`idle`) for too long.
/// - `pgshare_engine_calls_total` (counter): calls to browsers' databases, the relay's own
///   included.
/// - `pgshare_engine_faults_total` (counter): calls that failed outside of SQL.
/// - `pgshare_engine_restarts_total` (counter): browsers' databases that were restarted.
/// - `pgshare_http_connections_open` (gauge): connections to the HTTPS port now, tunnels
///   included.
/// - `pgshare_http_responses_total{status}` (counter): answers by class: `1xx` (upgrades) to
///   `5xx`.
/// - `pgshare_certificate_reloads_total{outcome}` (counter): `replaced`, or `kept` when the new
///   pair was unusable.
/// - `pgshare_certificate_expiry_timestamp_seconds` (gauge): when the served certificate
///   expires, Unix time.
/// - `process_resident_memory_bytes` (gauge): resident memory (Linux).
///
/// Reasons are those of `Refusal.Reason` and `TunnelRefusal.Reason`, as in PROTOCOL.md.
public final class RelayMetrics: Sendable {
    /// Clients connected now, from accept to close, admitted or not.
    public let clientsOpen = Gauge()
    /// Clients that were admitted: their password was right and a stream was asked for.
    public let clientsAdmitted = Counter()
    /// Clients that were refused, by reason.
    public let refusals = LabeledCounter<Refusal.Reason>()
    /// Connections that had shown nothing yet and made room for newer ones, at either door.
    public let socketsDisplaced = Counter()
    /// Passwords that were wrong, mock exchanges included.
    public let loginFailures = Counter()
    /// Hundreds of failed logins to one name.
    public let guessingAlarms = Counter()
    /// CancelRequests, by what became of them.
    public let cancels = LabeledCounter<CancelLabel>()
    /// Time from accept to admission.
    public let handshakeSeconds = DurationHistogram()
    /// Shares with a tunnel now.
    public let sharesOnline = Gauge()
    /// Tunnels that serve now.
    public let tunnelsOpen = Gauge()
    /// Links that are connected now, by transport.
    public let linksOpen = LabeledGauge<TransportLabel>()
    /// Streams open now.
    public let streamsOpen = Gauge()
    /// Tunnels that were refused, by reason.
    public let tunnelRefusals = LabeledCounter<TunnelRefusal.Reason>()
    /// Links that came back and went on where they were.
    public let resumes = Counter()
    /// Tunnels that took over from an older one of the same owner.
    public let takeOvers = Counter()
    /// Links that did not come back within the grace.
    public let linksLost = Counter()
    /// Bytes of backends that were written to clients, TLS not counted.
    public let bytesToClient = Counter()
    /// Bytes of clients that were sent towards databases, TLS and frames not counted.
    public let bytesToDatabase = Counter()
    /// Clients of shared sessions that wait for their turn now.
    public let sessionClientsWaiting = Gauge()
    /// How long exchanges waited for their turn, those that had to.
    public let sessionWaitSeconds = DurationHistogram()
    /// Clients of shared sessions that were ended over somebody's patience.
    public let sessionTimeouts = LabeledCounter<SessionTimeoutLabel>()
    /// Calls to engines in browsers.
    public let engineCalls = Counter()
    /// Those that failed outside of SQL.
    public let engineFaults = Counter()
    /// Engines whose session is new.
    public let engineRestarts = Counter()
    /// Connections to the HTTPS port now, upgraded ones included.
    public let httpConnectionsOpen = Gauge()
    /// Answers of the HTTP API, by class of status.
    public let httpResponses = LabeledCounter<StatusLabel>()
    /// Certificates that were read again after a change, by outcome.
    public let certificateReloads = LabeledCounter<ReloadLabel>()
    /// When the certificate that is served expires, in Unix seconds; 0 = unknown.
    public let certificateExpiry = Gauge()

    /// Creates metrics at zero.
    public init() {}

    /// Everything in the Prometheus text format, version 0.0.4.
    ///
    /// Source: Prometheus documentation, "Exposition formats".
    public func prometheusText() -> String {
        var page = PrometheusPage()
        self.writeClients(to: &page)
        self.writeTunnels(to: &page)
        self.writeSessions(to: &page)
        self.writeHTTP(to: &page)
        page.writeProcess()
        return page.text
    }

    private func writeClients(to page: inout PrometheusPage) {
        page.write("clients_open", "Clients connected now.", self.clientsOpen)
        page.write("clients_admitted_total", "Clients that were admitted.", self.clientsAdmitted)
        page.write("refusals_total", "Clients that were refused.", self.refusals)
        page.write(
            "sockets_displaced_total", "Silent connections that made room for newer ones.",
            self.socketsDisplaced)
        page.write("login_failures_total", "Wrong passwords.", self.loginFailures)
        page.write(
            "guessing_alarms_total", "Hundreds of failed logins to one name.",
            self.guessingAlarms)
        page.write("cancels_total", "CancelRequests.", self.cancels)
        page.write(
            "handshake_seconds", "Time from accept to admission.", self.handshakeSeconds)
        page.write(
            "bytes_to_client_total", "Bytes from backends to clients.", self.bytesToClient)
        page.write(
            "bytes_to_database_total", "Bytes from clients to backends.", self.bytesToDatabase)
    }

    private func writeTunnels(to page: inout PrometheusPage) {
        page.write("shares_online", "Shares that have a tunnel now.", self.sharesOnline)
        page.write("tunnels_open", "Tunnels that serve now.", self.tunnelsOpen)
        page.write("links_open", "Links connected now.", self.linksOpen)
        page.write("streams_open", "Streams open now.", self.streamsOpen)
        page.write("tunnel_refusals_total", "Tunnels that were refused.", self.tunnelRefusals)
        page.write("link_resumes_total", "Links resumed after a drop.", self.resumes)
        page.write("links_lost_total", "Links that did not come back.", self.linksLost)
        page.write("tunnel_takeovers_total", "Tunnels that took over.", self.takeOvers)
    }

    private func writeSessions(to page: inout PrometheusPage) {
        page.write(
            "session_clients_waiting", "Clients that wait for a shared session now.",
            self.sessionClientsWaiting)
        page.write(
            "session_wait_seconds", "How long clients waited for a shared session.",
            self.sessionWaitSeconds)
        page.write(
            "session_timeouts_total", "Clients ended over waiting or keeping others waiting.",
            self.sessionTimeouts)
        page.write("engine_calls_total", "Calls to engines in browsers.", self.engineCalls)
        page.write("engine_faults_total", "Calls that failed outside of SQL.", self.engineFaults)
        page.write("engine_restarts_total", "Engines that were restarted.", self.engineRestarts)
    }

    private func writeHTTP(to page: inout PrometheusPage) {
        page.write(
            "http_connections_open", "Connections to the HTTPS port now.",
            self.httpConnectionsOpen)
        page.write("http_responses_total", "Answers of the HTTP API.", self.httpResponses)
        page.write(
            "certificate_reloads_total", "Certificates read again.", self.certificateReloads)
        page.write(
            "certificate_expiry_timestamp_seconds", "When the served certificate expires.",
            self.certificateExpiry)
    }
}
