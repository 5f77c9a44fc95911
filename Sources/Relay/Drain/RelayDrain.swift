import Logging
import NIOCore
import NIOPosix
import SharePolicy

/// The end of a relay that loses nobody.
///
///     serving ─ told ─▶ doors closed ─▶ agents move on, clients leave at rest ─▶ stopped
///                                                  └──── drainTimeout ────────────▲
///
/// Nobody is let in any more; who has not shown a password yet is refused. Agents open their next
/// tunnel while this one still serves the clients it has; each of those is ended with 57P01 at its
/// first rest. A link that has lost its last client ends.
struct RelayDrain {
    let house: RelayHouse
    let listeners: Listeners
    let pages: DatabaseBuildDoor

    /// How long the doors stay open for connections that the kernel has queued here, once a relay
    /// that takes over gets the new ones.
    private static let handOver = Duration.milliseconds(300)
    /// How long their passwords may take. Not longer: strangers who say nothing are waited for,
    /// too, agents hear GOAWAY only then, and the new relay's clients wait for them.
    private static let lastLogins = Duration.seconds(1)
    private static let lookEvery = Duration.milliseconds(50)
    /// How long logins under way are waited for, to be told why they fail.
    private static let loginPatience = Duration.seconds(2)
    private static let tellEvery = Duration.seconds(1)

    /// Drains until nobody is left, the time is over, or the relay must stop.
    func run() async {
        let house = self.house
        let timeout = Duration.nanoseconds(house.live.current.drainTimeout.nanoseconds)
        guard timeout > .zero else { return }
        house.logger.log(
            .info, "the relay drains",
            [.count: "\(self.clients)", .seconds: "\(timeout.components.seconds)"])
        let clock = ContinuousClock()
        let deadline = clock.now + timeout
        await self.closeDoors(until: deadline)
        self.endClients()
        await self.waitForClients(until: deadline)
        house.logger.log(
            self.clients > 0 ? .warning : .info, "the relay has drained",
            [.count: "\(self.clients)"])
    }

    private var clients: Int { self.house.metrics.streamsOpen.value }

    private func closeDoors(until deadline: ContinuousClock.Instant) async {
        let house = self.house
        let isTakenOver = house.turn.isTakenOver
        if isTakenOver { await self.wait(Self.handOver, until: deadline) { false } }
        await self.listeners.close()
        if isTakenOver {
            await self.wait(Self.lastLogins, until: deadline) {
                house.admission.pendingSockets == 0
            }
        }
        house.frontDoor.stop()
        house.registry.stop()
        house.directory.room.end(.relayStopping)
        await house.turn.drains()
    }

    private func endClients() {
        let tunnels = self.house.registry.all
        for tunnel in tunnels { tunnel.goAway() }
        self.house.roster.endAll(.relayStopping)
        for tunnel in tunnels { tunnel.endAtRest(.relayStopping) }
        self.pages.endAtRest(.relayStopping)
    }

    private func waitForClients(until deadline: ContinuousClock.Instant) async {
        let house = self.house
        let clock = ContinuousClock()
        let loginsEnd = clock.now + Self.loginPatience
        var told = (at: clock.now, clients: self.clients)
        await self.wait(until: deadline) {
            for tunnel in house.registry.all { tunnel.endEmptyLinks(.relayStopping) }
            self.pages.endEmpty(.relayStopping)
            let clients = self.clients
            let now = clock.now
            if clients != told.clients, now - told.at >= Self.tellEvery {
                told = (now, clients)
                house.logger.log(.info, "clients are left", [.count: "\(clients)"])
            }
            return clients == 0 && (house.admission.pendingSockets == 0 || now >= loginsEnd)
        }
    }

    /// Waits until something is so, at most for that long; not at all once the relay must stop.
    private func wait(
        _ longest: Duration = .seconds(86_400), until deadline: ContinuousClock.Instant,
        _ isDone: () -> Bool
    ) async {
        let clock = ContinuousClock()
        let end = min(deadline, clock.now + longest)
        while !isDone(), clock.now < end, !(await self.house.control.mustStop) {
            guard (try? await Task.sleep(for: Self.lookEvery)) != nil else { return }
        }
    }
}
