// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// Where and how a peer can be reached: a path of protocols, such as `/ip4/192.0.2.1/tcp/4001/p2p/12D3KooW…`.
///
/// Follows multiformats/multiaddr. It is held in its binary form, of which there is only one for an address, so equality
/// and order are those of the bytes; ``components`` reads it anew. Protocols outside ``Component`` are refused as
/// unsupported. Stricter than others: names are printable ASCII, Unix paths are absolute and last, numbers in text
/// have no leading zeros.
public struct Multiaddr: Hashable, Comparable, Sendable {
    package enum Component: Hashable, Sendable {
        case ip4(UInt32)
        case ip6(high: UInt64, low: UInt64)
        case ip6zone(String)
        case dns(String), dns4(String), dns6(String), dnsaddr(String)
        case tcp(UInt16), udp(UInt16)
        case quicV1, quic, ws, wss, tls, noise, p2pCircuit, webtransport, webrtcDirect, http
        case p2p(PeerID)
        /// A multihash.
        case certhash([UInt8])
        case sni(String), unix(String), memory(UInt64)
    }

    private let storage: [UInt8]

    /// Of parts that this node chose or that were decoded before. Limits on the whole are checked on reading only.
    package init(components: [Component]) {
        var buffer = ByteBuffer()
        for component in components { component.write(to: &buffer) }
        storage = Array(buffer.readableBytesView)
    }

    /// Nil unless `text` is an address made of protocols that this library knows.
    public init?(_ text: String) {
        do throws(DecodeError) { try self.init(text: text) } catch { return nil }
    }

    package init(text: String) throws(DecodeError) {
        self.init(components: try Component.parse(text))
        guard storage.count <= IdentityLimits.multiaddrBytesMax else {
            throw .tooLarge("multiaddr", limit: IdentityLimits.multiaddrBytesMax)
        }
    }

    /// All of `binary` is one address; encoding it again gives the same bytes.
    package init(binary: ByteBuffer) throws(DecodeError) {
        guard binary.readableBytes <= IdentityLimits.multiaddrBytesMax else {
            throw .tooLarge("multiaddr", limit: IdentityLimits.multiaddrBytesMax)
        }
        guard binary.readableBytes > 0 else { throw .truncated("multiaddr") }
        var buffer = binary
        var count = 0
        while buffer.readableBytes > 0 {
            count += 1
            guard count <= IdentityLimits.multiaddrComponentsMax else {
                throw .tooLarge("multiaddr components", limit: IdentityLimits.multiaddrComponentsMax)
            }
            _ = try Component(from: &buffer)
        }
        storage = Array(binary.readableBytesView)
    }

    package var components: [Component] {
        var components: [Component] = []
        var buffer = ByteBuffer(bytes: storage)
        while buffer.readableBytes > 0, let component = try? Component(from: &buffer) { components.append(component) }
        return components
    }

    package var binary: [UInt8] { storage }

    package var isEmpty: Bool { storage.isEmpty }

    public static func < (lhs: Multiaddr, rhs: Multiaddr) -> Bool {
        lhs.storage.lexicographicallyPrecedes(rhs.storage)
    }

    // MARK: Parts

    /// The id in the last `/p2p` component.
    package var peerID: PeerID? {
        for case .p2p(let id) in components.reversed() { return id }
        return nil
    }

    package func appending(_ component: Component) -> Multiaddr {
        var buffer = ByteBuffer(bytes: storage)
        component.write(to: &buffer)
        return Multiaddr(unchecked: Array(buffer.readableBytesView))
    }

    /// Without a trailing `/p2p/ID`.
    package var withoutPeerID: Multiaddr {
        let components = components
        guard case .p2p = components.last else { return self }
        return Multiaddr(components: Array(components.dropLast()))
    }

    private init(unchecked storage: [UInt8]) {
        self.storage = storage
    }
}

extension Multiaddr: CustomStringConvertible {
    /// The address as people write it; peer ids in base58.
    public var description: String {
        let text = components.map(\.text).joined()
        return text.isEmpty ? "/" : text
    }
}
