#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Shared harness: one API over every peer, so a bench can swap peer X for ours.

make(SPEC, **opts) -> a peer. SPEC is one of
  p2pd | p2pd:tls | p2pd:noise | p2pd:quic    go-libp2p v0.32.1 daemon
  pylibp2p                                    py-libp2p 0.8.1, through pylibp2p_peer.py
  cmd:COMMAND LINE                            any program that speaks the line-JSON contract below

Line-JSON contract (stdin/stdout, one JSON object per line, log to stderr only; exit at stdin EOF):
  program -> {"ready":true,"id":"12D3..","addrs":["/ip4/127.0.0.1/tcp/4001/p2p/12D3.."],"pids":[123]}
  harness -> {"i":1,"op":"connect","addr":"/ip4/..../p2p/.."}      program -> {"i":1,"ok":true}
  a failed op answers {"i":N,"err":"text"}; an unsupported one {"i":N,"err":"unsupported"}.
  Options come as env: RIG_LISTEN (comma list of multiaddrs), RIG_DHT=server|client, RIG_PUBSUB=1,
  RIG_SECURITY=noise|tls, RIG_RELAY=service|client.
  ops          arguments                        answer beside "ok"
  connect      addr                             (dial + secure + mux + identify done)
  disconnect   peer
  ping         peer, count                      rtt_us: [..]   (/ipfs/ping/1.0.0, one stream)
  protocols    peer                             protocols: [..], agent, proto_version   (from identify)
  echo         peer, data(b64), proto           data(b64)      (/echo/1.0.0 unless proto says otherwise)
  streams      peer, count, par, proto          seconds        (open, 32 bytes there and back, close; count times)
  cycle        addr, count                      seconds        (connect+disconnect, count times)
  bulk         peer, bytes, proto               seconds        (/bulk/1.0.0: u64be size, bytes, answer u64be)
  perf         peer, up, down                   seconds        (/perf/1.0.0 of the libp2p specs)
  first_byte   addr, proto                      seconds        (dial, open, 1 byte there and back, on a new connection
                                                               that is closed after; does not wait for identify)
  hold         addr, count                      held           (count more connections, each under a key of its own,
                                                               kept open until the program ends)
  dht_put      key(b64), value(b64)             dht_get key -> value(b64)
  provide      cid(b64 of CID bytes)            find_providers cid, count -> peers:[..]
  find_peer    peer                             addrs:[..]
  subscribe    topic                            then events {"event":"msg","topic","from","data"(b64),"t":unix seconds}
  publish      topic, data(b64)
  Every listener serves /ipfs/ping/1.0.0, /ipfs/id/1.0.0, /echo/1.0.0, /bulk/1.0.0, /perf/1.0.0.

Loopback only. Nothing here dials a public address.
"""
import base64, contextlib, fcntl, json, os, resource, shlex, socket, statistics, struct, subprocess, sys, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import p2pd, peers

ECHO, BULK, PERF, PING = "/echo/1.0.0", "/bulk/1.0.0", "/perf/1.0.0", "/ipfs/ping/1.0.0"


def b64(b):
    return base64.b64encode(b).decode()


@contextlib.contextmanager
def bench_lock():
    """Held for each timed part, so that benches on one machine never overlap ($BENCH_LOCK names the file; none = no lock)."""
    path = os.environ.get("BENCH_LOCK") or os.path.join(__import__("tempfile").gettempdir(), "bench.lock")
    if path == "none":                      # the caller holds a lock around the whole bench
        yield
        return
    with open(path, "a") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(f, fcntl.LOCK_UN)


def _busy():
    with open("/proc/stat") as f:
        v = [int(x) for x in f.readline().split()[1:9]]
    return sum(v[:3]) / os.sysconf("SC_CLK_TCK")          # user+nice+system; softirq of loopback is nobody's


class Meter:
    """Times a part under the bench lock; tells how much CPU everything else on the machine used meanwhile.

    with Meter([A, B]) as m: ...   then m.dt, m.cpu[i] per peer, m.harness, m.other (share of all cores, 0..1)
    A run with m.other above QUIET was disturbed.
    """
    QUIET = float(os.environ.get("RIG_QUIET", "0.12"))

    def __init__(self, peers=(), lock=True):
        self.peers, self.lk = peers, bench_lock() if lock else contextlib.nullcontext()

    def __enter__(self):
        self.lk.__enter__()
        self.c0, self.h0, self.b0 = [cpu(p) for p in self.peers], self_cpu(), _busy()
        self.t0 = time.perf_counter()
        return self

    def __exit__(self, *e):
        self.dt = time.perf_counter() - self.t0
        self.cpu = [cpu(p) - c for p, c in zip(self.peers, self.c0)]
        self.harness = self_cpu() - self.h0
        self.other = max(0.0, _busy() - self.b0 - sum(self.cpu) - self.harness) / self.dt / os.cpu_count()
        self.lk.__exit__(*e)

    @property
    def quiet(self):
        return self.other <= self.QUIET


def median(x):
    return statistics.median(x)


def pct(x, p):
    x = sorted(x)
    return x[min(len(x) - 1, int(p / 100 * len(x)))]


class P2pd:
    """A p2pd daemon in process form: calls go straight over its control socket."""

    def __init__(self, sec=None, listen=None, dht=None, pubsub=False, relay=None, extra=(), env=None, serve=True):
        self.quic = sec == "quic"
        listen = listen or ("/ip4/127.0.0.1/udp/0/quic-v1" if self.quic else "/ip4/127.0.0.1/tcp/0")
        self.d = p2pd.Daemon(listen, dht_server=dht == "server", dht=dht == "client", pubsub=pubsub,
                             tls_only=sec == "tls", noise_only=sec == "noise", relay_service=relay == "service",
                             extra=list(extra), env=env)
        self.id, self.pids = self.d.id, [self.d.pid]
        self.addrs = [a + "/p2p/" + self.id for a in self.d.addrs]
        self.cb = None
        if serve:
            self.d.handle([ECHO], p2pd.echo)
            self.d.handle([BULK], p2pd.sink)

    def connect(self, addr):
        return self.d.connect(addr)

    def disconnect(self, peer):
        self.d.disconnect(peer)

    def ping(self, peer, count=10):
        return [x * 1e6 for x in p2pd.ping(self.d, peer, count)]

    def echo(self, peer, data):
        k, _ = self.d.open(peer, [ECHO])
        threading.Thread(target=k.s.sendall, args=(data,), daemon=True).start()
        r = k.recv_exact(len(data))
        k.close()
        return r

    def streams(self, peer, count, par=1, proto=None):
        errs = []

        def work(n):
            try:
                for _ in range(n):
                    k, _ = self.d.open(peer, [proto or PING])
                    m = os.urandom(32)
                    k.s.sendall(m)
                    assert k.recv_exact(32) == m
                    k.close()
            except Exception as e:
                errs.append(e)
        t = time.perf_counter()
        th = [threading.Thread(target=work, args=(count // par,)) for _ in range(par)]
        [x.start() for x in th]
        [x.join() for x in th]
        if errs:
            raise RuntimeError("%d of %d stream workers failed: %s" % (len(errs), par, errs[0]))
        return time.perf_counter() - t

    def cycle(self, addr, count):
        t = time.perf_counter()
        for _ in range(count):
            pid = self.d.connect(addr)
            self.d.disconnect(pid)
        return time.perf_counter() - t

    def bulk(self, peer, n):
        k, _ = self.d.open(peer, [BULK])
        k.s.settimeout(600)
        buf = bytes(1 << 20)
        t = time.perf_counter()
        k.s.sendall(struct.pack(">Q", n))
        left = n
        while left:
            left -= k.s.send(memoryview(buf)[:min(left, len(buf))])
        assert struct.unpack(">Q", k.recv_exact(8))[0] == n
        dt = time.perf_counter() - t
        k.close()
        return dt

    def perf(self, peer, up, down):
        # p2pd pipes a stream to a unix socket and closes BOTH directions at the first EOF, either way round:
        # half-close (needed by /perf/1.0.0) does not survive it, as dialer or as listener.
        raise RuntimeError("unsupported: p2pd's control pipe has no half-close")

    def dht_put(self, key, value):
        self.d.dht_put(key, value)

    def dht_get(self, key):
        return self.d.dht_get(key)

    def provide(self, cid):
        self.d.dht_provide(cid)

    def find_providers(self, cid, count=1):
        return self.d.dht_find_providers(cid, count)

    def find_peer(self, peer):
        return self.d.dht_find_peer(peer)

    def subscribe(self, topic, cb):
        """cb(topic, from, data, unix_time)"""
        k = self.d.ps_subscribe(topic)

        def loop():
            try:
                while True:
                    m = p2pd.parse(k.recv_msg())
                    cb(topic, p2pd.b58e(m[1][0]), m.get(2, [b""])[0], time.time())
            except (EOFError, OSError):
                pass
        threading.Thread(target=loop, daemon=True).start()

    def publish(self, topic, data):
        self.d.ps_publish(topic, data)

    def topic_peers(self, topic):
        return self.d.ps_peers(topic)

    def close(self):
        self.d.close()


class Cmd:
    """A peer run as a child process that speaks the line-JSON contract."""

    def __init__(self, argv, sec=None, listen=None, dht=None, pubsub=False, relay=None, env=None, timeout=60, extra=(), **_):
        e = dict(os.environ, **(env or {}))
        if sec == "quic":
            listen, sec = listen or "/ip4/127.0.0.1/udp/0/quic-v1", None
        e["RIG_LISTEN"] = listen or "/ip4/127.0.0.1/tcp/0"
        for k, v in (("RIG_SECURITY", sec), ("RIG_DHT", dht), ("RIG_PUBSUB", "1" if pubsub else None), ("RIG_RELAY", relay)):
            if v:
                e[k] = v
        self.timeout = timeout
        self.err = open(os.environ.get("RIG_STDERR", os.devnull), "a")
        self.p = subprocess.Popen(list(argv) + list(extra), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.err, env=e, text=True, bufsize=1)
        self.n, self.wait, self.subs, self.lock, self.dead = 0, {}, {}, threading.Lock(), False
        while True:
            l = self.p.stdout.readline()
            if not l:
                raise RuntimeError("peer ended before it was ready: " + " ".join(argv))
            if l.startswith("{"):
                r = json.loads(l)
                if r.get("ready"):
                    break
        self.id, self.addrs, self.pids = r["id"], r["addrs"], r.get("pids") or [self.p.pid]
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for l in self.p.stdout:
            if not l.startswith("{"):
                continue
            r = json.loads(l)
            if r.get("event") == "msg":
                cb = self.subs.get(r["topic"])
                if cb:
                    cb(r["topic"], r.get("from"), base64.b64decode(r["data"]), r.get("t") or time.time())
            elif r.get("i") in self.wait:
                w = self.wait[r["i"]]
                w[1] = r
                w[0].set()
        self.dead = True
        for w in list(self.wait.values()):
            w[0].set()

    def call(self, op, timeout=None, **k):
        with self.lock:
            self.n += 1
            i = self.n
            w = self.wait[i] = [threading.Event(), None]
            self.p.stdin.write(json.dumps(dict(k, i=i, op=op)) + "\n")
            self.p.stdin.flush()
        if not w[0].wait(timeout or self.timeout):
            raise TimeoutError(op)
        del self.wait[i]
        r = w[1]
        if r is None:
            raise RuntimeError("peer died in " + op)
        if "err" in r:
            raise RuntimeError(r["err"])
        return r

    def connect(self, addr):
        self.call("connect", addr=addr)
        return p2pd.split_p2p(addr)[0]

    def disconnect(self, peer):
        self.call("disconnect", peer=peer)

    def ping(self, peer, count=10):
        return self.call("ping", peer=peer, count=count)["rtt_us"]

    def protocols(self, peer):
        return self.call("protocols", peer=peer)

    def echo(self, peer, data):
        return base64.b64decode(self.call("echo", peer=peer, data=b64(data), proto=ECHO)["data"])

    def streams(self, peer, count, par=1, proto=None):
        return self.call("streams", peer=peer, count=count, par=par, proto=proto or PING, timeout=300)["seconds"]

    def cycle(self, addr, count):
        return self.call("cycle", addr=addr, count=count, timeout=300)["seconds"]

    def bulk(self, peer, n):
        return self.call("bulk", peer=peer, bytes=n, proto=BULK, timeout=600)["seconds"]

    def perf(self, peer, up, down):
        return self.call("perf", peer=peer, up=up, down=down, timeout=600)["seconds"]

    def first_byte(self, addr):
        return self.call("first_byte", addr=addr, proto=ECHO)["seconds"]

    def hold(self, addr, count):
        return self.call("hold", addr=addr, count=count, timeout=600)["held"]

    def dht_put(self, key, value):
        self.call("dht_put", key=b64(key), value=b64(value))

    def dht_get(self, key):
        return base64.b64decode(self.call("dht_get", key=b64(key))["value"])

    def provide(self, cid):
        self.call("provide", cid=b64(cid))

    def find_providers(self, cid, count=1):
        return self.call("find_providers", cid=b64(cid), count=count)["peers"]

    def find_peer(self, peer):
        return self.call("find_peer", peer=peer)["addrs"]

    def subscribe(self, topic, cb):
        self.subs[topic] = cb
        self.call("subscribe", topic=topic)

    def publish(self, topic, data):
        self.call("publish", topic=topic, data=b64(data))

    def close(self):
        try:
            self.p.stdin.close()
            self.p.wait(8)
        except Exception:
            self.p.kill()
            self.p.wait()


def make(spec, **k):
    if spec.startswith("cmd:"):
        return Cmd(shlex.split(spec[4:]), **k)
    name, _, sec = spec.partition(":")
    if sec:
        k["sec"] = sec
    if name == "p2pd":
        return P2pd(**k)
    if name == "pylibp2p":
        return Cmd([peers.ensure("pylibp2p"), os.path.join(HERE, "pylibp2p_peer.py")], **k)
    raise SystemExit("unknown peer " + spec)


def cpu(peer):
    return sum(p2pd.cpu(p) for p in peer.pids)


def self_cpu():
    r = resource.getrusage(resource.RUSAGE_SELF)
    return r.ru_utime + r.ru_stime
