public import Foundation
import NIOCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// The time by both clocks. A person reads the date; the age of a lease is read off the uptime,
/// which nobody can set.
public struct StoreMoment: Hashable, Codable, Sendable {
    /// The time of day.
    public var date: Date
    /// Nanoseconds since the machine started, sleep not counted: the same for all its processes.
    public var uptimeNanoseconds: UInt64

    /// Creates a moment.
    public init(date: Date, uptimeNanoseconds: UInt64) {
        self.date = date
        self.uptimeNanoseconds = uptimeNanoseconds
    }

    /// This moment.
    public static func now() -> StoreMoment {
        StoreMoment(date: Date(), uptimeNanoseconds: NIODeadline.now().uptimeNanoseconds)
    }
}

/// Who runs a deployment, and the last sign of life.
public struct DeploymentLease: Hashable, Codable, Sendable {
    /// The longest silence of a run that lives, in seconds.
    ///
    /// Six of the heartbeats that are due every 10 s: a disk or a machine may be that slow.
    public static let staleAfter: TimeInterval = 60
    /// How often a run should say that it lives, in seconds.
    public static let heartbeatInterval: TimeInterval = 10

    /// How a run was found dead.
    public enum Crash: String, Hashable, Codable, Sendable {
        /// Its process is gone.
        case processGone = "process_gone"
        /// The machine was started again since.
        case machineRestarted = "machine_restarted"
        /// It has said nothing for longer than ``DeploymentLease/staleAfter``.
        case silent
    }

    /// The process.
    public var pid: Int32
    /// When the process started, as the system counts; nil where it does not tell. A process that
    /// got the same pid later has another one.
    public var processStart: UInt64?
    /// The machine's name, for people.
    public var host: String
    /// One start of the machine; empty where it is unknown.
    public var boot: String
    /// Where pids mean the same, such as a container; empty where it is unknown.
    public var processSpace: String
    /// The last sign of life.
    public var heartbeat: StoreMoment

    /// Creates a lease of any process.
    public init(
        pid: Int32,
        processStart: UInt64?,
        host: String,
        boot: String,
        processSpace: String,
        heartbeat: StoreMoment
    ) {
        self.pid = pid
        self.processStart = processStart
        self.host = host
        self.boot = boot
        self.processSpace = processSpace
        self.heartbeat = heartbeat
    }

    /// The lease of this process.
    public static func mine(
        now: StoreMoment, on machine: DeploymentMachine = .current
    ) -> DeploymentLease {
        let pid = getpid()
        let start: UInt64? =
            if case .running(let start) = machine.process(pid) { start } else { nil }
        return DeploymentLease(
            pid: pid, processStart: start, host: machine.host, boot: machine.boot,
            processSpace: machine.processSpace, heartbeat: now)
    }

    /// How the run died; nil if it lives as far as anyone can tell.
    ///
    /// The store's file cannot be shared by machines (SQLite's WAL needs shared memory), so a lease
    /// of another start of a machine is over.
    public func crash(now: StoreMoment, on machine: DeploymentMachine) -> Crash? {
        let knowsBoot = !self.boot.isEmpty && !machine.boot.isEmpty
        if knowsBoot, self.boot != machine.boot { return .machineRestarted }
        if !self.processSpace.isEmpty, self.processSpace == machine.processSpace {
            switch machine.process(self.pid) {
            case .gone: return .processGone
            case .running(let start):
                if let start, let mine = self.processStart, start != mine { return .processGone }
            }
        }
        // The time of day is the last resort: it jumps, both ways.
        let silence =
            knowsBoot
            ? (Double(now.uptimeNanoseconds) - Double(self.heartbeat.uptimeNanoseconds)) / 1e9
            : abs(now.date.timeIntervalSince(self.heartbeat.date))
        return silence > Self.staleAfter ? .silent : nil
    }
}

/// What tells whether a process of a lease still lives.
public struct DeploymentMachine: Sendable {
    /// What the system says of a pid.
    public enum ProcessState: Hashable, Sendable {
        /// There is none, or one that has ended and waits for its parent.
        case gone
        /// There is one; `start` says when it began, where the system tells.
        case running(start: UInt64?)
    }

    /// The machine's name.
    public var host: String
    /// Names this start of the machine; empty where it is unknown.
    public var boot: String
    /// Names where pids mean the same; empty where it is unknown.
    public var processSpace: String
    /// Looks a pid up.
    public var process: @Sendable (Int32) -> ProcessState

    /// Creates a machine; tests make up what they need.
    public init(
        host: String,
        boot: String,
        processSpace: String,
        process: @escaping @Sendable (Int32) -> ProcessState
    ) {
        self.host = host
        self.boot = boot
        self.processSpace = processSpace
        self.process = process
    }

    /// The machine that this process runs on.
    public static let current = DeploymentMachine(
        host: ProcessInfo.processInfo.hostName, boot: Self.currentBoot(),
        processSpace: Self.currentProcessSpace(), process: Self.lookUp)

    #if os(Linux)
        private static func currentBoot() -> String {
            let text = try? String(
                contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)
            return text?.trimmingCharacters(in: .whitespacesAndNewlines) ?? ""
        }

        private static func currentProcessSpace() -> String {
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/pid")) ?? ""
        }

        /// Source: proc_pid_stat(5): `pid (name) state …`, and field 22 is when it started.
        private static func lookUp(_ pid: Int32) -> ProcessState {
            guard Self.exists(pid) else { return .gone }
            guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/stat"),
                // The name may hold spaces and brackets; what comes behind it does not.
                let rest = String(decoding: data, as: UTF8.self).split(separator: ")").last
            else { return .running(start: nil) }
            let fields = rest.split(separator: " ")
            guard let state = fields.first, state != "Z", state != "X" else { return .gone }
            return .running(start: fields.count > 19 ? UInt64(fields[19]) : nil)
        }
    #else
        private static func currentBoot() -> String {
            var bytes = [UInt8](repeating: 0, count: 64)
            var length = bytes.count
            guard sysctlbyname("kern.bootsessionuuid", &bytes, &length, nil, 0) == 0 else {
                return ""
            }
            return String(decoding: bytes.prefix(length).prefix { $0 != 0 }, as: UTF8.self)
        }

        private static func currentProcessSpace() -> String { "machine" }

        private static func lookUp(_ pid: Int32) -> ProcessState {
            Self.exists(pid) ? .running(start: nil) : .gone
        }
    #endif

    /// Signal 0 asks and does nothing. Somebody else's process (EPERM) exists.
    private static func exists(_ pid: Int32) -> Bool {
        pid > 0 && (kill(pid, 0) == 0 || errno == EPERM)
    }
}
