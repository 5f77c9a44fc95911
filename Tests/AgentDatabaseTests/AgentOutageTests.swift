import Foundation
import Testing

@testable import Agent

struct AgentOutageTests {
    private let start = Date(timeIntervalSince1970: 1_000)

    private func after(_ seconds: Double) -> Date { self.start.addingTimeInterval(seconds) }

    @Test func `an outage of several links begins with the first and ends with the last`() {
        var outage = AgentOutage()
        #expect(outage.lost("a", since: self.start) == true)
        #expect(outage.lost("b", since: self.after(1)) == false)
        #expect(outage.resumed("a", now: self.after(2)) == nil)
        #expect(outage.resumed("b", now: self.after(5)) == 5)
        #expect(outage.lost("a", since: self.after(9)) == true)
        #expect(outage.resumed("a", now: self.after(10)) == 1)
    }

    @Test func `links that are given up are told once an outage`() {
        var outage = AgentOutage()
        for session in ["a", "b", "c"] { _ = outage.lost(session, since: self.start) }
        #expect(outage.expired("a", now: self.after(30)) == 30)
        #expect(outage.expired("b", now: self.after(31)) == nil)
        #expect(outage.resumed("c", now: self.after(32)) == 32)
        #expect(outage.lost("c", since: self.after(40)) == true)
        #expect(outage.expired("c", now: self.after(70)) == 30)
    }

    @Test func `a link that was not away, or has ended, changes nothing`() {
        var outage = AgentOutage()
        #expect(outage.resumed("a", now: self.start) == nil)
        #expect(outage.expired("a", now: self.start) == nil)
        #expect(outage.lost("a", since: self.start) == true)
        outage.ended("a")
        #expect(outage.resumed("a", now: self.start) == nil)
        #expect(outage.lost("b", since: self.start) == true)
    }
}
