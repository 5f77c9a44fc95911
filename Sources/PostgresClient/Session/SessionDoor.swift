import Foundation
import NIOCore
import NIOPosix
import PostgresWire

/// A unix socket at which one local program at a time joins a session that is in a transaction.
///
/// `pg_restore` thinks it has a connection of its own; what it does becomes part of the session's
/// transaction. It needs no password, so the socket is in a folder that only this user can enter.
/// `BEGIN` and `COMMIT` are answered here and never reach the server; other ways to end the
/// transaction are refused. While a program is there, the session's own verbs wait.
///
/// A program that leaves, however it leaves, leaves the session usable: what it had begun is ended,
/// and the transaction has then failed (``PostgresSession/transactionStatus``). Should the
/// transaction end under a program's hands nevertheless, the session is closed.
public final class SessionDoor: Sendable {
    /// The most bytes of the socket's path: macOS has the smallest limit, 104 with the NUL.
    public static let maximumPathBytes = 103

    /// For `PGHOST`.
    public let socketFolder: String
    /// For `PGPORT`. It is only a part of the socket's name.
    public let port = 5432

    private let session: PostgresSession
    private let listener: any Channel
    private let state: NIOLoopBound<DoorState>

    private init(
        _ session: PostgresSession, folder: String, listener: any Channel,
        state: NIOLoopBound<DoorState>
    ) {
        self.session = session
        self.socketFolder = folder
        self.listener = listener
        self.state = state
    }

    deinit {
        self.listener.close(promise: nil)
        DoorFolder.remove(self.socketFolder)
    }

    /// Opens a door.
    ///
    /// - Parameters:
    ///   - session: In a transaction by the time a program comes.
    ///   - parent: Where the socket's folder is made; nil is `TMPDIR`, or `/tmp` where that path
    ///     is too long.
    ///   - policy: Says what becomes of each statement that the door's own rules leave open. On
    ///     the session's event loop; must not block.
    ///   - observer: Is told what goes through.
    /// - Returns: The door, listening.
    /// - Throws: ``DoorError``.
    public static func open(
        _ session: PostgresSession,
        in parent: String? = nil,
        policy: @escaping @Sendable (StatementText) -> DoorVerdict = { _ in .forward },
        observer: DoorObserver = DoorObserver()
    ) async throws(DoorError) -> SessionDoor {
        let folder = try DoorFolder.make(in: parent)
        let line = session.line
        let version = session.serverVersion
        do {
            let state = try await session.eventLoop.submit {
                let state = DoorState(
                    line.value, serverVersion: version, policy: policy, observer: observer)
                return NIOLoopBound(state, eventLoop: line.eventLoop)
            }.get()
            // One loop for all of it: buffers never change hands.
            let listener = try await ServerBootstrap(group: session.eventLoop)
                .childChannelOption(.autoRead, value: false)
                .childChannelOption(.writeBufferWaterMark, value: SessionChannel.writeMark)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(
                            DoorProgramHandler(state.value))
                    }
                }
                .bind(unixDomainSocketPath: DoorFolder.socket(in: folder)).get()
            return SessionDoor(session, folder: folder, listener: listener, state: state)
        } catch {
            DoorFolder.remove(folder)
            throw DoorError(detail: "no socket in \(folder): \(error)")
        }
    }

    /// Lets nobody in any more, puts out who is there, waits until the session is free, and removes
    /// the socket.
    public func close() async {
        try? await self.listener.close().get()
        let state = self.state
        await withCheckedContinuation { continuation in
            state.eventLoop.runHere { state.value.close { continuation.resume() } }
        }
        DoorFolder.remove(self.socketFolder)
    }
}

/// There can be no door.
public struct DoorError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is in the way.
    public var detail: String

    /// The detail.
    public var description: String { self.detail }
}

/// What a door's connections share. Lives on the session's event loop.
final class DoorState {
    let line: SessionHandler
    let serverVersion: Int
    let policy: @Sendable (StatementText) -> DoorVerdict
    let observer: DoorObserver
    private var run: DoorRun?
    private weak var program: DoorProgramHandler?
    private var key = CancelKey.zero
    private var isClosed = false
    private var onFree: [() -> Void] = []
    private var random = SystemRandomNumberGenerator()

    init(
        _ line: SessionHandler, serverVersion: Int,
        policy: @escaping @Sendable (StatementText) -> DoorVerdict, observer: DoorObserver
    ) {
        self.line = line
        self.serverVersion = serverVersion
        self.policy = policy
        self.observer = observer
    }

    /// A program asks for the session. Nil: it was refused.
    func enter(_ program: DoorProgramHandler) -> DoorRun? {
        guard self.run == nil, !self.isClosed else {
            program.refuse(self.isClosed ? Self.closed : Self.occupied)
            return nil
        }
        let run = DoorRun(self, self.line, program)
        self.run = run
        self.program = program
        // Behind the caller, who first learns which run is its own.
        self.line.eventLoop.assumeIsolated().execute { self.line.enter(run) }
        return run
    }

    func left(_ run: DoorRun) {
        guard self.run === run else { return }
        self.run = nil
        self.key = .zero
        let waiting = self.onFree
        self.onFree = []
        for resume in waiting { resume() }
    }

    /// A key for the program's cancel requests. Ours: the session's own stays here.
    func makeKey(_ version: ProtocolVersion) -> CancelKey {
        self.key = CancelKey.mint(
            processID: .random(in: 1 ... .max, using: &self.random), version: version,
            using: &self.random)
        return self.key
    }

    func cancel(_ key: CancelKey) {
        guard let run = self.run, self.key.processID != 0, key == self.key else { return }
        run.cancelStatement()
    }

    func close(_ onFree: @escaping () -> Void) {
        self.isClosed = true
        guard self.run != nil else { return onFree() }
        self.onFree.append(onFree)
        self.program?.leave(Self.closed)
    }

    static let noTransaction = PostgresError(
        sqlState: SQLState(rawValue: "25P01"), message: "the session is in no transaction")
    static let failedTransaction = PostgresError(
        severity: .error, sqlState: SQLState(rawValue: "25P02"),
        message: "current transaction is aborted, commands ignored until end of transaction block")
    static let notExtended = PostgresError(
        severity: .error, sqlState: .featureNotSupported,
        message: "this statement must come by the simple protocol")
    static let noReplication = PostgresError(
        sqlState: .featureNotSupported, message: "there is no replication here")
    private static let occupied = PostgresError(
        sqlState: .tooManyConnections, message: "another program has the session")
    private static let closed = PostgresError(
        sqlState: .adminShutdown, message: "the session is taken back")
}

/// The folder of a door's socket.
enum DoorFolder {
    static func socket(in folder: String) -> String { folder + "/.s.PGSQL.5432" }

    /// Makes it, with mode 0700.
    static func make(in parent: String?) throws(DoorError) -> String {
        let environment = ProcessInfo.processInfo.environment["TMPDIR"]
        let parents = parent.map { [$0] } ?? [environment, "/tmp"].compactMap { $0 }
        for parent in parents {
            let pattern = parent + "/pgshare-door-XXXXXX"
            guard !parent.isEmpty,
                self.socket(in: pattern).utf8.count <= SessionDoor.maximumPathBytes
            else { continue }
            var name = Array(pattern.utf8CString)
            guard mkdtemp(&name) != nil else { continue }
            return String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
        throw DoorError(
            detail: "no folder for a socket can be made in \(parents.joined(separator: " or "))")
    }

    static func remove(_ folder: String) {
        unlink(self.socket(in: folder))
        rmdir(folder)
    }
}
