// SPDX-License-Identifier: Apache-2.0
import TuttiBase

import struct NIOCore.ByteBuffer

/// A sum in minor units of a currency. Nothing here moves any: it is what two people say of their payments.
package struct Money: Hashable, Sendable, CustomStringConvertible {
    package static let amountMax: Int64 = 1_000_000_000_000_000

    package let amount: Int64
    package let currency: CurrencyCode

    /// Nil below zero and above a limit that leaves room to add.
    package init?(_ amount: Int64, _ currency: CurrencyCode) {
        guard (0...Self.amountMax).contains(amount) else { return nil }
        self.amount = amount
        self.currency = currency
    }

    init(from reader: inout BodyReader, _ field: Int, _ what: StaticText) throws(DecodeError) {
        var message = try reader.message(field, what)
        amount = Int64(try message.number(1, in: 0...Int(Self.amountMax), what))
        guard let currency = CurrencyCode(try message.text(2, bytesMax: CurrencyCode.lettersCount, what)) else {
            throw .malformed(what)
        }
        self.currency = currency
        try message.end(what)
    }

    func encode(into buffer: inout ByteBuffer, _ field: Int) {
        buffer.write(field) {
            $0.write(1, Int(amount))
            $0.writeProtobuf(2, string: currency.text)
        }
    }

    /// So many thousandths, rounded down: the rest is the other's.
    package func share(permille: Int) -> Money? {
        let part = min(max(Int64(permille), 0), 1_000)
        return Money(amount / 1_000 * part + amount % 1_000 * part / 1_000, currency)
    }

    package var description: String { "\(currency.amount(amount)) \(currency.text)" }
}
