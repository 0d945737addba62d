// SPDX-License-Identifier: Apache-2.0

/// A QR code symbol (ISO/IEC 18004) of some text: bytes mode, error correction level M, the smallest version that holds it,
/// the mask with the lowest penalty.
///
/// Numbers of sections are those of the 2015 edition.
public struct QRCode: Hashable, Sendable {
    /// What the largest symbol holds.
    public static let bytesMax = 2_331
    /// Light modules around a symbol, which readers need to find it (5.3.8).
    public static let quietZone = 4

    /// 1 to 40.
    public let version: Int
    /// Modules of one side.
    public let size: Int
    /// Row by row; true is dark.
    private let modules: [Bool]

    /// Nil: longer than ``bytesMax``.
    public init?(_ text: String) {
        self.init(bytes: Array(text.utf8))
    }

    package init?(bytes: [UInt8]) {
        guard let version = QRVersion.smallest(for: bytes.count) else { return nil }
        self.init(codewords: QRCodewords.all(of: bytes, version), version)
    }

    private init(codewords: [UInt8], _ version: QRVersion) {
        var drawing = QRDrawing(version)
        drawing.place(codewords)
        var best: (penalty: Int, drawing: QRDrawing)?
        for mask in 0..<8 {
            let masked = drawing.masked(mask)
            let penalty = masked.penalty
            if best.map({ penalty < $0.penalty }) ?? true { best = (penalty, masked) }
        }
        self.version = version.number
        size = version.size
        modules = (best?.drawing ?? drawing).modules
    }

    /// Outside of the symbol everything is light.
    public func isDark(row: Int, column: Int) -> Bool {
        guard (0..<size).contains(row), (0..<size).contains(column) else { return false }
        return modules[row * size + column]
    }
}
