import Foundation
package import HTTPTypes
import Hummingbird
import NIOCore

/// A "no" of the HTTP API. `HTTPAPI` documents every code.
///
/// The body is `{"error":{"code":"…","message":"…"}}`. Codes are for programs and never change
/// their meaning; messages are for people. Neither holds anything the caller sent.
package struct APIError: Error, Hashable, Sendable {
    /// A closed list; each has its status, its sentence and its line at ``HTTPAPI``.
    package enum Code: String, CaseIterable, Sendable {
        case badRequest = "bad_request"
        case unauthorized
        case notFound = "not_found"
        case passwordElsewhere = "password_elsewhere"
        case shareEnded = "share_ended"
        case requestTimeout = "request_timeout"
        case bodyTooLarge = "body_too_large"
        case upgradeRequired = "upgrade_required"
        case headersTooLarge = "headers_too_large"
        case internalFailure = "internal_failure"
        case notReady = "not_ready"
    }

    package let code: Code

    package init(_ code: Code) {
        self.code = code
    }

    package var status: HTTPResponse.Status {
        switch self.code {
        case .badRequest: .badRequest
        case .unauthorized: .unauthorized
        case .notFound: .notFound
        case .passwordElsewhere, .shareEnded: .conflict
        case .requestTimeout: .requestTimeout
        case .bodyTooLarge: .contentTooLarge
        case .upgradeRequired: .upgradeRequired
        case .headersTooLarge: .requestHeaderFieldsTooLarge
        case .internalFailure: .internalServerError
        case .notReady: .serviceUnavailable
        }
    }

    package var message: String {
        switch self.code {
        case .badRequest:
            "the request is not valid HTTP, or not what this address expects"
        case .unauthorized:
            "a valid token is needed: send 'Authorization: Bearer TOKEN'"
        case .notFound:
            "there is nothing at this address, or it is not yours"
        case .passwordElsewhere:
            "whoever shares this database holds its password; make a new one there"
        case .shareEnded:
            "this share has ended; share the database again"
        case .requestTimeout:
            "the request did not arrive in time"
        case .bodyTooLarge:
            "the request body is too large"
        case .upgradeRequired:
            "upgrade to pgshare/1, or to a WebSocket with the subprotocol pgshare.v1"
        case .headersTooLarge:
            "the request line and headers are too large"
        case .internalFailure:
            "something failed on our side"
        case .notReady:
            "the relay is not ready yet, or is stopping"
        }
    }

    /// The body, as JSON. Codes and messages hold nothing that needs escaping.
    package var json: String {
        #"{"error":{"code":"\#(self.code.rawValue)","message":"\#(self.message)"}}"#
    }

    /// The whole answer.
    var response: Response {
        var headers: HTTPFields = [.contentType: "application/json"]
        switch self.code {
        case .unauthorized: headers[.wwwAuthenticate] = "Bearer"
        case .upgradeRequired: headers[.upgrade] = "pgshare/1, websocket"
        case .badRequest, .notFound, .passwordElsewhere, .shareEnded, .requestTimeout,
            .bodyTooLarge, .headersTooLarge, .internalFailure, .notReady:
            break
        }
        return Response(
            status: self.status, headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(string: self.json)))
    }
}
