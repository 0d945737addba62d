// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// Bytes as text whose first character names the base (multiformats/multibase).
package enum Multibase: UInt8, CaseIterable, Sendable {
    case base16 = 0x66  // f
    case base32 = 0x62  // b
    case base36 = 0x6B  // k
    case base58btc = 0x7A  // z
    case base64 = 0x6D  // m
    case base64url = 0x75  // u

    package func encode(_ bytes: some Collection<UInt8>) -> String {
        let body =
            switch self {
            case .base16: BitText.base16.encode(bytes)
            case .base32: BitText.base32.encode(bytes)
            case .base36: RadixText.base36.encode(bytes)
            case .base58btc: RadixText.base58btc.encode(bytes)
            case .base64: BitText.base64.encode(bytes)
            case .base64url: BitText.base64url.encode(bytes)
            }
        return String(Character(UnicodeScalar(rawValue))) + body
    }

    /// The bytes of `text`, whatever supported base its first character names.
    package static func decode(
        _ text: String, textBytesMax: Int, _ what: StaticText
    ) throws(DecodeError) -> [UInt8] {
        let characters = text.utf8
        guard characters.count <= textBytesMax else { throw .tooLarge(what, limit: textBytesMax) }
        guard let prefix = characters.first else { throw .truncated(what) }
        guard let base = Multibase(rawValue: prefix) else { throw .unsupported(what) }
        let body = characters.dropFirst()
        switch base {
        case .base16: return try BitText.base16.decode(body, textBytesMax: textBytesMax, what)
        case .base32: return try BitText.base32.decode(body, textBytesMax: textBytesMax, what)
        case .base36: return try RadixText.base36.decode(body, textBytesMax: textBytesMax, what)
        case .base58btc: return try RadixText.base58btc.decode(body, textBytesMax: textBytesMax, what)
        case .base64: return try BitText.base64.decode(body, textBytesMax: textBytesMax, what)
        case .base64url: return try BitText.base64url.decode(body, textBytesMax: textBytesMax, what)
        }
    }
}
