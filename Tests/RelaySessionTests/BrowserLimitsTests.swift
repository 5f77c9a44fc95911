import Testing
import TunnelWire

struct BrowserLimitsTests {
    @Test func `a browser's link is given a quarter of an agent's memory`() {
        #expect(LinkLimits.browser.replayBytes * 4 == LinkLimits().replayBytes)
        #expect(LinkLimits.browser.windowBudgetBytes * 4 == LinkLimits().windowBudgetBytes)
    }
}
