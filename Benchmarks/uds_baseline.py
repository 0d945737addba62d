#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the harness itself can push through unix sockets (no libp2p): the ceiling p2pd figures live under.

usage: uds_baseline.py [--mib N] [--runs N]   script -> unix socket -> relay process -> unix socket -> script
The relay stands where the two daemons stand and only copies bytes (read 32 KiB, write).
"""
import argparse, os, socket, struct, threading, time
import p2pd, rig

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--mib", type=int, default=1024)
ap.add_argument("--runs", type=int, default=5)
a = ap.parse_args()
n = a.mib << 20


class Relay:
    def __init__(self, pid):
        self.pids = [pid]


def one():
    a1, b1 = socket.socketpair(socket.AF_UNIX)
    a2, b2 = socket.socketpair(socket.AF_UNIX)
    pid = os.fork()
    if pid == 0:
        a1.close(); b2.close()
        buf = bytearray(32768)
        mv = memoryview(buf)
        while True:
            r = b1.recv_into(buf)
            if not r:
                os._exit(0)
            a2.sendall(mv[:r])
    b1.close(); a2.close()
    with rig.Meter([Relay(pid)]) as m:
        def src():
            z = bytes(1 << 20)
            left = n
            while left:
                left -= a1.send(memoryview(z)[:min(left, len(z))])
        th = threading.Thread(target=src)
        th.start()
        got, buf = 0, bytearray(1 << 20)
        while got < n:
            got += b2.recv_into(buf)
        th.join()
    a1.close(); b2.close()
    os.waitpid(pid, 0)
    return {"MBps": n / m.dt / 1e6, "cpu_relay_s_per_GB": m.cpu[0] / n * 1e9, "cpu_harness_s_per_GB": m.harness / n * 1e9, "other_load": m.other}, m.quiet


rows, med = rig.repeat(a.runs, one)
rows.append(med)
rig.show("unix-socket relay baseline, %d MiB" % a.mib, rows)
