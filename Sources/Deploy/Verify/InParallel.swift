/// Two things at the same time.
enum InParallel {
    private enum Part<One: Sendable, Other: Sendable>: Sendable {
        case one(One)
        case other(Other)
        case failed(SQLFailure)
    }

    /// Runs both; the first failure cancels the other, and is the one that is thrown.
    static func both<One: Sendable, Other: Sendable>(
        _ one: @escaping @Sendable () async throws(SQLFailure) -> One,
        _ other: @escaping @Sendable () async throws(SQLFailure) -> Other
    ) async throws(SQLFailure) -> (One, Other) {
        var first: One?
        var second: Other?
        for part in await self.parts(one, other) {
            switch part {
            case .one(let value): first = value
            case .other(let value): second = value
            case .failed(let failure): throw failure
            }
        }
        guard let first, let second else {
            throw SQLFailure(sqlState: nil, message: "the comparison was given up")
        }
        return (first, second)
    }

    private static func parts<One: Sendable, Other: Sendable>(
        _ one: @escaping @Sendable () async throws(SQLFailure) -> One,
        _ other: @escaping @Sendable () async throws(SQLFailure) -> Other
    ) async -> [Part<One, Other>] {
        await withTaskGroup(of: Part<One, Other>.self) { group in
            group.addTask {
                do throws(SQLFailure) { return .one(try await one()) } catch {
                    return .failed(error)
                }
            }
            group.addTask {
                do throws(SQLFailure) { return .other(try await other()) } catch {
                    return .failed(error)
                }
            }
            var parts: [Part<One, Other>] = []
            for await part in group {
                if case .failed = part { group.cancelAll() }
                parts.append(part)
            }
            return parts
        }
    }
}
