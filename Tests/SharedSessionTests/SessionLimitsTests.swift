import SharedSession
import Testing

struct SessionLimitsTests {
    @Test func `a notice comes before the wait is over`() {
        let limits = SessionLimits()
        #expect(limits.noticeAfter < limits.waitTimeout)
        #expect(limits.lingerFor < limits.holdAtMost)
    }
}
