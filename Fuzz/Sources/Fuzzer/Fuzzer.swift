import FuzzBodies
import NIOCore

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Which body runs: the environment names it, so that one program holds them all.
private let target: FuzzTarget = {
    guard let name = getenv("PGSHARE_FUZZ").map({ String(cString: $0) }),
        let target = FuzzTarget(rawValue: name)
    else {
        print("PGSHARE_FUZZ must name one of \(FuzzTarget.allCases.map(\.rawValue))")
        exit(2)
    }
    return target
}()

/// libFuzzer calls this with bytes of its own making.
@_cdecl("LLVMFuzzerTestOneInput")
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let input = UnsafeBufferPointer(start: start, count: count)
    do throws(Broken) {
        try target.run(ByteBuffer(bytes: input))
    } catch {
        fatalError("\(target.rawValue): \(error)")
    }
    return 0
}

/// Where SwiftPM lets the program begin: libFuzzer's own `main` gives way to it.
@_cdecl("Fuzzer_main")
func begin(
    _ count: CInt, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
) -> CInt {
    var count = count
    var arguments = arguments
    return runDriver(&count, &arguments, fuzz)
}

/// Source: "Using libFuzzer as a library" in LLVM's documentation.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
    _ body: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt
