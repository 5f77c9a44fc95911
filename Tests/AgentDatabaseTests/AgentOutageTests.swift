import Foundation
import Testing

@testable import Agent

struct AgentOutageTests {
    private let start = Date(timeIntervalSince1970: 1_000)

    private func after(_ seconds: Double) -> Date { self.start.addingTimeInterval(seconds) }

    @Test func `an outage of several links begins with the first and ends with the last`() {
        var outage = AgentOutage()
        #expect(outage.lost("a", since: self.start, clients: 0) == true)
        #expect(outage.lost("b", since: self.after(1), clients: 0) == false)
        #expect(outage.resumed("a", now: self.after(2)) == nil)
        #expect(outage.resumed("b", now: self.after(5)) == 5)
        #expect(outage.lost("a", since: self.after(9), clients: 0) == true)
        #expect(outage.resumed("a", now: self.after(10)) == 1)
    }

    @Test func `links that are given up are told once an outage`() {
        var outage = AgentOutage()
        for session in ["a", "b", "c"] { _ = outage.lost(session, since: self.start, clients: 0) }
        #expect(outage.expired("a", now: self.after(30))?.seconds == 30)
        #expect(outage.expired("b", now: self.after(31)) == nil)
        #expect(outage.resumed("c", now: self.after(32)) == 32)
        #expect(outage.lost("c", since: self.after(40), clients: 0) == true)
        #expect(outage.expired("c", now: self.after(70))?.seconds == 30)
    }

    @Test func `a link that was not away, or has ended, changes nothing`() {
        var outage = AgentOutage()
        #expect(outage.resumed("a", now: self.start) == nil)
        #expect(outage.expired("a", now: self.start) == nil)
        #expect(outage.lost("a", since: self.start, clients: 0) == true)
        outage.ended("a")
        #expect(outage.resumed("a", now: self.start) == nil)
        #expect(outage.lost("b", since: self.start, clients: 0) == true)
    }

    @Test func `what an outage costs is the most clients that were there in it`() {
        var outage = AgentOutage()
        _ = outage.lost("a", since: self.start, clients: 1)
        _ = outage.lost("b", since: self.after(1), clients: 3)
        _ = outage.lost("c", since: self.after(2), clients: 2)
        #expect(outage.expired("a", now: self.after(30))?.clients == 3)
        outage.ended("b")
        outage.ended("c")
        _ = outage.lost("a", since: self.after(40), clients: 0)
        #expect(outage.expired("a", now: self.after(70))?.clients == 0)
    }
}
