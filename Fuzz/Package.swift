// swift-tools-version: 6.2

import PackageDescription

// A package of its own, so that the fuzzers never touch the build of the others. It has the same
// name, so that `package` declarations are visible here. The sources are links to `../Sources`; of
// a target that stands on channels only the pure files are compiled.

let settings: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

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
        .target(name: "SharePolicy", dependencies: [nioCore, crypto], swiftSettings: settings),
        .target(
            name: "SharedSession", dependencies: ["PostgresWire", nioCore],
            swiftSettings: settings),
        .target(
            name: "TunnelTransport", dependencies: [nioCore, crypto],
            sources: [
                "WebSocket/WebSocketClose.swift", "WebSocket/WebSocketFrameHeader.swift",
                "WebSocket/WebSocketHandshake.swift", "WebSocket/WebSocketMask.swift",
                "WebSocket/WebSocketReader.swift",
            ],
            swiftSettings: settings),
        .target(
            name: "Relay", dependencies: ["PostgresWire", "SharePolicy", nioCore],
            sources: [
                "FrontDoor/ClientHello.swift", "FrontDoor/ProxyHeader.swift",
                "HTTP/SignedToken.swift",
                "DatabaseBuild/FrameReader.swift", "DatabaseBuild/DatabaseBuildMachine.swift",
                "DatabaseBuild/BuildExchange.swift", "Telemetry/LogText.swift",
            ],
            swiftSettings: settings),
        .target(
            name: "PostgresClient", dependencies: ["PostgresWire", nioCore],
            sources: [
                "Session/StatementScanner.swift", "Session/DoorPolicy.swift",
                "Session/CopyMachine.swift", "Session/SessionError.swift",
                "Connect/BackendFailure.swift",
            ],
            swiftSettings: settings),
        .target(
            name: "Deploy",
            sources: [
                "Tools/ArchiveReader.swift", "Tools/TableOfContents.swift",
                "Tools/TableOfContents+Split.swift", "Tools/RestoreRules.swift",
                "Tools/ToolFailure.swift", "SQLText.swift",
            ],
            swiftSettings: settings),
        .target(
            name: "FuzzBodies",
            dependencies: [
                "TunnelWire", "PostgresWire", "SharePolicy", "SharedSession", "TunnelTransport",
                "Relay", "PostgresClient", "Deploy", nioCore,
            ],
            swiftSettings: settings),
        // libFuzzer brings `main`; `--sanitize=fuzzer` on the command line links it.
        .executableTarget(
            name: "Fuzzer", dependencies: ["FuzzBodies", nioCore],
            swiftSettings: settings + [.unsafeFlags(["-parse-as-library"])]),
    ],
    swiftLanguageModes: [.v6]
)
