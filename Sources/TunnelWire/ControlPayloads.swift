package import NIOCore

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The JSON of control frames. Unknown keys are ignored, so that an older peer understands a
/// newer one; a missing key that is not optional is a violation.
///
/// Source: `PROTOCOL.md`, "Control payloads".
package protocol ControlPayload: Codable, Sendable {
    /// The frame that carries it.
    static var frameType: FrameType { get }
    /// The JSON, without a header.
    var payload: ByteBuffer { get }
}

extension ControlPayload {
    /// Reads a payload.
    package init(payload: ByteBuffer) throws(LinkViolation) {
        do {
            self = try JSONDecoder().decode(Self.self, from: Data(payload.readableBytesView))
        } catch {
            throw .badPayload(Self.frameType)
        }
    }

    /// The JSON, without a header.
    package var payload: ByteBuffer {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Values of ours always encode: strings, numbers and arrays of them.
        guard let json = try? encoder.encode(self) else { return ByteBuffer(string: "{}") }
        return ByteBuffer(bytes: json)
    }

    /// The whole frame.
    package var frame: ByteBuffer {
        var bytes = ByteBuffer()
        bytes.writeFrame(Self.frameType, payload: self.payload)
        return bytes
    }
}

/// HELLO: an agent wants to serve a share, or to add a link to its tunnel.
package struct Hello: ControlPayload, Hashable {
    package static let frameType = FrameType.hello

    /// What the agent wants of its share. The relay may give less.
    package struct ShareRequest: Codable, Hashable, Sendable {
        /// The id of a share that the agent had before; nil for a new one.
        package var id: String?
        /// The name wanted; nil for none.
        package var name: String?
        /// The SCRAM verifier of the share's password. The password never leaves the agent.
        package var verifier: String
        /// `scram` or `password`.
        package var auth: String
        /// The database that clients get, and the role that the agent logs in as: for display.
        package var database: String
        package var user: String
        /// Clients at once.
        package var maxConnections: Int
        /// Seconds from now until the share ends; nil for the relay's default.
        package var expiresIn: Int?
        /// Seconds since 1970 when a share that existed before ends: survives a reconnect.
        package var expiresAt: Double?
        package var readOnly: Bool
        /// Client networks allowed, as CIDR; empty for all.
        package var allow: [String]
        /// Backends that the sandbox has in all; nil for one a client. Only 1 is allowed: a
        /// browser's database, which all clients share.
        package var sessions: Int?
        /// Whether such a database takes one client at a time; nil for no.
        package var exclusive: Bool?
        /// Seconds that a client of such a database waits for its turn; nil for the relay's.
        package var waitSeconds: Double?
        /// Seconds that a client may keep it idle while others wait; nil for the relay's.
        package var idleSeconds: Double?

        package init(
            id: String? = nil, name: String? = nil, verifier: String, auth: String = "scram",
            database: String, user: String, maxConnections: Int, expiresIn: Int? = nil,
            expiresAt: Double? = nil, readOnly: Bool = false, allow: [String] = [],
            sessions: Int? = nil, exclusive: Bool? = nil, waitSeconds: Double? = nil,
            idleSeconds: Double? = nil
        ) {
            self.id = id
            self.name = name
            self.verifier = verifier
            self.auth = auth
            self.database = database
            self.user = user
            self.maxConnections = maxConnections
            self.expiresIn = expiresIn
            self.expiresAt = expiresAt
            self.readOnly = readOnly
            self.allow = allow
            self.sessions = sessions
            self.exclusive = exclusive
            self.waitSeconds = waitSeconds
            self.idleSeconds = idleSeconds
        }
    }

    /// The tunnel that a further link belongs to.
    package struct Join: Codable, Hashable, Sendable {
        package var tunnel: String
        package var secret: String

        package init(tunnel: String, secret: String) {
            self.tunnel = tunnel
            self.secret = secret
        }
    }

    /// The protocol version asked for.
    package var version: Int
    /// What the agent knows beyond that version; absent: 0.
    package var minor: Int?
    /// Program and version, for logs.
    package var agent: String
    /// Present in the first link of a tunnel.
    package var share: ShareRequest?
    /// Present in its further links.
    package var join: Join?

    package init(
        agent: String, share: ShareRequest? = nil, join: Join? = nil,
        minor: Int? = TunnelProtocol.minor
    ) {
        self.version = TunnelProtocol.version
        self.minor = minor
        self.agent = agent
        self.share = share
        self.join = join
    }
}

/// HELLO_OK: the link stands.
package struct HelloOK: ControlPayload, Hashable {
    package static let frameType = FrameType.helloOK

    package var version: Int
    /// What the relay knows beyond that version; absent: 0.
    package var minor: Int?
    /// The share's id, its name, and what clients connect to.
    package var share: String
    package var name: String?
    package var host: String
    package var port: Int
    /// The host a client may also use with SNI, `ID.DOMAIN`.
    package var domain: String
    /// Seconds since 1970.
    package var expiresAt: Double
    package var generation: UInt64
    /// The tunnel, and the secret that further links join it with.
    package var tunnel: String
    package var tunnelSecret: String
    /// Links the relay wants in all, and whether this one is wanted: a link whose event loop
    /// has one already serves as a spare, and the agent may close it and dial again.
    package var links: Int
    package var isSpare: Bool
    /// This link, and the one-use secret that resumes it.
    package var session: String
    package var resumeSecret: String
    /// Seconds that a cut link waits to be resumed.
    package var graceSeconds: Int
    /// Bytes that the relay keeps for replay.
    package var replayBytes: Int
    /// Whether RESUME may travel right behind the request of a raw upgrade. Absent: no.
    package var earlyResume: Bool?

    package init(
        share: String, name: String?, host: String, port: Int, domain: String, expiresAt: Double,
        generation: UInt64, tunnel: String, tunnelSecret: String, links: Int, isSpare: Bool,
        session: String, resumeSecret: String, graceSeconds: Int, replayBytes: Int,
        earlyResume: Bool? = nil, minor: Int? = TunnelProtocol.minor
    ) {
        self.version = TunnelProtocol.version
        self.minor = minor
        self.share = share
        self.name = name
        self.host = host
        self.port = port
        self.domain = domain
        self.expiresAt = expiresAt
        self.generation = generation
        self.tunnel = tunnel
        self.tunnelSecret = tunnelSecret
        self.links = links
        self.isSpare = isSpare
        self.session = session
        self.resumeSecret = resumeSecret
        self.graceSeconds = graceSeconds
        self.replayBytes = replayBytes
        self.earlyResume = earlyResume
    }
}

/// RESUME: a cut link comes back.
package struct Resume: ControlPayload, Hashable {
    package static let frameType = FrameType.resume

    package var version: Int
    /// What the agent knows beyond that version; absent: 0.
    package var minor: Int?
    package var session: String
    package var secret: String
    /// Counted bytes that the agent has taken.
    package var received: UInt64

    package init(
        session: String, secret: String, received: UInt64, minor: Int? = TunnelProtocol.minor
    ) {
        self.version = TunnelProtocol.version
        self.minor = minor
        self.session = session
        self.secret = secret
        self.received = received
    }
}

/// RESUME_OK: it goes on.
package struct ResumeOK: ControlPayload, Hashable {
    package static let frameType = FrameType.resumeOK

    /// Counted bytes that the relay has taken.
    package var received: UInt64
    /// The secret for the next time. The old one is good until the first byte after this frame.
    package var resumeSecret: String

    package init(received: UInt64, resumeSecret: String) {
        self.received = received
        self.resumeSecret = resumeSecret
    }
}

/// ERROR: the link ends for good.
package struct LinkError: ControlPayload, Hashable, Error {
    package static let frameType = FrameType.error
    /// The code of an agent, or a page, that was stopped on purpose.
    package static let agentStopped = "agent_stopped"
    /// The code of a relay that does not know what RESUME, or a join, names.
    package static let resumeExpired = "resume_expired"
    /// The code of a relay that is being replaced.
    package static let relayStopping = "relay_stopping"

    /// A stable word. Source: `PROTOCOL.md`, "Close reasons".
    package var code: String
    /// A sentence for a person.
    package var message: String
    /// Whether the same dial may succeed later.
    package var retry: Bool

    package init(code: String, message: String, retry: Bool) {
        self.code = code
        self.message = message
        self.retry = retry
    }

    /// What a violation becomes.
    package init(_ violation: LinkViolation) {
        self.init(
            code: violation.code, message: "the other end broke the tunnel protocol", retry: true)
    }
}

/// GOAWAY: no new streams here.
package struct GoAway: ControlPayload, Hashable {
    package static let frameType = FrameType.goAway

    package var reason: String

    package init(reason: String) {
        self.reason = reason
    }
}

/// OPEN: a client arrived, or wants a query cancelled.
package struct Open: ControlPayload, Hashable {
    package static let frameType = FrameType.open

    /// What the stream is for.
    package enum Kind: String, Codable, Sendable {
        /// A client's connection.
        case session
        /// Cancel what runs on another stream.
        case cancel
        /// The one session of a browser's database, for all clients.
        case engine
    }

    package var kind: Kind
    /// Bytes that the agent may send before the first WINDOW.
    package var window: Int
    /// session: the client's address, as the relay sees it.
    package var client: String?
    /// session: the client's startup parameters in order, `user` and `database` among them.
    package var parameters: [[String]]?
    /// cancel: the stream to cancel, and how many bytes of it the client had sent by then.
    package var stream: UInt32?
    package var after: UInt64?

    package init(window: Int, client: String?, parameters: [[String]]) {
        self.kind = .session
        self.window = window
        self.client = client
        self.parameters = parameters
    }

    package init(window: Int, cancel stream: UInt32, after: UInt64) {
        self.kind = .cancel
        self.window = window
        self.stream = stream
        self.after = after
    }

    /// The one session of a sandbox that has no other.
    package init(engineWindow window: Int) {
        self.kind = .engine
        self.window = window
    }
}

/// OPEN_OK: the backend is there; the greeting follows as DATA.
package struct OpenOK: ControlPayload, Hashable {
    package static let frameType = FrameType.openOK

    /// Bytes that the relay may send before the first WINDOW.
    package var window: Int
    /// engine: what stands on the other side.
    package var engine: Engine?

    /// The database behind a stream of kind engine. What is not said is so.
    package struct Engine: Codable, Hashable, Sendable {
        /// Program and version, for logs.
        package var name: String?
        /// Whether `COPY … FROM STDIN` works when all of it comes in one call.
        package var copyIn: Bool?
        /// Whether it can be restarted.
        package var restarts: Bool?
        /// Whether the page's own queries can be kept out.
        package var holds: Bool?

        package init(
            name: String? = nil, copyIn: Bool? = nil, restarts: Bool? = nil, holds: Bool? = nil
        ) {
            self.name = name
            self.copyIn = copyIn
            self.restarts = restarts
            self.holds = holds
        }
    }

    package init(window: Int, engine: Engine? = nil) {
        self.window = window
        self.engine = engine
    }
}

/// What both ends agree on before the first byte.
package enum TunnelProtocol {
    /// The version of this protocol.
    package static let version = 1
    /// What this end knows beyond what every peer of that version does. It is told, and nothing
    /// depends on it: a peer that does not know a key or an extension passes it over.
    package static let minor = 1
    /// Where a tunnel is opened.
    package static let path = "/v1/tunnel"
    /// The WebSocket subprotocol.
    package static let webSocketProtocol = "pgshare.v1"
    /// The token of `Upgrade` for the raw transport.
    package static let rawUpgrade = "pgshare/1"
}
