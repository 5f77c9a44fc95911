public import NIOCore

/// Small encoders, one whole message each, for tests, probes and the few messages we send
/// ourselves.
///
/// Source: PostgreSQL documentation, "Message Formats".
public enum PostgresMessage {
    /// SSLRequest, 8 bytes.
    public static func sslRequest() -> ByteBuffer {
        self.packet { $0.writeInteger(StartupPacket.sslRequestCode) }
    }

    /// GSSENCRequest, 8 bytes.
    public static func gssRequest() -> ByteBuffer {
        self.packet { $0.writeInteger(StartupPacket.gssRequestCode) }
    }

    /// StartupMessage with the parameters in their order.
    public static func startup(
        _ parameters: [StartupRequest.Parameter],
        version: ProtocolVersion = .v3_0
    ) -> ByteBuffer {
        self.packet { body in
            body.writeInteger(version.word)
            for parameter in parameters {
                body.writeCString(parameter.name)
                body.writeCString(parameter.value)
            }
            body.writeInteger(UInt8(0))
        }
    }

    /// CancelRequest.
    public static func cancelRequest(_ key: CancelKey) -> ByteBuffer {
        var buffer = ByteBuffer()
        key.writeCancelRequest(into: &buffer)
        return buffer
    }

    /// PasswordMessage, for cleartext and MD5.
    public static func password(_ text: String) -> ByteBuffer {
        self.message(.passwordMessage) { $0.writeCString(text) }
    }

    /// SASLInitialResponse. With nil the client sends no first message yet.
    public static func saslInitialResponse(mechanism: String, _ data: String?) -> ByteBuffer {
        self.message(.passwordMessage) { body in
            body.writeCString(mechanism)
            body.writeInteger(Int32(data?.utf8.count ?? -1))
            body.writeString(data ?? "")
        }
    }

    /// SASLResponse.
    public static func saslResponse(_ data: String) -> ByteBuffer {
        self.message(.passwordMessage) { $0.writeString(data) }
    }

    /// Query, the simple kind.
    public static func query(_ sql: String) -> ByteBuffer {
        self.message(.query) { $0.writeCString(sql) }
    }

    /// CopyDone, 5 bytes.
    public static func copyDone() -> ByteBuffer {
        self.message(.copyDone) { _ in }
    }

    /// CopyFail. The server's error repeats the reason.
    public static func copyFail(_ reason: String) -> ByteBuffer {
        self.message(.copyFail) { $0.writeCString(reason) }
    }

    /// Sync, 5 bytes.
    public static func sync() -> ByteBuffer {
        self.message(.sync) { _ in }
    }

    /// CommandComplete with a tag such as `SET`.
    public static func commandComplete(_ tag: String) -> ByteBuffer {
        self.message(.commandComplete) { $0.writeCString(tag) }
    }

    /// Terminate, 5 bytes.
    public static func terminate() -> ByteBuffer {
        self.message(.terminate) { _ in }
    }

    /// AuthenticationOk, 9 bytes.
    public static func authenticationOk() -> ByteBuffer {
        self.authentication(.ok) { _ in }
    }

    /// AuthenticationCleartextPassword, 9 bytes.
    public static func authenticationCleartextPassword() -> ByteBuffer {
        self.authentication(.cleartextPassword) { _ in }
    }

    /// AuthenticationMD5Password with its four bytes of salt.
    public static func authenticationMD5Password(salt: [UInt8]) -> ByteBuffer {
        self.authentication(.md5Password) { $0.writeBytes(salt) }
    }

    /// AuthenticationSASL with the names of the mechanisms, best first.
    public static func authenticationSASL(mechanisms: [String]) -> ByteBuffer {
        self.authentication(.sasl) { body in
            for mechanism in mechanisms {
                body.writeCString(mechanism)
            }
            body.writeInteger(UInt8(0))
        }
    }

    /// AuthenticationSASLContinue.
    public static func authenticationSASLContinue(_ data: String) -> ByteBuffer {
        self.authentication(.saslContinue) { $0.writeString(data) }
    }

    /// AuthenticationSASLFinal.
    public static func authenticationSASLFinal(_ data: String) -> ByteBuffer {
        self.authentication(.saslFinal) { $0.writeString(data) }
    }

    /// ParameterStatus.
    public static func parameterStatus(_ name: String, _ value: String) -> ByteBuffer {
        self.message(.parameterStatus) { body in
            body.writeCString(name)
            body.writeCString(value)
        }
    }

    /// BackendKeyData.
    public static func backendKeyData(_ key: CancelKey) -> ByteBuffer {
        var buffer = ByteBuffer()
        key.writeBackendKeyData(into: &buffer)
        return buffer
    }

    /// ReadyForQuery; the status is `I`, `T` or `E`.
    public static func readyForQuery(_ status: Unicode.Scalar = "I") -> ByteBuffer {
        self.message(.readyForQuery) { $0.writeInteger(UInt8(ascii: status)) }
    }

    static func authentication(
        _ code: AuthenticationCode,
        _ rest: (inout ByteBuffer) -> Void
    ) -> ByteBuffer {
        self.message(.authentication) { body in
            body.writeInteger(code.rawValue)
            rest(&body)
        }
    }

    static func message(_ type: MessageType, _ body: (inout ByteBuffer) -> Void) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeMessage(type, body)
        return buffer
    }

    private static func packet(_ body: (inout ByteBuffer) -> Void) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeLengthPrefixedPacket(body)
        return buffer
    }
}

/// The word that says which authentication message an `R` is.
enum AuthenticationCode: UInt32, CaseIterable {
    case ok = 0
    case kerberosV5 = 2
    case cleartextPassword = 3
    case cryptPassword = 4
    case md5Password = 5
    case scmCredential = 6
    case gss = 7
    case gssContinue = 8
    case sspi = 9
    case sasl = 10
    case saslContinue = 11
    case saslFinal = 12
}
