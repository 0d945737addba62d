// SPDX-License-Identifier: Apache-2.0

/// What this module accepts from outside, in bytes and counts.
package enum IdentityLimits {
    /// A key whose protobuf is longer than this is named by its hash (peer-ids specification).
    package static let inlineKeyBytesMax = 42
    /// An RSA key of 8,192 bits with its PKIX wrapping takes 1,062 bytes; nothing longer is looked at.
    package static let publicKeyBytesMax = 1_100
    package static let rsaBitsMin = 2_048
    package static let rsaBitsMax = 8_192
    /// An RSA signature of 8,192 bits.
    package static let signatureBytesMax = 1_024
    /// A peer id as text: 44 bytes in the widest base that we read (base16) with CID and multibase prefixes.
    package static let peerIDTextBytesMax = 128
    /// Digests that a multihash may carry (SHA-512 is the longest in use).
    package static let multihashDigestBytesMax = 64
    package static let cidTextBytesMax = 192

    package static let multiaddrBytesMax = 1_024
    package static let multiaddrTextBytesMax = 4_096
    package static let multiaddrComponentsMax = 24
    /// The longest name that DNS has.
    package static let nameBytesMax = 253
    package static let unixPathBytesMax = 512

    package static let envelopeBytesMax = 128 * 1_024
    package static let payloadTypeBytesMax = 64
    package static let peerRecordBytesMax = 8 * 1_024
    /// Further addresses in a peer record are left out, first come first kept.
    package static let peerRecordAddressesMax = 16
}
