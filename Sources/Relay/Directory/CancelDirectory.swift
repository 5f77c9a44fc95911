import NIOConcurrencyHelpers
import NIOCore
import PostgresWire

/// Which stream a cancel key belongs to.
///
/// Keys are the relay's own: the process ids of different databases collide.
final class CancelDirectory: Sendable {
    /// Cancels what the key's owner runs.
    ///
    /// The promise is completed once the database has taken the request, so that a late cancel
    /// never hits the next query; the asking client is held until then. It may be failed by the
    /// asking side first: that client went away, or ``FrontDoorConfiguration/cancelTimeout``
    /// passed.
    typealias Action = @Sendable (EventLoopPromise<Void>) -> Void

    private struct Registration {
        var key: CancelKey
        var action: Action
    }

    private struct Elsewhere {
        var ports: [Int] = []
        /// Ports of them where nobody listens any more.
        var gone: Set<Int> = []
        var underWay = 0
    }

    /// Requests at once that go to relays that drain: strangers can ask for them.
    private static let maximumElsewhere = 64

    private let elsewhere = NIOLockedValueBox(Elsewhere())
    private let registrations = NIOLockedValueBox<[Int32: Registration]>([:])

    /// Creates an empty directory.
    init() {}

    /// Makes a key that no other client has, and registers what it does.
    func mint(version: ProtocolVersion, action: @escaping Action) -> CancelKey {
        var random = SystemRandomNumberGenerator()
        return self.mint(version: version, using: &random, action: action)
    }

    /// As ``mint(version:action:)``, with randomness from outside.
    func mint(
        version: ProtocolVersion,
        using generator: inout some RandomNumberGenerator,
        action: @escaping Action
    ) -> CancelKey {
        self.registrations.withLockedValue { registrations in
            while true {
                // At least 1: libpq takes 0 for "no key", and other tools print it as a pid.
                let processID = Int32.random(in: 1...Int32.max, using: &generator)
                guard registrations[processID] == nil else { continue }
                let key = CancelKey.mint(
                    processID: processID, version: version, using: &generator)
                registrations[processID] = Registration(key: key, action: action)
                return key
            }
        }
    }

    /// Forgets a key: its client is gone. A key that is not known is ignored.
    func remove(_ key: CancelKey) {
        // Taken out under the lock, freed outside: an action may hold the last reference to a
        // stream.
        let removed = self.registrations.withLockedValue { registrations -> Registration? in
            guard let registration = registrations[key.processID], registration.key == key else {
                return nil
            }
            return registrations.removeValue(forKey: key.processID)
        }
        withExtendedLifetime(removed) {}
    }

    /// What the key does, or nil where nobody has it. The secret is compared in constant time.
    func action(for key: CancelKey) -> Action? {
        let registration = self.registrations.withLockedValue { $0[key.processID] }
        guard let registration, registration.key == key else { return nil }
        return registration.action
    }

    /// Where other relays of this machine, that drain, take cancel requests.
    func setPorts(_ ports: [Int]) {
        self.elsewhere.withLockedValue { elsewhere in
            elsewhere.gone.formIntersection(ports)
            elsewhere.ports = ports.filter { !elsewhere.gone.contains($0) }
        }
    }

    /// Nobody listens there any more.
    private func drop(_ port: Int) {
        self.elsewhere.withLockedValue { elsewhere in
            guard elsewhere.ports.contains(port) else { return }
            elsewhere.gone.insert(port)
            elsewhere.ports.removeAll { $0 == port }
        }
    }

    /// What a key does that nobody has here, while another relay drains: it is asked. Nil where
    /// none is, or where too many requests are on their way already.
    func elsewhere(for key: CancelKey, on group: any EventLoopGroup) -> Action? {
        let ports = self.elsewhere.withLockedValue { elsewhere -> [Int] in
            guard !elsewhere.ports.isEmpty, elsewhere.underWay < Self.maximumElsewhere else {
                return []
            }
            elsewhere.underWay += 1
            return elsewhere.ports
        }
        guard !ports.isEmpty else { return nil }
        return { promise in
            promise.futureResult.whenComplete { _ in
                self.elsewhere.withLockedValue { $0.underWay -= 1 }
            }
            CancelForward.send(key, to: ports, on: group, isGone: { self.drop($0) }, promise)
        }
    }

    /// Keys registered now.
    var count: Int {
        self.registrations.withLockedValue { $0.count }
    }
}
