import NIOCore
import TestSupport

/// How this engine differs from a tame one.
struct EngineQuirks: Hashable, Sendable {
    /// An extended exchange that fails in a call without Sync is answered with a ReadyForQuery of
    /// its own, as in older builds of PGlite.
    var surplusReady = false
    /// Every ROLLBACK comes with a warning `# 1743: …`.
    var rollbackWarnings = false
    /// Never says ParameterStatus.
    var hidesParameters = false
}

/// One Postgres backend, driven as PGlite is driven: by calls, each answered by all its bytes.
///
/// It is stricter than PGlite: what would trap there, or hang, is an ``OracleFailure`` here.
final class EngineSession {
    private let server: TestPostgres
    private let database: String
    private let quirks: EngineQuirks
    private var socket: BackendSocket
    /// An error was seen in an extended exchange, and its Sync not sent yet.
    private var isSkipping = false
    /// The status of the last ReadyForQuery.
    private(set) var status = UInt8(ascii: "I")
    private(set) var calls = 0
    /// The engine's own greeting: what a page sees of it.
    private(set) var greeting: [WireMessage] = []

    private static let marker = "the end of this call"

    init(_ server: TestPostgres, database: String, quirks: EngineQuirks = EngineQuirks()) throws {
        self.server = server
        self.database = database
        self.quirks = quirks
        self.socket = try BackendSocket(server)
        try self.greet()
    }

    /// A new backend: whatever the session knew is gone.
    func restart() throws {
        self.socket = try BackendSocket(self.server)
        self.isSkipping = false
        self.status = UInt8(ascii: "I")
        try self.greet()
    }

    private func greet() throws {
        self.greeting = try self.socket.start([("user", "postgres"), ("database", self.database)])
    }

    /// One call: whole messages in, all of their answers out.
    func call(_ bytes: ByteBuffer) throws -> ByteBuffer {
        self.calls += 1
        var expected = try CallExpectation(bytes, isSkipping: self.isSkipping)
        var wire = expected.bytes
        if expected.endsOpen {
            wire.writeImmutableBuffer(FrontendMessage.close(statement: Self.marker))
            wire.writeImmutableBuffer(FrontendMessage.flush)
        }
        self.socket.send(wire)
        var reply = ByteBuffer()
        while !expected.isComplete {
            guard let message = try self.socket.next() else {
                throw OracleFailure("the engine ended the session: \(expected.outline)")
            }
            try expected.take(message)
            if expected.isMarker { break }
            self.add(message, to: &reply)
        }
        if expected.readies > 0 { self.status = expected.status ?? self.status }
        self.isSkipping = expected.isSkipping
        if self.quirks.surplusReady, expected.failedWithoutSync {
            reply.writeImmutableBuffer(self.ready(afterError: true))
        }
        return reply
    }

    private func ready(afterError: Bool) -> ByteBuffer {
        let inTransaction = self.status != UInt8(ascii: "I")
        return FrontendMessage.message("Z") { body in
            body.writeInteger(UInt8(ascii: inTransaction ? (afterError ? "E" : "T") : "I"))
        }
    }

    private func add(_ message: WireMessage, to reply: inout ByteBuffer) {
        if self.quirks.rollbackWarnings, message.isType("C"),
            message.body.readableBytesView.elementsEqual(Array("ROLLBACK\0".utf8))
        {
            reply.writeImmutableBuffer(
                FrontendMessage.message("N") { body in
                    for field in [
                        "SWARNING", "VWARNING", "C01000", "M# 1743: aborting transaction 7",
                        "Fxact.c", "L1743", "RUserAbortTransactionBlock",
                    ] { body.writeText(field) }
                    body.writeInteger(UInt8(0))
                })
        }
        if self.quirks.hidesParameters, message.isType("S") { return }
        guard message.isType("A") else {
            reply.writeImmutableBuffer(message.whole)
            return
        }
        // The engine has no process id.
        var whole = message.whole
        whole.setInteger(Int32(0), at: whole.readerIndex + 5)
        reply.writeImmutableBuffer(whole)
    }
}

/// When the reply to a call is complete, and whether PGlite would have taken the call at all.
struct CallExpectation {
    /// What goes to the backend: Flush is left out.
    private(set) var bytes = ByteBuffer()
    /// The types of its messages, for failures.
    private(set) var outline = ""
    /// ReadyForQuery messages seen.
    private(set) var readies = 0
    private(set) var status: UInt8?
    private(set) var isMarker = false

    private var owedReadies = 0
    /// Syncs inside of CopyData, which count only if there was no CopyInResponse.
    private var doubtfulSyncs = 0
    private var copyEnds = 0
    private var copyStarts = 0
    /// CloseComplete messages of the tail behind the last Sync, the marker's included.
    private var owedCloses = 1
    private var wasSkipping: Bool
    private var sawError = false
    private var queries = 0
    private var extended = 0
    /// What follows the last message that is answered by ReadyForQuery.
    private var tail = 0

    /// - Throws: ``OracleFailure`` if PGlite would not take it.
    init(_ call: ByteBuffer, isSkipping: Bool) throws(OracleFailure) {
        self.wasSkipping = isSkipping
        var rest = call
        var pendingSyncs = 0
        while let message = rest.readWireMessage() {
            let letter = String(Unicode.Scalar(message.type))
            self.outline += letter
            switch letter {
            case "Q", "F":
                self.queries += 1
                // What was ended by a Sync before is another exchange.
                self.extended = self.tail
                // Everything is skipped until Sync, a Query too.
                if !isSkipping || self.owedReadies > 0 { self.end() }
            case "S":
                self.end()
                pendingSyncs += 1
            case "P", "B", "D", "E", "C":
                self.extended += 1
                self.tail += 1
                pendingSyncs = 0
                if letter == "C" { self.owedCloses += 1 }
            case "c", "f":
                self.copyEnds += 1
                self.doubtfulSyncs += pendingSyncs
                pendingSyncs = 0
            case "d", "H": break
            default: throw OracleFailure("the engine was sent \(letter): \(self.outline)")
            }
            if letter != "H" { self.bytes.writeImmutableBuffer(message.whole) }
        }
        guard rest.readableBytes == 0 else {
            throw OracleFailure("a call ends inside of a message: \(self.outline)")
        }
        guard self.queries <= 1 else {
            throw OracleFailure("two Queries in one call: \(self.outline)")
        }
        guard self.queries == 0 || self.extended == 0 else {
            throw OracleFailure("Query beside extended messages: \(self.outline)")
        }
    }

    private mutating func end() {
        self.owedReadies += 1
        self.owedCloses = 1
        self.tail = 0
    }

    /// Whether it ends without a message that is answered by ReadyForQuery.
    var endsOpen: Bool { self.tail > 0 || self.owedReadies == 0 }

    var isSkipping: Bool { self.sawError || (self.wasSkipping && self.owedReadies == 0) }

    var failedWithoutSync: Bool { self.endsOpen && self.sawError }

    /// Whether every answer was seen.
    var isComplete: Bool {
        let swallowed = self.copyStarts > 0 ? self.doubtfulSyncs : 0
        guard self.readies >= self.owedReadies - swallowed else { return false }
        guard self.endsOpen else { return true }
        return self.isMarker || self.isSkipping
    }

    /// Takes one message of the backend.
    mutating func take(_ message: WireMessage) throws(OracleFailure) {
        switch String(Unicode.Scalar(message.type)) {
        case "Z":
            self.readies += 1
            self.sawError = false
            self.status = message.body.readableBytesView.first
        case "E": self.sawError = true
        case "3" where self.readies == self.owedReadies:
            self.owedCloses -= 1
            self.isMarker = self.owedCloses == 0
        case "G":
            self.copyStarts += 1
            guard self.copyStarts <= self.copyEnds else {
                throw OracleFailure(
                    "COPY FROM STDIN without its end in the call: PGlite traps: \(self.outline)")
            }
        default: break
        }
    }
}
