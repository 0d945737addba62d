// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import Tutti
import TuttiBase
import TuttiCommunity
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiNodeCore
import TuttiStorage

/// A small file system, where the system lets us make one.
private final class SmallDisk: Sendable {
    let path: String

    init?(megabytes: Int) {
        path = NSTemporaryDirectory() + "tutti-disk-\(UInt64.random(in: .min ... .max))"
        guard (try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)) != nil,
            Self.run("mount", ["-t", "tmpfs", "-o", "size=\(megabytes)m", "tutti", path])
        else { return nil }
    }

    deinit {
        _ = Self.run("umount", ["-l", path])
        try? FileManager.default.removeItem(atPath: path)
    }

    private static func run(_ program: String, _ arguments: [String]) -> Bool {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [program] + arguments
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }

    /// Takes all the room that is left.
    func fill() throws {
        let file = open(path + "/filler", O_WRONLY | O_CREAT | O_APPEND, 0o600)
        defer { close(file) }
        var size = 1 << 20
        let bytes = [UInt8](repeating: 1, count: size)
        while size > 0 { if write(file, bytes, size) <= 0 { size /= 2 } }
    }

    func makeRoom() throws { try FileManager.default.removeItem(atPath: path + "/filler") }
}

extension CommunityAttackTests {
    /// Rows 54 and 55: the disk.
    @Suite("Disks")
    struct Disks {
        @Test("attack_54 A full disk: callers are told, nobody is blamed, reads go on, and with room all comes")
        func fullDisk() async throws {
            guard let disk = SmallDisk(megabytes: 24) else {
                print("attack_54: SKIPPED here, file systems can't be mounted; attack_54 with a limit on files runs")
                return
            }
            try await Neighbourhood.run(at: disk.path + "/data") { all in
                try await all.camila.perform(.send(channel: "general", text: "while there is room")) { _ in }
                try disk.fill()
                try await expectRefusals(all.camila, all.rosa) { error in
                    error.code == .storage && error.message.contains("full")
                }
                // Rosa goes on; what she writes is left alone, and it isn't her fault.
                try await all.rosa.perform(.send(channel: "general", text: "are you there?")) { _ in }
                try await until {
                    _ = try await all.rosa.append([Self.large(all)])
                    return try await all.camila.count("diskPaused") > 0
                }
                #expect(try await all.camila.texts().contains("while there is room"))
                for violation in SyncViolation.allCases {
                    #expect(try await all.camila.count("\(violation)", .violations) == 0)
                }
                try disk.makeRoom()
                try await all.camila.perform(.send(channel: "general", text: "room again")) { _ in }
                try await until(syncing: all.camila) {
                    try await all.camila.texts().contains("are you there?")
                }
            }
        }

        /// Files that must not grow: works without rights, in a process of its own because the limit is a process's.
        @Test("attack_54 A limit on files: the same, with the system's reason")
        func limitedFiles() async throws {
            await #expect(processExitsWith: .success) {
                signal(SIGXFSZ, SIG_IGN)
                try await Neighbourhood.run { all in
                    try await all.camila.perform(.send(channel: "general", text: "before")) { _ in }
                    var limit = rlimit()
                    getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
                    limit.rlim_cur = 65_536
                    setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
                    try await expectRefusals(all.camila, nil) { $0.code == .storage }
                    guard try await all.camila.texts() == ["before"] else { throw TestFailure("not readable") }
                    limit.rlim_cur = limit.rlim_max
                    setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
                    try await all.camila.perform(.send(channel: "general", text: "after")) { _ in }
                    try await until(syncing: all.rosa) { try await all.rosa.texts().contains("after") }
                }
            }
        }

        private static func large(_ all: Neighbourhood) -> EntryDraft {
            let body = [UInt8](repeating: 5, count: JournalLimits.bodyBytesMax)
            return EntryDraft(kind: EntryKind(0x7777), body: body, governance: all.link.invite)
        }

        @Test(
            "attack_55 A journal with damaged pages doesn't start as if nothing were; repaired, it gets the rest from others"
        )
        func damagedAtStart() async throws {
            let (one, other) = (try Folder(), try Folder())
            let lines = try await withCommunityNode(one.path) { [other] camila in
                try await camila.perform(.create(name: "Rare gear", nickname: "camila")) { _ in }
                let link = try await camila.inviteLink()
                try await withCommunityNode(other.path) { rosa in
                    try await rosa.perform(.join(link: link.text, nickname: "rosa")) { _ in }
                    try await until { try await camila.knows(rosa) }
                    for number in 0..<150 {
                        let text = "\(number) " + String(repeating: "rosa's words ", count: 100)
                        try await rosa.perform(.send(channel: "general", text: text)) { _ in }
                    }
                    try await until { try await camila.texts().count == 150 }
                }
                return try await camila.texts()
            }
            #expect(lines.count == 150)
            // Pages that hold Rosa's later words lose their heads: entries are gone, who belongs here is not.
            var found = 0
            let damaged = try Self.damage(one.journal) { page in
                guard page.range(of: Data("rosa's words".utf8)) != nil else { return false }
                found += 1
                return found > 40
            }
            #expect(damaged > 40)
            let start = await communityError {
                try await withCommunityNode(one.path) { camila in
                    // A journal that opens nonetheless says so where it is read.
                    try await camila.perform(.verify) { reply in
                        guard case .verified(let summary) = reply, !summary.problems.isEmpty else { return }
                        throw CommunityError(.damaged, "run `tutti repair`")
                    }
                }
            }
            #expect(start?.code == .damaged && start?.message.contains("tutti repair") == true)
            let report = try CommunityFiles.repair(one.path)
            print("attack_55: \(report.joined(separator: "; "))")
            #expect(report.contains { $0.contains("kept at") })
            try await withCommunityNode(other.path) { rosa in
                let addresses = try await rosa.node.listenAddresses
                try await withCommunityNode(one.path) { camila in
                    try await camila.node.dial(at: addresses)
                    try await until(syncing: camila) { try await camila.texts().sorted() == lines.sorted() }
                    try await camila.perform(.verify) { reply in
                        guard case .verified(let summary) = reply else { return }
                        #expect(summary.problems.isEmpty)
                    }
                }
            }
        }

        @Test("attack_55 A device whose last entries a repair could not save writes no more under their numbers")
        func lostEnd() async throws {
            let folder = try Folder()
            let (device, count) = try await withCommunityNode(folder.path) { camila in
                try await camila.perform(.create(name: "Rare gear", nickname: "camila")) { _ in }
                for number in 0..<60 {
                    let text = "\(number) " + String(repeating: "the last words ", count: 100)
                    try await camila.perform(.send(channel: "general", text: text)) { _ in }
                }
                let device = try #require(try await camila.device)
                return (device, try await camila.entries(of: device).count)
            }
            let damaged = try Self.damage(folder.journal) { $0.range(of: Data("the last words".utf8)) != nil }
            #expect(damaged > 10)
            let report = try CommunityFiles.repair(folder.path)
            print("attack_55: \(report.joined(separator: "; "))")
            #expect(report.contains { $0.contains("tutti device recover") })
            try await withCommunityNode(folder.path) { camila async throws in
                #expect(try await camila.device == nil)
                #expect(try await camila.entries(of: device).count < count)
                let refusal = await communityError {
                    try await camila.perform(.send(channel: "general", text: "on")) { _ in }
                }
                #expect(refusal?.message.contains("tutti device recover") == true)
            }
        }

        @Test("attack_55 Pages that are damaged while the node runs: never a wrong answer, and others aren't blamed")
        func damagedWhileRunning() async throws {
            let one = try Folder()
            try await Neighbourhood.run(isWhole: false, at: one.path) { [one] all in
                for number in 0..<150 {
                    let text = "\(number) " + String(repeating: "rosa's words ", count: 100)
                    try await all.rosa.perform(.send(channel: "general", text: text)) { _ in }
                }
                try await until { try await all.camila.texts().count == 150 }
                let rosa = try #require(try await all.rosa.device)
                let whole = try await all.camila.entries(of: rosa)
                try await Intruder.run(at: all.camila, all.link) { reader in
                    // All that is in the log goes into the file, as now and then it does; then the disk lies.
                    try SQLiteJournal(path: one.journal).close()
                    _ = try Self.damage(one.journal) { $0.range(of: Data("rosa's words".utf8)) != nil }
                    _ = try? await all.camila.perform(.send(channel: "general", text: "caches forget")) { _ in }
                    // What a cache still has is right, what isn't there any more is damage by name.
                    do {
                        let entries = try await all.camila.entries(of: rosa)
                        #expect(entries == whole)
                    } catch let error as CommunityError {
                        #expect(error.code == .damaged)
                    }
                    // Who asks for such entries is told that they can't be had, or gets right ones.
                    let range = SyncRange(
                        device: rosa, sequences: .first ... .max, isNewestFirst: false, countMax: 1_000)
                    switch try await reader.ask(.entries([range], bytesMax: 1 << 20, withBodies: true)) {
                    case .entries(let pages): #expect(pages.allSatisfy { page in page.allSatisfy(whole.contains) })
                    case let other: #expect(other == .refused(.unavailable))
                    }
                }
                #expect(try await all.rosa.texts().count == 150)
            }
            // The same as at a start from here on.
            let report = try CommunityFiles.repair(one.path)
            #expect(report.contains { $0.contains("kept at") })
        }

        /// Overwrites the beginnings of pages that the test chooses. Returns how many.
        private static func damage(_ path: String, _ isChosen: (Data) -> Bool) throws -> Int {
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
            defer { try? file.close() }
            let size = 4_096
            let bytes = try file.readToEnd() ?? Data()
            var count = 0
            for start in stride(from: size, to: bytes.count, by: size)
            where isChosen(Data(bytes[start..<min(start + size, bytes.count)])) {
                try file.seek(toOffset: UInt64(start))
                try file.write(contentsOf: Data(repeating: 0xEE, count: 64))
                count += 1
            }
            return count
        }
    }
}

/// Appends until the disk refuses, twice; what was acknowledged is there, and each refusal has its name.
private func expectRefusals(
    _ node: CommunityNode, _ other: CommunityNode?, _ isRight: (CommunityError) -> Bool
) async throws {
    let device = try #require(try await node.device)
    var head = try #require(try await node.head(of: device))
    let body = [UInt8](repeating: 5, count: JournalLimits.bodyBytesMax)
    let draft = EntryDraft(kind: EntryKind(0x7777), body: body, governance: .none)
    var refused = 0
    for _ in 0..<600 where refused < 2 {
        do {
            guard let entry = try await node.append([draft]).last else { throw TestFailure("nothing appended") }
            guard entry.header.previous == head.id else { throw TestFailure("a number was left out") }
            head = entry.point
        } catch let error as CommunityError {
            guard isRight(error) else { throw error }
            refused += 1
        }
    }
    guard refused == 2 else { throw TestFailure("never refused") }
    guard try await node.head(of: device) == head else { throw TestFailure("a refused entry stayed") }
    guard try await node.count("persistFailures") > 0 else { throw TestFailure("not counted") }
}
