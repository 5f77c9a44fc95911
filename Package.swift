// swift-tools-version: 6.2

import PackageDescription

/// Every target of ours is built alike: warnings are errors, and an import says what it needs.
let settings: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioWebSocket = Target.Dependency.product(name: "NIOWebSocket", package: "swift-nio")
let nioTLS = Target.Dependency.product(name: "NIOTLS", package: "swift-nio")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let cryptoExtras = Target.Dependency.product(name: "CryptoExtras", package: "swift-crypto")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let x509 = Target.Dependency.product(name: "X509", package: "swift-certificates")
let asn1 = Target.Dependency.product(name: "SwiftASN1", package: "swift-asn1")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let hummingbirdCore = Target.Dependency.product(name: "HummingbirdCore", package: "hummingbird")
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let httpTypesHTTP1 = Target.Dependency.product(
    name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras")
let httpTypesNIO = Target.Dependency.product(name: "NIOHTTPTypes", package: "swift-nio-extras")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let argumentParser = Target.Dependency.product(
    name: "ArgumentParser", package: "swift-argument-parser")
let configuration = Target.Dependency.product(
    name: "Configuration", package: "swift-configuration")
let lifecycle = Target.Dependency.product(
    name: "ServiceLifecycle", package: "swift-service-lifecycle")
let unixSignals = Target.Dependency.product(
    name: "UnixSignals", package: "swift-service-lifecycle")
let httpClient = Target.Dependency.product(
    name: "AsyncHTTPClient", package: "async-http-client")
let jwt = Target.Dependency.product(name: "JWTKit", package: "jwt-kit")
let systemPackage = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let subprocess = Target.Dependency.product(name: "Subprocess", package: "swift-subprocess")

let package = Package(
    name: "pgshare",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "pgshare", targets: ["pgshare"]),
        .executable(name: "pgshare-microbench", targets: ["pgshare-microbench"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(
            url: "https://github.com/apple/swift-configuration", from: "1.4.0", traits: ["JSON"]),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(
            url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/vapor/jwt-kit", from: "5.7.1"),
    ],
    targets: [
        .systemLibrary(name: "CLibpq", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),

        // Machines and policy: pure.
        .target(
            name: "PostgresWire", dependencies: [nioCore, crypto, cryptoExtras, asn1],
            swiftSettings: settings),
        .target(name: "TunnelWire", dependencies: [nioCore], swiftSettings: settings),
        .target(name: "SharePolicy", dependencies: [nioCore, crypto], swiftSettings: settings),
        .target(
            name: "SharedSession", dependencies: ["PostgresWire", nioCore],
            swiftSettings: settings),

        // Shells.
        .target(
            name: "ShareStore", dependencies: ["SharePolicy", nioCore, grdb],
            swiftSettings: settings),
        .target(
            name: "TunnelTransport",
            dependencies: [
                "TunnelWire", nioCore, nioPosix, nioHTTP1, nioWebSocket, nioTLS, nioSSL, crypto,
            ],
            swiftSettings: settings),
        .target(
            name: "Relay",
            dependencies: [
                "PostgresWire", "SharedSession", "TunnelWire", "SharePolicy", "ShareStore",
                "TunnelTransport", nioCore, nioPosix, nioHTTP1, nioWebSocket, nioTLS, nioSSL,
                crypto, logging, x509, asn1, hummingbird, hummingbirdCore, httpTypes,
                httpTypesHTTP1, httpTypesNIO, lifecycle, httpClient, jwt,
            ],
            swiftSettings: settings),
        .target(
            name: "PostgresClient",
            dependencies: [
                "CLibpq", "PostgresWire", nioCore, nioPosix, nioTLS, nioSSL, logging,
            ],
            swiftSettings: settings),
        .target(
            name: "Agent",
            dependencies: [
                "PostgresClient", "PostgresWire", "TunnelWire", "SharePolicy", "TunnelTransport",
                nioCore, nioPosix, nioTLS, nioSSL, crypto, logging,
            ],
            swiftSettings: settings),
        .target(
            name: "Deploy",
            dependencies: [
                "PostgresClient", "PostgresWire", nioCore, nioPosix, crypto, subprocess,
                systemPackage,
            ],
            swiftSettings: settings),
        .target(
            name: "CloudProviders", dependencies: [nioCore, nioHTTP1, nioSSL, crypto, httpClient],
            swiftSettings: settings),

        // The commands: the only place of composition.
        .executableTarget(
            name: "pgshare",
            dependencies: [
                "Relay", "Agent", "Deploy", "CloudProviders", "PostgresClient", "ShareStore",
                "SharePolicy", "PostgresWire", "TunnelTransport", nioCore, nioPosix, nioSSL, crypto,
                logging, x509, argumentParser, configuration,
                lifecycle, unixSignals, httpClient,
            ],
            swiftSettings: settings),
        .executableTarget(
            name: "pgshare-microbench",
            dependencies: [
                "PostgresWire", "TunnelWire", "TunnelTransport", nioCore, nioEmbedded,
            ],
            path: "Benchmarks/MicroBenchmarks", swiftSettings: settings),

        // Tests. End-to-end and tidy tests are Python, in Tests/EndToEnd and Tests/TidyTests.
        .target(
            name: "Simulation", dependencies: ["TunnelWire", nioCore], path: "Tests/Simulation",
            swiftSettings: settings),
        .target(
            name: "TestSupport", dependencies: ["CLibpq"], path: "Tests/TestSupport",
            swiftSettings: settings),
        .testTarget(
            name: "PostgresWireTests", dependencies: ["PostgresWire", nioCore, crypto],
            exclude: ["FailCases"], swiftSettings: settings),
        .testTarget(
            name: "TunnelWireTests",
            dependencies: ["TunnelWire", "Simulation", "SharePolicy", nioCore],
            swiftSettings: settings),
        .testTarget(
            name: "SharedSessionTests",
            dependencies: [
                "SharedSession", "PostgresWire", "PostgresClient", "CLibpq", "Simulation",
                "TestSupport", nioCore, nioPosix,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "RelaySessionTests",
            dependencies: [
                "Relay", "SharedSession", "TunnelWire", "TunnelTransport", "PostgresWire",
                "SharePolicy", "ShareStore", nioCore, nioPosix, nioEmbedded, nioHTTP1,
                nioWebSocket, nioSSL, logging, crypto, jwt, httpTypes, hummingbird,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "SharePolicyTests", dependencies: ["SharePolicy", nioCore, crypto],
            swiftSettings: settings),
        .testTarget(
            name: "ShareStoreTests", dependencies: ["ShareStore", "SharePolicy", grdb],
            swiftSettings: settings),
        .testTarget(
            name: "TunnelTransportTests",
            dependencies: [
                "TunnelTransport", "TunnelWire", nioCore, nioPosix, nioHTTP1, nioTLS, nioEmbedded,
                nioWebSocket, nioSSL, crypto, x509, asn1,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "RelayFrontDoorTests",
            dependencies: [
                "Relay", "PostgresWire", "SharePolicy", nioCore, nioPosix, nioEmbedded, nioTLS,
                nioSSL, crypto, x509, logging,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "RelayHTTPTests",
            dependencies: [
                "Relay", "pgshare", "PostgresWire", "SharePolicy", "ShareStore",
                "TunnelTransport", nioCore, nioPosix, nioEmbedded, nioHTTP1, nioWebSocket, nioTLS,
                nioSSL, logging, x509, asn1, crypto, httpTypes, hummingbird, httpClient,
                subprocess,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "PostgresClientTests",
            dependencies: [
                "PostgresClient", "CLibpq", "PostgresWire", "TestSupport", nioCore, nioPosix,
                nioEmbedded, nioSSL, nioTLS,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "AgentDatabaseTests",
            dependencies: [
                "Agent", "PostgresClient", "CLibpq", "PostgresWire", "TestSupport", nioCore,
                nioPosix, nioSSL, nioTLS,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "DeployTests",
            dependencies: [
                "Deploy", "PostgresClient", "PostgresWire", "CLibpq", "TestSupport", nioCore,
                nioPosix,
            ],
            swiftSettings: settings),
        // The bodies of the fuzz targets, which the package in `Fuzz` compiles as well.
        .testTarget(
            name: "FuzzReplayTests",
            dependencies: [
                "TunnelWire", "PostgresWire", "SharePolicy", "SharedSession", "TunnelTransport",
                "Relay", "PostgresClient", "Deploy", nioCore,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "CloudProvidersTests",
            dependencies: [
                "CloudProviders", nioCore, nioPosix, nioHTTP1, crypto, hummingbird, httpTypes,
            ],
            swiftSettings: settings),
    ],
    swiftLanguageModes: [.v6]
)
