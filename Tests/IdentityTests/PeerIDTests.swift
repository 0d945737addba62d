// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity

@Suite("Peer ids")
struct PeerIDTests {
    struct Row: Sendable, CustomTestStringConvertible {
        var testDescription: String { base58 }

        let key: [UInt8]
        let base58: String
        let base32: String
        let base36: String
        let base58CID: String
        let isInline: Bool
    }

    static let rows = [
        Row(
            key: KeyVectors.ed25519Public, base58: "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq",
            base32: "bafzaajaiaejcahwr5d5ofrfbis4l5d6uwr57hu5tjodrypfm6yaq6dsc2r2pzyt6",
            base36: "k51qzi5uqu5dgy8qsq67hbz73jqkw87l3fgf4a91qb0d9b5173tir7n4vxk1oe",
            base58CID: "z5AanNVJCxnGuh8TJu4nye3dE3NbxAd8FB9cr46uVagyFPuibMxok2R", isInline: true),
        Row(
            key: KeyVectors.secp256k1Public, base58: "16Uiu2HAmLhLvBoYaoZfaMUKuibM6ac163GwKY74c5kiSLg5KvLpY",
            base32: "bafzaajiiaijcca3xo7uzjzcsyilaj6i54cj44qk7kqzpoao5rti2pjx6udtdbp6kte",
            base36: "kzwfwjn5ji4put13uvtwtc7azzwk42cq2o8ctfnxa6q8n90e72o3pjqbrp3lpcp",
            base58CID: "zKPJ7QRXxW7mVC8S7Hqn6dy4Hwhu8ik2crFP9Lxo2guGvzV9Ld5L5mxc", isInline: true),
        Row(
            key: KeyVectors.ecdsaPublic, base58: "QmVMT29id3TUASyfZZ6k9hmNyc2nYabCo4uMSpDw4zrgDk",
            base32: "bafzbeidigywdclqvl5hxfefwp5onbffcfife7pza57mmfb4tiqmtkdjw64",
            base36: "k2k4r8m0iploq6r25jp915xawtnx0qdr0je62jws2kki6votbj5191x3",
            base58CID: "zdvgq8RnCMNDyFBr66f4LpAYvtutQLbXAPDmeYFQDYK5QzDsU", isInline: false),
        Row(
            key: KeyVectors.rsaPublic, base58: "QmaeANgBs1DTSxWSrPPtobgQuxW8XTfsS4ydbK4rCHzqxG",
            base32: "bafzbeifwzcumbiyql7bhv7fe7mixg6i7aohegq75k234m63bnw6dbicmzu",
            base36: "k2k4r8nz0pc9sm08wgacijx1ic8vxy9e2770otjszhz1nodfs0brtvpp",
            base58CID: "zdvgqDiVYsqTw1B8bdSMB7KCpowpkowW3TtQecXYiPECi8Pbz", isInline: false),
    ]

    @Test("A key's id has its known text in every form, and every form reads back", arguments: rows)
    func golden(row: Row) throws {
        let key = try PublicKey(protobuf: row.key)
        let id = key.peerID
        #expect(id.description == row.base58)
        #expect(id.cidText == row.base32)
        for text in [row.base58, row.base32, row.base36, row.base58CID] {
            #expect(try PeerID(text: text) == id)
            #expect(PeerID(text) == id)
        }
        #expect(try PeerID(multihash: id.bytes) == id)
        #expect(id.byteCount == id.bytes.count)
        #expect(id.publicKey == (row.isInline ? key : nil))
    }

    @Test("The specification's examples name one peer")
    func specification() throws {
        let old = try PeerID(text: "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N")
        #expect(try PeerID(text: "bafzbeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe") == old)
        let inline = try PeerID(text: "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA")
        #expect(inline.bytes.prefix(6).elementsEqual([0x00, 0x24, 0x08, 0x01, 0x12, 0x20]))
        #expect(inline.description == "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA")
    }

    @Test("Ids are cut, damaged and lengthened without harm", arguments: rows)
    func damaged(row: Row) throws {
        let id = try PublicKey(protobuf: row.key).peerID
        expectEveryCutRefused(id.bytes) { try PeerID(multihash: $0) }
        expectDamageRefusedOrKept(id.bytes, seed: 3, { try PeerID(multihash: $0) }, { $0.bytes })
        #expect(throws: DecodeError.self) { try PeerID(multihash: id.bytes + [0]) }
        let text = Array(row.base32.utf8)
        var generator = SeededGenerator(seed: 4)
        for _ in 0..<1_000 {
            let changed = String(decoding: damage(text, &generator), as: UTF8.self)
            if let other = PeerID(changed) { #expect(PeerID(other.description) == other) }
        }
    }

    @Test(
        "What is no peer id is refused",
        arguments: [
            "", "1", "Q", "Qm", "11", "b", "z", "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5S0",
            "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5S", "hello",
            // A CID of content (dag-pb), and CID version 0 behind a multibase prefix.
            "bafybeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe",
            "zQmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
            "BAFZBEIE5745RPV2M6TJYUUGYWY4D5EWRQGQQHFNF445HE3OMZPJBX5XQXE",
        ])
    func refused(text: String) {
        #expect(PeerID(text) == nil)
    }

    @Test("Lengths and hashes outside the specification are refused by name")
    func limits() throws {
        #expect(throws: DecodeError.malformed("peer id")) { try PeerID(multihash: [0, 0]) }
        #expect(throws: DecodeError.malformed("peer id")) {
            try PeerID(multihash: [0x12, 31] + [UInt8](repeating: 1, count: 31))
        }
        #expect(throws: DecodeError.unsupported("peer id hash")) {
            try PeerID(multihash: [0x13, 32] + [UInt8](repeating: 1, count: 32))
        }
        #expect(throws: DecodeError.tooLarge("peer id", limit: 44)) {
            try PeerID(multihash: [0, 43] + [UInt8](repeating: 1, count: 43))
        }
        let longest = [0, 42] + [UInt8](repeating: 0xA5, count: 42)
        let id = try PeerID(multihash: longest)
        #expect(id.bytes == longest)
        #expect(id.publicKey == nil)
        #expect(PeerID(id.description) == id)
    }

    @Test("Order and equality are those of the bytes")
    func order() throws {
        var generator = SeededGenerator(seed: 5)
        var ids: [PeerID] = []
        for round in 0..<300 {
            let count = round % 3 == 0 ? 32 : Int.random(in: 1...42, using: &generator)
            let head: [UInt8] = round % 3 == 0 ? [0x12, 32] : [0, UInt8(count)]
            let body = (0..<count).map { _ in UInt8.random(in: 0...1, using: &generator) }
            ids.append(try PeerID(multihash: head + body))
        }
        for left in ids {
            for right in ids.prefix(60) {
                #expect((left < right) == left.bytes.lexicographicallyPrecedes(right.bytes))
                #expect((left == right) == (left.bytes == right.bytes))
            }
        }
        #expect(Set(ids).count == Set(ids.map(\.bytes)).count)
    }
}
