// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiSimulator

@Suite("The lab's address translators")
struct VirtualNATTests {
    private static let server = VirtualEndpoint(0x3300_0001, 4_001)
    private static let sameAddress = VirtualEndpoint(0x3300_0001, 50_000)
    private static let stranger = VirtualEndpoint(0x3400_0001, 4_001)

    private struct Row: Sendable {
        let model: NATModel
        /// Whether a second remote sees the same outside port.
        let isSharedByPorts: Bool
        let isSharedByAddresses: Bool
        let admitsSameAddress: Bool
        let admitsStranger: Bool
    }

    private static let rows = [
        Row(
            model: .fullCone, isSharedByPorts: true, isSharedByAddresses: true, admitsSameAddress: true,
            admitsStranger: true),
        Row(
            model: .addressRestricted, isSharedByPorts: true, isSharedByAddresses: true, admitsSameAddress: true,
            admitsStranger: false),
        Row(
            model: .portRestricted, isSharedByPorts: true, isSharedByAddresses: true, admitsSameAddress: false,
            admitsStranger: false),
        Row(
            model: .symmetric, isSharedByPorts: false, isSharedByAddresses: false, admitsSameAddress: false,
            admitsStranger: false),
        Row(
            model: NATModel(mapping: .addressDependent, filtering: .endpointIndependent), isSharedByPorts: true,
            isSharedByAddresses: false, admitsSameAddress: true, admitsStranger: true),
    ]

    @Test("Mapping and filtering are those of the class", arguments: 0..<rows.count)
    func classes(number: Int) {
        let row = Self.rows[number]
        var nat = VirtualNAT(row.model)
        #expect(nat.admits(Self.server, to: 7_000, at: .zero) == nil, "nothing went out yet")
        let port = nat.opened(from: 7_000, to: Self.server, at: .zero)
        #expect((port == 7_000) == (row.model.mapping == .endpointIndependent))
        #expect(nat.admits(Self.server, to: port, at: .zero) == 7_000)
        #expect(nat.admits(Self.sameAddress, to: port, at: .zero) == (row.admitsSameAddress ? 7_000 : nil))
        #expect(nat.admits(Self.stranger, to: port, at: .zero) == (row.admitsStranger ? 7_000 : nil))
        #expect(nat.admits(Self.server, to: port &+ 9, at: .zero) == nil)
        #expect((nat.opened(from: 7_000, to: Self.sameAddress, at: .zero) == port) == row.isSharedByPorts)
        #expect((nat.opened(from: 7_000, to: Self.stranger, at: .zero) == port) == row.isSharedByAddresses)
        #expect(nat.opened(from: 7_001, to: Self.server, at: .zero) != port)
    }

    @Test("A mapping lives while a socket uses it and for its time-out after")
    func lifetime() {
        var nat = VirtualNAT(.fullCone)
        let later = Instant.zero + .seconds(10_000)
        _ = nat.opened(from: 7_000, to: Self.server, at: .zero)
        _ = nat.opened(from: 7_000, to: Self.server, at: .zero)
        nat.closed(from: 7_000, to: Self.server, at: .zero)
        #expect(nat.admits(Self.stranger, to: 7_000, at: later) == 7_000)
        nat.closed(from: 7_000, to: Self.server, at: later)
        #expect(nat.mappingCount(at: later + .seconds(239)) == 1)
        #expect(nat.admits(Self.stranger, to: 7_000, at: later + .seconds(239)) == 7_000)
        #expect(nat.admits(Self.stranger, to: 7_000, at: later + .seconds(240)) == nil)
        #expect(nat.mappingCount(at: later + .seconds(240)) == 0)
    }

    @Test("A permission ends with its sockets, though others keep the mapping")
    func permission() {
        var nat = VirtualNAT(.addressRestricted)
        _ = nat.opened(from: 7_000, to: Self.server, at: .zero)
        _ = nat.opened(from: 7_000, to: Self.stranger, at: .zero)
        nat.closed(from: 7_000, to: Self.stranger, at: .zero)
        let later = Instant.zero + .seconds(240)
        #expect(nat.admits(Self.stranger, to: 7_000, at: later) == nil)
        #expect(nat.admits(Self.server, to: 7_000, at: later) == 7_000)
    }

    @Test("A forwarded port lets everybody in")
    func forwarded() {
        var model = NATModel.symmetric
        model.forwarded = [4_001]
        var nat = VirtualNAT(model)
        #expect(nat.admits(Self.stranger, to: 4_001, at: .zero) == 4_001)
        #expect(nat.admits(Self.stranger, to: 4_002, at: .zero) == nil)
    }
}
