import NIOCore
import PostgresWire

/// libFuzzer calls this with bytes of its own making.
///
/// The first byte chooses who gets the rest; the machine runs until it wants more or refuses.
@_cdecl("LLVMFuzzerTestOneInput")
func fuzzPostgres(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let input = UnsafeBufferPointer(start: start, count: count)
    guard let choice = input.first else { return 0 }
    var bytes = ByteBuffer(bytes: input.dropFirst())
    // A refusal is as good an answer as any; that nothing traps is what is looked for.
    switch choice % 4 {
    case 0: try? runStartup(&bytes)
    case 1: try? runGreeting(&bytes)
    case 2: runClientLogin(&bytes)
    default: _ = PostgresError.parse(body: bytes)
    }
    return 0
}

private func runStartup(_ bytes: inout ByteBuffer) throws {
    var machine = StartupMachine()
    while true {
        switch try machine.receive(&bytes) {
        case .readMore, .cancel, .startDirectTLS: return
        case .declineEncryption: continue
        case .startTLS: machine.tlsEstablished()
        case .route(var request):
            _ = request.takeOption("pgshare.share")
            return
        }
    }
}

private func runGreeting(_ bytes: inout ByteBuffer) throws {
    var machine = GreetingMachine(replacement: nil)
    while true {
        switch try machine.receive(&bytes) {
        case .readMore, .finished, .failed: return
        case .forward: continue
        }
    }
}

private func runClientLogin(_ bytes: inout ByteBuffer) {
    var random = Zeros()
    var machine = ClientLoginMachine(
        startup: [], credentials: .init(user: "u", password: Secret("p")), channelBinding: nil)
    _ = machine.start()
    while true {
        switch machine.receive(&bytes, using: &random) {
        case .readMore, .authenticated, .failed: return
        case .send: continue
        }
    }
}

/// The same input must do the same each time.
private struct Zeros: RandomNumberGenerator {
    mutating func next() -> UInt64 { 0x0123_4567_89AB_CDEF }
}
