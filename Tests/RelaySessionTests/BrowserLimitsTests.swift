import NIOCore
import SharedSession
import Testing
import TunnelWire

@testable import Relay

struct BrowserLimitsTests {
    @Test func `a browser's link is given a quarter of an agent's memory`() {
        #expect(LinkLimits.browser.replayBytes * 4 == LinkLimits().replayBytes)
        #expect(LinkLimits.browser.windowBudgetBytes * 4 == LinkLimits().windowBudgetBytes)
    }

    private static func request(
        sessions: Int? = 1, wait: Double? = nil, idle: Double? = nil
    ) -> Hello.ShareRequest {
        Hello.ShareRequest(
            verifier: "", database: "", user: "", maxConnections: 1, sessions: sessions,
            waitSeconds: wait, idleSeconds: idle)
    }

    @Test func `a share without a session of its own has no limits of one`() {
        #expect(TunnelConfiguration().sessionLimits(Self.request(sessions: nil)) == nil)
    }

    @Test func `a share that asks for nothing has the relay's times`() {
        var configuration = TunnelConfiguration()
        configuration.session.waitTimeout = .seconds(7)
        configuration.session.idleTimeout = .seconds(8)
        #expect(configuration.sessionLimits(Self.request()) == configuration.session)
    }

    @Test(
        arguments: [
            (0, .seconds(1)), (-1e300, .seconds(1)), (0.999, .seconds(1)),
            (1.5, .milliseconds(1_500)),
            (90, .seconds(90)), (3_600, .hours(1)), (3_601, .hours(1)), (.infinity, .hours(1)),
        ] as [(Double, TimeAmount)])
    func `what a share asks for is brought into range`(seconds: Double, expected: TimeAmount) {
        let limits = TunnelConfiguration().sessionLimits(
            Self.request(wait: seconds, idle: seconds))
        #expect(limits?.waitTimeout == expected)
        #expect(limits?.idleTimeout == expected)
    }
}
