// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import TuttiBase
import TuttiMarket
import TuttiWitness

/// `docs/protocols/trade/*.json`, for other implementations. Run with TUTTI_WRITE_VECTORS=1 to write them anew.
@Suite("The vectors of trades", .timeLimit(.minutes(1)))
struct TradeVectorTests {
    struct EventVector: Codable {
        let name: String
        let bytes: String
        let hash: String
        let signed: String
    }

    struct ContractVector: Codable {
        let name: String
        let bytes: String
        let digest: String
        let trade: String
        let planDigest: String
        let secondsFromPayment: Int
    }

    /// Where a course of steps leads: each step is the kind's number and its signers' roles, or 0 for NO-EVENT.
    struct CourseVector: Codable {
        let steps: [[Int]]
        let state: String
        let isTerminal: Bool
        let freesUnit: Bool
        let deadline: Int?
        let stage: Int
    }

    static func hex(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    static let events = TradeEventTests.everyEvent.map { event in
        EventVector(
            name: event.kind.name, bytes: hex(event.bytes), hash: hex(event.hash.bytes), signed: hex(event.signedBytes))
    }

    static let contracts = [2, 3].map { count in
        let contract = TradeFixture.contract(arbiters: count)
        return ContractVector(
            name: "\(count) arbiters", bytes: hex(contract.bytes), digest: hex(contract.digest.bytes),
            trade: hex(contract.trade.bytes.bytes), planDigest: hex((contract.plan?.digest ?? .zero).bytes),
            secondsFromPayment: contract.secondsFromPayment)
    }

    /// Every course, by the shortest way to each state.
    static let courses: [CourseVector] = {
        var seen: Set<String> = []
        var found: [CourseVector] = []
        var next: [(course: TradeCourse, steps: [[Int]])] = [(TradeCourse(arbiterCount: 2), [])]
        while !next.isEmpty {
            let (course, steps) = next.removeFirst()
            let open = course.choices.map { "\($0.kind)" }.joined(separator: ",")
            guard seen.insert("\(course.state) \(course.stage) \(open)").inserted else { continue }
            found.append(
                CourseVector(
                    steps: steps, state: "\(course.state)", isTerminal: course.isTerminal, freesUnit: course.freesUnit,
                    deadline: course.deadline.map { Int($0.rawValue) }, stage: Int(course.stage.rawValue)))
            for choice in course.choices {
                for roles in choice.signers.sets {
                    guard let after = course.after(StepAct(choice.kind), by: roles) else { continue }
                    next.append((after, steps + [[Int(choice.kind.rawValue)] + roles.map(\.number).sorted()]))
                }
            }
            if let silent = course.afterSilence() { next.append((silent, steps + [[0]])) }
        }
        return found
    }()

    private static func check(_ name: String, _ vectors: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let text = String(decoding: try encoder.encode(vectors), as: UTF8.self) + "\n"
        let path = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../docs/protocols/trade/\(name).json").standardizedFileURL
        if ProcessInfo.processInfo.environment["TUTTI_WRITE_VECTORS"] == "1" { try Data(text.utf8).write(to: path) }
        #expect(try String(contentsOf: path, encoding: .utf8) == text)
    }

    @Test("contracts.json is what this code makes")
    func contractVectors() throws { try Self.check("contracts", Self.contracts) }

    @Test("courses.json is what this code makes")
    func courseVectors() throws { try Self.check("courses", Self.courses) }

    @Test("events.json is what this code makes")
    func eventVectors() throws { try Self.check("events", Self.events) }
}
