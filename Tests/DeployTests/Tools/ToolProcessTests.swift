import Foundation
import Synchronization
import Testing

@testable import Deploy

@Suite struct ToolProcessTests {
    /// `sh`, standing in for a tool. Deploy itself never runs one.
    private static let shell = ClientTools.Tool(
        path: "/bin/sh", version: ToolVersion(major: 0, minor: 0))

    private func script(_ text: String) -> ToolInvocation {
        ToolInvocation(Self.shell, ["-c", text])
    }

    @Test func `a program that ends well says what it says while it runs`() async throws {
        let seen = Mutex<[String]>([])
        try await ToolProcess.run(self.script("echo one >&2; echo none; printf two >&2")) {
            message in seen.withLock { $0.append(message.text) }
        }
        #expect(seen.withLock { $0 } == ["one", "two"])
    }

    @Test func `a status is a failure with its last lines`() async {
        let failure = await #expect(throws: ToolFailure.self) {
            try await ToolProcess.run(self.script("echo 'sh: error: no' >&2; exit 3"))
        }
        #expect(failure?.reason == .exit(3))
        #expect(failure?.lastLines == ["sh: error: no"])
        #expect(failure?.description == "sh ended with status 3: sh: error: no")
    }

    @Test func `a signal is a failure`() async {
        let failure = await #expect(throws: ToolFailure.self) {
            try await ToolProcess.run(self.script("kill -9 $$"))
        }
        #expect(failure?.reason == .signal(9))
    }

    @Test func `arguments reach the program as they are`() async throws {
        let odd = "a b'\"$(exit 7); * \\ ü\n"
        let printf = ClientTools.Tool(
            path: "/usr/bin/printf", version: ToolVersion(major: 0, minor: 0))
        #expect(try await ToolProcess.output(of: printf, ["%s", odd]) == odd)
    }

    @Test func `bytes go from one program to the other`() async throws {
        let folder = try TestFolder.make()
        let file = folder.path("copy")
        try await ToolProcess.pipe(
            self.script("head -c 3000000 /dev/zero"),
            into: ToolInvocation(Self.shell, ["-c", "cat >\"$0\"", file]))
        let size = try FileManager.default.attributesOfItem(atPath: file)[.size]
        #expect(size as? Int == 3_000_000)
    }

    @Test(arguments: [
        ("exit 4", "cat >/dev/null", 4), ("echo a", "cat >/dev/null; exit 5", 5),
        // The reader leaves first: it is the cause, not the writer that nobody reads.
        ("exec cat /dev/zero", "exit 6", 6),
        ("cat /dev/zero; echo 'Broken pipe' >&2; exit 1", "exit 7", 7),
        ("exit 8", "cat >/dev/null; exit 1", 8),
    ])
    func `both statuses of a pipe are looked at`(
        writer: String, reader: String, status: Int
    ) async {
        let failure = await #expect(throws: ToolFailure.self) {
            try await ToolProcess.pipe(self.script(writer), into: self.script(reader))
        }
        #expect(failure?.reason == .exit(status))
    }

    @Test func `a program that is not there is a failure`() async {
        let none = ClientTools.Tool(
            path: "/none/pg_dump", version: ToolVersion(major: 15, minor: 0))
        let failure = await #expect(throws: ToolFailure.self) {
            try await ToolProcess.run(ToolInvocation(none, []))
        }
        #expect(failure?.tool == "pg_dump")
    }

    @Test(.timeLimit(.minutes(1))) func `a program ends when its task is cancelled`() async throws {
        let started = AsyncStream.makeStream(of: pid_t.self)
        let invocation = self.script("echo $$ >&2; exec sleep 600")
        let task = Task {
            await #expect(throws: ToolFailure.self) {
                try await ToolProcess.run(invocation) { message in
                    started.continuation.yield(pid_t(message.text) ?? 0)
                }
            }
        }
        let process = try #require(await started.stream.first { _ in true })
        task.cancel()
        let failure = await task.value
        #expect(failure?.reason == .cancelled)
        #expect(!ProcessTable.isAlive(process))
    }

    @Test(.timeLimit(.minutes(1))) func `a pipe ends when its task is cancelled`() async throws {
        let started = AsyncStream.makeStream(of: pid_t.self)
        let writer = self.script("echo $$ >&2; exec sleep 600")
        let reader = self.script("echo $$ >&2; exec cat")
        let task = Task {
            await #expect(throws: ToolFailure.self) {
                try await ToolProcess.pipe(writer, into: reader) { message in
                    started.continuation.yield(pid_t(message.text) ?? 0)
                }
            }
        }
        var processes: [pid_t] = []
        for await process in started.stream.prefix(2) { processes.append(process) }
        task.cancel()
        #expect(await task.value?.reason == .cancelled)
        #expect(processes.allSatisfy { !ProcessTable.isAlive($0) })
    }

    #if os(Linux)
        /// The program's own process is killed with SIGKILL, which nothing can clean up behind.
        @Test(.timeLimit(.minutes(1))) func `a program ends when we are killed`() async throws {
            let result = await #expect(
                processExitsWith: .signal(SIGKILL), observing: [\.standardOutputContent]
            ) {
                let shell = ClientTools.Tool(
                    path: "/bin/sh", version: ToolVersion(major: 0, minor: 0))
                let sleeper = ToolInvocation(shell, ["-c", "echo $$ >&2; exec sleep 600"])
                try await ToolProcess.run(sleeper) { message in
                    print("child=" + message.text)
                    fflush(nil)
                    kill(getpid(), SIGKILL)
                }
            }
            let output = String(decoding: result?.standardOutputContent ?? [], as: UTF8.self)
            let word = output.split(separator: "\n").first { $0.hasPrefix("child=") }
            let process = try #require(word.flatMap { pid_t($0.dropFirst("child=".count)) })
            while ProcessTable.isAlive(process) { await Task.yield() }
        }
    #endif
}

/// What the system says about processes.
enum ProcessTable {
    /// Whether it runs; one that has ended and waits to be looked at does not.
    static func isAlive(_ process: pid_t) -> Bool {
        guard kill(process, 0) == 0 else { return false }
        guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8)
        else { return FileManager.default.fileExists(atPath: "/proc") == false }
        let state = text.split(separator: ")").last?.split(separator: " ").first
        return state != "Z" && state != "X"
    }
}
