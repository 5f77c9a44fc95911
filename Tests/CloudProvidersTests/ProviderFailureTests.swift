import CloudProviders
import Testing

@Suite struct ProviderFailureTests {
    @Test func `a failure reads as sentence and advice`() {
        let failure = ProviderFailure("the quota is used up", advice: "Delete a project.")
        #expect("\(failure)" == "the quota is used up. Delete a project.")
    }
}
