import Foundation
import Logging
import NIOConcurrencyHelpers
import NIOCore
import ShareStore

/// One relay's turn at serving a state and its ports, between the one before and the one after.
///
/// - Whoever serves has a row of the store with the highest number, and the lock of the state.
/// - A relay that was not told to take over fails where the ports or the lock are taken.
/// - One that takes over listens beside the one before, writes its row, and leads new connections
///   to itself: the one before sees a higher number than its own, and drains.
struct RelayTurn: Sendable {
    /// A serving relay takes a free lock in a fraction of it.
    private static let patience = Duration.seconds(2)
    private static let askEvery = Duration.milliseconds(70)

    private let configuration: RelayConfiguration
    private let store: SQLiteShareStore
    private let logger: Logger
    private let state = NIOLockedValueBox(State())

    private struct State: Sendable {
        var number: Int64 = 0
        var lock: StateLock?
        var cancelPort: Int?
        /// Its row could not be written yet.
        var isToEnter = false
        /// The lock was given up, or is not wanted any more.
        var isOver = false
        var isTakenOver = false
    }

    /// Whether another relay has begun to serve.
    var isTakenOver: Bool { self.state.withLockedValue { $0.isTakenOver } }

    /// Makes sure that nobody else serves, unless the relay takes over.
    ///
    /// - Throws: ``RelayError`` where somebody does.
    init(
        _ configuration: RelayConfiguration, store: SQLiteShareStore, logger: Logger
    ) async throws {
        self.configuration = configuration
        self.store = store
        self.logger = logger
        let lock: StateLock?
        if configuration.takesOver {
            lock = try await self.lockToTakeOver()
        } else {
            lock = try StateLock(folder: configuration.stateFolder)
            try self.checkPorts()
            guard lock != nil else {
                throw RelayError(
                    "another relay serves the state in \(configuration.stateFolder); "
                        + "stop it, or let this one take its place with --take-over")
            }
        }
        self.state.withLockedValue { $0.lock = lock }
    }

    /// The lock, or nil where the relay before has it. Where nobody has it, there is nobody to take
    /// over from: the ports must be free, or become so within ``patience``. They may be those of a
    /// relay of another state, which must not lose its clients to this one; or of one that is just
    /// leaving, or that has not taken the lock yet.
    private func lockToTakeOver() async throws -> StateLock? {
        let clock = ContinuousClock()
        let deadline = clock.now + Self.patience
        while true {
            do {
                // Let go of where it throws: whoever has the ports may want it.
                guard let lock = try StateLock(folder: self.configuration.stateFolder) else {
                    return nil
                }
                try self.checkPorts()
                return lock
            } catch {
                guard clock.now < deadline else { throw error }
            }
            try await Task.sleep(for: Self.askEvery)
        }
    }

    private func checkPorts() throws {
        let configuration = self.configuration
        var places = [
            ("clients", configuration.postgresHost, configuration.postgresPort),
            ("agents", configuration.httpsHost, configuration.httpsPort),
        ]
        if let host = configuration.httpHost {
            places.append(("agents", host, configuration.httpPort))
        }
        for (who, host, port) in places {
            do {
                try SharedPort.probe(host: host, port: port)
            } catch {
                throw RelayError("cannot listen for \(who) on \(host):\(port): \(error)")
            }
        }
    }

    /// All doors are open: this relay serves, and the one before drains.
    ///
    /// - Parameters:
    ///   - listeners: The listening sockets.
    ///   - cancelPort: Where the relay takes cancel requests once another one serves.
    ///   - cancels: Told where the relays before take them.
    /// - Throws: ``RelayError`` where the one before cannot be told: it would serve on.
    func begin(
        _ listeners: [any Channel], cancelPort: Int?, _ cancels: CancelDirectory
    ) async throws {
        self.state.withLockedValue { $0.cancelPort = cancelPort }
        do {
            try await self.enter(cancels)
        } catch {
            guard !self.configuration.takesOver else {
                throw RelayError("the relay before cannot be told to drain: \(error)")
            }
            self.logger.log(.error, "the store cannot be written", [.error: "\(error)"])
            self.state.withLockedValue { $0.isToEnter = true }
        }
        guard self.configuration.takesOver else { return }
        for listener in listeners where !(await SharedPort.takeNewConnections(listener)) {
            self.logger.info("the kernel deals new connections out between both relays")
        }
    }

    /// Writes the row of this relay.
    private func enter(_ cancels: CancelDirectory) async throws {
        let (isAlone, port) = self.state.withLockedValue { ($0.lock != nil, $0.cancelPort) }
        let number = try await self.store.relayServes(
            pid: ProcessInfo.processInfo.processIdentifier, cancelPort: port, isAlone: isAlone,
            now: Date())
        self.state.withLockedValue { state in
            state.number = number
            state.isToEnter = false
        }
        try await self.setPorts(of: cancels, before: number)
    }

    /// A relay that was killed leaves its row, and its port may be this one's by now.
    private func setPorts(of cancels: CancelDirectory, before number: Int64) async throws {
        let own = self.state.withLockedValue { $0.cancelPort }
        cancels.setPorts(try await self.store.cancelPorts(before: number).filter { $0 != own })
    }

    /// Tries again what failed at the start.
    func enterIfMissing(_ cancels: CancelDirectory) async {
        guard self.state.withLockedValue({ $0.isToEnter && !$0.isOver }) else { return }
        do {
            try await self.enter(cancels)
        } catch {
            self.logger.log(.error, "the store cannot be written", [.error: "\(error)"])
        }
    }

    /// Takes the lock as soon as the relay before has let go of it.
    func takeLock() {
        guard self.state.withLockedValue({ $0.lock == nil && !$0.isOver }),
            let lock = try? StateLock(folder: self.configuration.stateFolder)
        else { return }
        self.state.withLockedValue { state in
            if !state.isOver { state.lock = lock }
        }
    }

    /// Another process wrote to the store.
    ///
    /// - Parameter cancels: Told where draining relays take cancel requests.
    /// - Returns: whether another relay has begun to serve.
    /// - Throws: ``ShareStoreError`` if the store cannot be read.
    func isOver(_ cancels: CancelDirectory) async throws -> Bool {
        let number = self.state.withLockedValue { $0.number }
        guard number > 0 else { return false }
        try await self.setPorts(of: cancels, before: number)
        guard try await self.store.servingRelay() > number else { return false }
        self.state.withLockedValue { $0.isTakenOver = true }
        return true
    }

    /// This relay drains: another one may start.
    func drains() async {
        let number = self.state.withLockedValue { state in
            state.lock = nil
            state.isOver = true
            return state.number
        }
        try? await self.store.relayDrains(number, now: Date())
    }

    /// This relay has ended.
    func end() async {
        let number = self.state.withLockedValue { state in
            state.lock = nil
            state.isOver = true
            return state.number
        }
        try? await self.store.relayEnded(number)
    }
}
