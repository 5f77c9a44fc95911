#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Runs one case a number of times, for `scripts/microbench` to count instructions and allocations.
///
///     pgshare-microbench CASE ITERATIONS
///
/// What a case needs is made once, before the first iteration. The script runs a case twice with
/// different counts and divides the difference, so that start-up is in no figure.
@main
struct MicroBenchmarks {
    /// A case: prepares, and returns what one iteration does.
    ///
    /// The number that comes back is printed in the end, so that the work cannot be optimised away.
    typealias Case = @Sendable () throws -> (() throws -> Int)

    private static let cases: [(name: String, prepare: Case)] = [
        ("frames", FrameCases.frames),
        ("roundtrip", LinkCases.roundtrip),
        ("splice", LinkCases.splice),
        ("scram", LoginCases.scram),
        ("startup", LoginCases.startup),
    ]

    static func main() throws {
        let arguments = CommandLine.arguments.dropFirst()
        guard let name = arguments.first, arguments.count == 2,
            let iterations = arguments.last.flatMap({ Int($0) }),
            let chosen = self.cases.first(where: { $0.name == name })
        else {
            print(self.cases.map { $0.name }.joined(separator: "\n"))
            exit(arguments.isEmpty ? 0 : 2)
        }
        let iterate = try chosen.prepare()
        var total = 0
        for _ in 0..<iterations {
            total &+= try iterate()
        }
        print("\(name) \(iterations) \(total)")
    }
}

/// A case did not do what it measures; its figures would mean nothing.
struct UnexpectedResult: Error {
    var what: String
}

/// The same numbers in every run (SplitMix64), so that counts do not depend on the nonce.
struct FixedGenerator: RandomNumberGenerator {
    private var state: UInt64 = 42

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var word = self.state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }
}
