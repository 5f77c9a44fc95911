import Logging
import NIOConcurrencyHelpers
import Relay
import ServiceLifecycle
import UnixSignals

/// What signals tell a relay.
///
/// SIGTERM and SIGINT drain it, and the second of them stops it at once. SIGHUP, which would end
/// the process otherwise, makes it read its certificate and its settings again.
struct RelaySignals: Service {
    let relay: Relay
    let command: RelayCommand
    let settings: NIOLockedValueBox<RelaySettings>
    let logger: Logger

    func run() async {
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup)
        for await signal in signals.cancelOnGracefulShutdown() {
            if signal == .sighup {
                self.relay.reloadCertificate()
                await self.reloadSettings()
            } else {
                await self.relay.stop()
            }
        }
    }

    /// What is broken leaves everything as it was.
    private func reloadSettings() async {
        do {
            let settings = try await Settings(configFile: self.command.config)
            let new = RelaySettings(
                relay: try await self.command.relayConfiguration(settings),
                logs: try await self.command.logSettings(settings))
            let old = self.settings.withLockedValue { $0 }
            let reload = RelayReload(from: old, to: new)
            self.relay.apply(new.relay)
            // Whoever logs less from now on is still told that.
            PgshareLog.setLevel(min(old.logs.level, new.logs.level))
            self.logger.log(
                .notice, "the settings were read again", [.count: "\(reload.applied.count)"])
            // What is refused is told again the next time, until it is set back or restarted.
            for key in reload.refused {
                self.logger.log(
                    .warning,
                    "a setting has changed that needs a restart: pgshare relay --take-over",
                    [.setting: key.rawValue])
            }
            self.settings.withLockedValue { settings in
                settings.relay.takeRunTimeSettings(of: new.relay)
                settings.logs.level = new.logs.level
            }
            for key in reload.applied {
                self.logger.log(.notice, "a setting has changed", [.setting: key.rawValue])
            }
            PgshareLog.setLevel(new.logs.level)
        } catch {
            self.logger.log(
                .error, "the settings cannot be used; the old ones are kept",
                [.error: "\(error)"])
        }
    }
}
