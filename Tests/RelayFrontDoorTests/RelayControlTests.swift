import Testing

@testable import Relay

struct RelayControlTests {
    @Test func `the first signal drains and the second one stops`() async {
        let control = RelayControl(doors: 1)
        #expect(await control.signalled() == .drain)
        #expect(await !control.mustStop)
        #expect(await control.signalled() == .now)
        #expect(await control.mustStop)
    }

    @Test func `a signal to a relay that was taken over from lets it drain on`() async {
        let control = RelayControl(doors: 1)
        await control.end(.drain)
        #expect(await control.signalled() == .drain)
        #expect(await !control.mustStop)
        #expect(await control.signalled() == .now)
    }

    @Test func `a relay that stops is not made to drain by a signal`() async {
        let control = RelayControl(doors: 1)
        await control.end(.now)
        #expect(await control.signalled() == .now)
    }

    @Test func `what cannot go on ends with its reason, and a drain does not`() async throws {
        let failed = RelayControl(doors: 1)
        await failed.fail(RelayError("broken"))
        await #expect(throws: RelayError.self) { try await failed.waitForEnd() }
        #expect(await failed.mustStop)
        let drained = RelayControl(doors: 1)
        await drained.end(.drain)
        await drained.fail(RelayError("broken"))
        try await drained.waitForEnd()
    }
}
