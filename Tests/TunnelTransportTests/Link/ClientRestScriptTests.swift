import NIOCore
import Testing

@testable import TunnelTransport

/// Scripts of a client and its database, a letter a message, cut anywhere.
///
/// `>` the client sends, `<` the database answers (`Z` idle, `z` in a transaction), `+` at rest,
/// `-` under way. Every `D` of the database looks like a ReadyForQuery at its end.
struct ClientRestScriptTests {
    private static func message(_ type: Character) -> [UInt8] {
        let body =
            switch type {
            case "Z": "I"
            case "z": "T"
            case "c", "S", "H": ""
            case "D": "Z\0\0\0\u{5}I"
            default: "x"
            }
        let letter = type == "z" ? UInt8(ascii: "Z") : type.asciiValue ?? 0
        return [letter, 0, 0, 0, UInt8(4 + body.utf8.count)] + Array(body.utf8)
    }

    private static func pieces(_ letters: Substring, of size: Int) -> [ByteBuffer] {
        let bytes = letters.flatMap { Self.message($0) }
        return stride(from: 0, to: bytes.count, by: size).map { start in
            ByteBuffer(bytes: bytes[start..<min(bytes.count, start + size)])
        }
    }

    @Test(arguments: [
        // An extended query without its Sync.
        "+ >PBDEH - <12TDC - >S - <Z +", ">CH - <3 - >S <Z +", ">PBE - >S - <12CZ +",
        // Data that looks like a ReadyForQuery.
        ">Q <TD - <D - <CZ +",
        // COPY FROM STDIN, extended: the Sync ahead of its end has no answer.
        ">PBDES - <12nG - >dd - >c - >S - <CZ + >Q - <TDCZ +",
        ">PBDESddcS - <12nG - <CZ +", ">PBDESddcS <E - <Z - <Z +",
        ">PBDEH <12nG - >dSdSc - >S - <CZ +",
        // An error ends it: what follows is answered in the end.
        ">PBDES <12nG >d <E - >cS - <Z - >Q <TDC - <Z +",
        ">PBDES <12nG - <E - >cS <Z - <Z +",
        ">PBDES <12nG >cSQ <E - <Z - <Z - <TDC - <Z +",
        ">PBDES <12nG >cSQQ <E - <Z - <TDC - <Z - <CZ +",
        // Behind an error without a Sync, all up to the Sync is dropped.
        ">PBQ <E - >S - <Z +", ">P - <E - >QF - >BES - <Z +", ">PQPES <E - <Z +",
        ">PQQS <1 - <EZ - <TDCZ - <Z +", ">PBE <12C >Q - <EZ +",
        // An error of the Sync itself.
        ">PBEH <12C >S - <E - <Z +", ">H +",
        // COPY FROM STDIN, simple.
        ">Q <G - >dc - <CZ +", ">Q <G - >df - <EZ +",
        // A second query while the first is answered.
        ">Q <TD >Q - <DCZ - <TC - <Z +",
        // What comes unasked.
        "<A + <S + <N + >Q - <A - <CZA +",
        ">Q <Cz - <A - >Q <CZ +", ">F - <VZ +",
    ])
    func `a client is at rest where nothing is under way, however it is cut`(
        script: String
    ) throws {
        for size in 1..<40 {
            var rest = ClientRest()
            for piece in Self.pieces("KZ", of: 100) { rest.greeted(piece) }
            for step in script.split(separator: " ") {
                switch step.first {
                case ">": for piece in Self.pieces(step.dropFirst(), of: size) { rest.sent(piece) }
                case "<":
                    for piece in Self.pieces(step.dropFirst(), of: size) { rest.delivered(piece) }
                case let sign: #expect(rest.isAtRest == (sign == "+"), "\(script), by \(size)")
                }
            }
            #expect(rest.isBetweenMessages)
        }
    }

    @Test func `an answer that comes with the greeting is an answer`() {
        var rest = ClientRest()
        for piece in Self.pieces("Q", of: 100) { rest.sent(piece) }
        for piece in Self.pieces("KSZTDCZ", of: 100) { rest.greeted(piece) }
        #expect(rest.isAtRest)
    }
}
