import NIOCore
import Simulation
import Testing

@testable import SharedSession

/// Texts that nobody in his right mind sends.
struct SQLHostileTests {
    private static let biased = Array("'\"$$\\-/*;eEuU&nNbBxX()a1_\n. \r\u{0}:".utf8)

    @Test(arguments: UInt64(0)..<500)
    func `no bytes crash the analysis`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let count = Int.random(in: 0...4_096, using: &random)
        let bytes = (0..<count).map { _ -> UInt8 in
            if Int.random(in: 0..<16, using: &random) == 0 {
                return .random(in: 0...255, using: &random)
            }
            return Self.biased.randomElement(using: &random) ?? 0
        }
        for conforming in [true, false] {
            let statements = SQLAnalysis(
                ByteBuffer(bytes: bytes), standardConformingStrings: conforming
            ).statements
            var end = 0
            for statement in statements {
                #expect(statement.range.lowerBound >= end)
                end = statement.range.upperBound
            }
            #expect(end <= bytes.count)
        }
    }

    /// What costs an analysis that is not linear hours, costs ours moments: 64 KiB each.
    @Test(arguments: [
        "'", "''", "'\n", "'a'\n", "'a' --\n", "'a'\n--", "\"", "$", "$$", "$a", "$a$", "$a$b",
        "$aaaaaaaa$$",
        "$a$$aa", "/*", "*/", "/*/", "--", "-", "\\", "E'\\", "e'\\'", "u&\"", "U&\"\\", "(", ")",
        "f(", ";",
        "a.", "a.b(", "set ", "set a", "set_config(", "'a.a", "set a.a=", "begin atomic ", "end;",
        "as ",
        "execute ", "set \"a", "set session ", "copy ", "::", "select 1;", "update pg_settings ",
        "x'",
        "\u{0}", "\u{80}", "1e", "with a(", "explain ", "set_config 'a.b' ",
    ])
    func `the analysis takes linear time`(unit: String) {
        for start in ["", "set a.b = '", "create function f() begin atomic ", "do $x$ set_config "]
        {
            let bytes =
                Array(start.utf8)
                + Array(
                    repeatElement(Array(unit.utf8), count: 65_536 / unit.utf8.count).joined()
                )
            let clock = ContinuousClock()
            let taken = clock.measure { _ = SQLAnalysis(bytes) }
            #expect(taken < .seconds(5), "\(bytes.count) bytes")
        }
    }

    @Test func `names are cut, whatever they are`() {
        for count in [0, 1, 62, 63, 64, 65, 1_000] {
            for byte in [UInt8(ascii: "a"), 0x80, 0xc3, 0xff] {
                let name = [UInt8](repeating: byte, count: count)
                let texts = [
                    Array("listen \"".utf8) + name + Array("\"".utf8), Array("listen ".utf8) + name,
                    Array("listen U&\"".utf8) + name + Array("\\00e4\"".utf8),
                ]
                for text in texts {
                    for statement in SQLAnalysis(text).statements {
                        guard case .listen(let name) = statement.kind else { continue }
                        #expect(name.name.unicodeScalars.count <= 63)
                    }
                }
            }
        }
    }

    @Test(arguments: [
        "listen U&\"\\\"", "listen U&\"\\00\"", "listen U&\"\\zzzz\"", "listen U&\"\\d800\"",
        "listen U&\"\\dc00\"", "listen U&\"\\d800\\0061\"", "listen U&\"\\+110000\"",
        "listen U&\"\\0000\"",
        "listen U&\"\\+-00001\"", "listen U&\"a\" uescape 'ab'", "listen 'a'", "listen", "execute",
        "prepare", "deallocate", "copy", "declare", "explain", "set", "reset",
        "create table t as execute",
        "unlisten", "start", "discard", "explain (", "create or replace", "copy binary",
        "copy from",
    ])
    func `statements that end too early are something else`(text: String) {
        #expect(statements(text).count == 1)
    }

    @Test func `a surrogate pair is one character`() {
        let found = statements("listen U&\"\\d83d\\de00!\"").map(\.kind)
        #expect(found == [.listen(SQLName(name: "😀!", range: 7..<22))])
    }
}
