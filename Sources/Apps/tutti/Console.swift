// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Logging
import Tutti

/// What commands share in reading options and printing.
enum Console {
    static var isTerminal: Bool { isatty(FileHandle.standardError.fileDescriptor) == 1 }

    /// Of the terminal that standard output is; nil when it is none.
    static var columns: Int? {
        var size = winsize()
        guard ioctl(FileHandle.standardOutput.fileDescriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else {
            return nil
        }
        return Int(size.ws_col)
    }

    static func print(_ line: String) {
        try? FileHandle.standardOutput.write(contentsOf: Data((line + "\n").utf8))
    }

    /// Whether lines come from a keyboard, which shows them itself.
    static var isTyped: Bool { isatty(FileHandle.standardInput.fileDescriptor) == 1 }

    /// The line that was just typed.
    static func erase() {
        try? FileHandle.standardError.write(contentsOf: Data("\u{1B}[1A\r\u{1B}[K".utf8))
    }

    /// What is typed or piped in, until its end.
    static var lines: AsyncStream<String> {
        let (stream, continuation) = AsyncStream.makeStream(of: String.self, bufferingPolicy: .bufferingOldest(1_000))
        // Reading blocks: a thread of its own, which ends with the input or the program.
        Thread.detachNewThread {
            while let line = readLine() { continuation.yield(line) }
            continuation.finish()
        }
        return stream
    }

    static func note(_ line: String) {
        try? FileHandle.standardError.write(contentsOf: Data((line + "\n").utf8))
    }

    /// Replaces the terminal's current line.
    static func progress(_ line: String) {
        try? FileHandle.standardError.write(contentsOf: Data("\r\u{1B}[K\(line)".utf8))
    }

    static func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    /// As the node sees it, which may run elsewhere.
    static func path(_ typed: String) -> String {
        let expanded = NSString(string: typed).expandingTildeInPath
        return expanded.hasPrefix("/") ? expanded : FileManager.default.currentDirectoryPath + "/" + expanded
    }

    static func logger(_ level: Logger.Level) -> Logger {
        var logger = Logger(label: "tutti", factory: { StreamLogHandler.standardError(label: $0) })
        logger.logLevel = level
        return logger
    }

    static func address(_ text: String) throws -> Multiaddr {
        guard let address = Multiaddr(text) else {
            throw ValidationError("'\(text)' is not a multiaddr such as /ip4/127.0.0.1/tcp/4001")
        }
        return address
    }

    /// "12.3 MB", in powers of ten.
    static func bytes(_ count: UInt64) -> String {
        let units = ["B", "kB", "MB", "GB", "TB"]
        var value = Double(count)
        var unit = 0
        while value >= 1000, unit < units.count - 1 {
            value /= 1000
            unit += 1
        }
        return String(format: unit == 0 ? "%.0f %@" : "%.1f %@", value, units[unit])
    }

    static func seconds(_ duration: Duration) -> Double {
        duration / .seconds(1)
    }
}

/// Where a node keeps its key and, later, all it holds.
struct DataOptions: ParsableArguments {
    @Option(name: .customLong("data"), help: "The data folder.", completion: .directory)
    var folder = NSString(string: "~/.tutti").expandingTildeInPath

    @Option(
        help: "A file whose first line is the passphrase that seals the key.", completion: .file())
    var passphraseFile: String?

    func passphrase() throws -> String? {
        guard let passphraseFile else { return nil }
        guard let text = try? String(contentsOfFile: passphraseFile, encoding: .utf8) else {
            throw ValidationError("the passphrase file \(passphraseFile) can't be read: check its name and mode")
        }
        return text.split(separator: "\n", omittingEmptySubsequences: false).first.map(String.init) ?? ""
    }
}
