// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

/// The built program: one line that says what to do, an exit code, nothing overwritten.
@Suite("Command line", .timeLimit(.minutes(2)))
struct CommandLineTests {
    private func expectOneLine(
        _ outcome: Binary.Outcome, naming words: String..., sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(outcome.status != 0, sourceLocation: sourceLocation)
        let lines = outcome.errors.split(separator: "\n", omittingEmptySubsequences: true)
        #expect(lines.count == 1, "\(outcome.errors)", sourceLocation: sourceLocation)
        for word in words {
            #expect(outcome.errors.contains(word), "\(outcome.errors)", sourceLocation: sourceLocation)
        }
        // What to do stands behind what happened.
        #expect(outcome.errors.contains(": "), sourceLocation: sourceLocation)
        print("command line: \(outcome.errors.trimmingCharacters(in: .newlines))")
    }

    @Test("A port in use")
    func portInUse() async throws {
        let folder = try TemporaryFolder()
        let listener = try RawListener { _ in }
        let address = "/ip4/127.0.0.1/tcp/\(listener.port)"
        expectOneLine(
            try await Binary.run(["up", "--data", folder.path + "/data", "--listen", address]), naming: address,
            "in use")
    }

    @Test("A folder that can't be made")
    func unwritableFolder() async throws {
        let folder = try TemporaryFolder()
        let file = folder.path + "/file"
        try Data("mine".utf8).write(to: URL(fileURLWithPath: file))
        expectOneLine(try await Binary.run(["up", "--data", file + "/data"]), naming: file + "/data", "--data")
        expectOneLine(try await Binary.run(["up", "--data", file]), naming: file, "--data")
        #expect(try Data(contentsOf: URL(fileURLWithPath: file)) == Data("mine".utf8))
    }

    @Test("A key file that is damaged, cut, empty or open to others", arguments: [0, 1, 67, 68, 126, 5000])
    func damagedKey(_ count: Int) async throws {
        let folder = try TemporaryFolder()
        let data = folder.path + "/data"
        let path = data + "/keys/node.key"
        try FileManager.default.createDirectory(atPath: data + "/keys", withIntermediateDirectories: true)
        let damaged = Data(repeating: 0x5A, count: count)
        _ = FileManager.default.createFile(atPath: path, contents: damaged, attributes: [.posixPermissions: 0o600])
        for arguments in [["up", "--data", data], ["id", "--data", data]] {
            expectOneLine(try await Binary.run(arguments), naming: path)
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == damaged)
        #expect(try FileManager.default.contentsOfDirectory(atPath: data + "/keys") == ["node.key"])
    }

    @Test("A key that others may read, and a folder without one")
    func openKey() async throws {
        let folder = try TemporaryFolder()
        let data = folder.path + "/data"
        let path = data + "/keys/node.key"
        expectOneLine(try await Binary.run(["id", "--data", data]), naming: path, "tutti up")
        #expect(!FileManager.default.fileExists(atPath: data))
        try FileManager.default.createDirectory(atPath: data + "/keys", withIntermediateDirectories: true)
        _ = FileManager.default.createFile(
            atPath: path, contents: Data(repeating: 1, count: 68), attributes: [.posixPermissions: 0o644])
        expectOneLine(try await Binary.run(["up", "--data", data]), naming: path, "chmod 600")
    }
}
