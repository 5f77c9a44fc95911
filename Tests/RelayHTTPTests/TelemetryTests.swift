import Foundation
import Logging
import SharePolicy
import Synchronization
import Testing

@testable import Relay

struct MetricsTests {
    @Test func `the page holds what was counted`() {
        let metrics = RelayMetrics()
        metrics.clientsOpen.increment(by: 3)
        metrics.clientsOpen.decrement()
        metrics.refusals.add(.tlsRequired)
        metrics.linksOpen.increment(.raw)
        metrics.bytesToClient.add(1_000)
        let page = metrics.prometheusText()
        #expect(page.contains("# TYPE pgshare_clients_open gauge\npgshare_clients_open 2\n"))
        #expect(page.contains("pgshare_refusals_total{reason=\"tls_required\"} 1\n"))
        #expect(page.contains("pgshare_refusals_total{reason=\"internal_failure\"} 0\n"))
        #expect(page.contains("pgshare_links_open{transport=\"raw\"} 1\n"))
        #expect(page.contains("pgshare_bytes_to_client_total 1000\n"))
    }

    @Test func `no scalar that a terminal acts on gets into a line of either format`() {
        let values = Array(UInt32(0)...0x3000) + Array(0xFE00...0xFFFF) + Array(0xE0000...0xE007F)
        for value in values {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let hostile = "a\(scalar)b"
            for shown in [LogText.escaped(hostile, quoting: true), LogText.json(hostile)] {
                #expect(
                    shown.unicodeScalars.allSatisfy {
                        switch $0.properties.generalCategory {
                        case .control, .format, .lineSeparator, .paragraphSeparator: false
                        default: true
                        }
                    }, "\(value)")
            }
        }
    }

    @Test func `one character with thousands of accents is cut like any text`() {
        let tower = "a" + String(repeating: "\u{301}", count: 9_000)
        #expect(LogText.escaped(tower, quoting: true).unicodeScalars.count < 1_100)
    }

    @Test func `a histogram counts each duration into every bucket it fits`() {
        let metrics = RelayMetrics()
        metrics.handshakeSeconds.record(.milliseconds(1))
        metrics.handshakeSeconds.record(.milliseconds(30))
        metrics.handshakeSeconds.record(.seconds(11))
        let page = metrics.prometheusText()
        #expect(page.contains("pgshare_handshake_seconds_bucket{le=\"0.001\"} 1\n"))
        #expect(page.contains("pgshare_handshake_seconds_bucket{le=\"0.025\"} 1\n"))
        #expect(page.contains("pgshare_handshake_seconds_bucket{le=\"0.05\"} 2\n"))
        #expect(page.contains("pgshare_handshake_seconds_bucket{le=\"10\"} 2\n"))
        #expect(page.contains("pgshare_handshake_seconds_bucket{le=\"+Inf\"} 3\n"))
        #expect(page.contains("pgshare_handshake_seconds_sum 11.031\n"))
        #expect(page.contains("pgshare_handshake_seconds_count 3\n"))
    }

    @Test func `what shared sessions did is counted`() {
        let metrics = RelayMetrics()
        metrics.sessionClientsWaiting.increment(by: 3)
        metrics.sessionClientsWaiting.decrement()
        metrics.sessionWaitSeconds.record(.milliseconds(30))
        metrics.sessionTimeouts.add(.wait)
        metrics.sessionTimeouts.add(.idle)
        metrics.sessionTimeouts.add(.idle)
        metrics.engineCalls.add(7)
        metrics.engineFaults.add()
        metrics.engineRestarts.add(2)
        let page = metrics.prometheusText()
        for line in [
            "# TYPE pgshare_session_clients_waiting gauge", "pgshare_session_clients_waiting 2",
            "# TYPE pgshare_session_wait_seconds histogram",
            "pgshare_session_wait_seconds_bucket{le=\"0.025\"} 0",
            "pgshare_session_wait_seconds_bucket{le=\"0.05\"} 1",
            "pgshare_session_wait_seconds_sum 0.03", "pgshare_session_wait_seconds_count 1",
            "# TYPE pgshare_session_timeouts_total counter",
            "pgshare_session_timeouts_total{what=\"wait\"} 1",
            "pgshare_session_timeouts_total{what=\"idle\"} 2",
            "pgshare_engine_calls_total 7", "pgshare_engine_faults_total 1",
            "pgshare_engine_restarts_total 2",
        ] {
            #expect(page.contains("\n\(line)\n"), "\(line)")
        }
    }

    @Test func `every metric is documented, and every documented one exists`() throws {
        let source = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Sources/Relay/Telemetry/RelayMetrics.swift")
        let text = try String(contentsOf: source, encoding: .utf8)
        let documented = text.matches(of: /\/\/\/ - `([a-z_]+)[^`]*` \((counter|gauge|histogram)\)/)
        let page = RelayMetrics().prometheusText()
        let shown = page.matches(of: /# TYPE ([a-z_]+) (counter|gauge|histogram)/)
        let expected = Set(documented.map { "\($0.output.1) \($0.output.2)" })
        #expect(Set(shown.map { "\($0.output.1) \($0.output.2)" }) == expected)
        #expect(expected.count == 29)
    }
}

struct LogTests {
    /// Lines that a logger wrote.
    private final class Lines: Sendable {
        private let lines = Mutex<[String]>([])

        func logger(_ format: LogFormat) -> Logger {
            Logger(label: "relay") { label in
                LineLogHandler(label: label, format: format, level: .info) { line in
                    self.lines.withLock { $0.append(line) }
                }
            }
        }

        var all: [String] { self.lines.withLock { $0 } }
    }

    /// What a stranger may put into a fact: new lines, terminal commands, quotes, reversed text.
    private static let hostile = "a\nfake line\r\u{1B}[31m\"x\"=\\\u{202E}\u{85}\u{0}"

    @Test func `a text line stays one line whatever a fact holds`() throws {
        let lines = Lines()
        lines.logger(.text).log(.info, "a client was refused", [.reason: Self.hostile])
        let line = try #require(lines.all.first)
        #expect(lines.all.count == 1)
        #expect(
            line.hasSuffix(
                " info     a client was refused reason=\"a\\nfake line\\r\\u{1b}[31m\\\"x\\\"=\\\\"
                    + "\\u{202e}\\u{85}\\u{0}\"\n"))
        #expect(line.unicodeScalars.filter { $0.value < 0x20 }.count == 1)
    }

    @Test func `a JSON line is one object and keeps the fact`() throws {
        let lines = Lines()
        lines.logger(.json).log(.warning, "a client was refused", [.reason: Self.hostile])
        let line = try #require(lines.all.first)
        let object = try JSONDecoder().decode([String: String].self, from: Data(line.utf8))
        #expect(object["reason"] == Self.hostile)
        #expect(object["level"] == "warning")
        #expect(object["message"] == "a client was refused")
        #expect(object["label"] == "relay")
        #expect(line.hasSuffix("}\n"))
        #expect(line.unicodeScalars.filter { $0.value < 0x20 }.count == 1)
    }

    @Test func `a fact cannot replace the level or the message`() throws {
        let lines = Lines()
        var logger = lines.logger(.json)
        logger[metadataKey: "level"] = "critical"
        logger.log(.info, "constant", [:])
        let line = try #require(lines.all.first)
        let object = try JSONDecoder().decode([String: String].self, from: Data(line.utf8))
        #expect(object["level"] == "info")
    }

    @Test func `a long fact is cut`() throws {
        let lines = Lines()
        let long = String(repeating: "a", count: 1_000_000)
        lines.logger(.text).log(.info, "constant", [.error: long])
        #expect(try #require(lines.all.first).count < 2_000)
    }

    @Test func `what is below the level is not written`() {
        let lines = Lines()
        lines.logger(.text).log(.debug, "constant", [.count: "1"])
        #expect(lines.all.isEmpty)
    }
}

struct RefusalLogTests {
    @Test(arguments: ["", "why"])
    func `a refused tunnel has an error in the log where there is one`(detail: String) throws {
        let lines = Mutex<[String]>([])
        let logger = Logger(label: "test") { label in
            LineLogHandler(label: label, format: .text, level: .info) { line in
                lines.withLock { $0.append(line) }
            }
        }
        let environment = TunnelEnvironment(
            cancels: CancelDirectory(), metrics: RelayMetrics(), logger: logger)
        let owner = try #require(OwnerID(tokenName: "anna"))
        let refusal = TunnelRefusal(.resumeExpired, detail: detail)
        #expect(environment.refused(refusal, by: owner) == .resumeExpired)
        let line = try #require(lines.withLock { $0.first })
        #expect(line.contains("reason=resume_expired"))
        #expect(line.contains(" error=") == !detail.isEmpty)
        #expect(line.contains(" error=why") == (detail == "why"))
    }
}
