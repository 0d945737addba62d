# SPDX-License-Identifier: Apache-2.0
"""The event engine of the lab beside other engines, all with the same load of empty peers, taking turns.

usage: simulation.py TUTTI-LAB [--runs N] [--rigs FOLDER]

ns-3 takes part when its headers are installed (Debian: libns3-dev). A folder of rigs may add floor.cpp (a wheel and a
heap in C++), load_ns3.cpp and load_simpy.py, called as `PROGRAM NODES SECONDS LOSS SEED [wheel|heap]`. An engine that keeps the order
(time, sequence) has the same digest as ours; another digest is an error.
"""
import argparse, json, os, shutil, statistics, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
# Peers, simulated seconds, events per processor second that are wanted.
SIZES = [(10_000, 20, 2_000_000), (1_000_000, 4, 1_000_000)]
# Engines so slow that they get fewer peers: what they do there flatters them.
SMALL = {"SimPy": (10_000, 2)}


def compiled(folder, name, source, *libraries):
    compiler = shutil.which("g++") or shutil.which("c++")
    if not compiler or not os.path.exists(source):
        return None
    program = os.path.join(folder, name)
    result = subprocess.run([compiler, "-O2", "-std=c++17", "-o", program, source, *libraries], capture_output=True)
    return program if result.returncode == 0 else None


def contenders(lab, folder, rigs):
    """name -> the command for so many peers, seconds"""
    out = {"tutti-lab": lambda n, t: [lab, "bench", "workload", "--nodes", str(n), "--seconds", str(t), "--seed", "1"]}
    ns3 = compiled(folder, "ns3-load", os.path.join(HERE, "simulation", "ns3.cpp"), "-lns3-core")
    if ns3:
        out["ns-3"] = lambda n, t: [ns3, str(n), str(t), "1"]
    if rigs:
        rig = compiled(folder, "rig-ns3", os.path.join(rigs, "load_ns3.cpp"), "-lns3-core")
        if rig:
            out["ns-3, the rig's load"] = lambda n, t: [rig, str(n), str(t), "0", "1"]
        floor = compiled(folder, "floor", os.path.join(rigs, "floor.cpp"))
        if floor:
            out["C++ wheel"] = lambda n, t: [floor, str(n), str(t), "0", "1", "wheel"]
            out["C++ heap"] = lambda n, t: [floor, str(n), str(t), "0", "1", "heap"]
        simpy = os.path.join(rigs, "load_simpy.py")
        if os.path.exists(simpy) and subprocess.run([sys.executable, "-c", "import simpy"], capture_output=True).returncode == 0:
            out["SimPy"] = lambda n, t: [sys.executable, simpy, str(n), str(t), "0", "1"]
    return out


def fields(line):
    return dict(part.split("=", 1) for part in line.split() if "=" in part)


def measure(lab, runs, rigs=None):
    """{"10,000 peers": {engine: {figure: value}}}; raises when digests differ"""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        engines = contenders(lab, folder, rigs)
        for nodes, seconds, _ in SIZES:
            taken = {name: [] for name in engines if name not in SMALL or SMALL[name][0] == nodes}
            for _ in range(runs):
                for name in taken:
                    n, t = SMALL.get(name, (nodes, seconds))
                    done = subprocess.run(engines[name](n, t), capture_output=True, text=True, check=True)
                    taken[name].append(fields(done.stdout.strip().splitlines()[-1]))
            row = {}
            for name, lines in taken.items():
                row[name] = {"events_per_cpu_s": statistics.median(float(l["events_per_cpu_s"]) for l in lines),
                             "bytes_a_peer": statistics.median(float(l["bytes_per_node"]) for l in lines),
                             "events": int(lines[0]["events"]), "digest": lines[0].get("digest", "")}
                if name not in SMALL and row[name]["digest"] != row["tutti-lab"]["digest"]:
                    raise RuntimeError("%s ran another order of events: digest %s" % (name, row[name]["digest"]))
            results["{:,} peers".format(nodes)] = row
    return results


def main():
    parser = argparse.ArgumentParser(usage=argparse.SUPPRESS, description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lab", metavar="TUTTI-LAB")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rigs")
    options = parser.parse_args()
    results = measure(options.lab, options.runs, options.rigs)
    print("| peers | engine | million events per processor second | bytes a peer |\n|---|---|---|---|")
    for size, row in results.items():
        for name, figures in row.items():
            # The fewer peers, the more of it is the program's own.
            room = "%d" % figures["bytes_a_peer"] if size.startswith("1,000,000") else ""
            print("| %s | %s | %.2f | %s |" % (size.split()[0], name, figures["events_per_cpu_s"] / 1e6, room))
    print(json.dumps(results), file=sys.stderr)


if __name__ == "__main__":
    main()
