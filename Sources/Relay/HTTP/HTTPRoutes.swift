import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import SharePolicy

/// What the relay answers over HTTP, as ``HTTPAPI`` documents it.
struct HTTPRoutes: Sendable {
    let gate: TokenGate
    let shares: any SharesControl
    let metrics: RelayMetrics
    let isReady: @Sendable () async -> Bool
    let logger: Logger

    /// Every address, behind the middleware that counts answers and words errors.
    func router() -> Router<BasicRequestContext> {
        let router = Router(context: BasicRequestContext.self)
        router.add(middleware: AnswerMiddleware(metrics: self.metrics, logger: self.logger))
        router.get("healthz") { _, _ in
            Self.json(#"{"status":"ok"}"#)
        }
        router.get("readyz") { _, _ in
            guard await self.isReady() else { throw APIError(.notReady) }
            return Self.json(#"{"status":"ready"}"#)
        }
        router.get("metrics") { _, _ in
            Response(
                status: .ok,
                headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: self.metrics.prometheusText())))
        }
        router.get(RouterPath(HTTPAPI.tunnelPath)) { request, _ -> Response in
            // A good request became a tunnel and did not come here: see TunnelUpgrade.
            _ = try await self.gate.tunnelOwner(of: Credentials(request.headers))
            throw APIError(.upgradeRequired)
        }
        self.addShares(to: router)
        return router
    }

    private func addShares(to router: Router<BasicRequestContext>) {
        router.get(RouterPath(HTTPAPI.sharesPath)) { request, _ in
            let owner = try await self.gate.owner(of: Credentials(request.headers))
            return try Self.json(ShareList(shares: try await self.shares.shares(of: owner)))
        }
        router.get(RouterPath("\(HTTPAPI.sharesPath)/:share")) { request, context in
            let owner = try await self.gate.owner(of: Credentials(request.headers))
            let key = try Self.key(context)
            guard let share = try await self.shares.share(key, of: owner) else {
                throw APIError(.notFound)
            }
            return try Self.json(share)
        }
        router.delete(RouterPath("\(HTTPAPI.sharesPath)/:share")) { request, context in
            let owner = try await self.gate.owner(of: Credentials(request.headers))
            let key = try Self.key(context)
            guard let share = try await self.shares.revoke(key, of: owner) else {
                throw APIError(.notFound)
            }
            return try Self.json(share)
        }
        router.post(RouterPath("\(HTTPAPI.sharesPath)/:share/password")) { request, context in
            let owner = try await self.gate.owner(of: Credentials(request.headers))
            let key = try Self.key(context)
            guard let made = try await self.shares.makePassword(key, of: owner) else {
                throw APIError(.notFound)
            }
            return try Self.json(made)
        }
    }

    /// What is neither an id nor a name cannot be anybody's share.
    private static func key(_ context: BasicRequestContext) throws -> ShareKey {
        guard let text = context.parameters.get("share"), let key = ShareKey(text) else {
            throw APIError(.notFound)
        }
        return key
    }

    private static func json(_ text: String) -> Response {
        Response(
            status: .ok, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }

    private static func json(_ value: some Encodable) throws -> Response {
        Response(
            status: .ok, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: try APIJSON.encode(value))))
    }
}

/// Counts every answer, and turns errors into the ones that are documented.
///
/// Text that we did not write (of a store, of a library) stays here.
struct AnswerMiddleware: RouterMiddleware {
    let metrics: RelayMetrics
    let logger: Logger

    func handle(
        _ request: Request, context: BasicRequestContext,
        next: (Request, BasicRequestContext) async throws -> Response
    ) async throws -> Response {
        var response: Response
        do {
            response = try await next(request, context)
        } catch let error as APIError {
            response = error.response
        } catch let error as HTTPError {
            response = Self.error(for: error.status).response
        } catch {
            self.logger.log(
                .error, "an API request failed",
                [.error: "\(error)", .method: request.method.rawValue])
            response = APIError(.internalFailure).response
        }
        response.headers[.cacheControl] = "no-store"
        self.metrics.httpResponses.add(StatusLabel(code: response.status.code))
        return response
    }

    private static func error(for status: HTTPResponse.Status) -> APIError {
        switch status.code {
        case 404: APIError(.notFound)
        case 413: APIError(.bodyTooLarge)
        case 400..<500: APIError(.badRequest)
        default: APIError(.internalFailure)
        }
    }
}
