import NIOCore

/// What a server says before the greeting, read whole.
///
/// Source: PostgreSQL documentation, "Message Formats", the `Authentication…` messages.
enum LoginMessage {
    case ok
    case cleartextPassword
    case md5Password(salt: [UInt8])
    case sasl(mechanisms: [String])
    case saslContinue(String)
    case saslFinal(String)
    /// A request that we cannot answer, by name.
    case unsupported(String)
    case negotiation
    case notice
    case error(PostgresError)

    /// For messages about one in the wrong place.
    var name: String {
        switch self {
        case .ok: "AuthenticationOk"
        case .cleartextPassword: "AuthenticationCleartextPassword"
        case .md5Password: "AuthenticationMD5Password"
        case .sasl: "AuthenticationSASL"
        case .saslContinue: "AuthenticationSASLContinue"
        case .saslFinal: "AuthenticationSASLFinal"
        case .unsupported(let method): method
        case .negotiation: "NegotiateProtocolVersion"
        case .notice: "NoticeResponse"
        case .error: "ErrorResponse"
        }
    }

    /// Takes one message, or nothing where it is not whole. Type and length are judged first.
    static func read(from bytes: inout ByteBuffer) throws(LoginFailure) -> LoginMessage? {
        guard let type = bytes.readableBytesView.first.map(MessageType.init(rawValue:)) else {
            return nil
        }
        switch type {
        case .authentication, .errorResponse, .noticeResponse, .negotiateProtocolVersion: break
        default: throw .unexpected("\(type)")
        }
        guard let header = MessageHeader(in: bytes) else { return nil }
        guard (4...ClientLoginMachine.maximumMessageBytes).contains(header.length) else {
            throw .badLength(header.length)
        }
        guard var body = bytes.readSlice(length: header.totalBytes) else { return nil }
        body.moveReaderIndex(forwardBy: MessageHeader.encodedBytes)
        switch type {
        case .errorResponse: return .error(PostgresError.parse(body: body))
        case .noticeResponse: return .notice
        case .negotiateProtocolVersion: return .negotiation
        default: return try self.authentication(&body)
        }
    }

    private static func authentication(
        _ body: inout ByteBuffer
    ) throws(LoginFailure) -> LoginMessage {
        guard let word = body.readInteger(as: UInt32.self) else {
            throw .malformed("authentication request")
        }
        guard let code = AuthenticationCode(rawValue: word) else {
            return .unsupported("authentication method \(word)")
        }
        switch code {
        case .ok: return .ok
        case .cleartextPassword: return .cleartextPassword
        case .md5Password:
            guard let salt = body.readBytes(length: 4), body.readableBytes == 0 else {
                throw .malformed("AuthenticationMD5Password")
            }
            return .md5Password(salt: salt)
        case .sasl: return .sasl(mechanisms: try self.mechanisms(&body))
        case .saslContinue: return .saslContinue(try self.text(body))
        case .saslFinal: return .saslFinal(try self.text(body))
        case .kerberosV5: return .unsupported("Kerberos V5")
        case .cryptPassword: return .unsupported("crypt")
        case .scmCredential: return .unsupported("SCM credential")
        case .gss, .gssContinue: return .unsupported("GSSAPI")
        case .sspi: return .unsupported("SSPI")
        }
    }

    private static func mechanisms(_ body: inout ByteBuffer) throws(LoginFailure) -> [String] {
        var names: [String] = []
        while let name = body.readCStringBytes() {
            if name.readableBytes == 0 { return names }
            names.append(String(buffer: name))
        }
        throw .malformed("AuthenticationSASL")
    }

    private static func text(_ body: ByteBuffer) throws(LoginFailure) -> String {
        guard let text = String(validating: body.readableBytesView, as: UTF8.self) else {
            throw .malformed("SASL message")
        }
        return text
    }
}
