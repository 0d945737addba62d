// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization
import Testing
import Tutti
import TuttiBase
import TuttiCommunity
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiNodeCore
import TuttiStorage

extension CommunityAttackTests {
    /// Rows 56 to 58: clocks, copies and backups.
    @Suite("Clocks and copies")
    struct ClocksAndCopies {
        private static let tenYears: UInt64 = 10 * 366 * 86_400_000

        @Test(
            "attack_56 A node whose clock is ten years off is understood, and with a right clock again goes on",
            arguments: [true, false])
        func ownClock(isAhead: Bool) async throws {
            let folder = try Folder()
            let now = Pen.now()
            let wrong = isAhead ? now + Self.tenYears : now - Self.tenYears
            try await Neighbourhood.run { [folder] all in
                try await withCommunityNode(folder.path) { jun in
                    try await jun.perform(.join(link: all.link.text, nickname: "jun")) { _ in }
                }
                try await all.rosa.perform(.send(channel: "general", text: "first")) { _ in }
                try await until { try await all.camila.texts() == ["first"] }
                let addresses = try await all.rosa.node.listenAddresses
                try await withCommunityNode(folder.path, configure: { $0.wallClock = { wrong } }) { jun in
                    try await jun.node.dial(at: addresses)
                    try await until(syncing: jun) { try await jun.texts() == ["first"] }
                    try await jun.perform(.send(channel: "general", text: "second")) { _ in }
                    for node in [all.rosa, all.camila] {
                        try await until(syncing: node) { try await node.texts().count == 2 }
                    }
                }
                // Shown where it arrived when it claims the future, and where it says when it claims the past.
                #expect(try await all.rosa.texts() == (isAhead ? ["first", "second"] : ["second", "first"]))
                // Nobody's clock follows.
                try await all.rosa.perform(.send(channel: "general", text: "third")) { _ in }
                let rosa = try #require(try await all.rosa.device)
                let third = try #require(try await all.rosa.entries(of: rosa).last)
                #expect(third.header.time.milliseconds < now + 3_600_000)
                if isAhead { #expect(try await all.rosa.count("clockLimited") > 0) }
                // The clock is put right.
                try await withCommunityNode(folder.path) { jun in
                    try await jun.perform(.send(channel: "general", text: "right again")) { _ in }
                    let device = try #require(try await jun.device)
                    let last = try #require(try await jun.entries(of: device).last)
                    #expect(last.header.time.milliseconds < Pen.now() + 3_600_000)
                    #expect(last.header.time.milliseconds + 3_600_000 > now)
                    try await jun.node.dial(at: addresses)
                    try await until(syncing: all.rosa) { try await all.rosa.texts().contains("right again") }
                }
            }
        }

        @Test("attack_57 Whatever time a member claims, it decides nothing and gains no room")
        func otherClocks() async throws {
            try await Neighbourhood.run { all in
                let now = Pen.now()
                try await all.rosa.perform(.send(channel: "general", text: "honest")) { _ in }
                try await until { try await all.camila.texts() == ["honest"] }
                try await Intruder.run(at: all.camila, all.link) { intruder in
                    intruder.write { pen in
                        pen.post("from the past", milliseconds: 0)
                        pen.post("from the end of time", milliseconds: (1 << 48) - 1)
                        pen.post("from the past again", milliseconds: now - Self.tenYears)
                    }
                    try await intruder.claim(intruder.pen.device, head: intruder.pen.point)
                    for node in [all.camila, all.rosa] {
                        try await until(syncing: node) { try await node.texts().count == 4 }
                    }
                    #expect(try await all.camila.texts().last == "from the end of time")
                    #expect(try await all.camila.count("clockLimited") > 0)
                    // An honest entry that comes later stands later.
                    try await all.rosa.perform(.send(channel: "general", text: "after it")) { _ in }
                    try await until { try await all.camila.texts().last == "after it" }
                    // Days of the past are none before its admission: no more than today's quota twice.
                    let quota = 8 << 20
                    let body = [UInt8](repeating: 7, count: JournalLimits.bodyBytesMax)
                    let draft = EntryDraft(kind: EntryKind(0x7777), body: body, governance: all.link.invite)
                    intruder.write { pen in
                        for number in 0..<UInt64(3 * quota / Entry.bytesMax) {
                            pen.write(draft, milliseconds: now - Self.tenYears + number * 86_400_000)
                        }
                    }
                    try await intruder.claim(intruder.pen.device, head: intruder.pen.point)
                    try await until { try await all.camila.count("overQuota") > 0 }
                    let held = try await all.camila.entries(of: intruder.pen.device)
                        .filter { !$0.header.kind.isGovernance }
                    #expect(held.reduce(0) { $0 + $1.encodedBytesCount } <= 2 * quota)
                }
            }
        }

        @Test("attack_58 A backup restored while the original runs starts without a device: nothing forks")
        func restored() async throws {
            let (backup, folder) = (try Folder(), try Folder())
            try await Neighbourhood.run { [backup, folder] all in
                try await all.camila.perform(.send(channel: "general", text: "saved")) { _ in }
                try await all.camila.perform(.backup(path: backup.path + "/journal.backup")) { _ in }
                try await all.camila.perform(.send(channel: "general", text: "after the backup")) { _ in }
                try CommunityFiles.restore(backup.path + "/journal.backup", to: folder.path + "/data")
                try await withCommunityNode(folder.path + "/data") { restored async throws in
                    #expect(try await restored.texts() == ["saved"])
                    let refusal = await communityError {
                        try await restored.perform(.send(channel: "general", text: "it is me")) { _ in }
                    }
                    #expect(refusal?.code == .noCommunity && refusal?.message.contains("tutti device recover") == true)
                }
            }
        }

        @Test("attack_58 A machine set back to yesterday hears of its own later entries, and its device ends")
        func setBack() async throws {
            let (folder, other, kept) = (try Folder(), try Folder(), try Folder())
            let device = try await withCommunityNode(other.path) { [folder, kept] rosa in
                try await rosa.perform(.create(name: "Rare gear", nickname: "rosa")) { _ in }
                let link = try await rosa.inviteLink()
                let device = try await withCommunityNode(folder.path) { camila in
                    try await camila.perform(.join(link: link.text, nickname: "camila")) { _ in }
                    try await until { try await rosa.knows(camila) }
                    return try #require(try await camila.device)
                }
                // Yesterday's journal; the keys and their places are the same.
                try FileManager.default.copyItem(atPath: folder.journal, toPath: kept.journal)
                try await withCommunityNode(folder.path) { camila in
                    try await camila.perform(.send(channel: "general", text: "today")) { _ in }
                    try await until { try await rosa.texts() == ["today"] }
                }
                for suffix in ["", "-wal", "-shm"] {
                    try? FileManager.default.removeItem(atPath: folder.journal + suffix)
                }
                try FileManager.default.copyItem(atPath: kept.journal, toPath: folder.journal)
                try await withCommunityNode(folder.path) { camila in
                    try await camila.node.dial(at: try await rosa.node.listenAddresses)
                    try await until { try await camila.count("ownFeedElsewhere") == 1 }
                    let refusal = await communityError {
                        try await camila.perform(.send(channel: "general", text: "again")) { _ in }
                    }
                    #expect(refusal?.code == .notAllowed && refusal?.message.contains("tutti device recover") == true)
                    // Its old feed is taken like anybody's.
                    try await until(syncing: camila) { try await camila.texts() == ["today"] }
                }
                // Nor after a restart.
                try await withCommunityNode(folder.path) { camila in
                    let refusal = await communityError {
                        try await camila.perform(.send(channel: "general", text: "again")) { _ in }
                    }
                    #expect(refusal?.code == .notAllowed)
                }
                #expect(try await !rosa.isFrozen(device))
                return device
            }
            #expect(device != DeviceID(.zero))
        }

        @Test("attack_58 Two machines that write one feed fork it: both stop, all know, and what came before stands")
        func clone() async throws {
            let (folder, other, twin) = (try Folder(), try Folder(), try Folder())
            try await withCommunityNode(other.path) { [folder] rosa in
                try await rosa.perform(.create(name: "Rare gear", nickname: "rosa")) { _ in }
                let link = try await rosa.inviteLink()
                try await withCommunityNode(folder.path) { camila in
                    try await camila.perform(.join(link: link.text, nickname: "camila")) { _ in }
                    try await camila.perform(.send(channel: "general", text: "one of me")) { _ in }
                    try await until { try await rosa.texts() == ["one of me"] }
                }
            }
            try Self.copyDisk(of: folder, to: twin)
            // Neither hears of the other before it writes: the only node that both know is off.
            try await withCommunityNode(folder.configuration()) { [other, twin] original in
                let device = try #require(try await original.device)
                try await withCommunityNode(twin.configuration()) { twin in
                    try await original.perform(.send(channel: "general", text: "I am the one")) { _ in }
                    try await twin.perform(.send(channel: "general", text: "no, I am")) { _ in }
                    try await withCommunityNode(other.configuration()) { rosa in
                        let addresses = try await rosa.addresses
                        try await original.node.dial(at: addresses)
                        try await until(syncing: rosa) { try await rosa.texts().count == 2 }
                        try await twin.node.dial(at: addresses)
                        for node in [rosa, twin, original] {
                            try await until(syncing: rosa, twin, original) { try await node.isFrozen(device) }
                        }
                        for node in [original, twin] {
                            let refusal = await communityError {
                                try await node.perform(.send(channel: "general", text: "still me")) { _ in }
                            }
                            #expect(refusal?.code == .notAllowed)
                        }
                        #expect(try await rosa.count("proofsTaken") >= 1)
                        #expect(try await rosa.texts().contains("one of me"))
                        #expect(try await rosa.head(of: device) != nil)
                    }
                }
            }
        }

        /// As a machine's disk is copied: what tells a copy of a folder, where the key's file lies, doesn't help there.
        private static func copyDisk(of folder: Folder, to twin: Folder) throws {
            try FileManager.default.removeItem(atPath: twin.path)
            try FileManager.default.copyItem(atPath: folder.path, toPath: twin.path)
            for name in ["control", "lock", "keys/node.key"] {
                try? FileManager.default.removeItem(atPath: twin.path + "/" + name)
            }
            let key = try FileManager.default.attributesOfItem(atPath: twin.path + "/keys/device.key")
            let place = "\(key[.systemNumber] ?? 0):\(key[.systemFileNumber] ?? 0)"
            let journal = try SQLiteJournal(path: twin.journal)
            var batch = JournalBatch()
            batch.settings["devicePlace"] = Array(place.utf8)
            try journal.write(batch)
            try journal.close()
        }
    }
}
