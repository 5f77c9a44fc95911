import NIOCore
import SharePolicy
import Testing

@testable import TunnelWire

/// The specification cannot drift: its vectors and tables are checked against the code.
struct ProtocolDocumentTests {
    private let document: ProtocolDocument

    init() throws {
        self.document = try ProtocolDocument()
    }

    // MARK: Vectors

    /// What each vector of the document must be.
    private static let written: [String: ByteBuffer] = [
        "hello": Hello(
            agent: "pgshare 1.0.0",
            share: Hello.ShareRequest(
                verifier: "SCRAM-SHA-256$4096:c2FsdA==$YQ==:Yg==", database: "app", user: "ann",
                maxConnections: 20, expiresIn: 28_800),
            minor: nil
        ).frame,
        "hello-browser": Hello(
            agent: "pgshare.js 1.0.0",
            share: Hello.ShareRequest(
                verifier: "SCRAM-SHA-256$4096:c2FsdA==$YQ==:Yg==", database: "postgres",
                user: "postgres", maxConnections: 20, sessions: 1, exclusive: false,
                waitSeconds: 60, idleSeconds: 10),
            minor: nil
        ).frame,
        "hello-join": PayloadExamples.join.older(\.minor).frame,
        "hello-join-minor": PayloadExamples.join.frame,
        "hello-ok": PayloadExamples.helloOK.older(\.minor).frame,
        "hello-ok-minor": PayloadExamples.helloOK.frame,
        "resume": Resume(session: "l1", secret: "r1", received: 600, minor: nil).frame,
        "resume-minor": Resume(session: "l1", secret: "r1", received: 600).frame,
        "resume-ok": PayloadExamples.resumeOK.frame,
        "ack": .number(.ack, 600),
        "ping": .number(.ping, 0x0123_4567_89AB_CDEF),
        "pong": .number(.pong, 0x0123_4567_89AB_CDEF),
        "go-away": GoAway(reason: "drain").frame,
        "error": LinkError(
            code: TunnelRefusal.Reason.takenOver.code,
            message: TunnelRefusal.Reason.takenOver.message, retry: false
        ).frame,
        "open": .frame(
            .open, stream: 1,
            Open(
                window: 262_144, client: "192.0.2.1:50000",
                parameters: [["user", "ann"], ["database", "app"]]
            ).payload),
        "open-cancel": .frame(
            .open, stream: 2, Open(window: 262_144, cancel: 1, after: 1_234).payload),
        "open-ok": .frame(.openOK, stream: 1, PayloadExamples.openOK.payload),
        "open-engine": .frame(.open, stream: 1, Open(engineWindow: 262_144).payload),
        "open-ok-engine": .frame(
            .openOK, stream: 1,
            OpenOK(
                window: 262_144,
                engine: OpenOK.Engine(name: "PGlite", copyIn: true, restarts: true, holds: true)
            ).payload),
        "data": .frame(.data, stream: 1, ByteBuffer(bytes: [0x53, 0, 0, 0, 4])),
        "data-fin": .data("", fin: true),
        "window": .number(.window, stream: 1, 393_216),
        "reset": .frame(
            .reset, stream: 1,
            StreamReset(
                .ended, sqlState: "57P01", text: Refusal.Reason.shareEnded.message
            ).payload),
        "extension": .header(type: 0x80, length: 3, stream: 0) + ByteBuffer(string: "new"),
    ]

    @Test func `every vector is what the encoder writes`() throws {
        let vectors = try self.document.vectors()
        #expect(Set(vectors.map(\.name)) == Set(Self.written.keys))
        #expect(vectors.count == Self.written.count)
        for vector in vectors { #expect(vector.bytes == Self.written[vector.name], "\(vector)") }
    }

    @Test func `the decoder reads every vector, and a vector of every frame is there`() throws {
        var seen: Set<FrameType> = []
        for vector in try self.document.vectors() {
            let told = try frames(of: vector.bytes)
            switch told.first {
            case .control(let header, let payload):
                seen.insert(header.type)
                #expect(header.length == payload.readableBytes)
            case .data(let header, _, _, let isLast):
                seen.insert(header.type)
                #expect(isLast)
            case nil:
                #expect(vector.name == "extension")
            }
            #expect(told.count <= 1)
        }
        #expect(seen == Set(FrameType.allCases))
    }

    // MARK: Tables

    @Test(arguments: FrameType.allCases)
    func `every frame has its row, with its number and its lengths`(type: FrameType) {
        let number = "`0x" + (type.rawValue < 0x10 ? "0" : "") + String(type.rawValue, radix: 16)
        let row = self.document.rows(of: "2. Frames").first { $0.first == number + "`" }
        let name = "\(type)".lowercased()
        #expect(row?.dropFirst().first?.lowercased().replacing("_", with: "") == name)
        let lengths = type.payloadLengths
        let said =
            lengths.count == 1
            ? "\(lengths.lowerBound)" : "\(lengths.lowerBound)...\(lengths.upperBound)"
        #expect(row?.dropFirst(2).first?.hasSuffix(", \(said)") == true)
    }

    @Test(arguments: [
        LinkViolation.unknownFrameType(0), .badLength(.ack, 0), .badStreamID(.ack, 1),
        .unexpected(.hello), .streamIDReused(1), .streamNeverOpened(1), .tooManyStreams(limit: 1),
        .badOffset(claimed: 1, acknowledged: 0, sent: 0), .badPayload(.open), .badRecord,
    ])
    func `every violation has its row`(violation: LinkViolation) {
        // A new violation must not compile until it stands among the arguments above.
        switch violation {
        case .unknownFrameType, .badLength, .badStreamID, .unexpected, .streamIDReused,
            .streamNeverOpened, .tooManyStreams, .badOffset, .badPayload, .badRecord:
            break
        }
        let rows = self.document.rows(of: "9. Close reasons")
        #expect(rows.contains { $0.first == "`\(violation.code)`" && $0.count == 2 })
    }

    @Test(arguments: StreamReset.Code.allCases)
    func `every RESET code has its row`(code: StreamReset.Code) {
        let row = self.document.rows(of: "10. RESET codes").first { $0.first == "\(code.rawValue)" }
        let name = row?.dropFirst().first?.replacing("`", with: "").replacing("_", with: "")
        #expect(name == "\(code)".lowercased())
    }

    @Test(arguments: Refusal.Reason.allCases)
    func `every refusal of a client has its row`(reason: Refusal.Reason) {
        let rows = self.document.rows(of: "11. What clients are told")
        let row = rows.first { $0.first == "`\(reason.rawValue)`" } ?? []
        #expect(row.count == 6)
        #expect(row.dropFirst().first?.utf8.count == 5)
        #expect(row.dropFirst(2).first == reason.message)
        #expect(row.dropFirst(3).first == (reason.needsAuthentication ? "yes" : "no"))
    }

    @Test(arguments: TunnelRefusal.Reason.allCases)
    func `every refusal of a tunnel has its row`(reason: TunnelRefusal.Reason) {
        let rows = self.document.rows(of: "9. Close reasons")
        let row = rows.first { $0.first == "`\(reason.code)`" && $0.count == 4 } ?? []
        #expect(row.dropFirst().first == reason.message)
        #expect(row.last == (reason.isRetryable ? "yes" : "no"))
    }

    @Test func `the limits are those of the code`() {
        let limits = LinkLimits()
        let browser = LinkLimits.browser
        let figures: [(String, Int, Int?)] = [
            ("frame header", FrameHeader.bytes, nil),
            ("payload of DATA and OPEN", FrameHeader.maximumPayloadBytes, nil),
            ("other JSON payloads", FrameHeader.maximumControlPayloadBytes, nil),
            ("sentence of RESET", StreamReset.maximumTextBytes, nil),
            (
                "first window of a stream *", limits.initialWindowBytes,
                browser.initialWindowBytes
            ),
            (
                "largest window of a stream *", limits.maximumWindowBytes,
                browser.maximumWindowBytes
            ),
            (
                "least window of a stream *", limits.minimumWindowBytes,
                browser.minimumWindowBytes
            ),
            (
                "windows of a link in all *", limits.windowBudgetBytes,
                browser.windowBudgetBytes
            ),
            (
                "largest window that may be claimed",
                Int(LinkLimits.maximumClaimedWindowBytes), nil
            ),
            ("kept for replay *", limits.replayBytes, browser.replayBytes),
            ("streams of a link at once *", limits.maximumStreams, browser.maximumStreams),
            (
                "queue of a stream before its source is paused *", limits.queueHighWaterBytes,
                browser.queueHighWaterBytes
            ),
            ("quantum of a turn", LinkLimits.quantumBytes, nil),
        ]
        let rows = self.document.rows(of: "14. Limits")
        for (name, value, ofBrowser) in figures {
            let row = rows.first { $0.first == name } ?? []
            #expect(row.dropFirst().first == "\(value)", "\(name)")
            if let ofBrowser { #expect(row.last == "\(ofBrowser)", "\(name)") }
        }
    }
}
