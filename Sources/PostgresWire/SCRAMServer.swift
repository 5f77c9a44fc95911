import Crypto
import NIOCore

/// The server's two answers of a SCRAM exchange. Values only: it reads text and writes text.
///
/// Source: RFC 5802 and RFC 7677; PostgreSQL's `auth-scram.c`, whose checks these are.
struct SCRAMServer: Sendable {
    /// Random bytes of our half of the nonce: `SCRAM_RAW_NONCE_LEN` in PostgreSQL.
    static let nonceBytes = 18

    private let verifier: SCRAMVerifier
    private let mechanism: SCRAMMechanism
    private let endPoint: [UInt8]?

    init(verifier: SCRAMVerifier, mechanism: SCRAMMechanism, endPoint: [UInt8]?) {
        self.verifier = verifier
        self.mechanism = mechanism
        self.endPoint = endPoint
    }

    /// What is known once the server's first message went out.
    struct Challenge: Sendable {
        /// The server's first message.
        let message: String
        fileprivate let header: GS2Header
        fileprivate let nonce: String
        fileprivate let clientFirstBare: String
    }

    /// Answers the client's first message.
    func challenge(
        _ clientFirst: String,
        using generator: inout some RandomNumberGenerator
    ) throws(LoginViolation) -> Challenge {
        let header = try self.header(of: clientFirst)
        let bare = clientFirst.dropFirst(header.rawValue.count)
        var attributes = SCRAMAttributes(bare)
        guard attributes.nextName != UInt8(ascii: "m") else {
            throw .malformed("a mandatory SCRAM extension")
        }
        // The name is not looked at: the one of the startup packet counts, as in Postgres.
        guard attributes.take("n") != nil else { throw .malformed("no SCRAM user name") }
        guard let clientNonce = attributes.take("r"), SCRAMAttributes.isNonce(clientNonce) else {
            throw .malformed("no SCRAM nonce")
        }
        guard attributes.skip(while: { _ in true }) else {
            throw .malformed("a SCRAM extension")
        }
        let nonce = clientNonce + Base64.encode(generator.bytes(Self.nonceBytes))
        let salt = Base64.encode(self.verifier.salt)
        return Challenge(
            message: "r=\(nonce),s=\(salt),i=\(self.verifier.iterations)",
            header: header,
            nonce: String(nonce),
            clientFirstBare: String(bare)
        )
    }

    /// Checks the client's proof.
    ///
    /// - Returns: The server's last message, or nil where the password is wrong. Both take the same
    ///   time.
    func verify(_ clientFinal: String, _ challenge: Challenge) throws(LoginViolation) -> String? {
        var attributes = SCRAMAttributes(clientFinal[...])
        guard let binding = attributes.take("c") else {
            throw .malformed("no SCRAM channel binding field")
        }
        let expected = challenge.header.channelBindingField(self.endPoint ?? [])
        guard constantTimeEqual(Array(binding.utf8), Array(expected.utf8)) else {
            throw .channelBindingMismatch
        }
        guard let nonce = attributes.take("r"), nonce == challenge.nonce else {
            throw .malformed("another SCRAM nonce")
        }
        guard
            attributes.skip(while: { $0 != UInt8(ascii: "p") }),
            let proofText = attributes.take("p"), attributes.isAtEnd,
            let proof = Base64.decode(proofText), proof.count == SCRAMKeys.keyBytes
        else {
            throw .malformed("no SCRAM proof")
        }
        let withoutProof = clientFinal.utf8.dropLast(proofText.utf8.count + ",p=".utf8.count)
        let authMessage = Array(
            "\(challenge.clientFirstBare),\(challenge.message),\(Substring(withoutProof))".utf8)
        let signature = hmacSHA256(authMessage, key: self.verifier.storedKey)
        let serverSignature = hmacSHA256(authMessage, key: self.verifier.serverKey)
        let clientKey = zip(proof, signature).map { $0 ^ $1 }
        let isRight = constantTimeEqual(
            Array(SHA256.hash(data: clientKey)), self.verifier.storedKey)
        return isRight ? "v=" + Base64.encode(serverSignature) : nil
    }

    /// What the client thinks of channel binding, and whether it may think so here.
    private func header(of clientFirst: String) throws(LoginViolation) -> GS2Header {
        let flag = clientFirst.utf8.first
        switch (self.mechanism, flag) {
        case (.plain, UInt8(ascii: "n")):
            return try Self.check(.unsupported, starts: clientFirst)
        case (.plain, UInt8(ascii: "y")):
            // The client would bind and thinks we do not: somebody took our offer away.
            guard self.endPoint == nil else { throw .channelBindingDowngrade }
            return try Self.check(.notOffered, starts: clientFirst)
        case (.plus, UInt8(ascii: "p")):
            return try Self.check(.endPoint, starts: clientFirst)
        case (.plain, UInt8(ascii: "p")), (.plus, UInt8(ascii: "n")), (.plus, UInt8(ascii: "y")):
            throw .malformed("channel binding flag of another mechanism")
        case (.plain, _), (.plus, _):
            throw .malformed("no channel binding flag")
        }
    }

    private static func check(
        _ header: GS2Header,
        starts clientFirst: String
    ) throws(LoginViolation) -> GS2Header {
        guard clientFirst.hasPrefix(header.rawValue) else {
            throw .malformed("channel binding type or authorization identity")
        }
        return header
    }
}
