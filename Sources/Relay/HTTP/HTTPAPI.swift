/// The HTTP API, version 1, as PROTOCOL.md quotes it.
///
/// Base: `https://HOST:8443`. TLS 1.2 or newer, HTTP/1.1. Requests under `/v1/` carry
/// `Authorization: Bearer TOKEN`, a token of the relay's operator or of the issuer that the relay
/// believes. Tokens never stand in a URL, but for database.build's page. Answers are JSON but for
/// `/metrics`; times are RFC 3339 in UTC. New keys may appear: ignore what you do not know.
///
/// - `GET /healthz`: 200 `{"status":"ok"}` while the process answers. No token.
/// - `GET /readyz`: 200 `{"status":"ready"}` when all doors are bound and the store answers, else
///   503 `not_ready`. No token.
/// - `GET /metrics`: 200, Prometheus text format 0.0.4. No token. Names are at `RelayMetrics`.
/// - `GET /v1/shares`: 200 `{"shares":[SHARE,…]}`, all shares of the token's owner.
/// - `GET /v1/shares/{id or name}`: 200 SHARE, or 404 `not_found`: there is none, or it is
///   another's.
/// - `DELETE /v1/shares/{id or name}`: 200 SHARE as it is now; its live streams end with 57P01.
///   404 as above. Deleting twice is the same as deleting once.
/// - `POST /v1/shares/{id or name}/password`: 200 `{"url":…,"user":…,"password":…,"host":…,
///   "port":…,"database":…,"expires_at":…}`: a new password, told this once; the one before is good
///   no more, and who is connected stays. For shares of database.build's page, which knows of no
///   password. 409 `password_elsewhere` for others, 409 `share_ended`, 404 as above.
/// - `GET /v1/tunnel`: 101 with `Upgrade: pgshare/1`, or with `Upgrade: websocket` and the
///   subprotocol `pgshare.v1`; then the frames of the tunnel protocol. Browsers send their token as
///   a second subprotocol `pgshare.token.TOKEN`; only `pgshare.v1` is ever answered. 401
///   `unauthorized` for a bad token, 426 `upgrade_required` for a good one without a good upgrade.
///   The upgrade must be the first request of its connection and has no body; bytes may follow it
///   at
///   once.
/// - `GET /?token=TOKEN` on the host `ID.DOMAIN` with `Upgrade: websocket` and no subprotocol: 101
///   for database.build's page (PROTOCOL.md, 17), 401 as above.
///
/// SHARE is `{"id":…,"name":…,"state":…,"database":…,"user":…,"host":…,"port":…,"login":…,
/// "clients":…,"max_connections":…,"created_at":…,"expires_at":…,"revoked_at":…}`; `state` is
/// `online`, `offline`, `expired` or `revoked`; `name`, `expires_at` and `revoked_at` may be
/// missing. Clients connect to `host` and `port` and log in as `login`.
///
/// Errors are `{"error":{"code":…,"message":…}}`:
///
/// - 400 `bad_request`: not valid HTTP, or not what the address expects.
/// - 401 `unauthorized`: no token, a malformed one, or one that nobody issued or that was revoked.
/// - 404 `not_found`: nothing is there, or it is not yours. Wrong methods get this too.
/// - 409 `password_elsewhere`, `share_ended`: a password cannot be made for this share.
/// - 408 `request_timeout`: a body did not arrive within 10 s.
/// - 413 `body_too_large`: a body of more than 16 KiB.
/// - 426 `upgrade_required`: `/v1/tunnel` without a valid upgrade.
/// - 431 `headers_too_large`: request line and headers of more than 16 KiB, or over 64 headers.
/// - 500 `internal_failure`: our fault; the reason is in the relay's log.
/// - 503 `not_ready`: starting or stopping.
///
/// Closed without an answer: a connection that has not sent a whole request 10 s after it was
/// accepted, that is idle for 60 s after an answer, or that is one too many from its address (128
/// that are not tunnels; 4,096 in total).
///
/// On a relay that was started with `--open`, a tunnel needs no token. An agent there makes itself
/// a token and keeps it: what was shared with it can be listed and revoked with it. A tunnel
/// without
/// any token is nobody's after it is gone.
enum HTTPAPI {
    /// Where agents and browsers begin a tunnel.
    static let tunnelPath = "/v1/tunnel"
    /// Where database.build's page begins, on a host of its own.
    static let pagePath = "/"
    /// Where the shares are.
    static let sharesPath = "/v1/shares"
}
