import SharePolicy
import Testing

@testable import Relay

struct DescriptorLimitTests {
    @Test(arguments: [
        (1_048_576, 4_096, 64), (20_000, 4_096, 64), (16_448, 4_096, 64), (1_024, 240, 64),
        (256, 48, 48), (64, 1, 1), (1, 1, 1),
    ])
    func `strangers of both doors leave half of the descriptors`(
        descriptors: Int, pending: Int, anAddress: Int
    ) throws {
        let limits = AdmissionLimits().fitted(toDescriptors: descriptors)
        #expect(limits.maximumPending == pending)
        #expect(limits.maximumPendingAnAddress == anAddress)
        #expect(try limits.validated() == limits)
        var configuration = RelayConfiguration(stateFolder: "/nowhere")
        configuration = configuration.fitted(toDescriptors: descriptors)
        #expect(configuration.httpLimits.maximumUnadmitted == pending)
        #expect(configuration.httpLimits.maximumUnadmittedPerAddress <= pending)
    }

    @Test func `the limit is raised as far as it may be, and raising it again changes nothing`() {
        let raised = DescriptorLimit.raise()
        #expect((raised ?? 0) > 0)
        #expect(DescriptorLimit.raise() == raised)
    }
}
