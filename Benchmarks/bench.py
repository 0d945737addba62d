# SPDX-License-Identifier: Apache-2.0
"""Measures Tutti beside go-libp2p on this machine, over loopback, and prints a table for docs/performance.md.

usage: scripts/bench [ROW...] [--runs N] [--mib N] [--json FILE] [--us SPEC] [--no-build]

rows       bulk (bulk-noise, bulk-tls), conn, streams, ping, memory, longpath, dht, gossip, storage, lab; all of them when none is named
--runs     rounds of each figure; medians are shown (5)
--mib      MiB that one bulk run moves (512)
--hold     seconds that the memory row watches its 5,000 idle connections (0; 300 for the record)
--rigs     folder with more engines for the lab row to be compared with
--us       what stands for Tutti, as Tests/Interop/rig.py says (default: the release build's `tutti rig`)

All contenders of a row take turns, so they meet the same machine. A round in which other programs took more than 12 %
of the cores ($RIG_QUIET) is repeated; "disturbed" in the table says that no two quiet rounds were to be had, and then
only the ratios mean anything.
"""
import argparse, datetime, json, os, platform, subprocess, sys

import simulation, storage, witness
from rows import Bench

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROWS = ["bulk-noise", "bulk-tls", "conn", "streams", "ping", "memory", "longpath", "dht", "gossip", "storage", "witness", "lab"]


def machine():
    model = next((l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.processor())
    swift = subprocess.run(["swift", "--version"], capture_output=True, text=True).stdout
    version = next((w for w in swift.split() if w[:1].isdigit()), "?")
    return {"date": datetime.date.today().isoformat(), "cpu": model, "cores": os.cpu_count(), "kernel": platform.release(),
            "swift": version}


def number(value):
    if value is None:
        return ""
    return "%d" % round(value) if abs(value) >= 100 else "%.3g" % value


def lines_of(results):
    """(figure, go, tutti, goal, met) for what was measured; met None: no goal."""
    out = []

    def add(figure, go, ours, goal="", met=None, note=""):
        out.append((figure, go, ours, goal, met, note))

    for security, rate, cpu in (("noise", 2.0, 0.65), ("tls", 1.8, 0.85)):
        row = results.get("bulk-" + security)
        if not row:
            continue
        name, note = security.replace("noise", "Noise").replace("tls", "TLS"), "disturbed" * row["go"]["disturbed"]
        go, ours, share = row["go"], row["tutti"], row["unix socket relay"]["cpu_s_per_GB"] / 2
        add("one stream, %s+Yamux, MB/s" % name, go["MBps"], ours["MBps"], "≥ %.1f×" % rate, ours["MBps"] >= rate * go["MBps"], note)
        for side in ("dialer", "listener"):
            key = "cpu_%s_s_per_GB" % side
            bare = go[key] - share
            add("… CPU s/GB, %s (go less the rig's %.2f)" % (side, share), bare, ours[key], "≤ %.2f×" % cpu, ours[key] <= cpu * bare, note)
        for mixed in ("tutti to go", "go to tutti"):
            add("… %s, MB/s" % mixed, None, row[mixed]["MBps"])
        if "bound" in row:
            add("… bound (seal, socket, open), MB/s", None, row["bound"]["MBps"])
            add("… share of the bound", None, ours["MBps"] / row["bound"]["MBps"], "≥ 0.7 (aim)", ours["MBps"] >= 0.7 * row["bound"]["MBps"])
    for key, figure, factor, what in (("conn", "new secured, identified connections/s", 2, "connections"),
                                      ("streams", "new streams/s", 5, "streams")):
        for mode in ("serial", "parallel"):
            if key in results:
                go, ours = results[key][mode]["go"], results[key][mode]["tutti"]
                add("%s, %s" % (figure, mode), go["per_s"], ours["per_s"], "≥ %d×" % factor, ours["per_s"] >= factor * go["per_s"],
                    "disturbed" * go["disturbed"])
    if "ping" in results:
        go, ours = results["ping"]["alone"]["go"], results["ping"]["alone"]["tutti"]
        add("ping p50, µs, one raw client for both", go["p50_us"], ours["p50_us"], "≤ 0.7×", ours["p50_us"] <= 0.7 * go["p50_us"])
        add("ping p99, µs", go["p99_us"], ours["p99_us"])
        go, ours = results["ping"]["with_bulk"]["go"], results["ping"]["with_bulk"]["tutti"]
        add("ping p99 beside a bulk stream, µs", go["p99_us"], ours["p99_us"], "≤ 5,000", ours["p99_us"] <= 5000)
        add("… and that stream's MB/s", go["bulk_MBps"], ours["bulk_MBps"])
    if "memory" in results:
        for security, limit in (("noise", 16), ("tls", 48)):
            go, ours = results["memory"]["go " + security], results["memory"]["tutti " + security]
            add("Private_Dirty per idle connection, KiB, %s, %d connections (go %d)" % (
                security, ours["connections"], go["connections"]), go["KiB_per_connection"], ours["KiB_per_connection"],
                "≤ %d" % limit, ours["KiB_per_connection"] <= limit)
            if "seconds" in ours:
                add("… after %d s: connections" % ours["seconds"], go["connections_then"], ours["connections_then"],
                    "all", ours["connections_then"] >= ours["connections"])
    if "longpath" in results:
        row = results["longpath"]
        add("63 ms path alone, plain TCP, Gbit/s", None, row["relay alone"]["gbit_per_s"], "≥ 4", row["relay alone"]["good"])
        for security in ("noise", "tls"):
            go, ours = row["go " + security], row["tutti " + security]
            add("63 ms, one stream, %s, Gbit/s" % security, go["gbit_per_s"], ours["gbit_per_s"], "≥ 1.8", ours["gbit_per_s"] >= 1.8)
            add("63 ms, first byte back after the dial, round trips, %s" % security, go["first_byte_rtts"], ours["first_byte_rtts"],
                "≤ 3", ours["first_byte_rtts"] <= 3.1,
                "waits for identify: " + ", ".join(k for k, r in (("go", go), ("tutti", ours)) if r["first_byte_with_identify"]))
    if "dht" in results:
        row = results["dht"]
        go, ours, mixed = row["go"], row["tutti"], row["mixed"]
        for op in ("put", "get", "provide", "find_providers", "find_peer"):
            key = op + "_p50_ms"
            add("30-node DHT, %s p50, ms (mixed %s)" % (op, number(mixed[key])), go[key], ours[key], "< 1×", ours[key] < go[key])
        add("… CPU ms/op, whole network", go["cpu_ms_per_op"], ours["cpu_ms_per_op"], "≤ 0.5×",
            ours["cpu_ms_per_op"] <= 0.5 * go["cpu_ms_per_op"])
        memory(add, go, ours)
        add("… success, mixed", None, mixed["success"], "1", mixed["success"] == 1)
        add("… success", go["success"], ours["success"], "1", ours["success"] == 1)
    if "gossip" in results:
        row = results["gossip"]
        go, ours, mixed = row["go"], row["tutti"], row["mixed"]
        add("25-node gossip, 1 KiB, msg/s", go["msg_per_s"], ours["msg_per_s"], "≥ 2.5×", ours["msg_per_s"] >= 2.5 * go["msg_per_s"])
        key = "cpu_us_per_delivery"
        add("… CPU µs/delivery", go[key], ours[key], "≤ 0.4×", ours[key] <= 0.4 * go[key])
        for key in ("p50_ms", "p99_ms"):
            add("… %s at 20 msg/s" % key.replace("_", ", "), go[key], ours[key], "< 1×", ours[key] < go[key])
        memory(add, go, ours)
        add("… delivery, mixed", None, mixed["delivery"], "1", mixed["delivery"] == 1)
    for figure, value, goal, met in storage.lines(results["storage"]) if "storage" in results else []:
        add(figure, None, value, goal, met)
    for figure, value, goal, met in witness.lines(results["witness"]) if "witness" in results else []:
        add(figure, None, value, goal, met)
    for nodes, _, least in simulation.SIZES if "lab" in results else []:
        row = results["lab"]["{:,} peers".format(nodes)]
        ours, ns3 = row["tutti-lab"]["events_per_cpu_s"], row.get("ns-3", {}).get("events_per_cpu_s")
        others = ["%s %s" % (name, number(other["events_per_cpu_s"])) for name, other in row.items()
                  if name not in ("tutti-lab", "ns-3")]
        add("lab, {:,} empty peers, events per CPU s (beside ns-3{})".format(nodes, "; " + ", ".join(others) if others else ""),
            ns3, ours, "≥ {:,}".format(least), ours >= least)
    return out


def memory(add, go, ours):
    key = "private_dirty_MiB"
    add("… Private_Dirty, MiB a node", go[key], ours[key], "≤ 0.4×", ours[key] <= 0.4 * go[key])


def table(results, facts):
    print("\n%(date)s, %(cpu)s, %(cores)d cores, Linux %(kernel)s, Swift %(swift)s, loopback\n" % facts)
    print("| figure | go-libp2p | Tutti | ratio | goal | met | |\n|---|---|---|---|---|---|---|")
    for figure, go, ours, goal, met, note in lines_of(results):
        ratio = "%.2f" % (ours / go) if go and ours is not None else ""
        print("| %s | %s | %s | %s | %s | %s | %s |" % (
            figure, number(go), number(ours), ratio, goal, {None: "", True: "yes", False: "**no**"}[met], note.rstrip(": ")))


def main():
    parser = argparse.ArgumentParser(usage=argparse.SUPPRESS, description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--hold", type=int, default=0)
    parser.add_argument("--json")
    parser.add_argument("--rigs")
    parser.add_argument("--us")
    options = parser.parse_args()
    for row in set(options.rows) - set(ROWS) - {"bulk"}:
        parser.error("there is no row %s: choose from bulk, %s" % (row, ", ".join(ROWS)))
    scratch = os.path.join(ROOT, os.environ.get("TUTTI_SCRATCH", ".build"), "release")
    us = options.us or "cmd:%s rig" % os.path.join(scratch, "tutti")
    wanted = [r for row in options.rows or ROWS for r in (["bulk-noise", "bulk-tls"] if row == "bulk" else [row])]
    bench = Bench(us, options.runs, options.mib, lambda name: os.path.join(scratch, name))
    facts, results, failed = machine() | {"us": us, "runs": options.runs, "mib": options.mib}, {}, []
    measures = {"bulk-noise": lambda: bench.bulk("noise"), "bulk-tls": lambda: bench.bulk("tls"), "conn": bench.connections,
                "streams": bench.streams, "ping": bench.ping, "memory": lambda: bench.memory(seconds=options.hold),
                "longpath": bench.longpath, "dht": lambda: bench.overlay("dht"), "gossip": lambda: bench.overlay("gossip"),
                "storage": lambda: storage.measure(bench.build("Journal"), bench.build("Replica"), options.runs, os.path.join(scratch, "..")),
                "witness": lambda: witness.measure(os.path.join(scratch, "tutti"), bench.build("Witness"), options.runs,
                                                   os.path.join(scratch, "..")),
                "lab": lambda: simulation.measure(bench.build("tutti-lab"), options.runs, options.rigs)}
    for row in wanted:
        print("bench: %s" % row, file=sys.stderr, flush=True)
        try:
            results[row] = measures[row]()
        except Exception as error:
            failed.append(row)
            print("bench: %s FAILED: %s: %s" % (row, type(error).__name__, error), file=sys.stderr, flush=True)
        path = options.json or os.path.join(scratch, "..", "bench.json")
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with open(path, "w") as f:
            json.dump({"machine": facts, "results": results, "failed": failed}, f, indent=1)
    table(results, facts)
    print("\nraw: %s" % path)
    if failed:
        print("bench: FAILED rows: " + ", ".join(failed))
    return 1 if failed else 0


sys.exit(main())
