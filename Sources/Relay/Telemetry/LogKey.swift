public import Logging

/// The closed list of facts a log line may carry.
///
/// Messages are constant strings; what differs from line to line goes in metadata under these keys.
/// There is no key for a token, a password, a startup parameter or SQL: those are never logged.
public enum LogKey: String, CaseIterable, Sendable {
    /// The address of the other end.
    case address
    /// A byte count.
    case bytes
    /// Which client of a shared session, by number.
    case client
    /// A certificate's or key's file.
    case file
    /// How many.
    case count
    /// The error, for operators only.
    case error
    /// The tunnel's generation.
    case generation
    /// Which client of a shared session had it, by number.
    case holder
    /// Which link of a tunnel, from 0.
    case link
    /// Where a door listens.
    case listening
    /// The HTTP method.
    case method
    /// A token's name: whose share it is.
    case owner
    /// An HTTP path, without its query.
    case path
    /// Why something was refused or ended.
    case reason
    /// How long, in seconds.
    case seconds
    /// A share's id.
    case share
    /// A setting's key.
    case setting
    /// A signal's name.
    case signal
    /// A SQLSTATE.
    case sqlstate
    /// An HTTP status.
    case status
    /// A stream's id.
    case stream
    /// `websocket` or `raw`.
    case transport
    /// A version, of the protocol or of ourselves.
    case version
}

extension Logger {
    /// Logs a constant message with facts.
    public func log(
        _ level: Level,
        _ message: Message,
        _ facts: @autoclosure () -> [LogKey: String],
        file: String = #fileID,
        function: String = #function,
        line: UInt = #line
    ) {
        guard level >= self.logLevel else { return }
        var metadata = Metadata()
        for (key, value) in facts() {
            metadata[key.rawValue] = .string(value)
        }
        self.log(
            level: level, message, metadata: metadata, file: file, function: function, line: line)
    }
}
