import NIOCore
import Testing

@testable import PostgresWire

/// What a machine did with some bytes, in order; a violation comes last.
private enum Step: Equatable {
    case action(StartupMachine.OnReceive)
    case violation(StartupViolation)
}

private enum Start: CaseIterable {
    case plaintext, plaintextDeclined, upgrading, encrypted, encryptedDeclined, finished

    func machine() throws -> StartupMachine {
        var machine = StartupMachine()
        var gss = PostgresMessage.gssRequest()
        var ssl = PostgresMessage.sslRequest()
        switch self {
        case .plaintext: break
        case .plaintextDeclined: _ = try machine.receive(&gss)
        case .upgrading: _ = try machine.receive(&ssl)
        case .encrypted:
            _ = try machine.receive(&ssl)
            machine.tlsEstablished()
        case .encryptedDeclined:
            _ = try machine.receive(&gss)
            _ = try machine.receive(&ssl)
            machine.tlsEstablished()
        case .finished:
            var cancel = PostgresMessage.cancelRequest(.zero)
            _ = try machine.receive(&cancel)
        }
        return machine
    }
}

private func run(_ start: Start, _ parts: [ByteBuffer]) throws -> [Step] {
    var machine = try start.machine()
    var bytes = ByteBuffer()
    var steps: [Step] = []
    for part in parts {
        bytes.writeImmutableBuffer(part)
        do throws(StartupViolation) {
            let action = try machine.receive(&bytes)
            if action != .readMore { steps.append(.action(action)) }
        } catch {
            steps.append(.violation(error))
            return steps
        }
    }
    return steps
}

private let request = StartupRequest(parameters: [
    .init(name: "user", value: "ada"), .init(name: "database", value: "shop"),
])
private let startup = PostgresMessage.startup(request.parameters)

struct StartupMachineTests {
    @Test func `every phase and packet has its row`() throws {
        let cancel = PostgresMessage.cancelRequest(.zero)
        let ssl = PostgresMessage.sslRequest()
        let gss = PostgresMessage.gssRequest()
        let hello = ByteBuffer(bytes: [0x16, 3, 1])
        let clear = { (count: Int) in Step.violation(.plaintextBehindTLSRequest(bytes: count)) }
        let table: [(Start, ByteBuffer, [Step])] = [
            (.plaintext, ssl, [.action(.startTLS)]),
            (.plaintext, gss, [.action(.declineEncryption)]),
            (.plaintext, cancel, [.action(.cancel(.zero))]),
            (.plaintext, startup, [.violation(.tlsRequired)]),
            (.plaintext, hello, [.action(.startDirectTLS)]),
            (.plaintextDeclined, ssl, [.action(.startTLS)]),
            (.plaintextDeclined, gss, [.violation(.unexpected("GSSENCRequest"))]),
            (.plaintextDeclined, cancel, [.action(.cancel(.zero))]),
            (.plaintextDeclined, startup, [.violation(.tlsRequired)]),
            (
                .plaintextDeclined, ByteBuffer(bytes: [0x16, 3, 1, 0]),
                [.violation(.badLength(0x1603_0100))]
            ),
            (.upgrading, ssl, [clear(8)]),
            (.upgrading, gss, [clear(8)]),
            (.upgrading, cancel, [clear(16)]),
            (.upgrading, startup, [clear(startup.readableBytes)]),
            (.encrypted, ssl, [.violation(.unexpected("SSLRequest"))]),
            (.encrypted, gss, [.action(.declineEncryption)]),
            (.encrypted, cancel, [.action(.cancel(.zero))]),
            (.encrypted, startup, [.action(.route(request))]),
            (.encryptedDeclined, ssl, [.violation(.unexpected("SSLRequest"))]),
            (.encryptedDeclined, gss, [.violation(.unexpected("GSSENCRequest"))]),
            (.encryptedDeclined, cancel, [.action(.cancel(.zero))]),
            (.encryptedDeclined, startup, [.action(.route(request))]),
            (.finished, ssl, []), (.finished, gss, []), (.finished, cancel, []),
            (.finished, startup, []),
        ]
        for (start, bytes, expected) in table {
            #expect(try run(start, [bytes]) == expected, "\(start)")
        }
    }

    @Test func `a packet means the same however it is cut`() throws {
        let longKey = try #require(CancelKey(processID: 7, secret: Array(repeating: 9, count: 256)))
        let vectors: [(Start, ByteBuffer)] = [
            (.plaintext, PostgresMessage.sslRequest()), (.plaintext, PostgresMessage.gssRequest()),
            (.plaintext, PostgresMessage.cancelRequest(longKey)), (.plaintext, startup),
            (.encrypted, startup), (.encrypted, PostgresMessage.cancelRequest(longKey)),
            (.encrypted, PostgresMessage.gssRequest()),
            (.encrypted, PostgresMessage.sslRequest()),
            (.plaintext, ByteBuffer(bytes: [0, 0, 0, 3])),
            (.plaintext, ByteBuffer(bytes: [0xff, 0xff, 0xff, 0xff])),
        ]
        for (start, bytes) in vectors {
            let whole = try run(start, [bytes])
            #expect(whole.count == 1)
            for parts in everyCut(of: bytes) {
                #expect(try run(start, parts) == whole)
            }
        }
    }

    @Test(arguments: [0, 3, 7, 10_001, 0x8000_0000, 0xffff_ffff] as [UInt32])
    func `a length no packet has is refused at its fourth byte`(length: UInt32) throws {
        let bytes = ByteBuffer(integer: length)
        for start in [Start.plaintext, .encrypted] {
            #expect(try run(start, [bytes]) == [.violation(.badLength(Int(length)))])
        }
    }

    @Test(arguments: [(10_000, true), (10_001, false)])
    func `a startup packet of ten thousand bytes is taken`(count: Int, isTaken: Bool) throws {
        let empty = PostgresMessage.startup([.init(name: "user", value: "")])
        let user = String(repeating: "x", count: count - empty.readableBytes)
        let bytes = PostgresMessage.startup([.init(name: "user", value: user)])
        #expect(bytes.readableBytes == count)
        let routed = StartupRequest(parameters: [.init(name: "user", value: user)])
        let expected = isTaken ? Step.action(.route(routed)) : .violation(.badLength(count))
        #expect(try run(.encrypted, [bytes]) == [expected])
    }

    @Test func `bytes in clear behind a request for encryption are refused`() throws {
        for first in [PostgresMessage.sslRequest(), PostgresMessage.gssRequest()] {
            let bytes = joined(first, ByteBuffer(string: "select 1"))
            #expect(
                try run(.plaintext, [bytes]) == [.violation(.plaintextBehindTLSRequest(bytes: 8))])
        }
    }

    @Test func `direct TLS takes nothing off the bytes`() throws {
        var machine = StartupMachine()
        var bytes = ByteBuffer(bytes: [0x16, 3, 1, 2, 0])
        #expect(try machine.receive(&bytes) == .startDirectTLS)
        #expect(bytes.readableBytes == 5)
        machine.tlsEstablished()
        var packet = startup
        #expect(try machine.receive(&packet) == .route(request))
    }

    @Test func `a cancel secret has 4 to 256 bytes`() throws {
        for (count, isLegal) in [(3, false), (4, true), (256, true), (257, false)] {
            var bytes = ByteBuffer()
            bytes.writeInteger(UInt32(12 + count))
            bytes.writeInteger(StartupPacket.cancelRequestCode)
            bytes.writeInteger(Int32(1))
            bytes.writeRepeatingByte(1, count: count)
            let steps = try run(.plaintext, [bytes])
            #expect((steps == [.violation(.badLength(12 + count))]) == !isLegal)
        }
    }

    @Test func `an unsupported version is refused before its body came`() throws {
        let two = ByteBuffer(bytes: [0, 0, 0, 100, 0, 2, 0, 0])
        let version = ProtocolVersion(major: 2, minor: 0)
        #expect(try run(.encrypted, [two]) == [.violation(.unsupportedVersion(version))])
    }

    @Test(
        arguments: [
            [0x61, 0], [0x61, 0, 0x62], [0x61, 0, 0x62, 0], [0, 0], [0xff, 0, 0x62, 0, 0], [],
        ] as [[UInt8]])
    func `a startup body that does not parse is malformed`(body: [UInt8]) throws {
        var bytes = ByteBuffer(integer: UInt32(8 + body.count))
        bytes.writeInteger(ProtocolVersion.v3_0.word)
        bytes.writeBytes(body)
        let step = try run(.encrypted, [bytes]).first
        guard case .violation(.malformed)? = step else {
            Issue.record("\(body) gave \(String(describing: step))")
            return
        }
    }

    /// Nothing a stranger sends makes the machine hold more than one packet.
    @Test(arguments: UInt64(0)..<200)
    func `random bytes end soon and hold little`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for start in [Start.plaintext, .encrypted] {
            var machine = try start.machine()
            var bytes = ByteBuffer(bytes: random.bytes(Int.random(in: 1...64, using: &random)))
            // Half of them look like a packet at first.
            if Bool.random(using: &random) { bytes.setInteger(UInt32(64), at: 0) }
            do throws(StartupViolation) {
                let action = try machine.receive(&bytes)
                if action == .readMore {
                    let announced = bytes.getInteger(at: bytes.readerIndex, as: UInt32.self) ?? 8
                    #expect((8...10_000).contains(announced))
                }
            } catch {
                #expect(try machine.receive(&bytes) == .readMore)
            }
        }
    }
}
