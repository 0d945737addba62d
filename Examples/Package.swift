// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
import PackageDescription

// A package of its own, as an embedder's would be: it sees the product Tutti and nothing else. Its target named Storage
// is there to show that our modules' names don't collide with an embedder's.
let package = Package(
    name: "tutti-examples",
    dependencies: [.package(name: "tutti", path: "..")],
    targets: [
        .target(name: "Storage"),
        .executableTarget(name: "Chat", dependencies: ["Storage", .product(name: "Tutti", package: "tutti")]),
    ]
)
