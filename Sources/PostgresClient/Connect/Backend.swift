public import NIOCore
public import PostgresWire

/// What a client asked for, as far as its backend must know.
public struct BackendRequest: Hashable, Sendable {
    /// The client's startup parameters. `user` and `database` among them are ignored.
    public var parameters: [StartupRequest.Parameter]
    /// The database to open; nil is the shared one. Whether it may be another is the caller's
    /// decision.
    public var database: String?

    /// Creates a request.
    public init(parameters: [StartupRequest.Parameter], database: String? = nil) {
        self.parameters = parameters
        self.database = database
    }

    /// The startup packet's parameters for a session of `target`, in the client's order.
    ///
    /// The agent's role and the database come first. The owner's `options` go before the client's,
    /// so that the client's win where both set the same, as they would with `SET`.
    func startup(for target: DatabaseTarget) -> [StartupRequest.Parameter] {
        var startup: [StartupRequest.Parameter] = []
        startup.reserveCapacity(self.parameters.count + 3)
        startup.append(.init(name: "user", value: target.user))
        startup.append(.init(name: "database", value: self.database ?? target.database))
        var ownerOptions = target.options.flatMap { $0.isEmpty ? nil : $0 }
        for parameter in self.parameters {
            switch parameter.name {
            case "user", "database":
                continue
            case "options":
                let options = [ownerOptions, parameter.value].compactMap { $0 }
                startup.append(.init(name: "options", value: options.joined(separator: " ")))
                ownerOptions = nil
            default:
                startup.append(parameter)
            }
        }
        if let ownerOptions {
            startup.append(.init(name: "options", value: ownerOptions))
        }
        return startup
    }
}

/// A session of the shared database, logged in, before its greeting.
public struct Backend: Sendable {
    /// The connection. Its pipeline holds at most TLS; `autoRead` is off, so nothing is lost before
    /// the caller has added its handlers. Add them in the callback of the future itself: when
    /// Postgres closes, what it sent last is delivered without being asked for.
    public let channel: any Channel
    /// What arrived behind AuthenticationOk: the beginning of the greeting, byte for byte.
    public let early: ByteBuffer
    /// Whether this connection is encrypted; a cancel request for it then is, too.
    public let isEncrypted: Bool
}
