import NIOCore

/// The client's two messages of a SCRAM exchange, and its check of the server. Values only.
///
/// Source: RFC 5802 and RFC 7677; libpq's `fe-auth-scram.c`.
struct SCRAMClient: Sendable {
    /// Random bytes of the nonce: `SCRAM_RAW_NONCE_LEN` in PostgreSQL.
    static let nonceBytes = 18

    let mechanism: SCRAMMechanism
    private let header: GS2Header
    private let endPoint: [UInt8]
    private let nonce: String
    /// The name is left empty, as libpq does: the startup packet's counts.
    private var firstBare: String { "n=\(self.user),r=\(self.nonce)" }
    private let user: String

    init(
        mechanism: SCRAMMechanism,
        header: GS2Header,
        endPoint: [UInt8],
        nonce: String,
        user: String = ""
    ) {
        self.mechanism = mechanism
        self.header = header
        self.endPoint = endPoint
        self.nonce = nonce
        self.user = user
    }

    /// The client's first message.
    var first: String { self.header.rawValue + self.firstBare }

    /// The client's last message, and what the server must answer to it.
    struct Response: Sendable {
        let message: String
        let keys: SCRAMKeys
        let serverSignature: [UInt8]
    }

    /// Answers the server's first message.
    ///
    /// `cached` holds keys of an earlier login; they are used if salt and iterations are the same.
    func respond(
        to serverFirst: String,
        password: Secret,
        cached: SCRAMKeys?
    ) throws(LoginFailure) -> Response {
        var attributes = SCRAMAttributes(serverFirst[...])
        guard attributes.nextName != UInt8(ascii: "m") else {
            throw .malformed("a mandatory SCRAM extension")
        }
        guard
            let nonce = attributes.take("r"), SCRAMAttributes.isNonce(nonce),
            nonce.hasPrefix(self.nonce), nonce.utf8.count > self.nonce.utf8.count
        else { throw .malformed("SCRAM nonce") }
        guard
            let salt = attributes.take("s").flatMap({ Base64.decode($0) }),
            SCRAMVerifier.allowedSaltBytes.contains(salt.count)
        else { throw .malformed("SCRAM salt") }
        guard
            let iterations = attributes.take("i").flatMap({ Int($0) }),
            SCRAMVerifier.allowedIterations.contains(iterations)
        else { throw .malformed("SCRAM iterations") }
        guard attributes.skip(while: { _ in true }) else {
            throw .malformed("a SCRAM extension")
        }
        let keys = Self.keys(password, salt: salt, iterations: iterations, cached: cached)
        return self.response(to: serverFirst, nonce: nonce, keys: keys)
    }

    private static func keys(
        _ password: Secret,
        salt: [UInt8],
        iterations: Int,
        cached: SCRAMKeys?
    ) -> SCRAMKeys {
        if let cached, cached.salt == salt, cached.iterations == iterations { return cached }
        return SCRAMKeys(password: password, salt: salt, iterations: iterations)
    }

    private func response(
        to serverFirst: String,
        nonce: Substring,
        keys: SCRAMKeys
    ) -> Response {
        let binding = self.header.channelBindingField(self.endPoint)
        let withoutProof = "c=\(binding),r=\(nonce)"
        let authMessage = Array("\(self.firstBare),\(serverFirst),\(withoutProof)".utf8)
        let signature = hmacSHA256(authMessage, key: keys.storedKey)
        let proof = zip(keys.clientKey, signature).map { $0 ^ $1 }
        return Response(
            message: "\(withoutProof),p=\(Base64.encode(proof))",
            keys: keys,
            serverSignature: hmacSHA256(authMessage, key: keys.serverKey)
        )
    }

    /// Whether the server knows the password too. Without this anybody could play the server.
    static func check(_ serverFinal: String, _ response: Response) throws(LoginFailure) {
        var attributes = SCRAMAttributes(serverFinal[...])
        guard
            let text = attributes.take("v"), attributes.skip(while: { _ in true }),
            let signature = Base64.decode(text)
        else { throw .malformed("SCRAM server signature") }
        guard constantTimeEqual(signature, response.serverSignature) else {
            throw .serverSignatureInvalid
        }
    }
}
