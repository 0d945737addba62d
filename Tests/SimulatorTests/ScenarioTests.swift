// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiKademlia
import TuttiSimulator

@Suite("Scenarios")
struct ScenarioTests {
    private static func run(_ name: String, _ values: KeyValuePairs<String, String>) throws -> ScenarioResult {
        let scenario = try Scenario.named(name)
        return scenario.run(try scenario.settings(values.map { ($0.key, $0.value) }))
    }

    private static let small: [(String, KeyValuePairs<String, String>)] = [
        ("kademlia", ["nodes": "300", "lookups": "100"]),
        ("kademlia", ["nodes": "100", "lookups": "50", "join": "1"]),
        ("kademlia", ["nodes": "300", "lookups": "100", "dead": "50"]),
        ("churn", ["nodes": "200", "lookups": "100", "seconds": "600"]),
        ("partition", ["nodes": "200", "lookups": "100", "seconds": "120"]),
        ("disjoint", ["nodes": "300", "lookups": "100"]),
        ("faults", ["nodes": "60", "lookups": "60", "seconds": "60", "protocol": "1"]),
        ("idle", ["nodes": "300", "seconds": "600"]),
        ("gossip", ["nodes": "100", "messages": "20", "seconds": "20"]),
        ("search", ["nodes": "300", "queries": "20", "holders": "20"]),
        ("mesh", ["nodes": "1000", "cycles": "2", "failures": "50", "messages": "20"]),
        ("overlay", ["nodes": "1000", "join": "10000"]),
        ("healing", ["nodes": "1000", "failures": "90"]),
        ("swim", ["nodes": "64", "crashes": "100"]),
        ("nodes", ["nodes": "30", "messages": "10", "lookups": "20"]),
        ("bytes", ["nodes": "15", "messages": "5", "lookups": "10", "damage": "10", "flips": "5000"]),
        ("bytes", ["nodes": "5", "messages": "5", "lookups": "5", "damage": "0", "loss": "10", "bytes": "20000"]),
        ("nat", ["hosts": "1"]),
        ("nat", ["hosts": "1", "bytes": "1"]),
        ("dials", ["nodes": "30"]),
        (
            "all", ["nodes": "400", "lookups": "100", "messages": "9", "seconds": "120"]
        ),
    ]

    @Test("Each scenario holds at a small size, twice with one digest", arguments: 0..<small.count)
    func holds(number: Int) throws {
        let (name, values) = Self.small[number]
        let first = try Self.run(name, values)
        #expect(first.holds, "\(first.text)")
        #expect(first.events > 0)
        #expect(first.digest == (try Self.run(name, values)).digest)
    }

    @Test("Another seed is another run")
    func seeds() throws {
        let digests = Set(
            try (0..<5).map { try Self.run("kademlia", ["nodes": "50", "lookups": "10", "seed": "\($0)"]).digest })
        #expect(digests.count == 5)
    }

    private static func faults(protocol number: Int, seed: Int) throws -> ScenarioResult {
        try run(
            "faults",
            ["nodes": "50", "lookups": "50", "seconds": "60", "seed": "\(seed)", "protocol": "\(number)"])
    }

    @Test("The whole menu of faults on each protocol: fifty seeds, no checker violated", arguments: 0..<50)
    func faults(seed: Int) throws {
        for number in [1, 2, 3] {
            let result = try Self.faults(protocol: number, seed: seed)
            #expect(result.holds, "\(result.text)")
        }
    }

    @Test("A planted fault is seen: without repair most are not reached after 80 % fail")
    func noRepair() throws {
        let values: KeyValuePairs = ["nodes": "300", "cycles": "10", "failures": "80", "messages": "20", "repair": "0"]
        let result = try Self.run("mesh", values)
        let check = try #require(result.checks.first { $0.name == "reliability after the failure" })
        #expect(!check.holds)
        #expect(check.got < 0.5)
    }

    @Test("A planted fault is seen: nobody notices a crash when nobody probes")
    func noProbing() throws {
        let result = try Self.run("swim", ["nodes": "32", "crashes": "10", "probing": "0"])
        #expect(!result.holds)
    }

    @Test("A planted fault is seen: connections that believe what came over a bad line")
    func damageBelieved() throws {
        let values: KeyValuePairs = [
            "nodes": "5", "messages": "2", "lookups": "2", "damage": "10", "flips": "20000", "noticed": "0",
        ]
        let failed = try Self.run("bytes", values).checks.filter { !$0.holds }.map(\.name)
        #expect(failed == ["of them ended (others wait for the rest of a record)", "believed after damage"])
    }

    @Test("A planted fault is seen: servers that dial back from the port that was dialled find holes, not reachability")
    func dialBackFromListeningPort() throws {
        let result = try Self.run("nat", ["hosts": "1", "reuse": "1"])
        let failed = result.checks.filter { !$0.holds }.map(\.name)
        let kind = "address-and-port-dependent filtering, dials from the listening port"
        #expect(failed == ["\(kind): told that it is not reachable", "\(kind): serves the DHT"])
    }

    @Test("An announced message that is asked for too soon comes twice")
    func earlyGraft() throws {
        let values: KeyValuePairs = ["nodes": "1000", "cycles": "1", "failures": "0", "messages": "1", "graft": "200"]
        let result = try Self.run("mesh", values)
        let check = try #require(result.checks.first { $0.name == "payloads per broadcast and peer" })
        #expect(!check.holds)
    }

    @Test("A name that is almost right is told")
    func names() throws {
        #expect(throws: LabError.unknown("scenario", "kademla", nearest: "kademlia")) { try Scenario.named("kademla") }
        let scenario = try Scenario.named("kademlia")
        #expect(throws: LabError.unknown("parameter", "--node", nearest: "--nodes")) {
            try scenario.settings([("node", "3")])
        }
        #expect(throws: LabError.outOfRange("--nodes", "many", 2...1_000_000)) {
            try scenario.settings([("nodes", "many")])
        }
    }

    @Test("The report names the command that repeats it, as text, JSON and HTML")
    func reports() throws {
        let result = try Self.run("kademlia", ["nodes": "50", "lookups": "10", "seed": "9"])
        #expect(result.command.hasPrefix("tutti lab run kademlia --nodes 50 --lookups 10 "))
        #expect(result.command.hasSuffix("--seed 9"))
        #expect(result.json.contains("\"digest\":\"\(EventDigest.text(result.digest))\""))
        #expect(result.html.contains(result.command))
        #expect(result.html.contains("<polyline"))
        #expect(!result.html.contains("http"))
    }

    @Test("Tables made in bulk hold whom a peer would know, and no stranger to a bucket")
    func tables() {
        let keys = Keyspace(derivedFrom: 3)
        let everybody = (0..<2_000 as Range<UInt32>).map { PeerIndex($0) }
        let tables = KademliaTables(everybody, keys: keys)
        var draws = DrawStream(seed: 1)
        var table: [PeerIndex] = []
        for own in everybody.prefix(50) {
            tables.sample(own, key: keys.key(of: own), k: 20, draws: &draws, into: &table)
            #expect(Set(table).count == table.count)
            #expect(!table.contains(own))
            var sizes: [Int: Int] = [:]
            for peer in table { sizes[keys.key(of: own).commonPrefixLength(with: keys.key(of: peer)), default: 0] += 1 }
            var all: [Int: Int] = [:]
            for peer in everybody where peer != own {
                all[keys.key(of: own).commonPrefixLength(with: keys.key(of: peer)), default: 0] += 1
            }
            for (bucket, count) in all { #expect(sizes[bucket] == min(20, count)) }
            let target = keys.key(of: PeerIndex(own.value + 5_000))
            let sorted = everybody.sorted {
                target.distance(to: keys.key(of: $0)) < target.distance(to: keys.key(of: $1))
            }
            #expect(tables.closest(to: target, count: 20) == Array(sorted.prefix(20)))
        }
    }

    @Test("Numbers are written the same everywhere")
    func numbers() {
        #expect(NumberText.fixed(1.25, 1) == "1.3")
        #expect(NumberText.fixed(-0.04, 1) == "0.0")
        #expect(NumberText.fixed(1_234.5, 0) == "1235")
        #expect(NumberText.grouped(1_234_567) == "1,234,567")
        #expect(JSONText.string("a\"b\n\u{1}") == "\"a\\\"b\\n\\u0001\"")
        #expect(JSONText.number(.infinity) == "null")
    }
}
