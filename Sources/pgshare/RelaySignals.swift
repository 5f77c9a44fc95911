import Relay
import ServiceLifecycle
import UnixSignals

/// What signals tell a relay.
///
/// SIGTERM and SIGINT drain it, and the second of them stops it at once; SIGHUP, which would end
/// the process otherwise, makes it read its certificate again.
struct RelaySignals: Service {
    let relay: Relay

    func run() async {
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup)
        for await signal in signals.cancelOnGracefulShutdown() {
            if signal == .sighup {
                self.relay.reloadCertificate()
            } else {
                await self.relay.stop()
            }
        }
    }
}
