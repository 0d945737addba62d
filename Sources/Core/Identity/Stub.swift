// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import struct NIOCore.ByteBuffer

public struct PeerID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let bytes: [UInt8]
    package init(multihash: some Collection<UInt8>) throws(DecodeError) { bytes = Array(multihash) }
    package init(text: String) throws(DecodeError) { bytes = Array(text.utf8) }
    /// Nil unless `text` is a peer id in base58 or as CIDv1.
    public init?(_ text: String) { bytes = Array(text.utf8) }
    public static func < (l: PeerID, r: PeerID) -> Bool { l.bytes.lexicographicallyPrecedes(r.bytes) }
    public var description: String { "stub" }
}

package struct PublicKey: Hashable, Sendable {
    package enum Kind: UInt8, Sendable { case rsa = 0, ed25519 = 1, secp256k1 = 2, ecdsa = 3 }
    package let kind: Kind
    package let raw: [UInt8]
    package init(protobuf: ByteBuffer) throws(DecodeError) { kind = .ed25519; raw = [] }
    package var protobuf: [UInt8] { [] }
    package var peerID: PeerID { try! PeerID(multihash: []) }
    package func isValidSignature(_ signature: [UInt8], for message: [UInt8]) -> Bool { false }
}

/// Ed25519.
public struct KeyPair: Sendable {
    package let seed: Bytes32
    package let publicKey: PublicKey
    public let peerID: PeerID
    package init(seed: Bytes32) { fatalError("stub") }
    package init(from source: inout KeySource) { fatalError("stub") }
    package func sign(_ message: [UInt8]) -> [UInt8] { [] }
}

public struct Multiaddr: Hashable, Comparable, Sendable, CustomStringConvertible {
    package enum Component: Hashable, Sendable {
        case ip4(UInt32)
        case ip6(high: UInt64, low: UInt64)
        case ip6zone(String)
        case dns(String), dns4(String), dns6(String), dnsaddr(String)
        case tcp(UInt16), udp(UInt16)
        case quicV1, quic, ws, wss, tls, p2pCircuit, webtransport, webrtcDirect
        case p2p(PeerID)
        case certhash([UInt8])
        case sni(String), unix(String), memory(UInt64)
    }
    package let components: [Component]
    package init(components: [Component]) { self.components = components }
    public init?(_ text: String) { nil }
    package init(text: String) throws(DecodeError) { throw .malformed("multiaddr") }
    package init(binary: ByteBuffer) throws(DecodeError) { throw .malformed("multiaddr") }
    package var binary: [UInt8] { [] }
    public static func < (l: Multiaddr, r: Multiaddr) -> Bool { l.description < r.description }
    public var description: String { "stub" }
    /// The id in the last `/p2p` component.
    package var peerID: PeerID? { nil }
    package func appending(_ component: Component) -> Multiaddr { self }
    /// Without a trailing `/p2p/ID`.
    package var withoutPeerID: Multiaddr { self }
}

package struct SignedEnvelope: Sendable {
    package let publicKey: PublicKey
    package let payloadType: [UInt8]
    package let payload: ByteBuffer
    /// Decodes and checks the signature. RFC 0002.
    package init(_ bytes: ByteBuffer, domain: String) throws(DecodeError) { throw .malformed("envelope") }
    package static func seal(payloadType: [UInt8], payload: ByteBuffer, domain: String, with key: KeyPair) -> ByteBuffer { payload }
}

package struct PeerRecord: Hashable, Sendable {
    package let peerID: PeerID
    package let sequence: UInt64
    package let addresses: [Multiaddr]
    package init(peerID: PeerID, sequence: UInt64, addresses: [Multiaddr]) {
        self.peerID = peerID
        self.sequence = sequence
        self.addresses = addresses
    }
    /// A signed envelope whose signer is the peer the record is about. RFC 0003.
    package init(envelope: ByteBuffer) throws(DecodeError) { throw .malformed("peer record") }
    package func sealed(with key: KeyPair) -> ByteBuffer { ByteBuffer() }
}
