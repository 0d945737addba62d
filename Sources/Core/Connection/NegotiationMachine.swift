// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// Agrees on one protocol over one byte stream: multistream-select 1.0 (libp2p/specs, connections/README.md).
///
/// Each message is a varint length, a name and a newline; the length counts the newline. Both sides send the header
/// `/multistream/1.0.0`; the dialer proposes; the listener echoes the name or says `na`. Used for a connection's
/// security and muxer and for every stream. It reads exactly its own bytes: what follows belongs to the next layer.
///
///     dialer:    awaitingHeader ──▶ awaitingAnswer(i) ──na──▶ awaitingAnswer(i+1) … ──▶ finished
///     listener:  awaitingHeader ──▶ awaitingProposal ──unknown──▶ awaitingProposal … ──▶ finished
///
/// The dialer's header and first proposal leave together, and the caller may send on right behind them (optimistic
/// negotiation) when it has a single proposal. Calls after `finished` are our bug; everything else that doesn't fit is
/// the peer's fault and thrown. `ls` is answered `na`, as other implementations do.
package struct NegotiationMachine: Sendable {
    package enum OnReceive: Equatable {
        case needsMoreBytes
        case agreed(ProtocolID)
        /// Dialer only: the listener knows none of our proposals.
        case refused
    }

    private enum State {
        case awaitingHeader
        case awaitingAnswer(index: Int)
        case awaitingProposal(count: Int)
        case finished
    }

    /// A message may not be longer, newline included. Names are at most `ProtocolID.bytesMax`.
    package static let messageBytesMax = 1024

    private var state: State
    private let direction: Direction
    private let proposals: [ProtocolID]
    private let proposalsMax: Int

    package init(proposing proposals: [ProtocolID]) {
        precondition(!proposals.isEmpty, "a negotiation needs a proposal")
        state = .awaitingHeader
        direction = .outbound
        self.proposals = proposals
        proposalsMax = proposals.count
    }

    package init(listeningFor proposalsMax: Int) {
        state = .awaitingHeader
        direction = .inbound
        proposals = []
        self.proposalsMax = proposalsMax
    }

    /// The dialer's first flight; nothing for the listener, whose header leaves with its first answer.
    package func start(into output: inout ByteBuffer) {
        guard direction == .outbound else { return }
        Self.write(ProtocolID.multistream.name, into: &output)
        Self.write(proposals[0].name, into: &output)
    }

    /// Consumes whole messages from `input` until the negotiation ends or more bytes are needed, and appends answers.
    package mutating func receive(
        _ input: inout ByteBuffer, into output: inout ByteBuffer, accepting accepted: [ProtocolID]
    ) throws(DecodeError) -> OnReceive {
        while true {
            if case .finished = state {
                assertionFailure("a negotiation that has ended was given bytes")
                return .needsMoreBytes
            }
            guard let message = try Self.readMessage(&input) else { return .needsMoreBytes }
            switch state {
            case .awaitingHeader:
                guard message == ProtocolID.multistream.name else { throw .malformed("multistream header") }
                switch direction {
                case .outbound:
                    state = .awaitingAnswer(index: 0)
                case .inbound:
                    Self.write(ProtocolID.multistream.name, into: &output)
                    state = .awaitingProposal(count: 0)
                }
            case .awaitingAnswer(let index):
                if message == proposals[index].name {
                    state = .finished
                    return .agreed(proposals[index])
                }
                guard message == "na" else { throw .malformed("multistream answer") }
                guard index + 1 < proposals.count else {
                    state = .finished
                    return .refused
                }
                Self.write(proposals[index + 1].name, into: &output)
                state = .awaitingAnswer(index: index + 1)
            case .awaitingProposal(let count):
                let proposal = ProtocolID(message)
                if accepted.contains(proposal) {
                    Self.write(message, into: &output)
                    state = .finished
                    return .agreed(proposal)
                }
                guard count + 1 < proposalsMax else { throw .tooLarge("multistream proposals", limit: proposalsMax) }
                Self.write("na", into: &output)
                state = .awaitingProposal(count: count + 1)
            case .finished:
                return .needsMoreBytes
            }
        }
    }

    private static func readMessage(_ input: inout ByteBuffer) throws(DecodeError) -> String? {
        guard var message = try input.readDelimited("multistream message", bytesMax: messageBytesMax) else {
            return nil
        }
        guard message.readableBytes > 0,
            message.getInteger(at: message.writerIndex - 1, as: UInt8.self) == UInt8(ascii: "\n"),
            let name = message.readSlice(length: message.readableBytes - 1),
            let text = String(validating: name.readableBytesView, as: UTF8.self)
        else { throw .malformed("multistream message") }
        return text
    }

    private static func write(_ name: String, into output: inout ByteBuffer) {
        output.writeVarint(UInt64(name.utf8.count + 1))
        output.writeString(name)
        output.writeInteger(UInt8(ascii: "\n"))
    }
}
