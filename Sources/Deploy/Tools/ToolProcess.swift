import Foundation
import Subprocess
import SystemPackage

/// A program to run, without a shell: what it is, what it is told and what it may see.
public struct ToolInvocation: Sendable {
    /// The program.
    public var tool: ClientTools.Tool
    /// Its arguments; never a secret.
    public var arguments: [String]
    /// The database it may reach.
    public var connection: ToolConnection?

    /// Creates an invocation.
    public init(
        _ tool: ClientTools.Tool,
        _ arguments: [String],
        connection: ToolConnection? = nil
    ) {
        self.tool = tool
        self.arguments = arguments
        self.connection = connection
    }
}

/// Runs the programs of Postgres.
///
/// Each is in a process group of its own, so that a Ctrl-C at the terminal is ours to handle. When
/// the task is cancelled it gets SIGTERM, on which it cancels what its server does, and SIGKILL
/// ``gracePeriod`` later. On Linux it gets SIGTERM as well when this process dies, however it dies.
public enum ToolProcess {
    /// Takes what a program says while it runs; called from any thread, in the order of the lines.
    public typealias Observer = @Sendable (ToolMessage) -> Void

    /// The time between SIGTERM and SIGKILL; cancelling at a far server takes a round trip or two.
    public static let gracePeriod = Duration.seconds(5)

    /// The most that ``output(of:_:)`` takes, in bytes.
    static let maximumOutputBytes = 64 * 1024

    /// Runs a program to its end. What it writes to standard output is dropped.
    ///
    /// - Throws: ``ToolFailure`` unless it ended with status 0.
    public static func run(
        _ invocation: ToolInvocation,
        observer: @escaping Observer = { _ in }
    ) async throws(ToolFailure) {
        let null = try self.null()
        let result = await self.execute(invocation, input: null, output: null, observer)
        try? null.close()
        try result.get()
    }

    /// Runs two programs, the output of one being the input of the other; the bytes go from one to
    /// the other and not through us.
    ///
    /// - Throws: ``ToolFailure`` unless both ended with status 0: that of the program that failed
    ///   by itself, where the other failed for it.
    public static func pipe(
        _ dump: ToolInvocation,
        into restore: ToolInvocation,
        observer: @escaping Observer = { _ in }
    ) async throws(ToolFailure) {
        let null = try self.null()
        let ends = try self.makePipe()
        async let reading = self.execute(
            restore, input: ends.readEnd, closesInput: true, output: null, observer)
        let written = await self.execute(
            dump, input: null, output: ends.writeEnd, closesOutput: true, observer)
        let read = await reading
        try? null.close()
        if let failure = self.cause(written.failure, read.failure) { throw failure }
    }

    /// What a program writes to standard output, up to 64 KiB; for `--version` and the like.
    static func output(
        of tool: ClientTools.Tool,
        _ arguments: [String]
    ) async throws(ToolFailure) -> String {
        do {
            let result = try await Subprocess.run(
                self.configuration(ToolInvocation(tool, arguments)),
                output: .string(limit: self.maximumOutputBytes), error: .discarded)
            guard result.terminationStatus.isSuccess else {
                throw self.failure(tool, result.terminationStatus, [])
            }
            return result.standardOutput
        } catch let failure as ToolFailure {
            throw failure
        } catch {
            throw ToolFailure(tool: tool.name, reason: .notStarted("\(error)"))
        }
    }

    /// Which of two failures of a pipe explains the other.
    ///
    /// The reader ends early: the writer gets SIGPIPE or says "Broken pipe". The writer ends
    /// early: the reader misses the end of the archive.
    static func cause(_ writer: ToolFailure?, _ reader: ToolFailure?) -> ToolFailure? {
        guard let writer, let reader else { return writer ?? reader }
        return writer.isBrokenPipe ? reader : writer
    }

    private static func execute(
        _ invocation: ToolInvocation,
        input: FileDescriptor,
        closesInput: Bool = false,
        output: FileDescriptor,
        closesOutput: Bool = false,
        _ observer: @escaping Observer
    ) async -> Result<Void, ToolFailure> {
        var log = ToolLog(
            tool: invocation.tool.name, secrets: invocation.connection?.secrets ?? [])
        do {
            let result = try await Subprocess.run(
                self.configuration(invocation),
                input: .fileDescriptor(input, closeAfterSpawningProcess: closesInput),
                output: .fileDescriptor(output, closeAfterSpawningProcess: closesOutput),
                error: .sequence
            ) { execution in
                for try await buffer in execution.standardError {
                    let bytes = buffer.withUnsafeBytes { Array($0) }
                    log.receive(bytes).forEach(observer)
                }
                log.finish().forEach(observer)
            }
            guard !result.terminationStatus.isSuccess else { return .success(()) }
            return .failure(self.failure(invocation.tool, result.terminationStatus, log.lines))
        } catch {
            let reason: ToolFailure.Reason = Task.isCancelled ? .cancelled : .notStarted("\(error)")
            return .failure(
                ToolFailure(tool: invocation.tool.name, reason: reason, lastLines: log.lines))
        }
    }

    private static func failure(
        _ tool: ClientTools.Tool,
        _ status: TerminationStatus,
        _ lines: [String]
    ) -> ToolFailure {
        let reason: ToolFailure.Reason
        switch status {
        case _ where Task.isCancelled: reason = .cancelled
        case .exited(let code): reason = .exit(Int(code))
        case .signaled(let signal): reason = .signal(Int(signal))
        }
        return ToolFailure(tool: tool.name, reason: reason, lastLines: lines)
    }

    private static func configuration(_ invocation: ToolInvocation) -> Subprocess.Configuration {
        var options = PlatformOptions()
        options.processGroupID = 0
        // The last step goes to the group, too: pg_restore's own helpers must not outlive it.
        options.teardownSequence = [
            .send(
                signal: .terminate, toProcessGroup: true,
                allowedDurationToNextStep: self.gracePeriod),
            .send(
                signal: .kill, toProcessGroup: true, allowedDurationToNextStep: self.gracePeriod),
        ]
        let path = invocation.tool.path
        let guarded = self.guardPath.map { [$0, "--pdeathsig", "TERM", path] } ?? [path]
        let variables = Dictionary(
            uniqueKeysWithValues: self.environment(invocation.connection).map {
                (Subprocess.Environment.Key(stringLiteral: $0.key), $0.value)
            })
        return Subprocess.Configuration(
            executable: .path(FilePath(guarded[0])),
            arguments: Arguments(guarded.dropFirst() + invocation.arguments),
            environment: .custom(variables),
            workingDirectory: "/",
            platformOptions: options)
    }

    /// util-linux's `setpriv`, which asks the kernel to end the program with us and then becomes
    /// it. The kernel watches the thread that started it: swift-subprocess has one for that, which
    /// lives as long as the process. Nil where there is none, and on other systems: there a program
    /// ends when what it reads from or writes to ends.
    private static let guardPath: String? = {
        #if os(Linux)
            let file = URL(fileURLWithPath: "/usr/bin/setpriv").resolvingSymlinksInPath()
            // Busybox has one that cannot do this.
            guard file.lastPathComponent == "setpriv",
                FileManager.default.isExecutableFile(atPath: file.path)
            else { return nil }
            return file.path
        #else
            return nil
        #endif
    }()

    /// What a program of Postgres may see of our environment: no `PG…`, no token.
    private static let inherited: Set = [
        "PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LD_LIBRARY_PATH",
        "DYLD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "OPENSSL_CONF",
    ]

    static func environment(
        _ connection: ToolConnection?,
        own: [String: String] = ProcessInfo.processInfo.environment
    ) -> [String: String] {
        var variables = own.filter { self.inherited.contains($0.key) }
        variables.merge(connection?.variables ?? [:]) { $1 }
        // Messages in English, which we read.
        variables["LC_ALL"] = "C"
        return variables
    }

    private static func null() throws(ToolFailure) -> FileDescriptor {
        try ToolFailure.forFiles { try FileDescriptor.open("/dev/null", .readWrite) }
    }

    private static func makePipe() throws(ToolFailure) -> (
        readEnd: FileDescriptor, writeEnd: FileDescriptor
    ) {
        try ToolFailure.forFiles { try FileDescriptor.pipe() }
    }
}

extension Result where Success == Void, Failure == ToolFailure {
    fileprivate var failure: ToolFailure? {
        switch self {
        case .success: nil
        case .failure(let failure): failure
        }
    }
}

extension ToolFailure {
    /// Whether it failed because nobody read what it wrote.
    fileprivate var isBrokenPipe: Bool {
        switch self.reason {
        case .signal(13): true
        case .exit, .signal: self.lastLines.contains { $0.contains("Broken pipe") }
        case .notStarted, .cancelled, .file, .unreadable: false
        }
    }
}
