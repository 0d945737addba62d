#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""New secured connections/s, new streams/s on one connection, ping RTT, memory per connection.

usage: bench_conn.py [--dialer SPEC] [--listener SPEC] [--runs N] [--conns N] [--streams N] [--par N] [--mem N]
A connection = dial + security + muxer + identify, then close. `par` runs the cycle against that
many listeners at once (one connection per peer pair). --mem N: N extra peers of the dialer's kind
connect to one listener and stay; prints the listener's RSS growth per idle connection.
"""
import argparse, threading, time
import p2pd, rig

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--dialer", default="p2pd:noise")
ap.add_argument("--listener", default="p2pd:noise")
ap.add_argument("--runs", type=int, default=5)
ap.add_argument("--conns", type=int, default=200)
ap.add_argument("--streams", type=int, default=2000)
ap.add_argument("--pings", type=int, default=2000)
ap.add_argument("--par", type=int, default=8)
ap.add_argument("--mem", type=int, default=0)
a = ap.parse_args()
Bs = [rig.make(a.listener) for _ in range(a.par)]
A = rig.make(a.dialer)
res, rows = {}, []


def add(k, v):
    res.setdefault(k, []).append(v)


def part(fn):
    _, med = rig.repeat(a.runs, fn)
    rows.append(med)


try:
    B = Bs[0]
    A.cycle(B.addrs[0], 5)

    def seq():
        with rig.Meter([A, B]) as m:
            dt = A.cycle(B.addrs[0], a.conns)
        return {"conn_per_s_seq": a.conns / dt, "cpu_ms_per_conn_dialer": m.cpu[0] / a.conns * 1e3,
                "cpu_ms_per_conn_listener": m.cpu[1] / a.conns * 1e3, "other_load": m.other}, m.quiet

    def par():
        with rig.Meter([A] + Bs) as m:
            th = [threading.Thread(target=A.cycle, args=(b.addrs[0], a.conns // 2)) for b in Bs]
            [x.start() for x in th]
            [x.join() for x in th]
        n = a.par * (a.conns // 2)
        return {"conn_per_s_par%d" % a.par: n / m.dt, "cpu_ms_per_conn_dialer": m.cpu[0] / n * 1e3,
                "cpu_ms_per_conn_listener": sum(m.cpu[1:]) / n * 1e3, "other_load": m.other}, m.quiet

    def pings():
        with rig.Meter([A, B]) as m:
            r = A.ping(peer, a.pings)
        return {"ping_us_p50": rig.pct(r, 50), "ping_us_p90": rig.pct(r, 90), "ping_us_p99": rig.pct(r, 99), "other_load": m.other}, m.quiet

    def streams(par):
        def f():
            with rig.Meter([A, B]) as m:
                dt = A.streams(peer, a.streams, par)
            return {"streams_per_s_par%d" % par: a.streams / dt, "cpu_us_per_stream_dialer": m.cpu[0] / a.streams * 1e6,
                    "cpu_us_per_stream_listener": m.cpu[1] / a.streams * 1e6, "other_load": m.other}, m.quiet
        return f
    part(seq)
    if a.par > 1:
        part(par)
    peer = A.connect(B.addrs[0])
    A.ping(peer, 50)
    part(pings)
    part(streams(1))
    part(streams(16))
    if a.mem:
        L = rig.make(a.listener)
        base = p2pd.rss_kib(L.pids[0])
        more = [rig.make(a.dialer, serve=False) if a.dialer.startswith("p2pd") else rig.make(a.dialer) for _ in range(a.mem)]
        for m in more:
            m.connect(L.addrs[0])
        time.sleep(3)
        add("rss_MiB_idle", base / 1024.0)
        add("rss_KiB_per_conn", (p2pd.rss_kib(L.pids[0]) - base) / a.mem)
        [m.close() for m in more]
        L.close()
finally:
    A.close()
    [b.close() for b in Bs]
rig.show("conn %s -> %s" % (a.dialer, a.listener), rows + [{k: v[0] for k, v in res.items()}] * bool(res))
