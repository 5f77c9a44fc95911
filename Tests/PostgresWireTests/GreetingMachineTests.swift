import NIOCore
import Testing

@testable import PostgresWire

private struct Heard: Equatable {
    var sent: [UInt8] = []
    var backendKey: CancelKey?
    var isFinished = false
    var error: PostgresError?
    var violation: GreetingViolation?
    var left: [UInt8] = []
}

private func hear(_ parts: [ByteBuffer], replacement: CancelKey? = nil) -> Heard {
    var machine = GreetingMachine(replacement: replacement)
    var heard = Heard()
    var bytes = ByteBuffer()
    for part in parts {
        bytes.writeImmutableBuffer(part)
        reading: while true {
            do throws(GreetingViolation) {
                switch try machine.receive(&bytes) {
                case .readMore: break reading
                case .forward(let buffer): heard.sent += buffer.array
                case .finished(let buffer, let key):
                    heard.sent += buffer.array
                    heard.backendKey = key
                    heard.isFinished = true
                case .failed(let error, let raw):
                    heard.sent += raw.array
                    heard.error = error
                }
            } catch {
                heard.violation = error
                return heard
            }
        }
    }
    heard.left = bytes.array
    return heard
}

struct GreetingMachineTests {
    private let before = PostgresMessage.parameterStatus("server_version", "18.0")
    private let notice = PostgresMessage.message(.noticeResponse) { $0.writeInteger(UInt8(0)) }

    @Test(arguments: [(4, 4), (4, 32), (32, 4), (256, 256)])
    func `the key is swapped and nothing else changes, however it is cut`(
        realBytes: Int, mintedBytes: Int
    ) throws {
        let real = try #require(
            CancelKey(processID: 11, secret: Array(repeating: 1, count: realBytes)))
        let minted = try #require(
            CancelKey(processID: 22, secret: Array(repeating: 2, count: mintedBytes)))
        let end = joined(self.notice, PostgresMessage.readyForQuery())
        let whole = joined(self.before, PostgresMessage.backendKeyData(real), end)
        let expected = joined(self.before, PostgresMessage.backendKeyData(minted), end)
        for parts in everyCut(of: whole) {
            let heard = hear(parts, replacement: minted)
            #expect(heard.sent == expected.array)
            #expect(heard.backendKey == real)
            #expect(heard.isFinished && heard.left.isEmpty)
        }
    }

    @Test func `an agent sends zeros in place of the key`() throws {
        let real = try #require(CancelKey(processID: 11, secret: [1, 2, 3, 4]))
        let heard = hear([
            joined(PostgresMessage.backendKeyData(real), PostgresMessage.readyForQuery())
        ])
        #expect(heard.sent.prefix(13) == PostgresMessage.backendKeyData(.zero).array[...])
        #expect(heard.backendKey == real)
    }

    @Test func `what is behind ReadyForQuery stays`() {
        let heard = hear([joined(PostgresMessage.readyForQuery(), ByteBuffer(string: "rest"))])
        #expect(heard.isFinished)
        #expect(heard.backendKey == nil)
        #expect(heard.left == Array("rest".utf8))
    }

    @Test func `an error comes out whole, behind what was before it`() {
        let error = PostgresError(
            sqlState: .invalidCatalogName, message: "no such database", detail: "d", hint: "h")
        let whole = joined(self.before, error.encoded())
        for parts in everyCut(of: whole) {
            let heard = hear(parts)
            #expect(heard.error == error)
            #expect(heard.sent == whole.array)
        }
    }

    @Test(
        arguments: [
            ([0x44, 0, 0, 0, 5], .unexpected("D")),
            ([0x53, 0, 0, 0, 4], .badLength(type: "S", 4)),
            ([0x53, 0xff, 0xff, 0xff, 0xff], .badLength(type: "S", 0xffff_ffff)),
            ([0x4b, 0, 0, 0, 11], .badLength(type: "K", 11)),
            ([0x4b, 0, 0, 1, 9], .badLength(type: "K", 265)),
            ([0x5a, 0, 0, 0, 4], .badLength(type: "Z", 4)),
            ([0x5a, 0, 0, 0, 6], .badLength(type: "Z", 6)),
        ] as [([UInt8], GreetingViolation)])
    func `a message with no place or length here is refused at its header`(
        bytes: [UInt8], expected: GreetingViolation
    ) {
        for parts in everyCut(of: ByteBuffer(bytes: bytes)) {
            #expect(hear(parts).violation == expected)
        }
    }

    @Test func `a greeting without end is refused`() {
        let long = PostgresMessage.parameterStatus("x", String(repeating: "y", count: 1_000))
        let count = GreetingMachine.maximumGreetingBytes / long.readableBytes + 1
        let heard = hear(Array(repeating: long, count: count))
        #expect(heard.violation == .tooLong)
    }
}

struct PostgresErrorTests {
    @Test func `an error survives its bytes`() {
        for severity in PostgresError.Severity.allCases {
            let error = PostgresError(
                severity: severity, sqlState: .invalidPassword, message: "m", detail: "d", hint: "h"
            )
            var bytes = error.encoded()
            bytes.moveReaderIndex(forwardBy: 5)
            #expect(PostgresError.parse(body: bytes) == error)
        }
    }

    @Test(arguments: ["", "M", "Mabc", "\0", "Zz\0", "SFATAL\0Mx"])
    func `a body that is not whole still gives an error`(body: String) {
        let error = PostgresError.parse(body: ByteBuffer(string: body))
        #expect(error.sqlState == .internalError)
    }

    @Test func `a NUL in a message cannot end it early`() {
        var bytes = PostgresError(sqlState: .internalError, message: "a\0b").encoded()
        bytes.moveReaderIndex(forwardBy: 5)
        #expect(PostgresError.parse(body: bytes).message == "ab")
    }
}

struct SecretTests {
    @Test func `secrets are not printed`() throws {
        let key = try #require(CancelKey(processID: 5, secret: [77, 77, 77, 77]))
        let secret = Secret("hunter2")
        var dumped = ""
        dump((key, secret), to: &dumped)
        for text in ["\(key)", String(reflecting: key), "\(secret)", String(reflecting: secret)]
            + [dumped]
        {
            #expect(!text.contains("77") && !text.contains("hunter2"))
        }
    }

    @Test func `keys differ by process and by every byte of the secret`() throws {
        let key = try #require(CancelKey(processID: 5, secret: [1, 2, 3, 4]))
        #expect(key == CancelKey(processID: 5, secret: [1, 2, 3, 4]))
        #expect(key != CancelKey(processID: 6, secret: [1, 2, 3, 4]))
        #expect(key != CancelKey(processID: 5, secret: [1, 2, 3, 5]))
        #expect(key != CancelKey(processID: 5, secret: [1, 2, 3, 4, 0]))
        #expect(CancelKey(processID: 5, secret: [1, 2, 3]) == nil)
        #expect(CancelKey(processID: 5, secret: Array(repeating: 0, count: 257)) == nil)
    }

    @Test func `a minted key fits the client's protocol`() {
        var random = SeededGenerator(seed: 1)
        let old = CancelKey.mint(processID: 1, version: .v3_0, using: &random)
        let new = CancelKey.mint(processID: 1, version: .v3_2, using: &random)
        #expect(old.secret.count == 4)
        #expect(new.secret.count == 32)
    }
}
