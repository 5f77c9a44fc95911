import CloudProviders
import Deploy
import Foundation

/// A target that was found: how it is reached, and what its provider wants.
struct DeployPlace: Sendable {
    var end: DeployEnd
    var profile: ProviderProfile
    var afterRestore: [String] = []
    var connections: [ConnectionLabel] = []
    /// Gives back what was borrowed for the run, such as a temporary login.
    var release: @Sendable () async -> Void = {}
}

extension DeployTarget {
    /// Finds the target for a run; a provider may make it.
    func end(
        _ context: DeployContext, _ history: RecordedRun, _ printer: DeployPrinter
    ) async throws -> DeployPlace {
        switch self {
        case .conninfo(let text):
            return DeployPlace(
                end: try await context.resolve(text, .targetPassword, at: "the target"),
                profile: .generic)
        case .provider:
            throw CommandFailure("not yet")
        }
    }

    func planned(_ context: DeployContext, _ printer: DeployPrinter) async throws -> DeployPlace? {
        switch self {
        case .conninfo(let text):
            return DeployPlace(
                end: try await context.resolve(text, .targetPassword, at: "the target"),
                profile: .generic)
        case .provider:
            throw CommandFailure("not yet")
        }
    }
}
