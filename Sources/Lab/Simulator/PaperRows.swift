// SPDX-License-Identifier: Apache-2.0

extension PaperRow {
    // MARK: HyParView, Plumtree

    static let mesh: [PaperRow] = [
        PaperRow(
            "hyparview-95", "HyParView 2007, 95 % fail", "mesh", check: "reliability after the failure",
            small: ["nodes": 2_000, "cycles": 20, "failures": 95],
            full: ["nodes": 10_000, "failures": 95, "messages": 1_000], mutation: ["repair": 0]),
        PaperRow(
            "hyparview-healing-70", "HyParView 2007, cycles to heal", "healing",
            check: "cycles until the reliability of before",
            small: ["nodes": 1_000, "failures": 70], full: ["nodes": 10_000, "cycles": 50, "failures": 70],
            mutation: ["repair": 0]),
        PaperRow(
            "hyparview-healing-90", "HyParView 2007, cycles to heal", "healing",
            check: "cycles until the reliability of before",
            small: ["nodes": 1_000, "failures": 90], full: ["nodes": 10_000, "cycles": 50, "failures": 90],
            mutation: ["repair": 0]),
        overlay("path", "mean path", mutation: ["degree": 4]),
        overlay("longest-path", "longest path", mutation: ["degree": 3]),
        overlay("clustering", "clustering", mutation: ["walk": 1, "shuffle": 0]),
        overlay("degree", "peers with five neighbours", mutation: ["shuffle": 0]),
        overlay("symmetry", "links that both ends hold", mutation: ["cycles": 0, "join": 1_000]),
        PaperRow(
            "no-repair-floor", "random 5-regular graph, 60 % fail", "overlay", check: "largest part",
            small: ["nodes": 1_000, "failures": 60, "repair": 0],
            full: ["nodes": 10_000, "cycles": 50, "failures": 60, "repair": 0], mutation: ["repair": 1]),
        PaperRow(
            "plumtree-redundancy", "Plumtree 2007", "tree", check: "relative message redundancy",
            small: ["nodes": 1_000], full: ["nodes": 10_000, "cycles": 250], mutation: ["prune": 0]),
        PaperRow(
            "plumtree-control", "Plumtree 2007", "tree", check: "controls per payload",
            small: ["nodes": 1_000], full: ["nodes": 10_000, "cycles": 250], mutation: ["degree": 9]),
        PaperRow(
            "plumtree-churn", "Plumtree 2007, 0.5 % fail in each cycle", "tree", check: "reliability while peers fail",
            small: ["nodes": 1_000, "warm": 20, "failingCycles": 40],
            full: ["nodes": 10_000, "cycles": 250, "failingCycles": 100], mutation: ["graft": 0]),
    ]

    private static func overlay(_ name: String, _ check: String, mutation: KeyValuePairs<String, Int>) -> PaperRow {
        PaperRow(
            "hyparview-" + name, "HyParView 2007, table 1", "overlay", check: check, small: ["nodes": 1_000],
            full: ["nodes": 10_000, "cycles": 50], mutation: mutation)
    }

    // MARK: SWIM, Lifeguard, RON

    static let detection: [PaperRow] = [
        PaperRow(
            "swim-load-100", "SWIM 2002", "swim-load", check: "messages per member and period",
            small: ["nodes": 100], full: ["nodes": 100, "periods": 1_000], mutation: ["loss": 20]),
        PaperRow(
            "swim-load-many", "SWIM 2002", "swim-load", check: "messages per member and period",
            small: ["nodes": 2_000, "periods": 20], full: ["nodes": 10_000, "periods": 100], mutation: ["loss": 20]),
        PaperRow(
            "swim-worst", "SWIM 2002, round-robin probing", "swim-worst", check: "periods until the last one knows",
            small: ["nodes": 20], full: ["nodes": 100, "groups": 100], mutation: ["slow": 1]),
        falseSuspicion(0, loss: 10), falseSuspicion(1, loss: 10), falseSuspicion(3, loss: 10),
        falseSuspicion(0, loss: 5), falseSuspicion(1, loss: 5),
        PaperRow(
            "swim-false-k3-loss5", "SWIM 2002, closed form", "swim-false", check: "false suspicions per probe",
            small: ["nodes": 100, "periods": 5_000, "loss": 5, "helpers": 3],
            full: ["nodes": 1_000, "periods": 3_000, "loss": 5, "helpers": 3], mutation: ["extra": 1]),
        PaperRow(
            "lifeguard-false-deaths", "Lifeguard 2017", "lifeguard", check: "false deaths, Lifeguard to SWIM",
            small: [:], full: ["seconds": 3_600], mutation: ["lifeguard": 0]),
        PaperRow(
            "lifeguard-healthy", "Lifeguard 2017", "lifeguard",
            check: "false deaths at healthy members, Lifeguard to SWIM",
            small: [:], full: ["seconds": 3_600], mutation: ["lifeguard": 0]),
        PaperRow(
            "lifeguard-detection", "Lifeguard 2017", "lifeguard", check: "median detection, Lifeguard to SWIM",
            small: ["seconds": 400], full: ["seconds": 3_600], mutation: ["news": 0]),
        PaperRow(
            "ron-detour", "RON 2001", "detour", check: "seconds until the detour is known, mean",
            small: ["ron": 1], full: ["ron": 1, "breaks": 1_000], mutation: ["helpers": 0]),
        PaperRow(
            "ron-detour-default", "RON 2001, our timers", "detour", check: "seconds until the detour is known, mean",
            small: [:], full: ["breaks": 1_000], mutation: ["ron": 0, "helpers": 0]),
        PaperRow(
            "ron-avoided", "RON 2001", "detour", check: "broken paths avoided",
            small: [:], full: ["breaks": 1_000], mutation: ["helpers": 0]),
    ]

    private static func falseSuspicion(_ helpers: Int, loss: Int) -> PaperRow {
        PaperRow(
            "swim-false-k\(helpers)-loss\(loss)", "SWIM 2002, closed form", "swim-false",
            check: "false suspicions per probe",
            small: ["nodes": 100, "periods": 1_000, "loss": loss, "helpers": helpers],
            full: ["nodes": 1_000, "periods": 1_000, "loss": loss, "helpers": helpers], mutation: ["extra": 1])
    }

    // MARK: Search, push gossip

    static let search: [PaperRow] = [
        flood("success", "searches with a hit"), flood("messages", "messages per search", queries: 1_000),
        walkers("success", "searches with a hit", mutation: ["walkers": 1]),
        walkers("messages", "messages per search", queries: 1_000, mutation: ["checks": 0]),
        walkers("saving", "messages of walkers to those of a flood", mutation: ["checks": 0]),
        push(3), push(4), push(5), push(6), push(8),
        PaperRow(
            "push-rounds", "closed form", "push", check: "rounds until all know",
            small: ["nodes": 1_000, "rounds": 1, "messages": 20], full: ["nodes": 100_000, "rounds": 1, "messages": 5],
            mutation: ["loss": 30]),
    ]

    /// A search's messages vary by its origin: the mean of 200 by five in a hundred, the tolerance is ten.
    private static func flood(_ name: String, _ check: String, queries: Int = 200) -> PaperRow {
        PaperRow(
            "flood-" + name, "Lv et al. 2002; model", "random-graph", check: check,
            small: ["nodes": 10_000, "holders": 10, "ttl": 5, "queries": queries],
            full: ["nodes": 10_000, "holders": 10, "ttl": 7, "queries": 400], mutation: ["broken": 1])
    }

    private static func walkers(
        _ name: String, _ check: String, queries: Int = 200, mutation: KeyValuePairs<String, Int>
    ) -> PaperRow {
        PaperRow(
            "walkers-" + name, "Lv et al. 2002; model", "random-graph", check: check,
            small: ["nodes": 10_000, "holders": 50, "walkers": 32, "queries": queries],
            full: ["nodes": 10_000, "holders": 10, "walkers": 32, "queries": 400], mutation: mutation)
    }

    private static func push(_ fanout: Int) -> PaperRow {
        PaperRow(
            "push-coverage-\(fanout)", "closed form", "push", check: "share reached",
            small: ["nodes": 10_000, "fanout": fanout, "messages": fanout < 5 ? 50 : 10],
            full: ["nodes": 10_000, "fanout": fanout, "messages": 50], mutation: ["loss": fanout > 5 ? 50 : 10])
    }

    // MARK: Kademlia

    static let structured: [PaperRow] =
        [10, 20, 30, 50].flatMap { evil in [1, 2, 4, 8].map { disjoint($0, evil: evil) } } + [
            PaperRow(
                "censor-key", "CVE-2023-26248; NDSS 2024", "censor", check: "provider found",
                small: [:], full: ["nodes": 10_000, "keys": 20], mutation: ["mitigation": 0]),
            PaperRow(
                "dead-contacts", "Crosby and Wallach 2007", "dead-contacts", check: "lookups p50, s",
                small: [:], full: ["nodes": 10_000, "lookups": 10_000], mutation: ["adaptive": 0, "alpha": 1]),
            PaperRow(
                "ipfs-publish-ratio", "IPFS, SIGCOMM 2022", "publish", check: "publish p50 of 2021 to today",
                small: [:], full: ["nodes": 10_000, "lookups": 1_000], mutation: ["then": 12]),
            PaperRow(
                "ipfs-publish-ours", "IPFS, SIGCOMM 2022, our arm", "publish", check: "publish p50 ours, s",
                small: [:], full: ["nodes": 10_000, "lookups": 1_000], mutation: ["ours": 0]),
        ]

    private static func disjoint(_ paths: Int, evil: Int) -> PaperRow {
        PaperRow(
            "skademlia-d\(paths)-\(evil)", "S/Kademlia 2007; model", "skademlia", check: "nearest found",
            small: ["nodes": 1_000, "lookups": 200, "paths": paths, "evil": evil],
            full: ["nodes": 10_000, "lookups": 5_000, "paths": paths, "evil": evil], mutation: ["k": 1])
    }
}
