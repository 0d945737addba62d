// SPDX-License-Identifier: Apache-2.0
import NIOCore
import TuttiBase

/// How far a measurement is, in bytes.
public struct PerfProgress: Hashable, Sendable {
    public let sent: UInt64
    public let received: UInt64
}

/// What a measurement took. The upload ends when the peer has read it all and begins to answer.
public struct PerfResult: Hashable, Sendable {
    public let upload: Duration
    public let download: Duration
}

/// `/perf/1.0.0`, both sides: u64be of bytes wanted back, then any bytes, half-close; then that many bytes come back.
package enum PerfProtocol {
    package static let protocolID: ProtocolID = "/perf/1.0.0"
    /// Zeros to send slices of; never written to, so every stream shares it.
    package static let zeros = ByteBuffer(repeating: 0, count: 256 * 1024)
    private static let streamsPerConnectionMax = 4
    /// What a stranger may ask for in one go.
    private static let strangerBytesMax: UInt64 = 1 << 30
    private static let progressStep: UInt64 = 4 << 20

    static func serve(on handlers: StreamHandlers, limits: NodeConfiguration.Limits) {
        let bytesMax =
            switch limits {
            case .internet: strangerBytesMax
            case .lab: UInt64.max
            }
        handlers.set(protocolID, inboundMax: streamsPerConnectionMax) { stream in
            var header = try await stream.read(exactly: 8)
            let wanted = header.readInteger(as: UInt64.self) ?? 0
            while try await stream.readBatch() != nil {}
            guard wanted <= bytesMax else {
                throw NodeError(
                    code: .limit, peer: stream.peer, stage: .stream, message: "more perf bytes wanted than allowed")
            }
            try await sendZeros(wanted, on: stream)
            stream.closeWriting()
        }
    }

    static func measure(
        on stream: NodeStream, upload: UInt64, download: UInt64, progress: @Sendable (PerfProgress) -> Void
    ) async throws(NodeError) -> PerfResult {
        let began = ContinuousClock.now
        try await stream.write(ByteBuffer(integer: download))
        try await sendZeros(upload, on: stream) { progress(PerfProgress(sent: $0, received: 0)) }
        stream.closeWriting()
        var answered: ContinuousClock.Instant?
        var received: UInt64 = 0
        var told: UInt64 = 0
        while let batch = try await stream.readBatch() {
            if answered == nil { answered = .now }
            for part in batch { received += UInt64(part.readableBytes) }
            if received - told >= progressStep {
                told = received
                progress(PerfProgress(sent: upload, received: received))
            }
            if received > download { break }
        }
        guard received == download else {
            stream.reset()
            throw NodeError(
                code: .protocolViolation, peer: stream.peer, stage: .stream,
                message: "the peer sent \(received) bytes where \(download) were asked for: ask for fewer")
        }
        let ended = ContinuousClock.now
        progress(PerfProgress(sent: upload, received: received))
        return PerfResult(
            upload: began.duration(to: answered ?? ended), download: (answered ?? ended).duration(to: ended))
    }

    /// Writes `count` zeros in slices of one shared buffer.
    package static func sendZeros(
        _ count: UInt64, on stream: NodeStream, progress: (UInt64) -> Void = { _ in }
    ) async throws(NodeError) {
        var left = count
        var told: UInt64 = 0
        while left > 0 {
            let size = Int(min(left, UInt64(zeros.readableBytes)))
            try await stream.write(size == zeros.readableBytes ? zeros : zeros.getSlice(at: 0, length: size) ?? zeros)
            left -= UInt64(size)
            let sent = count - left
            if sent - told >= progressStep {
                told = sent
                progress(sent)
            }
        }
    }
}
