import PostgresWire
import SharePolicy
import Testing

@testable import Relay

struct RefusalPostgresTests {
    /// FIELD-NOTES 2.18, and Postgres's appendix A for what it does not list.
    private static let states: [Refusal.Reason: String] = [
        .tlsRequired: "28000", .protocolViolation: "08P01", .protocolVersion: "0A000",
        .shareNotNamed: "28000", .badShareAddress: "28000", .shareAddressDisagrees: "28000",
        .invalidPassword: "28P01", .tooManyAttempts: "28000", .tooManyHandshakes: "53300",
        .handshakeTimeout: "08P01", .addressNotAllowed: "28000", .tooManyClients: "53300",
        .ownerFull: "53300", .relayFull: "53300", .agentOffline: "57P03",
        .databaseNotServed: "3D000", .databaseUnreachable: "08001", .databaseLoginFailed: "08004",
        .tunnelLost: "08006",
        .shareEnded: "57P01", .relayStopping: "57P01",
        .clientIdle: "57P05", .clientLifetime: "57P01", .internalFailure: "XX000",
    ]

    @Test(arguments: Refusal.Reason.allCases)
    func `every reason is FATAL with its SQLSTATE and sentence`(reason: Refusal.Reason) throws {
        let error = reason.postgresError

        #expect(error.severity == .fatal)
        #expect(error.sqlState.rawValue == Self.states[reason])
        #expect(error.message == reason.message)
        #expect(error.detail == nil)
        #expect((error.hint != nil) == (reason == .shareNotNamed))
    }

    @Test func `a channel binding that does not match reads like a wrong password`() {
        #expect(Refusal(LoginViolation.channelBindingMismatch).reason == .invalidPassword)
        #expect(Refusal(LoginViolation.channelBindingDowngrade).reason == .invalidPassword)
        #expect(Refusal(LoginViolation.mechanismNotOffered).reason == .protocolViolation)
    }
}
