import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdCore
package import Logging
package import NIOCore
import ServiceLifecycle
import SharePolicy

/// The relay's HTTPS port: the API, health, metrics, and the door of the tunnels.
///
/// Stopping (graceful shutdown of its task, or closing the channel that it was told of) ends what
/// is no tunnel. Tunnels go on: whoever took them over ends them.
package struct HTTPDoor: Service {
    private let configuration: HTTPDoorConfiguration
    private let group: any EventLoopGroup
    private let tls: TLSContextBox?
    private let gate: TokenGate
    private let tunnels: any TunnelDoor
    private let pages: any PageDoor
    private let routes: HTTPRoutes
    private let metrics: RelayMetrics
    private let logger: Logger
    private let onListening: @Sendable (any Channel) async -> Void

    /// Prepares the door; ``run()`` opens it.
    ///
    /// - Parameters:
    ///   - configuration: Where it stands, and its limits.
    ///   - group: Where connections live.
    ///   - tls: The certificate; nil serves plain HTTP, which is for loopback addresses only.
    ///   - gate: Knows the tokens.
    ///   - tunnels: Takes over what was upgraded.
    ///   - pages: Takes over the WebSockets of database.build's page.
    ///   - shares: Answers the API.
    ///   - metrics: Counted here, and shown at `/metrics`.
    ///   - isReady: Whether all doors are bound and the store answers; asked at `/readyz`.
    ///   - logger: For what goes wrong.
    ///   - onListening: Called once, with the listening channel.
    package init(
        configuration: HTTPDoorConfiguration,
        group: any EventLoopGroup,
        tls: TLSContextBox?,
        gate: TokenGate,
        tunnels: any TunnelDoor,
        pages: any PageDoor,
        shares: any SharesControl,
        metrics: RelayMetrics,
        isReady: @escaping @Sendable () async -> Bool,
        logger: Logger,
        onListening: @escaping @Sendable (any Channel) async -> Void
    ) {
        self.configuration = configuration
        self.group = group
        self.tls = tls
        self.gate = gate
        self.tunnels = tunnels
        self.pages = pages
        self.routes = HTTPRoutes(
            gate: gate, shares: shares, metrics: metrics, isReady: isReady, logger: logger)
        self.metrics = metrics
        self.logger = logger
        self.onListening = onListening
    }

    /// Opens the door and serves until the task is told to stop.
    ///
    /// - Throws: When the address cannot be bound.
    package func run() async throws {
        let limits = self.configuration.limits
        let pending = PendingGate(
            PendingSockets(
                maximum: limits.maximumUnadmitted,
                maximumAnAddress: limits.maximumUnadmittedPerAddress),
            displaced: self.metrics.socketsDisplaced)
        // Hummingbird says at info what the relay says itself, and complains of connections that
        // closed, which is none of ours. Failed requests are logged by AnswerMiddleware.
        var quiet = self.logger
        quiet.logLevel = .critical
        let server = HTTPServer(
            configuration: self.configuration, group: self.group,
            child: HTTPDoorChannel(
                responder: self.responder(quiet), tls: self.tls, limits: limits, gate: self.gate,
                tunnels: self.tunnels, pages: self.pages, metrics: self.metrics,
                logger: self.logger, pending: pending, proxies: self.configuration.proxies),
            logger: quiet)
        let message: Logger.Message =
            self.tls == nil ? "listening for agents without TLS" : "listening for agents"
        try await server.run { channel in
            self.logger.log(
                .info, message, [.listening: channel.localAddress?.hostAndPort ?? "unknown"])
            await self.onListening(channel)
        }
    }

    /// Answers requests by the routes.
    private func responder(_ logger: Logger) -> HTTPDoorChannel.Responder {
        let routes = self.routes.router().buildResponder()
        return { request, writer, channel in
            let context = BasicRequestContext(
                source: ApplicationRequestContextSource(channel: channel, logger: logger))
            var response = try await routes.respond(to: request, context: context)
            response.headers[.date] = Self.date(of: .now)
            try await writer.write(response: response.head, body: response.body)
        }
    }

    private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// `Sun, 06 Nov 1994 08:49:37 GMT`. Source: RFC 9110, section 5.6.7.
    static func date(of date: Date) -> String {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        let parts = calendar.dateComponents(
            [.weekday, .day, .month, .year, .hour, .minute, .second], from: date)
        func two(_ number: Int?) -> String {
            let text = String(number ?? 0)
            return text.count < 2 ? "0" + text : text
        }
        let time = [parts.hour, parts.minute, parts.second].map(two).joined(separator: ":")
        let day = Self.days[(parts.weekday ?? 1) - 1]
        let month = Self.months[(parts.month ?? 1) - 1]
        return "\(day), \(two(parts.day)) \(month) \(parts.year ?? 1970) \(time) GMT"
    }
}
