// SPDX-License-Identifier: Apache-2.0
import Testing

/// Signatures on the edges of the rule (Ed25519Verifier), and RFC 8032's own.
struct Ed25519Vector: Sendable, CustomTestStringConvertible {
    let name: String
    let message: [UInt8]
    let key: [UInt8]
    let signature: [UInt8]
    let isValid: Bool

    init(_ name: String, _ isValid: Bool, message: String, key: String, signature: String) {
        self.name = name
        self.isValid = isValid
        self.message = KeyVectors.hex(message)
        self.key = KeyVectors.hex(key)
        self.signature = KeyVectors.hex(signature)
    }

    var testDescription: String { name }

    /// The twelve cases of "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko, 2020), with our verdicts.
    static let edges = [
        Ed25519Vector(
            "0: small A and R", false,
            message: "8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6",
            key: "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            signature: """
                c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a000000000000000000000000000000000000000000000000\
                0000000000000000
                """),
        Ed25519Vector(
            "1: small A", false,
            message: "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
            key: "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            signature: """
                f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7d\
                fc6637b45450ac04
                """),
        Ed25519Vector(
            "2: small R", false,
            message: "aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab",
            key: "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
            signature: """
                c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b9\
                53ec9f5833ca260e
                """),
        Ed25519Vector(
            "3: mixed A and R, valid without the factor 8", true,
            message: "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
            key: "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
            signature: """
                9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c5\
                2fcd6648a98bd009
                """),
        Ed25519Vector(
            "4: valid with the factor 8 only", false,
            message: "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
            key: "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
            signature: """
                160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed5125ec6bc982a269b723e0668e540911a9a6a58921d6925e434\
                ab10aa7940551a09
                """),
        Ed25519Vector(
            "5: valid with the factor 8 only, not if 8k is reduced first", false,
            message: "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
            key: "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
            signature: """
                21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d003\
                0494ace586687405
                """),
        Ed25519Vector(
            "6: S above L", false,
            message: "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
            key: "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
            signature: """
                e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538c\
                b68afb369ba3a514
                """),
        Ed25519Vector(
            "7: S far above L", false,
            message: "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
            key: "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
            signature: """
                8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa19427e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f4\
                2b695dd7e89a8c22
                """),
        Ed25519Vector(
            "8: R not reduced, hashed as reduced", false,
            message: "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
            key: "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
            signature: """
                ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff03be9678ac102edcd92b0210bb34d7428d12ffc5df5f37e3\
                59941266a4e35f0f
                """),
        Ed25519Vector(
            "9: R not reduced, hashed as it stands", false,
            message: "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
            key: "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
            signature: """
                ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffca8c5b64cd208982aa38d4936621a4775aa233aa0505711d\
                8fdcfdaa943d4908
                """),
        Ed25519Vector(
            "10: A not reduced, hashed as reduced", false,
            message: "e96b7021eb39c1a163b6da4e3093dcd3f21387da4cc4572be588fafae23c155b",
            key: "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            signature: """
                a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dca5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7d\
                fc6637b45450ac04
                """),
        Ed25519Vector(
            "11: A not reduced, hashed as it stands", false,
            message: "39a591f5321bbe07fd5a23dc2f39d025d74526615746727ceefd6e82ae65c06f",
            key: "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            signature: """
                a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dca5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7d\
                fc6637b45450ac04
                """),
    ]

    /// RFC 8032, section 7.1.
    static let standard = [
        Ed25519Vector(
            "test 1", true, message: "",
            key: "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            signature: """
                e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24\
                655141438e7a100b
                """),
        Ed25519Vector(
            "test 2", true, message: "72",
            key: "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            signature: """
                92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee\
                b00d291612bb0c00
                """),
        Ed25519Vector(
            "test 3", true, message: "af82",
            key: "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            signature: """
                6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d\
                c027beceea1ec40a
                """),
        Ed25519Vector(
            "test SHA(abc)", true,
            message: """
                ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e\
                2a9ac94fa54ca49f
                """,
            key: "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
            signature: """
                dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17a\
                d9bef1177331a704
                """),
    ]

    /// Encodings of the eight points of small order, the canonical ones first, then those with y unreduced or with a sign
    /// where x is zero.
    static let smallOrder = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ].map { KeyVectors.hex($0) }
}
