import CloudProviders
import Deploy
import Foundation
import PostgresClient

/// A target that was found: how it is reached, and what its provider wants.
struct DeployPlace: Sendable {
    var end: DeployEnd
    var profile: ProviderProfile
    var afterRestore: @Sendable (_ schemas: [String]) -> [String] = { _ in [] }
    var connections: [ConnectionLabel] = []
    /// Of a database that was made for this run; shown once.
    var newPassword: ProviderSecret?
    /// Gives back what was borrowed for the run, such as a temporary login.
    var release: @Sendable () async -> Void = {}
}

extension DeployTarget {
    /// Finds the target for a run; a provider may make it.
    func end(
        _ context: DeployContext, _ source: DeployEnd?, _ history: RecordedRun,
        _ printer: DeployPrinter
    ) async throws -> DeployPlace {
        switch self {
        case .conninfo(let text):
            let end = try await context.resolve(text, .targetPassword, at: "the target")
            let url = ConnectionLabel(label: "target", url: try self.description)
            return DeployPlace(end: end, profile: .generic, connections: [url])
        case .provider(let reference):
            printer.happened(.phase(.provider))
            return try await ProviderTarget(reference, context, source).prepare(history, printer)
        }
    }

    /// Finds the target for `--plan`: a provider is asked and told nothing.
    ///
    /// - Returns: Nil where there is no database yet; the printer was told so.
    func planned(
        _ context: DeployContext, _ source: DeployEnd, _ printer: DeployPrinter
    ) async throws -> DeployPlace? {
        switch self {
        case .conninfo(let text):
            let end = try await context.resolve(text, .targetPassword, at: "the target")
            return DeployPlace(end: end, profile: .generic)
        case .provider(let reference):
            printer.happened(.phase(.provider))
            return try await ProviderTarget(reference, context, source).survey(printer)
        }
    }
}
