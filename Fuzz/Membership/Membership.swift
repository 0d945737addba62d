// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiIdentity
import TuttiMembership

import struct NIOCore.ByteBuffer

/// The messages of `/tutti/mesh/1`, and MembershipCore under any order of inputs. The first byte chooses.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var source = ByteSource(start, count)
    switch source.byte() % 4 {
    case 0: fuzzWire(ByteBuffer(bytes: source.rest()))
    default:
        var mesh = Mesh(&source)
        mesh.run(&source)
    }
    return 0
}

@_cdecl("Membership_main")
func start(_ count: CInt, _ arguments: Arguments?) -> CInt {
    fuzz(count, arguments) { testOneInput($0, $1) }
}

/// What was read is written and read again as the same.
func fuzzWire(_ bytes: ByteBuffer) {
    var names: [NamedPeer] = []
    func index(_ peer: NamedPeer) -> PeerIndex? {
        if let place = names.firstIndex(where: { $0.id == peer.id }) { return PeerIndex(UInt32(place)) }
        names.append(peer)
        return PeerIndex(UInt32(names.count - 1))
    }
    let limits = MembershipLimits()
    guard let read = try? MembershipWire.decode(bytes, limits: limits, index: index) else { return }
    let written = MembershipWire.encode(read, limits: limits) { peer, _ in
        Int(peer.value) < names.count ? names[Int(peer.value)] : nil
    }
    guard let written else { return require(false, "what was read can be written") }
    // A list with the same peer twice is written without the second.
    if case .shuffle = read { return }
    if case .shuffleAnswer = read { return }
    if case .query(let query) = read, query.question.readableBytes > limits.questionBytesMax { return }
    require((try? MembershipWire.decode(written, limits: limits, index: index)) == read, "a message survives")
}
