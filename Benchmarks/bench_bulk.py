#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Single-stream bulk throughput and CPU per GB between two peers on loopback.

usage: bench_bulk.py [--dialer SPEC] [--listener SPEC] [--mib N] [--runs N] [--op bulk|perf-up|perf-down]
SPEC as in rig.py (p2pd:noise, p2pd:tls, p2pd:quic, pylibp2p, cmd:...). GB = 10^9 bytes.
With a p2pd on a side, that side's bytes also cross one unix socket between this
script and the daemon; its daemon CPU includes that copy (see uds_baseline.py).
"""
import argparse
import rig

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--dialer", default="p2pd:noise")
ap.add_argument("--listener", default="p2pd:noise")
ap.add_argument("--mib", type=int, default=1024)
ap.add_argument("--runs", type=int, default=5)
ap.add_argument("--op", default="bulk")
a = ap.parse_args()
n = a.mib << 20
B, A = rig.make(a.listener), rig.make(a.dialer)
rows = []
try:
    peer = A.connect(B.addrs[0])
    go = {"bulk": lambda n: A.bulk(peer, n), "perf-up": lambda n: A.perf(peer, n, 0), "perf-down": lambda n: A.perf(peer, 0, n)}[a.op]
    go(min(n, 32 << 20))                       # warm-up
    g = n / 1e9

    def one():
        with rig.Meter([A, B]) as m:
            dt = go(n)
        return {"MBps": n / dt / 1e6, "cpu_dialer_s_per_GB": m.cpu[0] / g, "cpu_listener_s_per_GB": m.cpu[1] / g,
                "cpu_harness_s_per_GB": m.harness / g, "other_load": m.other}, m.quiet
    rows, med = rig.repeat(a.runs, one)
    rows.append(med)
finally:
    A.close(); B.close()
rig.show("bulk %s %s -> %s, %d MiB" % (a.op, a.dialer, a.listener, a.mib), rows)
