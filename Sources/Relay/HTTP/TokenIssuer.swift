package import Foundation
package import Logging
package import NIOCore
package import SharePolicy

/// Knows whether a JSON Web Token is one of the configured issuer's, and whom it speaks for.
///
/// A token is asked for when a tunnel is opened or resumed and at each request; what was opened
/// with it outlives it, up to the share's own expiry.
package final class TokenIssuer: Sendable {
    private let issuer: String
    private let audience: String
    private let secret: IssuerKeys?
    private let source: IssuerKeySource?
    private let clock: @Sendable () -> NIODeadline
    private let logger: Logger

    /// Reads the secret, and the keys where they are in a file; a URL is asked when the first token
    /// comes.
    ///
    /// - Parameters:
    ///   - configuration: Whom to believe.
    ///   - logger: For keys that cannot be had, and at debug for tokens that are refused.
    ///   - clock: Paces the questions for keys.
    /// - Throws: ``RelayError`` for an operator.
    package init(
        _ configuration: IssuerConfiguration, logger: Logger,
        clock: @escaping @Sendable () -> NIODeadline = { .now() }
    ) async throws {
        guard !configuration.issuer.isEmpty, !configuration.audience.isEmpty else {
            throw RelayError("tokens of an issuer need both --jwt-issuer and --jwt-audience")
        }
        guard configuration.keySet != nil || configuration.secretFile != nil else {
            throw RelayError("tokens of an issuer need --jwt-jwks or --jwt-secret-file")
        }
        self.issuer = configuration.issuer
        self.audience = configuration.audience
        self.clock = clock
        self.logger = logger
        if let file = configuration.secretFile {
            self.secret = try await Self.secret(of: file, logger)
        } else {
            self.secret = nil
        }
        self.source = configuration.keySet.map { IssuerKeySource($0, logger: logger) }
        if case .file(let path)? = configuration.keySet {
            do {
                try await self.source?.loadFirst(now: clock())
            } catch {
                throw RelayError("--jwt-jwks \(path) cannot be used: \(error)")
            }
        }
    }

    private static func secret(of path: String, _ logger: Logger) async throws -> IssuerKeys {
        guard var bytes = FileManager.default.contents(atPath: path) else {
            throw RelayError("--jwt-secret-file \(path) cannot be read")
        }
        // An editor's line break is not part of it.
        while let last = bytes.last, last == 0x0A || last == 0x0D { bytes.removeLast() }
        guard bytes.count >= IssuerKeys.minimumSecretBytes else {
            throw RelayError(
                "the secret in --jwt-secret-file \(path) has fewer than "
                    + "\(IssuerKeys.minimumSecretBytes) bytes")
        }
        let attributes = try? FileManager.default.attributesOfItem(atPath: path)
        if let mode = (attributes?[.posixPermissions] as? NSNumber)?.intValue, mode & 0o007 != 0 {
            logger.log(.warning, "everybody on this machine can read the secret", [.file: path])
        }
        return try await IssuerKeys(secret: bytes)
    }

    /// Whom the token speaks for.
    ///
    /// - Throws: ``APIError`` `unauthorized` if it is not good; `notReady` where its keys could not
    ///   be fetched yet.
    /// - Returns: The owner.
    package func owner(of token: IssuedToken, now: Date) async throws(APIError) -> OwnerID {
        do {
            let signed = try SignedToken(token)
            try await self.checkSignature(signed)
            return try signed.readClaims()
                .owner(issuer: self.issuer, audience: self.audience, now: now)
        } catch let fault as IssuedTokenFault {
            self.logger.log(
                .debug, "a token of the issuer was refused", [.reason: fault.rawValue])
            throw APIError(.unauthorized)
        } catch let error as APIError {
            throw error
        } catch {
            throw APIError(.internalFailure)
        }
    }

    /// HS256 is for the secret and never for a public key, all others are for the public keys and
    /// never for the secret.
    private func checkSignature(_ token: SignedToken) async throws {
        guard token.algorithm != "HS256" else {
            guard let secret else { throw IssuedTokenFault.unknownKey }
            return try secret.check(token)
        }
        guard let source else { throw IssuedTokenFault.unknownKey }
        guard let keys = await source.current(now: self.clock()) else {
            throw APIError(.notReady)
        }
        do {
            try keys.check(token)
        } catch .unknownKey {
            // The issuer may have a new key since.
            guard let renewed = await source.renewed(now: self.clock()) else {
                throw APIError(.notReady)
            }
            try renewed.check(token)
        }
    }
}
