// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// What nodes say to the local network to find each other: one query, one response (libp2p specs discovery/mdns.md, RFC
/// 6762 section 18, RFC 6763 section 6).
///
/// Decoding keeps PTR and TXT records, whichever section they stand in; others are skipped. Everything is bounded before
/// it is read: the message, questions, records, and names as `DNSMessage` bounds them.
package struct MulticastDNSMessage: Hashable, Sendable {
    /// RFC 6762, section 17.
    package static let messageBytesMax = 9_000
    package static let questionsMax = 32
    /// Of all sections together.
    package static let recordsMax = 256
    /// Strings in one TXT record.
    package static let textsMax = 32
    package static let service = "_p2p._udp.local"
    /// Of DNS-SD: which services are there? RFC 6763, section 9.
    package static let serviceDirectory = "_services._dns-sd._udp.local"
    package static let hostDomain = "p2p.local"
    /// How long a response may be believed, in seconds.
    package static let timeToLive: UInt32 = 120

    package enum RecordType {
        package static let address: UInt16 = 1
        package static let pointer: UInt16 = 12
        package static let text: UInt16 = 16
        package static let address6: UInt16 = 28
        package static let service: UInt16 = 33
        package static let any: UInt16 = 255
    }

    package struct Question: Hashable, Sendable {
        /// In lower case with dots.
        package let name: [UInt8]
        package let type: UInt16
    }

    package struct Record: Hashable, Sendable {
        package enum Content: Hashable, Sendable {
            case pointer([UInt8])
            case texts([[UInt8]])
        }

        package let name: [UInt8]
        package let timeToLive: UInt32
        package let content: Content
    }

    package let isResponse: Bool
    package private(set) var questions: [Question] = []
    package private(set) var records: [Record] = []

    // MARK: Decoding

    package init(_ message: ByteBuffer) throws(DecodeError) {
        guard message.readableBytes <= Self.messageBytesMax else {
            throw .tooLarge("mDNS message", limit: Self.messageBytesMax)
        }
        // Compression pointers count from the message's first byte.
        let whole = message.slice()
        var rest = whole
        guard
            let (_, flags, questionCount, answers, authorities, additional) = rest.readMultipleIntegers(
                as: (UInt16, UInt16, UInt16, UInt16, UInt16, UInt16).self)
        else { throw .truncated("mDNS header") }
        // Opcode and response code are zero (RFC 6762, sections 18.3 and 18.11).
        guard flags & 0x780F == 0 else { throw .malformed("mDNS header") }
        isResponse = flags & 0x8000 != 0
        guard Int(questionCount) <= Self.questionsMax else {
            throw .tooLarge("mDNS questions", limit: Self.questionsMax)
        }
        let recordCount = Int(answers) + Int(authorities) + Int(additional)
        guard recordCount <= Self.recordsMax else { throw .tooLarge("mDNS records", limit: Self.recordsMax) }
        for _ in 0..<Int(questionCount) {
            let name = try DNSMessage.readName(&rest, in: whole)
            guard let (type, kind) = rest.readMultipleIntegers(as: (UInt16, UInt16).self) else {
                throw .truncated("mDNS question")
            }
            // The top bit asks for an answer by unicast, which nobody gets.
            guard kind & 0x7FFF == DNSMessage.classInternet else { continue }
            questions.append(Question(name: name, type: type))
        }
        for _ in 0..<recordCount {
            if let record = try Self.readRecord(&rest, in: whole) { records.append(record) }
        }
    }

    private static func readRecord(_ rest: inout ByteBuffer, in whole: ByteBuffer) throws(DecodeError) -> Record? {
        let name = try DNSMessage.readName(&rest, in: whole)
        guard
            let (type, kind, timeToLive, length) = rest.readMultipleIntegers(
                as: (UInt16, UInt16, UInt32, UInt16).self)
        else { throw .truncated("mDNS record") }
        var inPlace = rest
        guard var data = rest.readSlice(length: Int(length)) else { throw .truncated("mDNS record data") }
        // The top bit tells caches to forget what they had.
        guard kind & 0x7FFF == DNSMessage.classInternet else { return nil }
        switch type {
        case RecordType.pointer:
            let target = try DNSMessage.readName(&inPlace, in: whole)
            guard inPlace.readerIndex == rest.readerIndex else { throw .malformed("mDNS pointer record") }
            return Record(name: name, timeToLive: timeToLive, content: .pointer(target))
        case RecordType.text:
            var texts: [[UInt8]] = []
            while let count = data.readInteger(as: UInt8.self) {
                guard let text = data.readBytes(length: Int(count)) else { throw .truncated("mDNS text") }
                guard texts.count < textsMax else { throw .tooLarge("mDNS texts", limit: textsMax) }
                if !text.isEmpty { texts.append(text) }
            }
            return Record(name: name, timeToLive: timeToLive, content: .texts(texts))
        default:
            return nil
        }
    }

    // MARK: Encoding

    /// Who is there? Answers go to everybody.
    package static func query() -> ByteBuffer {
        var message = ByteBuffer()
        message.writeMultipleIntegers(UInt16(0), UInt16(0), UInt16(1), UInt16(0), UInt16(0), UInt16(0))
        _ = DNSMessage.write(service, to: &message)
        message.writeMultipleIntegers(RecordType.pointer, DNSMessage.classInternet)
        return message
    }

    /// The answer to "which services are there?".
    package static func directoryResponse() -> ByteBuffer {
        var message = ByteBuffer()
        message.writeMultipleIntegers(UInt16(0), UInt16(0x8400), UInt16(0), UInt16(1), UInt16(0), UInt16(0))
        _ = DNSMessage.write(serviceDirectory, to: &message)
        writeRecord(RecordType.pointer, isUnique: false, to: &message) { _ = DNSMessage.write(service, to: &$0) }
        return message
    }

    /// We are: the name, and in TXT records where. SRV and A or AAAA records let general mDNS tools show us.
    ///
    /// - Parameters:
    ///   - peerName: letters and digits, at most 63.
    ///   - addresses: complete with `/p2p`; those whose text is over 255 bytes with its key are left out.
    package static func response(peerName: String, addresses: [Multiaddr]) -> ByteBuffer {
        let texts = addresses.map { "dnsaddr=\($0)" }.filter { $0.utf8.count <= 255 }
        var hosts: [(ip: IPAddress, port: UInt16)] = []
        for address in addresses {
            guard let target = address.socketTarget, let ip = address.ipAddress else { continue }
            if !hosts.contains(where: { $0.ip == ip }) { hosts.append((ip, target.port)) }
        }
        var message = ByteBuffer()
        let additional = 1 + (hosts.isEmpty ? 0 : 1 + hosts.count)
        message.writeMultipleIntegers(
            UInt16(0), UInt16(0x8400), UInt16(0), UInt16(1), UInt16(0), UInt16(clamping: additional))
        let start = message.writerIndex
        _ = DNSMessage.write(service, to: &message)
        writeRecord(RecordType.pointer, isUnique: false, to: &message) { data in
            data.writeLabel(peerName)
            data.writePointer(to: start)
        }
        // The instance's name stands as the content of that record.
        let instance = message.writerIndex - peerName.utf8.count - 3
        message.writePointer(to: instance)
        writeRecord(RecordType.text, isUnique: true, to: &message) { data in
            for text in texts { data.writeLabel(text) }
            if texts.isEmpty { data.writeInteger(UInt8(0)) }
        }
        guard let port = hosts.first?.port else { return message }
        let host = "\(peerName).\(hostDomain)"
        message.writePointer(to: instance)
        writeRecord(RecordType.service, isUnique: true, to: &message) { data in
            data.writeMultipleIntegers(UInt16(0), UInt16(0), port)
            _ = DNSMessage.write(host, to: &data)
        }
        for (ip, _) in hosts {
            _ = DNSMessage.write(host, to: &message)
            switch ip {
            case .v4(let bits):
                writeRecord(RecordType.address, isUnique: true, to: &message) { $0.writeInteger(bits) }
            case .v6(let high, let low):
                writeRecord(RecordType.address6, isUnique: true, to: &message) { $0.writeMultipleIntegers(high, low) }
            }
        }
        return message
    }

    /// All of a record but its name. Unique: nobody else has records of this name and type.
    private static func writeRecord(
        _ type: UInt16, isUnique: Bool, to message: inout ByteBuffer, _ write: (inout ByteBuffer) -> Void
    ) {
        message.writeMultipleIntegers(type, DNSMessage.classInternet | (isUnique ? 0x8000 : 0), timeToLive)
        var data = ByteBuffer()
        write(&data)
        message.writeInteger(UInt16(clamping: data.readableBytes))
        message.writeBuffer(&data)
    }
}

extension ByteBuffer {
    /// Up to 255 bytes behind their count; 63 where it is part of a name.
    fileprivate mutating func writeLabel(_ text: String) {
        writeInteger(UInt8(clamping: text.utf8.count))
        writeBytes(text.utf8.prefix(255))
    }

    fileprivate mutating func writePointer(to index: Int) {
        writeInteger(UInt16(0xC000) | UInt16(clamping: index))
    }
}
