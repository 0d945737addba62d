// SPDX-License-Identifier: Apache-2.0
import Foundation
import NIOCore
import Testing
import Tutti
import TuttiBase
import TuttiCommunity
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

/// Whole nodes with data folders, on loopback.
@Suite("Recovery from the code alone", .timeLimit(.minutes(2)))
struct RecoveryTests {
    @Test("The founder's machine is off; the code and another member's address bring her back, and she goes on")
    func freshMachine() async throws {
        let machines = try Folder()
        let (founder, friend, fresh) = (
            machines.configuration("camila"), machines.configuration("rosa"), machines.configuration("fresh")
        )
        try await withCommunityNode(friend) { rosa in
            let (code, old) = try await withCommunityNode(founder) { camila in
                let code = try await camila.found()
                _ = try await rosa.join(try await camila.invite(), as: "rosa")
                try await camila.say("before the flood")
                try await rosa.hear("before the flood")
                return (code, try await camila.devices.map(\.id))
            }
            try await withCommunityNode(fresh) { camila in
                let status = try await camila.recover(code, at: try await rosa.addresses)
                #expect(status.nickname == "camila")
                #expect(!status.isPending)
                try await camila.hear("before the flood")
                try await camila.say("I am back")
                try await rosa.hear("I am back")
                #expect(try await camila.devices.map(\.standing) == ["good", "good"])
                #expect(try await camila.devices.count { $0.isThis && !old.contains($0.id) } == 1)
            }
        }
    }

    @Test("An old folder that is found again is a device of the member still, beside the recovered one")
    func oldFolder() async throws {
        let machines = try Folder()
        let (founder, fresh) = (machines.configuration("camila"), machines.configuration("fresh"))
        try await withCommunityNode(machines.configuration("rosa")) { rosa in
            let at = try await rosa.addresses
            let code = try await withCommunityNode(founder) { camila in
                let code = try await camila.found()
                _ = try await rosa.join(try await camila.invite(), as: "rosa")
                return code
            }
            try await withCommunityNode(fresh) { recovered in
                try await recovered.recover(code, at: at)
                var again = founder
                again.node.bootstrap = at
                try await withCommunityNode(again) { old in
                    try await old.say("from the old machine")
                    try await recovered.hear("from the old machine")
                    try await recovered.say("from the new machine")
                    try await old.hear("from the new machine")
                    let devices = try await old.devices
                    #expect(devices.map(\.standing) == ["good", "good"])
                    #expect(try await recovered.devices.map(\.id) == devices.map(\.id))
                    // The one that is no longer wanted is ended by the code, from either.
                    let ended = try #require(devices.first { $0.isThis }?.id)
                    _ = try await recovered.ask(.revokeDevice(device: ended, code: code, reason: "sold"))
                    let standing = try await recovered.devices.first { $0.id == ended }?.standing
                    #expect(standing == "ended")
                }
            }
        }
    }

    @Test("A copied folder and a restored backup become devices of their own, with nobody near; the original writes on")
    func copies() async throws {
        let machines = try Folder()
        let original = machines.configuration("camila")
        let backup = machines.path + "/backup"
        let (code, first) = try await withCommunityNode(original) { camila in
            let code = try await camila.found()
            try await camila.say("one")
            _ = try await camila.ask(.backup(path: backup))
            return (code, try await camila.devices.map(\.id))
        }
        let copy = machines.configuration("copy")
        try FileManager.default.copyItem(atPath: original.folder, toPath: copy.folder)
        let restored = machines.configuration("restored")
        try CommunityFiles.restore(backup, to: restored.folder)
        for configuration in [copy, restored] {
            try await withCommunityNode(configuration) { node in
                let refused = await communityError { try await node.say("not yet") }
                #expect(refused?.message.contains("tutti device recover") == true)
                try await node.recover(code)
                try await node.say("two")
                let devices = try await node.devices
                #expect(devices.count == 2)
                #expect(devices.allSatisfy { $0.standing == "good" && $0.isThis != first.contains($0.id) })
            }
        }
        try await withCommunityNode(original) { camila in
            try await camila.say("three")
            #expect(try await camila.devices.map(\.id) == first)
        }
    }

    @Test("Liars of every kind are asked too, and the one who tells the truth is believed")
    func liars() async throws {
        let machines = try Folder()
        try await withCommunityNode(machines.configuration("camila")) { camila in
            let code = try await camila.found()
            let genuine = try await camila.sealEntry(of: code)
            let other = try await withCommunityNode(machines.configuration("another town")) { mayor in
                try await mayor.sealEntry(of: try await mayor.found())
            }
            let thief = KeyPair()
            let old = genuine.header
            let header = EntryHeader(
                kind: old.kind, isCritical: old.isCritical, retention: old.retention,
                bodyBytesCount: old.bodyBytesCount, sequence: old.sequence, time: old.time, community: old.community,
                device: thief.device, previous: old.previous, governance: old.governance, bodyDigest: old.bodyDigest)
            let copied = Entry(signing: header, content: try #require(genuine.content), with: thief)
            try await withLiar({ try await $0.write(ByteBuffer(repeating: 0xFF, count: 300)) }) { garbage in
                try await withLiar({ try await $0.write(answer(other)) }) { otherTown in
                    try await withLiar({ try await $0.write(answer(copied)) }) { copyist in
                        try await withLiar({ stream in
                            while true { try await stream.write(ByteBuffer(repeating: 0, count: 4_096)) }
                        }) { endless in
                            try await withLiar({ _ = try await $0.read(exactly: 1) }) { silent in
                                let liars = [garbage, otherTown, copyist, endless, silent]
                                let alone = machines.configuration("alone", timeout: .seconds(3))
                                try await withCommunityNode(alone) { fresh in
                                    let error = await communityError { try await fresh.recover(code, at: liars) }
                                    #expect(error?.code == .notFound)
                                    #expect(error?.message.contains("4 answered falsely") == true, "\(error!)")
                                }
                                try await withCommunityNode(machines.configuration("fresh")) { fresh in
                                    let all = liars + (try await camila.addresses)
                                    let status = try await fresh.recover(code, at: all)
                                    #expect(status.nickname == "camila")
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    @Test("With nobody near, the end says what to do, and the folder is as fresh as before")
    func nobody() async throws {
        let machines = try Folder()
        let code = RecoveryCode(secret: Array(0..<16))?.words.joined(separator: " ") ?? ""
        try await withCommunityNode(machines.configuration("fresh", timeout: .seconds(1))) { fresh in
            let alone = await communityError { try await fresh.recover(code) }
            #expect(alone?.code == .deadline)
            #expect(alone?.message.contains("no other node was found within 1 s") == true)
            #expect(alone?.message.contains("--peer") == true)
            let closed = try #require(Multiaddr("/ip4/127.0.0.1/tcp/1"))
            let unreachable = await communityError { try await fresh.recover(code, at: [closed]) }
            #expect(unreachable?.message.contains("/ip4/127.0.0.1/tcp/1 doesn't answer") == true)
            _ = try await fresh.found()
        }
    }

    @Test("A code that nobody knows, one of another community than the folder's, and a wrong word: each is told apart")
    func wrongCodes() async throws {
        let machines = try Folder()
        try await withCommunityNode(machines.configuration("camila")) { camila in
            let code = try await camila.found()
            let unknown = try #require(RecoveryCode(secret: Array(0..<16))).words
            let at = try await camila.addresses
            try await withCommunityNode(machines.configuration("fresh", timeout: .seconds(1))) { fresh in
                let error = await communityError { try await fresh.recover(unknown.joined(separator: " "), at: at) }
                #expect(error?.code == .notFound)
                #expect(error?.message.contains("none of 1 nodes that were asked knows it") == true)
                var wrong = code.split(separator: " ").map(String.init)
                let right = wrong[6]
                wrong[6] = right == "zoo" ? "zone" : "zoo"
                let typo = await communityError { try await fresh.recover(wrong.joined(separator: " "), at: at) }
                #expect(typo?.code == .invalidInput)
                #expect(typo?.message == "word 7 doesn't fit the others; is it \"\(right)\"?")
                let address = await communityError {
                    _ = try await fresh.ask(.recover(code: code, peers: ["192.0.2.7"], link: nil))
                }
                #expect(address?.code == .invalidInput)
                _ = try await fresh.found()
                let elsewhere = await communityError { try await fresh.recover(code, at: at) }
                #expect(elsewhere?.message.contains("another community") == true)
            }
        }
    }

    @Test("A link may still be given, for the addresses in it")
    func link() async throws {
        let machines = try Folder()
        try await withCommunityNode(machines.configuration("camila")) { camila in
            let code = try await camila.found()
            let link = try await camila.invite()
            try await withCommunityNode(machines.configuration("fresh")) { fresh in
                let status = try await fresh.recover(code, link: link)
                #expect(status.nickname == "camila")
            }
        }
    }

    @Test("By the DHT: who holds the seal says so there, and a fresh machine that knows a stranger alone finds it")
    func distributed() async throws {
        let machines = try Folder()
        var configuration = NodeConfiguration()
        configuration.limits = .lab
        configuration.dht = DHTSettings(mode: .server)
        try await withNode(configuration) { stranger in
            let bootstrap = try await stranger.listenAddresses
            try await withCommunityNode(machines.configuration("camila", bootstrap: bootstrap)) { camila in
                let code = try await camila.found()
                let tag = try RecoveryCode(parsing: code).lookupTag
                _ = try await camila.node.profile(of: try await camila.node.dial(at: bootstrap))
                var told: Set<Bytes32> = []
                let isTold = try await camila.tellOfSeals(&told)
                #expect(isTold)
                #expect(told == [tag])
                let content = CommunityNode.content(tag)
                try await withCommunityNode(machines.configuration("fresh", bootstrap: bootstrap)) { fresh in
                    _ = try await fresh.node.profile(of: try await fresh.node.dial(at: bootstrap))
                    let tellers = try await fresh.node.dht.findProviders(content)
                    #expect(tellers == [camila.node.peerID])
                    let status = try await fresh.recover(code)
                    #expect(status.nickname == "camila")
                }
            }
        }
    }

    @Test("A stranger who asks on and on is answered eight times, and learns nothing")
    func flood() async throws {
        let machines = try Folder()
        try await withCommunityNode(machines.configuration("camila")) { camila in
            let code = try RecoveryCode(parsing: try await camila.found())
            let at = try await camila.addresses
            try await withNode(NodeConfiguration()) { stranger in
                let peer = try await stranger.dial(at: at)
                // Of somebody else who asked the stranger: handed on, it fits no longer.
                let overheard = RecoveryQuestion(code.lookupTag, from: KeyPair().peerID, to: stranger.peerID)
                var ends = 0
                for _ in 0..<CommunityLimits.recoveryQuestionBurst {
                    #expect(try await asked(overheard, stranger, peer) == nil)
                    ends += 1
                }
                await #expect(throws: NodeError.self) { try await asked(overheard, stranger, peer) }
                #expect(ends == CommunityLimits.recoveryQuestionBurst)
            }
        }
    }
}

private func asked(_ question: RecoveryQuestion, _ node: Node, _ peer: PeerID) async throws -> ByteBuffer? {
    let stream = try await node.open(RecoveryQuestion.protocolName, to: peer)
    var bytes = ByteBuffer()
    question.encode(into: &bytes)
    try await stream.write(bytes)
    stream.closeWriting()
    return try await stream.read(deadline: .seconds(10))
}

private func answer(_ entry: Entry) -> ByteBuffer {
    var bytes = ByteBuffer()
    RecoveryAnswer(entry: entry, entryPoints: []).encode(into: &bytes)
    return bytes
}

extension CommunityNode {
    /// As a node that knows the code would be answered.
    fileprivate func sealEntry(of code: String) async throws -> Entry {
        let code = try RecoveryCode(parsing: code)
        let addresses = try await addresses
        return try await withNode(NodeConfiguration()) { asker in
            let peer = try await asker.dial(at: addresses)
            let question = RecoveryQuestion(code.lookupTag, from: asker.peerID, to: peer)
            let stream = try await asker.open(RecoveryQuestion.protocolName, to: peer)
            var bytes = ByteBuffer()
            question.encode(into: &bytes)
            try await stream.write(bytes)
            stream.closeWriting()
            var whole = ByteBuffer()
            while var part = try await stream.read(deadline: .seconds(10)) { whole.writeBuffer(&part) }
            return try RecoveryAnswer(whole).entry
        }
    }
}
