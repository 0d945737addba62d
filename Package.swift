// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
import PackageDescription

// One package; layers import downwards only (docs/ARCHITECTURE.md). Folder Sources/<Layer>/<Module>, target Tutti<Module>.
let nio: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioEmbedded: Target.Dependency = .product(name: "NIOEmbedded", package: "swift-nio")
let nioSSL: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let deque: Target.Dependency = .product(name: "DequeModule", package: "swift-collections")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let metrics: Target.Dependency = .product(name: "Metrics", package: "swift-metrics")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let grdb: Target.Dependency = .product(name: "GRDB", package: "GRDB.swift")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("InternalImportsByDefault"),
]

func module(_ name: String, _ layer: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: "Tutti\(name)", dependencies: dependencies, path: "Sources/\(layer)/\(name)", swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: "\(name)Tests", dependencies: dependencies, path: "Tests/\(name)Tests", swiftSettings: settings)
}

var targets: [Target] = [
    module("Base", "Core", [nio, deque]),
    module("QRCode", "Core", []),
    module("Identity", "Core", ["TuttiBase", nio, crypto, nioSSL]),
    module("Connection", "Core", ["TuttiBase", "TuttiIdentity", nio, deque, crypto, nioSSL]),
    module("Peers", "Core", ["TuttiBase", "TuttiIdentity", "TuttiConnection", nio, deque]),
    module("Kademlia", "Core", ["TuttiBase", "TuttiIdentity", nio, deque]),
    module("Gossip", "Core", ["TuttiBase", "TuttiIdentity", nio, deque]),
    module("Membership", "Core", ["TuttiBase", "TuttiIdentity", nio, deque]),
    module("Journal", "Core", ["TuttiBase", "TuttiIdentity", nio, deque]),
    module("CommunityCore", "Core", ["TuttiBase", "TuttiIdentity", "TuttiJournal", nio, deque, crypto]),
    module("Witness", "Core", ["TuttiBase", "TuttiIdentity", nio, deque]),
    module(
        "Market", "Core",
        ["TuttiBase", "TuttiIdentity", "TuttiJournal", "TuttiCommunityCore", "TuttiWitness", nio, deque]),
    module(
        "NodeCore", "Core",
        [
            "TuttiBase", "TuttiIdentity", "TuttiConnection", "TuttiPeers", "TuttiKademlia", "TuttiGossip",
            "TuttiMembership", "TuttiJournal", "TuttiCommunityCore", "TuttiWitness", "TuttiMarket", nio, deque,
        ]),
    // Explores every course of a machine, to a bound.
    module("Checker", "Lab", ["TuttiBase", "TuttiIdentity", "TuttiJournal", "TuttiWitness", "TuttiMarket"]),
    module(
        "Simulator", "Lab",
        [
            "TuttiBase", "TuttiIdentity", "TuttiConnection", "TuttiPeers", "TuttiKademlia", "TuttiGossip",
            "TuttiMembership", "TuttiJournal", "TuttiCommunityCore", "TuttiWitness", "TuttiMarket", "TuttiNodeCore",
            nio, deque,
        ]),
    module("Storage", "IO", ["TuttiBase", "TuttiIdentity", "TuttiJournal", nio, grdb]),
    module(
        "Transport", "IO",
        ["TuttiBase", "TuttiIdentity", "TuttiConnection", "TuttiPeers", nio, nioPosix, nioSSL, deque]),
    .target(
        name: "Tutti",
        dependencies: [
            "TuttiBase", "TuttiIdentity", "TuttiConnection", "TuttiPeers", "TuttiKademlia", "TuttiGossip",
            "TuttiMembership", "TuttiJournal", "TuttiNodeCore", "TuttiTransport", nio, nioPosix, logging, metrics,
            lifecycle,
        ],
        path: "Sources/Services/Tutti", swiftSettings: settings),
    .target(
        name: "TuttiCommunity",
        dependencies: [
            "TuttiBase", "TuttiIdentity", "TuttiJournal", "TuttiCommunityCore", "TuttiWitness", "TuttiMarket",
            "TuttiNodeCore", "TuttiStorage", "TuttiQRCode", "Tutti", nio, nioPosix, logging, lifecycle,
        ],
        path: "Sources/Services/TuttiCommunity", swiftSettings: settings),
    // The lab's commands, for `tutti lab` and for tutti-lab.
    module("LabCommand", "Apps", ["TuttiSimulator", arguments]),
    .executableTarget(
        name: "TuttiCommand",
        dependencies: ["Tutti", "TuttiCommunity", "TuttiLabCommand", nio, logging, lifecycle, arguments],
        path: "Sources/Apps/tutti", swiftSettings: settings),
    .executableTarget(
        name: "TuttiLab", dependencies: ["TuttiLabCommand"], path: "Sources/Apps/tutti-lab",
        swiftSettings: settings),
    .target(
        name: "TuttiTestSupport",
        dependencies: [
            "TuttiBase", "TuttiIdentity", "TuttiConnection", "TuttiTransport", nio, nioPosix, nioEmbedded, logging,
        ],
        path: "Tests/Support", swiftSettings: settings),
    tests("Base", ["TuttiBase", nio]),
    tests("QRCode", ["TuttiBase", "TuttiIdentity", "TuttiQRCode"]),
    tests("Identity", ["TuttiBase", "TuttiIdentity", nio, crypto]),
    tests("Connection", ["TuttiBase", "TuttiIdentity", "TuttiConnection", "TuttiTestSupport", nio]),
    tests("Peers", ["TuttiBase", "TuttiIdentity", "TuttiConnection", "TuttiPeers", nio]),
    tests("Kademlia", ["TuttiBase", "TuttiIdentity", "TuttiKademlia", nio]),
    tests("Gossip", ["TuttiBase", "TuttiIdentity", "TuttiGossip", nio]),
    tests("Membership", ["TuttiBase", "TuttiIdentity", "TuttiMembership", nio]),
    tests("Journal", ["TuttiBase", "TuttiIdentity", "TuttiJournal", nio]),
    tests("CommunityCore", ["TuttiBase", "TuttiIdentity", "TuttiJournal", "TuttiCommunityCore", nio]),
    tests("Witness", ["TuttiBase", "TuttiIdentity", "TuttiWitness", nio]),
    tests(
        "Market",
        ["TuttiBase", "TuttiIdentity", "TuttiJournal", "TuttiCommunityCore", "TuttiWitness", "TuttiMarket", nio]),
    tests("Checker", ["TuttiBase", "TuttiIdentity", "TuttiWitness", "TuttiMarket", "TuttiChecker"]),
    tests(
        "Storage",
        ["TuttiBase", "TuttiIdentity", "TuttiJournal", "TuttiStorage", "TuttiSimulator", nio, grdb]),
    tests(
        "NodeCore",
        [
            "TuttiBase", "TuttiIdentity", "TuttiConnection", "TuttiPeers", "TuttiKademlia", "TuttiGossip",
            "TuttiMembership", "TuttiJournal", "TuttiCommunityCore", "TuttiWitness", "TuttiMarket", "TuttiNodeCore",
            "TuttiSimulator", nio,
        ]),
    tests(
        "Simulator",
        [
            "TuttiBase", "TuttiIdentity", "TuttiConnection", "TuttiPeers", "TuttiKademlia", "TuttiGossip",
            "TuttiMembership", "TuttiNodeCore", "TuttiSimulator", nio,
        ]),
    tests(
        "Transport",
        [
            "TuttiBase", "TuttiIdentity", "TuttiConnection", "TuttiPeers", "TuttiTransport", "TuttiTestSupport", nio,
            nioPosix,
            nioEmbedded, logging,
        ]),
    tests(
        "Attack",
        [
            "TuttiBase", "TuttiIdentity", "TuttiConnection", "TuttiPeers", "TuttiTransport", "Tutti",
            "TuttiTestSupport",
            nio, logging,
        ]),
    tests(
        "Tutti",
        [
            "TuttiBase", "TuttiIdentity", "TuttiConnection", "TuttiPeers", "TuttiTransport", "Tutti", nio, nioPosix,
            logging, metrics, lifecycle,
        ]),
    tests(
        "TuttiCommunity",
        [
            "TuttiBase", "TuttiIdentity", "TuttiJournal", "TuttiCommunityCore", "TuttiWitness", "TuttiMarket",
            "TuttiNodeCore", "TuttiStorage", "Tutti", "TuttiCommunity", nio,
        ]),
]

// scripts/bench asks for these: the bound that the bulk figures are held against, and what pings both kinds of listener,
// and what fills a journal.
if Context.environment["TUTTI_BENCHMARKS"] != nil {
    targets += [
        .executableTarget(
            name: "Bound", dependencies: ["TuttiBase", "TuttiConnection", "TuttiTransport"], path: "Benchmarks/Bound",
            swiftSettings: settings),
        .executableTarget(
            name: "Replica",
            dependencies: ["TuttiBase", "TuttiJournal", "TuttiCommunityCore", "Tutti", "TuttiCommunity"],
            path: "Benchmarks/Replica", swiftSettings: settings),
        .executableTarget(
            name: "Witness",
            dependencies: [
                "TuttiBase", "TuttiIdentity", "TuttiWitness", "Tutti", "TuttiCommunity", nio, deque,
            ],
            path: "Benchmarks/Witness", swiftSettings: settings),
        .executableTarget(
            name: "Ping", dependencies: ["TuttiBase", "TuttiIdentity", "TuttiConnection", nio], path: "Benchmarks/Ping",
            swiftSettings: settings),
        .executableTarget(
            name: "Journal",
            dependencies: [
                "TuttiBase", "TuttiIdentity", "TuttiJournal", "TuttiStorage", "TuttiWitness", "TuttiMarket",
                "TuttiSimulator",
            ],
            path: "Benchmarks/Journal", swiftSettings: settings),
    ]
}

// The fuzz targets (Fuzz/README.md) and the instrumentation of everything of ours that they run. AddressSanitizer is
// scripts/fuzz's `--sanitize=address`; assertions count, although the build is a release.
if Context.environment["TUTTI_FUZZ"] == "1" {
    let instrumented: [SwiftSetting] = [.unsafeFlags(["-sanitize=fuzzer", "-assert-config", "Debug"])]
    for target in targets where !target.isTest { target.swiftSettings = (target.swiftSettings ?? []) + instrumented }
    targets.append(
        .target(
            name: "FuzzSupport", dependencies: ["TuttiBase", nio], path: "Fuzz/Support", swiftSettings: settings))
    let core: [Target.Dependency] = ["FuzzSupport", "TuttiBase", "TuttiIdentity", "TuttiConnection", nio]
    for (name, more) in [
        ("Wire", []), ("Yamux", []), ("Noise", []), ("Connection", []), ("TLS", ["TuttiTransport"]),
        ("Peers", ["TuttiPeers", "TuttiTransport"]), ("Discovery", ["TuttiPeers", "TuttiTransport"]),
        ("Kademlia", ["TuttiKademlia"]),
        ("Gossip", ["TuttiGossip"]), ("Membership", ["TuttiMembership"]), ("Entry", ["TuttiJournal"]),
        ("Sealed", ["TuttiJournal", "TuttiCommunityCore"]), ("Community", ["TuttiJournal", "TuttiCommunityCore"]),
        ("Sync", ["TuttiJournal"]), ("Witness", ["TuttiWitness"]),
        ("Trade", ["TuttiJournal", "TuttiWitness", "TuttiMarket"]),
        ("Listing", ["TuttiJournal", "TuttiCommunityCore", "TuttiWitness", "TuttiMarket"]),
        (
            "Node",
            ["TuttiPeers", "TuttiGossip", "TuttiJournal", "TuttiCommunityCore", "TuttiNodeCore", "TuttiSimulator"]
        ),
    ] as [(String, [Target.Dependency])] {
        targets.append(
            .executableTarget(
                name: name, dependencies: core + more, path: "Fuzz/\(name)",
                swiftSettings: settings + instrumented + [.unsafeFlags(["-parse-as-library"])],
                linkerSettings: [.unsafeFlags(["-sanitize=fuzzer"])]))
    }
}

var products: [Product] = [
    .library(name: "Tutti", targets: ["Tutti"]),
    .library(name: "TuttiCommunity", targets: ["TuttiCommunity"]),
    .executable(name: "tutti", targets: ["TuttiCommand"]),
    .executable(name: "tutti-lab", targets: ["TuttiLab"]),
]

// TUTTI_ONLY=Witness,Market: these tests and what they need, for a build in seconds while working on a low module.
if let only = Context.environment["TUTTI_ONLY"] {
    var wanted = Set(only.split(separator: ",").map { "\($0)Tests" })
    var open = wanted
    while let name = open.popFirst() {
        for dependency in targets.first(where: { $0.name == name })?.dependencies ?? [] {
            if case .byNameItem(let needed, _) = dependency, wanted.insert(needed).inserted { open.insert(needed) }
        }
    }
    targets.removeAll { !wanted.contains($0.name) }
    products = []
}

let package = Package(
    name: "tutti",
    products: products,
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: targets
)
