// SPDX-License-Identifier: Apache-2.0

/// An IP address, and what may be concluded from it alone.
package enum IPAddress: Hashable, Sendable {
    case v4(UInt32)
    case v6(high: UInt64, low: UInt64)

    /// Where many addresses are likely one operator: the key under which connections are counted.
    package struct Group: Hashable, Sendable {
        package let isIPv6: Bool
        package let prefixBits: UInt8
        /// The address with the bits behind the prefix cleared; of IPv6 the first 64 bits.
        package let prefix: UInt64
    }

    /// An IPv6 address that only wraps an IPv4 one (`::ffff:a.b.c.d`) is treated as what it wraps, so that rules can't
    /// be evaded by writing an address the other way.
    package var unwrapped: IPAddress {
        guard case .v6(high: 0, let low) = self, low >> 32 == 0xFFFF else { return self }
        return .v4(UInt32(truncatingIfNeeded: low))
    }

    package var isIPv6: Bool {
        if case .v6 = self { true } else { false }
    }

    package var isLoopback: Bool {
        switch unwrapped {
        case .v4(let bits): bits >> 24 == 127
        case .v6(let high, let low): high == 0 && low == 1
        }
    }

    /// 0.0.0.0 or ::, which listens on every interface and is no destination.
    package var isUnspecified: Bool {
        switch unwrapped {
        case .v4(let bits): bits == 0
        case .v6(let high, let low): high == 0 && low == 0
        }
    }

    package var isLinkLocal: Bool {
        switch unwrapped {
        case .v4(let bits): bits >> 16 == 0xA9FE
        case .v6(let high, _): high >> 54 == 0xFE80 >> 6
        }
    }

    /// A local network's own: RFC 1918, shared carrier space (RFC 6598), unique local IPv6 (RFC 4193).
    package var isPrivate: Bool {
        switch unwrapped {
        case .v4(let bits):
            bits >> 24 == 10 || bits >> 20 == 0xAC1 || bits >> 16 == 0xC0A8 || bits >> 22 == 0x6440 >> 6
        case .v6(let high, _): high >> 57 == 0xFC >> 1
        }
    }

    package var isMulticast: Bool {
        switch unwrapped {
        case .v4(let bits): bits >> 28 == 0xE
        case .v6(let high, _): high >> 56 == 0xFF
        }
    }

    /// Could be reached across the Internet: in no special block of RFC 6890.
    package var isGlobal: Bool {
        if isLoopback || isUnspecified || isLinkLocal || isPrivate || isMulticast { return false }
        switch unwrapped {
        case .v4(let bits):
            // 0/8, 192.0.0/24, 192.0.2/24, 198.18/15, 198.51.100/24, 203.0.113/24, 240/4.
            return bits >> 24 != 0 && bits >> 8 != 0xC0_0000 && bits >> 8 != 0xC0_0002 && bits >> 17 != 0xC612 >> 1
                && bits >> 8 != 0xC6_3364 && bits >> 8 != 0xCB_0071 && bits >> 28 != 0xF
        case .v6(let high, _):
            // Global unicast is 2000::/3; 2001:db8::/32 is for documents.
            return high >> 61 == 1 && high >> 32 != 0x2001_0DB8
        }
    }

    /// The group with this prefix length, cut to what the family has (32 and 64 bits).
    package func group(prefixBits: Int) -> Group {
        switch unwrapped {
        case .v4(let bits):
            let kept = UInt32(min(max(prefixBits, 0), 32))
            let mask: UInt32 = kept == 0 ? 0 : .max << (32 - kept)
            return Group(isIPv6: false, prefixBits: UInt8(kept), prefix: UInt64(bits & mask))
        case .v6(let high, _):
            let kept = UInt64(min(max(prefixBits, 0), 64))
            let mask: UInt64 = kept == 0 ? 0 : .max << (64 - kept)
            return Group(isIPv6: true, prefixBits: UInt8(kept), prefix: high & mask)
        }
    }

    /// The narrowest group: one IPv4 address, or one IPv6 site (/56).
    package var hostGroup: Group {
        unwrapped.isIPv6 ? group(prefixBits: 56) : group(prefixBits: 32)
    }

    /// The wider group: an IPv4 /24, or an IPv6 site (/56).
    package var networkGroup: Group {
        unwrapped.isIPv6 ? group(prefixBits: 56) : group(prefixBits: 24)
    }
}

// MARK: Text, by hand: the C functions and Foundation are not for Core.

extension IPAddress: CustomStringConvertible {
    /// `a.b.c.d`, or the form of RFC 5952, section 4 and 5: lower case, the longest run of zeros as `::`.
    package var description: String {
        switch self {
        case .v4(let bits):
            return "\(bits >> 24).\(bits >> 16 & 0xFF).\(bits >> 8 & 0xFF).\(bits & 0xFF)"
        case .v6(let high, let low):
            if case .v4 = unwrapped { return "::ffff:\(unwrapped)" }
            let groups = [high >> 48, high >> 32, high >> 16, high, low >> 48, low >> 32, low >> 16, low].map {
                UInt16(truncatingIfNeeded: $0)
            }
            let zeros = Self.longestZeroRun(groups)
            func hex(_ part: ArraySlice<UInt16>) -> String {
                part.map { String($0, radix: 16) }.joined(separator: ":")
            }
            guard zeros.count > 1 else { return hex(groups[...]) }
            return hex(groups[..<zeros.lowerBound]) + "::" + hex(groups[zeros.upperBound...])
        }
    }

    /// The first of the longest runs.
    private static func longestZeroRun(_ groups: [UInt16]) -> Range<Int> {
        var best = 0..<0
        var start = 0
        for (index, group) in groups.enumerated() {
            if group != 0 {
                start = index + 1
            } else if index + 1 - start > best.count {
                best = start..<(index + 1)
            }
        }
        return best
    }

    /// Nil unless `text` is an address of either family, without zone, port or brackets.
    package init?(_ text: some StringProtocol) {
        let characters = Array(text.utf8.prefix(46))
        guard characters.count <= 45 else { return nil }
        if characters.contains(0x3A) {
            guard let (high, low) = Self.parseIPv6(characters) else { return nil }
            self = .v6(high: high, low: low)
        } else {
            guard let bits = Self.parseIPv4(characters[...]) else { return nil }
            self = .v4(bits)
        }
    }

    /// Four decimal numbers without leading zeros (which some read as octal).
    static func parseIPv4(_ text: ArraySlice<UInt8>) -> UInt32? {
        let parts = text.split(separator: 0x2E, omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bits: UInt32 = 0
        for part in parts {
            guard (1...3).contains(part.count), part.count == 1 || part.first != 0x30 else { return nil }
            var value: UInt32 = 0
            for character in part {
                guard (0x30...0x39).contains(character) else { return nil }
                value = value * 10 + UInt32(character - 0x30)
            }
            guard value <= 255 else { return nil }
            bits = bits << 8 | value
        }
        return bits
    }

    /// RFC 4291, section 2.2: eight groups, one `::` at most, the last two groups perhaps as IPv4.
    private static func parseIPv6(_ text: [UInt8]) -> (high: UInt64, low: UInt64)? {
        var before: [UInt16] = []
        var after: [UInt16] = []
        var hasGap = false
        var rest = text[...]
        if rest.starts(with: [0x3A, 0x3A]) {
            hasGap = true
            rest = rest.dropFirst(2)
        }
        while !rest.isEmpty {
            let end = rest.firstIndex(of: 0x3A) ?? rest.endIndex
            let part = rest[rest.startIndex..<end]
            guard let values = parseGroup(part, isLast: end == rest.endIndex) else { return nil }
            if hasGap { after += values } else { before += values }
            guard before.count + after.count <= 8 else { return nil }
            rest = rest[end...]
            guard !rest.isEmpty else { break }
            rest = rest.dropFirst()
            if rest.first == 0x3A {
                guard !hasGap else { return nil }
                hasGap = true
                rest = rest.dropFirst()
            } else if rest.isEmpty {
                return nil
            }
        }
        let missing = 8 - before.count - after.count
        guard hasGap ? missing >= 1 : missing == 0 else { return nil }
        let groups = before + [UInt16](repeating: 0, count: missing) + after
        let high = groups[..<4].reduce(0) { $0 << 16 | UInt64($1) }
        return (high, groups[4...].reduce(0) { $0 << 16 | UInt64($1) })
    }

    /// One group, or the two that an IPv4 tail makes.
    private static func parseGroup(_ part: ArraySlice<UInt8>, isLast: Bool) -> [UInt16]? {
        if isLast, part.contains(0x2E) {
            guard let bits = parseIPv4(part) else { return nil }
            return [UInt16(bits >> 16), UInt16(bits & 0xFFFF)]
        }
        guard (1...4).contains(part.count) else { return nil }
        var value: UInt16 = 0
        for character in part {
            guard let digit = Character(UnicodeScalar(character)).hexDigitValue else { return nil }
            value = value << 4 | UInt16(digit)
        }
        return [value]
    }
}
