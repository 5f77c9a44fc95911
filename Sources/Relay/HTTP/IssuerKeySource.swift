import AsyncHTTPClient
import Foundation
import Logging
import NIOCore
import NIOHTTP1

/// Fetches an issuer's keys when they are needed, and keeps them.
///
/// - A key that nobody knows makes it ask again, at most once a minute whoever asks.
/// - Keys older than ten minutes are asked for again beside the work, so that one that the issuer
///   took back is not believed for ever.
/// - Where that fails, the keys that are there stay.
actor IssuerKeySource {
    /// The least time between two attempts.
    static let retryEvery = TimeAmount.minutes(1)
    /// The same while there are no keys at all.
    static let firstRetryEvery = TimeAmount.seconds(5)
    /// The age at which keys are asked for again.
    static let refreshEvery = TimeAmount.minutes(10)
    /// How long an issuer may take for an answer.
    static let timeout = TimeAmount.seconds(5)
    /// Bytes of the longest answer. A key has less than 1 KiB.
    static let maximumBytes = 256 * 1_024

    private let place: IssuerConfiguration.KeySet
    private let logger: Logger
    private var keys: IssuerKeys?
    private var loadedAt = NIODeadline.distantPast
    private var triedAt: NIODeadline?
    private var loading: Task<Void, Never>?

    init(_ place: IssuerConfiguration.KeySet, logger: Logger) {
        self.place = place
        self.logger = logger
    }

    /// The keys that are known; nil where the issuer could not be asked yet.
    func current(now: NIODeadline) async -> IssuerKeys? {
        guard self.keys != nil else { return await self.renewed(now: now) }
        if now - self.loadedAt >= Self.refreshEvery { self.start(now: now) }
        return self.keys
    }

    /// The keys after another look, where there may be one.
    func renewed(now: NIODeadline) async -> IssuerKeys? {
        self.start(now: now)
        await self.loading?.value
        return self.keys
    }

    /// Reads the keys once, for a relay that starts and must not with a file that it cannot read.
    func loadFirst(now: NIODeadline) async throws {
        self.keys = try await Self.load(self.place)
        self.triedAt = now
        self.loadedAt = now
    }

    /// Begins an attempt, unless one is at work or was made just now. It belongs to no caller: one
    /// that goes away must not take it from the others.
    private func start(now: NIODeadline) {
        guard self.loading == nil else { return }
        let pause = self.keys == nil ? Self.firstRetryEvery : Self.retryEvery
        if let triedAt, now - triedAt < pause { return }
        self.triedAt = now
        self.loading = Task { await self.load(startedAt: now) }
    }

    private func load(startedAt: NIODeadline) async {
        do {
            self.keys = try await Self.load(self.place)
            self.loadedAt = startedAt
        } catch {
            self.logger.log(
                .warning, "the issuer's keys cannot be read", [.error: "\(error)"])
        }
        self.loading = nil
    }

    private static func load(_ place: IssuerConfiguration.KeySet) async throws -> IssuerKeys {
        switch place {
        case .file(let path):
            try await IssuerKeys(keySet: Data(contentsOf: URL(fileURLWithPath: path)))
        case .url(let url):
            try await IssuerKeys(keySet: try await Self.fetch(url))
        }
    }

    /// Redirects are not followed: the operator named the place, and nobody else may.
    private static func fetch(_ url: String) async throws -> Data {
        var configuration = HTTPClient.Configuration()
        configuration.redirectConfiguration = .disallow
        let client = HTTPClient(configuration: configuration)
        let result: Result<Data, any Error>
        do {
            result = .success(try await self.inTime { try await self.fetch(url, by: client) })
        } catch {
            result = .failure(error)
        }
        try await client.shutdown()
        return try result.get()
    }

    private static func fetch(_ url: String, by client: HTTPClient) async throws -> Data {
        var request = HTTPClientRequest(url: url)
        request.headers.add(name: "Accept", value: "application/json")
        let response = try await client.execute(request, timeout: Self.timeout)
        guard response.status == .ok else {
            throw UnusableKeySet(reason: "the answer's status is \(response.status.code)")
        }
        let body = try await response.body.collect(upTo: Self.maximumBytes)
        return Data(body.readableBytesView)
    }

    /// The client's own timeout ends with the head of an answer.
    private static func inTime(
        _ work: @escaping @Sendable () async throws -> Data
    ) async throws -> Data {
        try await withThrowingTaskGroup(of: Data?.self) { group in
            group.addTask { try await work() }
            group.addTask {
                try await Task.sleep(for: .nanoseconds(Self.timeout.nanoseconds))
                return nil
            }
            defer { group.cancelAll() }
            guard let data = try await group.next().flatMap({ $0 }) else {
                throw UnusableKeySet(reason: "the answer took too long")
            }
            return data
        }
    }
}
