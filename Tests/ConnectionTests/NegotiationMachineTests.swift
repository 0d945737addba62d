// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiConnection

@Suite("multistream-select")
struct NegotiationMachineTests {
    /// The length counts the newline.
    private func message(_ text: String) -> [UInt8] {
        [UInt8(text.utf8.count + 1)] + Array(text.utf8) + [0x0A]
    }

    private func dialerOutput(_ machine: NegotiationMachine) -> [UInt8] {
        var output = ByteBuffer()
        machine.start(into: &output)
        return Array(output.readableBytesView)
    }

    @Test("The dialer's first flight is the header and its first proposal, byte for byte")
    func goldenDialer() {
        let machine = NegotiationMachine(proposing: ["/noise"])
        #expect(dialerOutput(machine) == [0x13] + Array("/multistream/1.0.0\n/noise\n".utf8).inserting(0x07, at: 19))
    }

    @Test("The listener answers header and name, cut at every byte, and leaves what follows")
    func listenerCutEverywhere() throws {
        let sent = message("/multistream/1.0.0") + message("/a") + message("/echo") + Array("rest".utf8)
        for cut in 0...sent.count {
            var machine = NegotiationMachine(listeningFor: 4)
            var input = ByteBuffer(bytes: sent[..<cut])
            var output = ByteBuffer()
            var outcome = try machine.receive(&input, into: &output, accepting: ["/echo"])
            if case .needsMoreBytes = outcome {
                input.writeBytes(sent[cut...])
                outcome = try machine.receive(&input, into: &output, accepting: ["/echo"])
            } else {
                input.writeBytes(sent[cut...])
            }
            #expect(outcome == .agreed("/echo"))
            #expect(Array(output.readableBytesView) == message("/multistream/1.0.0") + message("na") + message("/echo"))
            #expect(input.readString(length: input.readableBytes) == "rest")
        }
    }

    @Test("`ls` is answered `na`, as others do")
    func listing() throws {
        var machine = NegotiationMachine(listeningFor: 4)
        var input = ByteBuffer(bytes: message("/multistream/1.0.0") + message("ls"))
        var output = ByteBuffer()
        #expect(try machine.receive(&input, into: &output, accepting: ["/echo"]) == .needsMoreBytes)
        #expect(Array(output.readableBytesView) == message("/multistream/1.0.0") + message("na"))
    }

    @Test("The dialer goes through its proposals and ends refused")
    func refused() throws {
        var machine = NegotiationMachine(proposing: ["/a", "/b"])
        var output = ByteBuffer()
        var input = ByteBuffer(bytes: message("/multistream/1.0.0") + message("na"))
        #expect(try machine.receive(&input, into: &output, accepting: []) == .needsMoreBytes)
        #expect(Array(output.readableBytesView) == message("/b"))
        input = ByteBuffer(bytes: message("na"))
        #expect(try machine.receive(&input, into: &output, accepting: []) == .refused)
    }

    @Test(
        "Nonsense is refused",
        arguments: [
            [0x00], [0x01, 0x41], [0x03, 0x61, 0x62, 0x63], [0xFF, 0xFF, 0x7F], [0x80, 0x00],
            [0x02, 0xFF, 0x0A],
            Array("GET / HTTP/1.1\r\nHost: example.org\r\nUser-Agent: a browser that took the wrong door\r\n\r\n".utf8),
            Array(repeating: 0xFF, count: 12),
        ] as [[UInt8]])
    func nonsense(_ bytes: [UInt8]) {
        for direction in [Direction.inbound, .outbound] {
            var machine =
                direction == .inbound
                ? NegotiationMachine(listeningFor: 4) : NegotiationMachine(proposing: ["/noise"])
            var input = ByteBuffer(bytes: bytes)
            var output = ByteBuffer()
            #expect(throws: DecodeError.self) {
                _ = try machine.receive(&input, into: &output, accepting: ["/noise"])
            }
        }
    }

    @Test("A dialer that proposes without end is cut off at the limit")
    func tooManyProposals() {
        var machine = NegotiationMachine(listeningFor: 3)
        var input = ByteBuffer(bytes: message("/multistream/1.0.0") + message("/a") + message("/b") + message("/c"))
        var output = ByteBuffer()
        #expect(throws: DecodeError.tooLarge("multistream proposals", limit: 3)) {
            _ = try machine.receive(&input, into: &output, accepting: ["/echo"])
        }
    }

    @Test("An answer that is neither the name nor `na` is refused")
    func strangeAnswer() {
        var machine = NegotiationMachine(proposing: ["/a"])
        var input = ByteBuffer(bytes: message("/multistream/1.0.0") + message("/b"))
        var output = ByteBuffer()
        #expect(throws: DecodeError.malformed("multistream answer")) {
            _ = try machine.receive(&input, into: &output, accepting: [])
        }
    }
}

extension [UInt8] {
    fileprivate func inserting(_ byte: UInt8, at index: Int) -> [UInt8] {
        var copy = self
        copy.insert(byte, at: index)
        return copy
    }
}
