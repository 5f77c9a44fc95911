import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Sentences for the errors of the libraries below.
enum DialReason {
    static let connectionRefused = "connection refused"
    static let connectionReset = "connection reset"
    static let noAnswer = "it hung up without an answer"
    static let hungUpAtOnce = "it hung up at once"

    static func sentence(ofConnect error: any Error) -> String {
        switch error {
        case let error as NIOConnectionError:
            guard let last = error.connectionErrors.last else {
                return "the name \(error.host) cannot be resolved"
            }
            return Self.sentence(ofConnect: last.error)
        case ChannelError.connectTimeout:
            return "it does not answer"
        case let error as IOError:
            return Self.sentence(ofErrno: error.errnoCode)
        default:
            return "\(error)"
        }
    }

    /// A relay that is starting, or a balancer in front of none: worth another try, other than a
    /// certificate that does not fit.
    static let hungUp = DialError.unreachable(reason: "it hung up during the TLS handshake")

    static func error(ofTLS error: any Error) -> DialError {
        switch error {
        case NIOSSLError.uncleanShutdown, is IOError, is ChannelError:
            return Self.hungUp
        case NIOSSLError.handshakeFailed(let reason) where "\(reason)".isEndOfFile:
            return Self.hungUp
        default:
            return .tlsFailed(reason: Self.sentence(ofTLS: error))
        }
    }

    private static func sentence(ofTLS error: any Error) -> String {
        switch error {
        case let error as NIOSSLExtraError where error == .failedToValidateHostname:
            return "its certificate is for another host"
        case NIOSSLError.unableToValidateCertificate:
            return "its certificate is for another host"
        case NIOSSLError.handshakeFailed(let reason):
            let text = "\(reason)"
            if text.contains("CERTIFICATE_VERIFY_FAILED") {
                return "its certificate is not trusted; is the CA file the right one?"
            }
            if text.contains("WRONG_VERSION_NUMBER") || text.contains("HTTP_REQUEST") {
                return "it does not speak TLS on this port"
            }
            return text
        default:
            return "\(error)"
        }
    }

    static func sentence(ofAnswer error: any Error) -> String {
        switch error {
        case is HTTPParserError, is NIOHTTPDecoderError: "its answer is not HTTP"
        case NIOSSLError.uncleanShutdown: Self.noAnswer
        case let error as IOError: Self.sentence(ofErrno: error.errnoCode)
        case let violation as WebSocketViolation: violation.message
        default: "\(error)"
        }
    }

    private static func sentence(ofErrno code: CInt) -> String {
        switch code {
        case ECONNREFUSED: Self.connectionRefused
        case ECONNRESET: Self.connectionReset
        case ETIMEDOUT: "it does not answer"
        case ENETUNREACH, EHOSTUNREACH: "there is no route to it"
        default: "system error \(code)"
        }
    }
}

extension String {
    /// How BoringSSL's errors say, through NIOSSL, that the peer closed the connection.
    fileprivate var isEndOfFile: Bool {
        self.contains("EOF during handshake") || self.contains("eofDuringHandshake")
    }
}
