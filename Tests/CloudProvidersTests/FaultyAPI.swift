import CloudProviders
import Foundation
import Synchronization
import Testing

/// What goes wrong at a step of a flow, how often.
struct PlannedFault: Sendable, CustomTestStringConvertible {
    enum Kind: String, Sendable, CaseIterable {
        /// The answer is a 500; nothing was done.
        case failsBefore
        /// The answer is a 500 although it was done.
        case failsAfter
        /// Nothing was done, no answer.
        case cutBefore
        /// It was done, no answer.
        case cutAfter
        /// It was done, and the answer is no JSON.
        case garbage
        /// 429 with Retry-After; nothing was done.
        case busy
        case unauthorized
        case forbidden
        case quota
    }

    var step: String
    var kind: Kind
    var times: Int

    var testDescription: String { "\(self.kind) × \(self.times) at \(self.step)" }

    /// Every kind at every step, once and for ever.
    static func all(_ steps: [String]) -> [PlannedFault] {
        steps.flatMap { step in
            Kind.allCases.flatMap { kind in
                [1, 1_000].map { PlannedFault(step: step, kind: kind, times: $0) }
            }
        }
    }
}

/// A provider's API in memory, with one fault.
final class FaultyAPI<State: Sendable>: Sendable {
    typealias Act = @Sendable (inout State, _ step: String, Heard) -> Said

    private struct Inside: Sendable {
        var state: State
        var fault: PlannedFault?
        var steps: [String] = []
    }

    private let inside: Mutex<Inside>
    private let name: @Sendable (Heard) -> String
    private let act: Act

    init(
        _ state: State, fault: PlannedFault?, name: @escaping @Sendable (Heard) -> String,
        act: @escaping Act
    ) {
        self.inside = Mutex(Inside(state: state, fault: fault))
        self.name = name
        self.act = act
    }

    var state: State { self.inside.withLock { $0.state } }
    /// The steps that were asked for, in order.
    var steps: [String] { self.inside.withLock { $0.steps } }

    func answer(_ heard: Heard) -> Said {
        self.inside.withLock { inside in
            let step = self.name(heard)
            inside.steps.append(step)
            guard let fault = inside.fault, fault.step == step, fault.times > 0 else {
                return self.act(&inside.state, step, heard)
            }
            inside.fault?.times -= 1
            switch fault.kind {
            case .failsBefore: return .answer(500, #"{"message":"broken"}"#)
            case .cutBefore: return .cut
            case .busy: return .answer(429, "{}", headers: ["Retry-After": "9"])
            case .unauthorized: return .answer(401, #"{"message":"who are you"}"#)
            case .forbidden: return .answer(403, #"{"message":"not you"}"#)
            case .quota: return .answer(400, #"{"message":"the limit is reached"}"#)
            case .failsAfter:
                _ = self.act(&inside.state, step, heard)
                return .answer(500, #"{"message":"broken"}"#)
            case .cutAfter:
                _ = self.act(&inside.state, step, heard)
                return .cut
            case .garbage:
                _ = self.act(&inside.state, step, heard)
                return .answer(200, "<html>")
            }
        }
    }
}

/// What a flow came to.
struct FlowOutcome: Sendable {
    var result: Result<ProviderDatabase, ProviderFailure>
    var journal: [String]
    var waitedSeconds: Double
}

enum Flow {
    static let token = "token-0123456789"

    /// Prepares a database with an API that is served by `answer`.
    static func prepare(
        _ reference: String, name: String = "pgshare-abc", password: String? = nil,
        isReachable: Bool = true, isKnown: Bool = false,
        _ answer: @escaping @Sendable (Heard) -> Said
    ) async throws -> FlowOutcome {
        guard let parsed = try ProviderReference.parse(reference) else {
            throw ProviderFailure("\(reference) is no reference")
        }
        let clock = JumpingClock()
        let journal = MemoryJournal(isKnown: isKnown)
        let request = ProviderRequest(
            reference: parsed, name: name, sourceMajor: 17,
            password: password.map { ProviderSecret($0) })
        let result = try await APIServer.with(answer) { server in
            var settings = try ProviderSettings(
                provider: parsed.provider, token: Self.token, baseURL: server.url)
            settings.clock = clock.clock
            settings.reach = { _, _ in isReachable }
            let provider: any CloudProvider =
                switch parsed.provider {
                case .neon: NeonProvider(settings)
                case .supabase, .rds: SupabaseProvider(settings)
                }
            return await Self.prepare(provider, request, journal)
        }
        return FlowOutcome(
            result: result, journal: journal.entries, waitedSeconds: clock.slept.reduce(0, +))
    }

    private static func prepare(
        _ provider: any CloudProvider, _ request: ProviderRequest, _ journal: MemoryJournal
    ) async -> Result<ProviderDatabase, ProviderFailure> {
        do {
            return .success(
                try await provider.prepare(request, journal: journal, progress: { _ in }))
        } catch {
            return .failure(error)
        }
    }
}
