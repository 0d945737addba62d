#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Networks of many nodes on loopback: the DHT's operations, and messages of a topic.

usage: Benchmarks/overlays.py dht|gossip [--peer go|ours|mix]... [--n N] [--ops N] [--seconds S] [--rate R] [--us SPEC]

--peer   go: all p2pd; ours: all Tutti; mix: half and half. May be repeated: all take turns (go ours mix)
--us     what stands for Tutti, as Tests/Interop/rig.py says

dht: nodes in server mode, each connected to 3 earlier ones. Values are /pk/ records, which every node's rules allow; `get`
and `find_providers` ask another node than the one that put. gossip: all follow one topic, each connected to 8 others;
first messages of 1 KiB from nodes by lot at a fixed rate, for latency, then as many as go through with 32 of them under
way, for msg/s. The authors' own copies don't count. CPU and memory are of the nodes alone.
"""
import argparse, hashlib, json, os, random, struct, sys, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "Tests", "Interop"))
import rig

TOPIC = "rig"


def private_dirty_kib(peer):
    total = 0
    for pid in peer.pids:
        with open("/proc/%d/smaps_rollup" % pid) as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith("Private_Dirty"))
    return total


class Network:
    """Nodes of one kind, or of two in turn, each connected to some others."""

    def __init__(self, us, kind, n, degree, earlier_only, **options):
        self.random, self.peers, self.closed = random.Random(7), [], False
        try:
            for i in range(n):
                ours = kind == "ours" or kind == "mix" and i % 2 == 1
                self.peers.append(rig.make(us, **options) if ours else rig.make("p2pd:noise", serve=False, **options))
                if earlier_only:
                    self.connect(self.peers[i], self.peers[:i], degree)
            if not earlier_only:
                for peer in self.peers:
                    self.connect(peer, [p for p in self.peers if p is not peer], degree)
        except BaseException:
            self.close()
            raise

    def connect(self, peer, others, degree):
        for other in self.random.sample(others, min(degree, len(others))):
            peer.connect(other.addrs[0])

    def cpu(self):
        return sum(rig.cpu(p) for p in self.peers)

    def memory(self):
        return sum(private_dirty_kib(p) for p in self.peers) / len(self.peers) / 1024

    def close(self):
        closers = [threading.Thread(target=p.close) for p in self.peers]
        [t.start() for t in closers]
        [t.join() for t in closers]


def record(generator):
    public = b"\x08\x01\x12\x20" + generator.randbytes(32)       # PublicKey{Ed25519, 32 bytes}
    return b"/pk/" + b"\x00" + bytes([len(public)]) + public, public


def dht(us, kind, n=30, ops=40, settle=5):
    network = Network(us, kind, n, 3, True, dht="server")
    generator, times, failures, calls = network.random, {}, [], 0

    def timed(name, call, accepted=lambda answer: True):
        began = time.perf_counter()
        try:
            answer = call()
            if not accepted(answer):
                failures.append("%s: wrong answer" % name)
        except Exception as error:
            failures.append("%s: %s" % (name, error))
        times.setdefault(name, []).append((time.perf_counter() - began) * 1e3)
    try:
        time.sleep(settle)
        for peer in network.peers:                               # fills the tables before anything is timed
            try:
                peer.find_peer(generator.choice(network.peers).id)
            except Exception:
                pass
        with rig.bench_lock():
            before = network.cpu()
            for _ in range(ops):
                (key, value), x, y = record(generator), *generator.sample(network.peers, 2)
                timed("put", lambda: x.dht_put(key, value))
                timed("get", lambda: y.dht_get(key), lambda answer: answer == value)
                cid = b"\x01\x55\x12\x20" + hashlib.sha256(generator.randbytes(32)).digest()
                timed("provide", lambda: x.provide(cid))
                timed("find_providers", lambda: y.find_providers(cid, 1), lambda answer: x.id in answer)
                timed("find_peer", lambda: x.find_peer(y.id), bool)
            spent = network.cpu() - before
        for failure in failures[:3]:
            print("dht %s: %s" % (kind, failure), file=sys.stderr)
        row = {name + "_p50_ms": rig.median(taken) for name, taken in times.items()}
        count = 5 * ops
        return row | {"success": 1 - len(failures) / count, "cpu_ms_per_op": spent / count * 1e3,
                      "private_dirty_MiB": network.memory()}
    finally:
        network.close()


def gossip(us, kind, n=25, seconds=6, rate=20, size=1024, degree=8, settle=6, burst=300, window=32):
    network = Network(us, kind, n, degree, False, pubsub=True)
    lock, got, sent = threading.Condition(), {}, {}
    generator = network.random

    def receiver(i):
        def receive(topic, author, data, arrived):
            number = struct.unpack(">Q", data[:8])[0] if len(data) >= 16 else -1
            with lock:
                if number in sent and sent[number][0] != i:
                    got.setdefault(number, {})[i] = arrived
                    if len(got[number]) == n - 1:
                        lock.notify_all()
        return receive

    def publish(number):
        i = generator.randrange(n)
        with lock:
            sent[number] = (i, time.time())
        network.peers[i].publish(TOPIC, struct.pack(">Qd", number, 0) + os.urandom(size - 16))

    def complete(numbers):
        return sum(len(got.get(number, {})) == n - 1 for number in numbers)

    def wait(condition, timeout):
        with lock:
            return lock.wait_for(condition, timeout)

    try:
        for i, peer in enumerate(network.peers):
            peer.subscribe(TOPIC, receiver(i))
        time.sleep(settle)
        with rig.bench_lock():
            began, before, harness = time.perf_counter(), network.cpu(), rig.self_cpu()
            paced = range(int(rate * seconds))
            for number in paced:
                time.sleep(max(0, began + number / rate - time.perf_counter()))
                publish(number)
            wait(lambda: complete(paced) == len(paced), 5)
            paced_cpu = network.cpu() - before
            began, before, fast = time.perf_counter(), network.cpu(), range(len(paced), len(paced) + burst)
            for position, number in enumerate(fast):
                wait(lambda: position - complete(fast[:position]) < window, 10)
                publish(number)
            wait(lambda: complete(fast) == burst, 10)
            elapsed, spent, harness = time.perf_counter() - began, network.cpu() - before, rig.self_cpu() - harness
        with lock:
            latencies = [(t - sent[k][1]) * 1e3 for k in paced for t in got.get(k, {}).values()]
            arrived = sum(len(got.get(k, {})) for k in fast)
        return {"msg_per_s": arrived / (n - 1) / elapsed, "cpu_us_per_delivery": spent / max(1, arrived) * 1e6,
                "paced_cpu_us_per_delivery": paced_cpu / max(1, len(latencies)) * 1e6,
                "p50_ms": rig.pct(latencies, 50), "p99_ms": rig.pct(latencies, 99),
                "delivery": (len(latencies) + arrived) / (n - 1) / (len(paced) + burst),
                "harness_cpu_s": harness, "private_dirty_MiB": network.memory()}
    finally:
        network.close()


def main():
    parser = argparse.ArgumentParser(usage=argparse.SUPPRESS, description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=["dht", "gossip"])
    parser.add_argument("--peer", action="append", choices=["go", "ours", "mix"])
    parser.add_argument("--n", type=int)
    parser.add_argument("--ops", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--us", default="cmd:%s rig" % os.path.join(HERE, "..", ".build", "release", "tutti"))
    a = parser.parse_args()
    for kind in a.peer or ["go", "ours", "mix"]:
        row = dht(a.us, kind, a.n or 30, a.ops) if a.row == "dht" else gossip(a.us, kind, a.n or 25, a.seconds, a.rate)
        print("%-5s %s" % (kind, "  ".join("%s=%.4g" % item for item in row.items())), flush=True)


if __name__ == "__main__":
    main()
