// swift-tools-version: 6.2

import PackageDescription

// A package of its own, so that the fuzzers never touch the build of the others. It has the same
// name, so that `package` declarations are visible here. The sources are links to `../Sources`.

let settings: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

// libFuzzer brings `main`; `--sanitize=fuzzer` on the command line links it.
let fuzzer = settings + [.unsafeFlags(["-parse-as-library"])]

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let cryptoExtras = Target.Dependency.product(name: "CryptoExtras", package: "swift-crypto")
let asn1 = Target.Dependency.product(name: "SwiftASN1", package: "swift-asn1")

let package = Package(
    name: "pgshare",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
    ],
    targets: [
        .target(name: "TunnelWire", dependencies: [nioCore], swiftSettings: settings),
        .target(
            name: "PostgresWire", dependencies: [nioCore, crypto, cryptoExtras, asn1],
            swiftSettings: settings),
        .executableTarget(
            name: "FuzzLink", dependencies: ["TunnelWire", nioCore], swiftSettings: fuzzer),
        .executableTarget(
            name: "FuzzPostgres", dependencies: ["PostgresWire", nioCore], swiftSettings: fuzzer),
    ],
    swiftLanguageModes: [.v6]
)
