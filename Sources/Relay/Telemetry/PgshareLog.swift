public import Logging
import NIOConcurrencyHelpers

/// How a log line is written.
public enum LogFormat: String, CaseIterable, Sendable {
    /// `TIME LEVEL message key=value …`, for people.
    case text
    /// One JSON object a line: `time`, `level`, `message`, `label`, then the facts.
    case json
}

/// Where log lines go.
public enum PgshareLog {
    /// Sends every logger of the process to standard error. Called once, in `main`.
    ///
    /// - Parameters:
    ///   - format: Text for people or JSON for machines.
    ///   - level: The least level that is written.
    public static func bootstrap(format: LogFormat, level: Logger.Level) {
        self.setLevel(level)
        LoggingSystem.bootstrap { label in
            LineLogHandler(
                label: label, format: format, level: self.level.withLockedValue { $0 }
            ) { line in
                StandardError.write(line)
            }
        }
    }

    /// Writes less or more from now on.
    public static func setLevel(_ level: Logger.Level) {
        self.level.withLockedValue { $0 = level }
    }

    private static let level = NIOLockedValueBox(Logger.Level.info)
}
