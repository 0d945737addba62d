// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import Tutti

/// A folder of its own for one test, gone afterwards.
private func withFolder<Value>(_ body: (String) async throws -> Value) async throws -> Value {
    let folder = FileManager.default.temporaryDirectory.appending(path: "tutti-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    return try await body(folder)
}

private func mode(_ path: String) throws -> Int {
    try #require(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int)
}

@Suite("The key file")
struct KeyFileTests {
    @Test("A first start makes a private file, a second finds the same key", arguments: [nil, "correct horse"])
    func createAndLoad(_ passphrase: String?) async throws {
        try await withFolder { folder in
            let path = folder + "/node.key"
            let file = KeyFile(path: path, cost: .mebibytes16)
            #expect(try file.load(passphrase: passphrase) == nil)
            let made = try file.loadOrCreate(passphrase: passphrase)
            #expect(try mode(path) == 0o600)
            let bytes = try Data(contentsOf: URL(filePath: path))
            #expect(bytes.count == (passphrase == nil ? 68 : 126))
            #expect(try file.loadOrCreate(passphrase: passphrase).peerID == made.peerID)
            #expect(try file.load(passphrase: passphrase)?.peerID == made.peerID)
            #expect(try Data(contentsOf: URL(filePath: path)) == bytes)
            // Nothing is left beside it.
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["node.key"])
        }
    }

    @Test("Of many that start at once one makes the key and all have it")
    func race() async throws {
        try await withFolder { folder in
            let file = KeyFile(path: folder + "/node.key")
            let ids = try await withThrowingTaskGroup(of: PeerID.self) { group in
                for _ in 0..<16 { group.addTask { try file.loadOrCreate(passphrase: nil).peerID } }
                return try await group.reduce(into: Set()) { $0.insert($1) }
            }
            #expect(ids.count == 1)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["node.key"])
        }
    }

    @Test(
        "A damaged file is one clear error and stays as it is",
        arguments: [
            Data(), Data("not a key".utf8), Data(repeating: 0, count: 68), Data(repeating: 0xFF, count: 126),
            Data("tuttikey".utf8), Data(repeating: 1, count: 10_000),
        ])
    func damaged(_ content: Data) async throws {
        try await withFolder { folder in
            let path = folder + "/node.key"
            try content.write(to: URL(filePath: path))
            #expect(chmod(path, 0o600) == 0)
            for passphrase in [nil, "secret"] {
                let error = await nodeError {
                    _ = try KeyFile(path: path, cost: .mebibytes16).loadOrCreate(passphrase: passphrase)
                }
                #expect(error?.code == .keyFile)
                #expect(error?.message.contains(path) == true)
                #expect(error?.message.contains("\n") == false)
            }
            #expect(try Data(contentsOf: URL(filePath: path)) == content)
        }
    }

    @Test("Every cut of a good file is refused", arguments: [nil, "secret"])
    func cut(_ passphrase: String?) async throws {
        try await withFolder { folder in
            let path = folder + "/node.key"
            let file = KeyFile(path: path, cost: .mebibytes16)
            _ = try file.loadOrCreate(passphrase: passphrase)
            let whole = try Data(contentsOf: URL(filePath: path))
            for count in 0..<whole.count {
                try whole.prefix(count).write(to: URL(filePath: path))
                let error = await nodeError { _ = try file.loadOrCreate(passphrase: passphrase) }
                #expect(error?.code == .keyFile, "cut to \(count) bytes")
            }
        }
    }

    @Test("The passphrase must fit: none, another and one too many are refused")
    func passphrases() async throws {
        try await withFolder { folder in
            let sealed = KeyFile(path: folder + "/sealed.key", cost: .mebibytes16)
            _ = try sealed.loadOrCreate(passphrase: "right")
            let plain = KeyFile(path: folder + "/plain.key")
            _ = try plain.loadOrCreate(passphrase: nil)
            let cases: [(KeyFile, String?, String)] = [
                (sealed, nil, "is sealed"), (sealed, "wrong", "does not open"), (sealed, "", "does not open"),
                (plain, "any", "not sealed"),
            ]
            for (file, passphrase, words) in cases {
                let error = await nodeError { _ = try file.loadOrCreate(passphrase: passphrase) }
                #expect(error?.code == .keyFile)
                #expect(error?.message.contains(words) == true, "\(error?.message ?? "no error")")
            }
            let unsealable = KeyFile(path: folder + "/new.key", cost: .mebibytes16)
            #expect(await nodeError { _ = try unsealable.loadOrCreate(passphrase: "") }?.code == .keyFile)
            #expect(!FileManager.default.fileExists(atPath: folder + "/new.key"))
        }
    }

    @Test("A file that others can read is refused", arguments: [0o640, 0o604, 0o660, 0o601])
    func openToOthers(_ wrong: Int) async throws {
        try await withFolder { folder in
            let path = folder + "/node.key"
            _ = try KeyFile(path: path).loadOrCreate(passphrase: nil)
            #expect(chmod(path, mode_t(wrong)) == 0)
            let error = await nodeError { _ = try KeyFile(path: path).load(passphrase: nil) }
            #expect(error?.message.contains("chmod 600") == true)
            #expect(try mode(path) == wrong)
        }
    }

    @Test("A folder that is missing and a path that is a folder are clear errors")
    func wrongPlaces() async throws {
        try await withFolder { folder in
            for path in [folder + "/missing/node.key", folder, "/proc/node.key"] {
                let error = await nodeError { _ = try KeyFile(path: path).loadOrCreate(passphrase: nil) }
                #expect(error?.code == .keyFile)
                #expect(error?.message.contains(path) == true)
            }
        }
    }

    @Test("A data folder is made private, with a key that `existingKey` finds")
    func dataFolder() async throws {
        try await withFolder { folder in
            let data = DataFolder(path: folder + "/a/b")
            #expect(await nodeError { _ = try data.existingKey(passphrase: nil) }?.code == .keyFile)
            try data.create()
            #expect(try mode(data.path) == 0o700)
            var configuration = NodeConfiguration()
            configuration.key = .file(data.keyPath)
            let node = try Node(configuration: configuration)
            #expect(try data.existingKey(passphrase: nil).peerID == node.peerID)
            try data.create()
            #expect(await nodeError { try DataFolder(path: "/proc/tutti").create() }?.code == .keyFile)
        }
    }
}
