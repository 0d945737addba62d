# SPDX-License-Identifier: Apache-2.0
"""The rows of the performance table. Each returns {contender: {figure: value}}, all measured in one run, alternating.

A contender is "tutti" or "go" (both ends of that kind), or a mixed pair. Peers live as long as their row.
"""
import contextlib, json, os, resource, subprocess, sys, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "Tests", "Interop"))
import p2pd, rig
import overlays
import uds_baseline

GB = 1e9


def alternate(runs, contenders):
    """Calls each fn() -> (row, quiet) in turn, until each has `runs` quiet rows or three times as many rows in all.

    Medians over the quiet rows; when a contender has fewer than two, over all rows of all (`disturbed`)."""
    rows = {name: [] for name in contenders}
    for _ in range(3 * runs):
        for name, fn in contenders.items():
            rows[name].append(fn())
        if all(sum(quiet for _, quiet in taken) >= runs for taken in rows.values()):
            break
    disturbed = any(sum(quiet for _, quiet in taken) < 2 for taken in rows.values())
    out = {}
    for name, taken in rows.items():
        use = [row for row, quiet in taken if quiet or disturbed]
        out[name] = {key: rig.median([row[key] for row in use]) for key in use[0]}
        first = next(iter(use[0]))
        out[name] |= {"min": min(r[first] for r in use), "max": max(r[first] for r in use), "median_of": len(use),
                      "disturbed": disturbed}
    return out


def compile_relay(folder):
    relay = os.path.join(folder, "relay")
    compiler = next(c for c in ("cc", "clang", "gcc") if subprocess.call(["sh", "-c", "command -v " + c],
                                                                        stdout=subprocess.DEVNULL) == 0)
    subprocess.check_call([compiler, "-O2", "-pthread", "-o", relay, os.path.join(HERE, "relay", "relay.c")])
    return relay


class Bench:
    def __init__(self, us, runs, mib, build):
        self.us, self.runs, self.bytes, self.build = us, runs, mib << 20, build
        # Children inherit it: 5,000 connections need as many descriptors.
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def spec(self, kind):
        return self.us if kind == "tutti" else "p2pd"

    @contextlib.contextmanager
    def peers(self):
        """make(kind, security) -> a running peer, closed at the end of the row."""
        living = []

        def make(kind, security="noise", **options):
            living.append(rig.make(self.spec(kind), sec=security, **options))
            return living[-1]
        try:
            yield make
        finally:
            for peer in reversed(living):
                peer.close()

    # ------------------------------------------------------------------------------------------------ bulk

    def bulk(self, security):
        contenders = {}
        with self.peers() as make:
            for name, dialer, listener in [("go", "go", "go"), ("tutti", "tutti", "tutti"),
                                           ("tutti to go", "tutti", "go"), ("go to tutti", "go", "tutti")]:
                contenders[name] = self.bulk_contender(make(dialer, security), make(listener, security))
            contenders["unix socket relay"] = lambda: uds_baseline.measure(self.bytes)
            if security == "noise" and os.path.exists(self.build("Bound")):
                contenders["bound"] = self.bound
            return alternate(self.runs, contenders)

    def bulk_contender(self, dialer, listener):
        peer = dialer.connect(listener.addrs[0])
        dialer.bulk(peer, min(self.bytes, 64 << 20))

        def run():
            with rig.Meter([dialer, listener]) as meter:
                seconds = dialer.bulk(peer, self.bytes)
            return {"MBps": self.bytes / seconds / 1e6, "cpu_dialer_s_per_GB": meter.cpu[0] / self.bytes * GB,
                    "cpu_listener_s_per_GB": meter.cpu[1] / self.bytes * GB,
                    "cpu_harness_s_per_GB": meter.harness / self.bytes * GB, "other_load": meter.other}, meter.quiet
        return run

    def bound(self):
        with rig.Meter() as meter:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            out = subprocess.run([self.build("Bound"), "--mib", str(self.bytes >> 20), "--runs", "1"],
                                 capture_output=True, text=True, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
        row = json.loads(out.stdout.splitlines()[-1])
        own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        other = max(0.0, meter.other - own / meter.dt / os.cpu_count())
        return {"MBps": row["MBps"], "cpu_dialer_s_per_GB": row["cpu_seal_s_per_GB"],
                "cpu_listener_s_per_GB": row["cpu_open_s_per_GB"], "other_load": other}, other <= rig.Meter.QUIET

    # ------------------------------------------------------------------------------------------------ connections

    def connections(self, count=200, width=8):
        serial, parallel = {}, {}
        with self.peers() as make:
            for kind in ("go", "tutti"):
                dialer, listeners = make(kind), [make(kind) for _ in range(width)]
                dialer.cycle(listeners[0].addrs[0], 5)
                serial[kind] = self.serial_contender(dialer, listeners[0], count)
                parallel[kind] = self.parallel_contender(dialer, listeners, count // 2)
            return {"serial": alternate(self.runs, serial), "parallel": alternate(self.runs, parallel)}

    def serial_contender(self, dialer, listener, count):
        def run():
            with rig.Meter([dialer, listener]) as meter:
                seconds = dialer.cycle(listener.addrs[0], count)
            return {"per_s": count / seconds, "cpu_dialer_ms": meter.cpu[0] / count * 1e3,
                    "cpu_listener_ms": meter.cpu[1] / count * 1e3}, meter.quiet
        return run

    def parallel_contender(self, dialer, listeners, each):
        def run():
            with rig.Meter([dialer] + listeners) as meter:
                threads = [threading.Thread(target=dialer.cycle, args=(l.addrs[0], each)) for l in listeners]
                [t.start() for t in threads]
                [t.join() for t in threads]
            count = each * len(listeners)
            return {"per_s": count / meter.dt, "cpu_dialer_ms": meter.cpu[0] / count * 1e3,
                    "cpu_listener_ms": sum(meter.cpu[1:]) / count * 1e3}, meter.quiet
        return run

    # ------------------------------------------------------------------------------------------------ streams

    def streams(self, count=3000):
        contenders = {1: {}, 16: {}}
        with self.peers() as make:
            for kind in ("go", "tutti"):
                dialer, listener = make(kind), make(kind)
                peer = dialer.connect(listener.addrs[0])
                dialer.streams(peer, 100, 1)
                for width in contenders:
                    contenders[width][kind] = self.streams_contender(dialer, listener, peer, count, width)
            return {"serial": alternate(self.runs, contenders[1]), "parallel": alternate(self.runs, contenders[16])}

    def streams_contender(self, dialer, listener, peer, count, width):
        def run():
            with rig.Meter([dialer, listener]) as meter:
                seconds = dialer.streams(peer, count, width)
            return {"per_s": count / seconds, "cpu_dialer_us": meter.cpu[0] / count * 1e6,
                    "cpu_listener_us": meter.cpu[1] / count * 1e6}, meter.quiet
        return run

    # ------------------------------------------------------------------------------------------------ ping

    def ping(self, count=10000):
        """One raw client (Benchmarks/Ping) dials both kinds of listener: alone, and while a peer moves bulk to the same one."""
        quiet, loaded = {}, {}
        with self.peers() as make:
            for kind in ("go", "tutti"):
                listener, mover = make(kind), make(kind)
                quiet[kind] = self.ping_contender(listener, count)
                loaded[kind] = self.loaded_ping_contender(listener, mover, mover.connect(listener.addrs[0]))
            return {"alone": alternate(self.runs, quiet), "with_bulk": alternate(self.runs, loaded)}

    def raw_ping(self, listener, *options, cores=None):
        out = subprocess.run([self.build("Ping"), listener.addrs[0], *options], capture_output=True, text=True,
                             preexec_fn=cores and (lambda: os.sched_setaffinity(0, cores)))
        if out.returncode:
            raise RuntimeError("Ping: " + out.stderr.strip())
        return json.loads(out.stdout)

    def ping_contender(self, listener, count):
        """Client and listener on cores of their own, as two machines are: else the scheduler's choice to let them share
        one, which takes two wake-ups of an idle core from every round trip, decides the figure."""
        first, *rest = sorted(os.sched_getaffinity(0))

        def run():
            with rig.Meter([listener]) as meter, confined(listener, rest or [first]):
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                row = self.raw_ping(listener, "--count", str(count), cores=[first])
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
            own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            other = max(0.0, meter.other - own / meter.dt / os.cpu_count())
            return {"p50_us": row["p50_us"], "p99_us": row["p99_us"],
                    "cpu_listener_us": meter.cpu[0] / row["pings"] * 1e6}, other <= rig.Meter.QUIET
        return run

    def loaded_ping_contender(self, listener, mover, target):
        def run():
            moved, stop = [], threading.Event()

            def move():
                while not stop.is_set():
                    moved.append((256 << 20) / mover.bulk(target, 256 << 20) / 1e6)
            thread = threading.Thread(target=move)
            thread.start()
            time.sleep(0.3)                       # the bulk stream is up to speed
            try:
                row = self.raw_ping(listener, "--seconds", "3")
            finally:
                stop.set()
                thread.join()
            return {"p99_us": row["p99_us"], "p50_us": row["p50_us"], "pings": row["pings"],
                    "bulk_MBps": rig.median(moved)}, True
        return run

    # ------------------------------------------------------------------------------------------------ memory

    def memory(self, connections=5000, processes=4, seconds=0):
        out = {}
        for security in ("noise", "tls"):
            for kind in ("tutti", "go"):
                out["%s %s" % (kind, security)] = self.memory_of(kind, security, connections, processes, seconds)
        return out

    def memory_of(self, kind, security, connections, processes, seconds):
        with self.peers() as make:
            listener = make(kind, security)
            port = int(listener.addrs[0].split("/")[4])
            probe = make("tutti", security)
            probe.connect(listener.addrs[0])
            time.sleep(1)
            before, sockets = private_dirty(listener), established(port)
            try:
                if kind == "go":
                    connections, processes = 200, 1
                dialers = [make("tutti", security) for _ in range(processes)]
                threads = [threading.Thread(target=d.hold, args=(listener.addrs[0], connections // processes)) for d in dialers]
                [t.start() for t in threads]
                [t.join() for t in threads]
            except AttributeError:                # p2pd in our place: one connection a daemon
                for _ in range(20):
                    make("go", security, serve=False).connect(listener.addrs[0])
            time.sleep(3)                         # identify has gone both ways
            held, after = established(port) - sockets, private_dirty(listener)
            end = time.time() + seconds
            while time.time() < end:
                time.sleep(min(10, max(0.1, end - time.time())))
            row = {"KiB_per_connection": (after - before) / max(1, held), "connections": held, "idle_KiB": before}
            if seconds:
                row |= {"seconds": seconds, "connections_then": established(port) - sockets,
                        "KiB_per_connection_then": (private_dirty(listener) - before) / max(1, held)}
            probe.ping(listener.id, 3)            # it still serves
            return row

    # ------------------------------------------------------------------------------------------------ 63 ms

    def overlay(self, row):
        """Whole networks of p2pd, of Tutti, and half and half, one after the other."""
        measure = {"dht": overlays.dht, "gossip": overlays.gossip}[row]
        return {name: measure(self.us, kind) for name, kind in (("go", "go"), ("tutti", "ours"), ("mixed", "mix"))}

    def longpath(self, rtt_ms=63.0, mib=1024):
        with tempfile.TemporaryDirectory() as folder:
            relay = compile_relay(folder)
            plain = subprocess.run([relay, "--self-test", "--rtt-ms", str(rtt_ms)], capture_output=True, text=True)
            out = {"relay alone": json.loads(plain.stdout)}
            for kind in ("go", "tutti"):
                for security in ("noise", "tls"):
                    out["%s %s" % (kind, security)] = self.longpath_of(relay, kind, security, rtt_ms, mib << 20)
            return out

    def longpath_of(self, relay, kind, security, rtt_ms, count):
        with self.peers() as make:
            listener = make(kind, security)
            parts = listener.addrs[0].split("/")
            process = subprocess.Popen([relay, "--to", parts[4], "--rtt-ms", str(rtt_ms)], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)
            try:
                parts[4] = str(json.loads(process.stdout.readline())["port"])
                address = "/".join(parts)
                # A dialer that was connected once knows the listener's own address from identify and would go round the
                # relay: so each dial is a new peer's first.
                first = [first_byte(make(kind, security), address, listener.id) for _ in range(3)]
                dialer = make(kind, security)
                peer = dialer.connect(address)
                trip = rig.median(dialer.ping(peer, 5)) / 1e3
                if trip < rtt_ms:
                    raise RuntimeError("%s went round the relay: ping takes %.1f ms" % (kind, trip))
                rates = sorted(count * 8 / dialer.bulk(peer, count) / 1e9 for _ in range(min(3, self.runs)))
                return {"gbit_per_s": rig.median(rates), "gbit_per_s_max": rates[-1],
                        "first_byte_ms": rig.median([t for t, _ in first]) * 1e3,
                        "first_byte_rtts": rig.median([t for t, _ in first]) * 1e3 / rtt_ms,
                        "first_byte_with_identify": first[0][1]}
            finally:
                process.stdin.close()
                process.wait(5)


@contextlib.contextmanager
def confined(peer, cores):
    """The peer's threads run on these cores only."""
    def move(to):
        for pid in peer.pids:
            for thread in os.listdir("/proc/%d/task" % pid):
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(int(thread), to)
    before = os.sched_getaffinity(peer.pids[0])
    move(cores)
    try:
        yield
    finally:
        move(before)


def first_byte(dialer, address, peer):
    """(seconds from the dial until one byte came back on a new stream, whether identify was waited for)."""
    if hasattr(dialer, "first_byte"):
        try:
            return dialer.first_byte(address), False
        except RuntimeError as error:
            if "unsupported" not in str(error):
                raise
    start = time.perf_counter()
    dialer.connect(address)
    dialer.echo(peer, b"x")
    return time.perf_counter() - start, True


def private_dirty(peer):
    """KiB that the peer's processes hold for themselves and have written to."""
    total = 0
    for pid in peer.pids:
        with open("/proc/%d/smaps_rollup" % pid) as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith("Private_Dirty"))
    return total


def established(port):
    """Established TCP connections whose local end is this port: the listener's side of each, as the kernel counts."""
    count = 0
    with open("/proc/net/tcp") as f:
        next(f)
        for line in f:
            fields = line.split()
            count += fields[3] == "01" and int(fields[1].split(":")[1], 16) == port
    return count
