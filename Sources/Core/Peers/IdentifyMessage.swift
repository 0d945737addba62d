// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// One message of identify 1.0 and of its push (libp2p specs, identify/README.md). All fields are optional.
///
///     1 publicKey   2 listenAddrs*   3 protocols*   4 observedAddr
///     5 protocolVersion   6 agentVersion   8 signedPeerRecord
///
/// Addresses that this node can't read are left out, as the specification of addresses asks; everything else that breaks
/// the format is an error. Lists are cut at their limit.
package struct IdentifyMessage: Hashable, Sendable {
    package static let protocolID: ProtocolID = "/ipfs/id/1.0.0"
    package static let pushProtocolID: ProtocolID = "/ipfs/id/push/1.0.0"

    package var publicKey: [UInt8]?
    package var listenAddresses: [Multiaddr] = []
    package var protocols: [ProtocolID] = []
    package var observedAddress: Multiaddr?
    package var protocolVersion: String?
    package var agent: String?
    /// The envelope; nothing in it was checked.
    package var signedRecord: [UInt8]?

    package init() {}

    package init(_ message: ByteBuffer, limits: NodeLimits) throws(DecodeError) {
        guard message.readableBytes <= limits.identifySignedBytesMax else {
            throw .tooLarge("identify", limit: limits.identifySignedBytesMax)
        }
        var reader = ProtobufReader(message)
        while let field = try reader.next() {
            switch field.number {
            case 1:
                publicKey = Array(try field.bytes("identify public key").readableBytesView)
            case 2:
                let bytes = try field.bytes("identify address")
                guard listenAddresses.count < limits.addressesPerPeerMax else { continue }
                if let address = Self.address(bytes) { listenAddresses.append(address) }
            case 3:
                let name = try field.string("identify protocol", bytesMax: ProtocolID.bytesMax)
                guard protocols.count < limits.protocolsPerPeerMax else { continue }
                protocols.append(ProtocolID(name))
            case 4:
                observedAddress = Self.address(try field.bytes("identify observed address"))
            case 5:
                protocolVersion = try field.string("identify protocol version", bytesMax: limits.agentBytesMax)
            case 6:
                agent = try field.string("identify agent", bytesMax: limits.agentBytesMax)
            case 8:
                signedRecord = Array(try field.bytes("identify signed record").readableBytesView)
            default:
                continue
            }
        }
        guard signedRecord != nil || message.readableBytes <= limits.identifyPartBytesMax else {
            throw .tooLarge("identify (unsigned)", limit: limits.identifyPartBytesMax)
        }
    }

    package var encoded: ByteBuffer {
        var buffer = ByteBuffer()
        if let publicKey { buffer.writeProtobuf(1, bytes: publicKey) }
        for address in listenAddresses { buffer.writeProtobuf(2, bytes: address.binary) }
        for name in protocols { buffer.writeProtobuf(3, string: name.name) }
        if let observedAddress { buffer.writeProtobuf(4, bytes: observedAddress.binary) }
        if let protocolVersion { buffer.writeProtobuf(5, string: protocolVersion) }
        if let agent { buffer.writeProtobuf(6, string: agent) }
        if let signedRecord { buffer.writeProtobuf(8, bytes: signedRecord) }
        return buffer
    }

    /// A further part of the same identification: single fields replace, lists grow, both within the limits.
    package mutating func merge(_ part: IdentifyMessage, limits: NodeLimits) {
        publicKey = part.publicKey ?? publicKey
        observedAddress = part.observedAddress ?? observedAddress
        protocolVersion = part.protocolVersion ?? protocolVersion
        agent = part.agent ?? agent
        signedRecord = part.signedRecord ?? signedRecord
        for address in part.listenAddresses where listenAddresses.count < limits.addressesPerPeerMax {
            listenAddresses.append(address)
        }
        for name in part.protocols where protocols.count < limits.protocolsPerPeerMax {
            protocols.append(name)
        }
    }

    private static func address(_ bytes: ByteBuffer) -> Multiaddr? {
        do throws(DecodeError) { return try Multiaddr(binary: bytes) } catch { return nil }
    }
}

/// What this node says of itself to whoever asks: a value that the core replaces, so that connections can answer where
/// they are asked.
package struct IdentifyStatement: Sendable {
    /// Grows with each change.
    package let version: UInt64
    private let common: ByteBuffer

    /// - Parameter message: without the observed address, which is each peer's own.
    package init(version: UInt64, _ message: IdentifyMessage) {
        self.version = version
        common = message.encoded
    }

    /// The message for a peer that is seen at `remote`.
    package func message(toPeerAt remote: Multiaddr) -> ByteBuffer {
        var message = common
        message.writeProtobuf(4, bytes: remote.withoutPeerID.binary)
        return message
    }
}
