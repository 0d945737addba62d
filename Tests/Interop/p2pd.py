#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Start and drive go-libp2p daemons (p2pd) over their control socket; no dependencies.

As a library:
    d = Daemon(dht=True, pubsub=True); d.id, d.addrs, d.connect(addr), d.open(peer, [proto]) ...
As a program (a peer for another implementation's tests; prints `multiaddr` lines, runs till stdin ends):
    p2pd.py serve [--echo /echo/1.0.0] [--sink /bulk/1.0.0] [--dht] [--pubsub] [--tls-only] [--noise-only] [--relay-service]
    p2pd.py dial MULTIADDR [--proto /ipfs/ping/1.0.0]     connect, list what was negotiated, ping 5x

Control protocol: uvarint-delimited protobuf Request/Response over a unix socket (go-libp2p-daemon).
STREAM_OPEN turns the control connection itself into the stream; for STREAM_HANDLER the daemon
dials our socket and sends a StreamInfo before the stream's bytes. So bulk data crosses one extra
unix socket on each side.
"""
import base64, json, os, shutil, socket, socketserver, struct, subprocess, sys, tempfile, threading, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import peers

# ---------------------------------------------------------------- protobuf / varint / multiaddr

def uv(n):
    o = bytearray()
    while True:
        b = n & 0x7F
        n >>= 7
        o.append(b | (0x80 if n else 0))
        if not n:
            return bytes(o)


def rd_uv(buf, i):
    s = v = 0
    while True:
        b = buf[i]; i += 1
        v |= (b & 0x7F) << s
        s += 7
        if b < 0x80:
            return v, i


def F(n, v):
    """One protobuf field: int -> varint, bytes/str -> length delimited, list -> repeated, None -> nothing."""
    if v is None:
        return b""
    if isinstance(v, (list, tuple)):
        return b"".join(F(n, x) for x in v)
    if isinstance(v, bool):
        v = int(v)
    if isinstance(v, int):
        return uv(n << 3) + uv(v & (2**64 - 1))
    if isinstance(v, str):
        v = v.encode()
    return uv(n << 3 | 2) + uv(len(v)) + v


def parse(b):
    d, i = {}, 0
    while i < len(b):
        k, i = rd_uv(b, i)
        t = k & 7
        if t == 0:
            v, i = rd_uv(b, i)
        elif t == 2:
            l, i = rd_uv(b, i)
            v = bytes(b[i:i + l]); i += l
        elif t == 1:
            v = b[i:i + 8]; i += 8
        elif t == 5:
            v = b[i:i + 4]; i += 4
        else:
            raise ValueError("wire type %d" % t)
        d.setdefault(k >> 3, []).append(v)
    return d


B58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def b58e(b):
    n = int.from_bytes(b, "big")
    s = ""
    while n:
        n, r = divmod(n, 58)
        s = B58[r] + s
    return "1" * (len(b) - len(b.lstrip(b"\0"))) + s


def b58d(s):
    n = 0
    for c in s:
        n = n * 58 + B58.index(c)
    return b"\0" * (len(s) - len(s.lstrip("1"))) + n.to_bytes((n.bit_length() + 7) // 8, "big")


def peerid_bytes(s):
    if s[0] in "bz" and not s.startswith(("Qm", "12D3", "1")):
        raw = base64.b32decode(s[1:].upper() + "=" * (-len(s[1:]) % 8))
        return raw[2:] if raw[:2] == b"\x01\x72" else raw
    return b58d(s)


CODES = {4: ("ip4", 4), 41: ("ip6", 16), 6: ("tcp", 2), 273: ("udp", 2), 460: ("quic", 0), 461: ("quic-v1", 0),
         421: ("p2p", -1), 290: ("p2p-circuit", 0), 477: ("ws", 0), 478: ("wss", 0), 448: ("tls", 0),
         53: ("dns", -1), 54: ("dns4", -1), 55: ("dns6", -1), 56: ("dnsaddr", -1), 465: ("webtransport", 0),
         466: ("certhash", -1), 280: ("webrtc-direct", 0)}
NAMES = {n: (c, l) for c, (n, l) in CODES.items()}


def ma_dec(b):
    i, o = 0, ""
    while i < len(b):
        c, i = rd_uv(b, i)
        n, l = CODES[c]
        o += "/" + n
        if l == -1:
            l, i = rd_uv(b, i)
        v = b[i:i + l]; i += l
        if n == "ip4":
            o += "/" + socket.inet_ntoa(v)
        elif n == "ip6":
            o += "/" + socket.inet_ntop(socket.AF_INET6, v)
        elif n in ("tcp", "udp"):
            o += "/%d" % struct.unpack(">H", v)
        elif n == "p2p":
            o += "/" + b58e(v)
        elif n == "certhash":
            o += "/u" + base64.urlsafe_b64encode(v).decode().rstrip("=")
        elif l:
            o += "/" + v.decode()
    return o


def ma_enc(s):
    p = s.strip("/").split("/")
    o, i = b"", 0
    while i < len(p):
        n = p[i]; i += 1
        c, l = NAMES[n]
        o += uv(c)
        if l == 0:
            continue
        v = p[i]; i += 1
        if n == "ip4":
            o += socket.inet_aton(v)
        elif n == "ip6":
            o += socket.inet_pton(socket.AF_INET6, v)
        elif n in ("tcp", "udp"):
            o += struct.pack(">H", int(v))
        elif n == "p2p":
            b = peerid_bytes(v)
            o += uv(len(b)) + b
        else:
            o += uv(len(v)) + v.encode()
    return o


def split_p2p(addr):
    """'/ip4/../tcp/N/p2p/ID' -> (ID, '/ip4/../tcp/N'); a circuit address keeps its relay part."""
    a, _, pid = addr.rpartition("/p2p/")
    return pid, a


def cpu(pid):
    """user+system CPU seconds of a process."""
    with open("/proc/%d/stat" % pid) as f:
        x = f.read().rsplit(")", 1)[1].split()
    return (int(x[11]) + int(x[12])) / os.sysconf("SC_CLK_TCK")


def rss_kib(pid):
    with open("/proc/%d/status" % pid) as f:
        for l in f:
            if l.startswith("VmRSS"):
                return int(l.split()[1])


class ControlError(Exception):
    pass


class Sock:
    """A socket with buffered reads and uvarint-delimited messages."""

    def __init__(self, s):
        self.s, self.buf = s, b""

    def send_msg(self, m):
        self.s.sendall(uv(len(m)) + m)

    def recv_exact(self, n):
        while len(self.buf) < n:
            c = self.s.recv(65536)
            if not c:
                raise EOFError("closed after %d of %d bytes" % (len(self.buf), n))
            self.buf += c
        o, self.buf = self.buf[:n], self.buf[n:]
        return o

    def recv_msg(self):
        l = s = 0
        while True:
            b = self.recv_exact(1)[0]
            l |= (b & 0x7F) << s
            s += 7
            if b < 0x80:
                return self.recv_exact(l)

    def close(self):
        self.s.close()


class Daemon:
    def __init__(self, host_addrs="/ip4/127.0.0.1/tcp/0", dht=False, dht_server=False, pubsub=False, tls_only=False,
                 noise_only=False, relay_service=False, extra=(), tmp=None, env=None, wait=20):
        self.tmp = tempfile.mkdtemp(prefix="p2pd", dir=tmp)
        self.ctl = os.path.join(self.tmp, "c")
        self.log = open(os.path.join(self.tmp, "log"), "w")
        args = [peers.ensure("p2pd"), "-listen", "/unix" + self.ctl, "-hostAddrs", host_addrs, "-q",
                "-relayService=%d" % relay_service]
        if not relay_service and "-relay" not in " ".join(extra):
            args.append("-relay=0")
        if dht:
            args.append("-dht")
        if dht_server:
            args.append("-dhtServer")
        if pubsub:
            args.append("-pubsub")
        if tls_only:
            args.append("-noise=0")
        if noise_only:
            args.append("-tls=0")
        args += list(extra)
        self.p = subprocess.Popen(args, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL,
                                  env=dict(os.environ, **(env or {})))
        self.pid = self.p.pid
        t = time.time()
        while True:
            try:
                self.identify()
                break
            except (OSError, EOFError):
                if self.p.poll() is not None or time.time() - t > wait:
                    raise RuntimeError("p2pd did not start: " + open(self.log.name).read()[-2000:])
                time.sleep(0.02)
        self.handlers = []

    # -- control calls
    def conn(self, timeout=60):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(timeout)
        s.connect(self.ctl)
        return Sock(s)

    def call(self, typ, body=b"", keep=False, timeout=60):
        c = self.conn(timeout)
        c.send_msg(F(1, typ) + body)
        r = parse(c.recv_msg())
        if r[1][0] != 0:
            c.close()
            raise ControlError(parse(r[2][0])[1][0].decode(errors="replace"))
        if keep:
            return r, c
        c.close()
        return r

    def identify(self):
        r = parse(self.call(0)[4][0])
        self.id_bytes = r[1][0]
        self.id = b58e(self.id_bytes)
        self.addrs = [ma_dec(a) for a in r.get(2, [])]
        return self.id, self.addrs

    def full_addr(self, i=0):
        return self.addrs[i] + "/p2p/" + self.id

    def connect(self, addr, timeout=20):
        pid, a = split_p2p(addr)
        self.call(1, F(2, F(1, peerid_bytes(pid)) + F(2, ma_enc(a)) + F(3, timeout)))
        return pid

    def disconnect(self, pid):
        self.call(7, F(7, F(1, peerid_bytes(pid))))

    def peers(self):
        return [p for p, _ in self.list_peers()]

    def list_peers(self):
        r = self.call(5)
        return [(b58e(parse(p)[1][0]), [ma_dec(x) for x in parse(p).get(2, [])]) for p in r.get(6, [])]

    def open(self, pid, protos, timeout=20):
        """Open a stream: returns (Sock positioned at the first stream byte, negotiated protocol)."""
        r, c = self.call(2, F(3, F(1, peerid_bytes(pid)) + F(2, protos) + F(3, timeout)), keep=True)
        return c, parse(r[3][0])[3][0].decode()

    def handle(self, protos, fn):
        """fn(Sock, peer, proto) runs in a thread for each incoming stream of these protocols."""
        path = os.path.join(self.tmp, "h%d" % len(self.handlers))
        ls = socket.socket(socket.AF_UNIX)
        ls.bind(path)
        ls.listen(512)
        self.handlers.append(ls)

        def one(s):
            k = Sock(s)
            try:
                i = parse(k.recv_msg())
                fn(k, b58e(i[1][0]), i[3][0].decode())
            except (EOFError, OSError):
                pass
            finally:
                k.close()

        def loop():
            while True:
                try:
                    s, _ = ls.accept()
                except OSError:
                    return
                threading.Thread(target=one, args=(s,), daemon=True).start()
        threading.Thread(target=loop, daemon=True).start()
        self.call(3, F(4, F(1, ma_enc_unix(path)) + F(2, protos) + F(3, 0)))

    # -- DHT
    def dht(self, typ, timeout=30, **k):
        body = F(1, typ) + F(2, k.get("peer")) + F(3, k.get("cid")) + F(4, k.get("key")) + F(5, k.get("value")) + \
            F(6, k.get("count")) + F(7, timeout)
        r, c = self.call(4, F(5, body), keep=True, timeout=timeout + 10)
        d = parse(r[5][0]) if 5 in r else {}
        out = []
        if d.get(1, [1])[0] == 0:            # BEGIN: a list follows
            while True:
                m = parse(c.recv_msg())
                if m[1][0] == 2:
                    break
                out.append(m)
        else:
            out.append(d)
        c.close()
        return out

    def dht_put(self, key, value, timeout=30):
        self.dht(7, timeout, key=key, value=value)

    def dht_get(self, key, timeout=30):
        return self.dht(5, timeout, key=key)[0][3][0]

    def dht_provide(self, cid, timeout=60):
        self.dht(8, timeout, cid=cid)

    def dht_find_providers(self, cid, count=1, timeout=30):
        return [b58e(parse(m[2][0])[1][0]) for m in self.dht(2, timeout, cid=cid, count=count)]

    def dht_find_peer(self, pid, timeout=30):
        p = parse(self.dht(0, timeout, peer=peerid_bytes(pid))[0][2][0])
        return [ma_dec(a) for a in p.get(2, [])]

    def dht_closest(self, key, timeout=30):
        return [b58e(m[3][0]) for m in self.dht(3, timeout, key=key)]

    # -- pubsub
    def ps_topics(self):
        r = self.call(8, F(8, F(1, 0)))
        return [x.decode() for x in parse(r[7][0]).get(1, [])] if 7 in r else []

    def ps_peers(self, topic):
        r = self.call(8, F(8, F(1, 1) + F(2, topic)))
        return [b58e(x) for x in parse(r[7][0]).get(2, [])] if 7 in r else []

    def ps_publish(self, topic, data):
        self.call(8, F(8, F(1, 2) + F(2, topic) + F(3, data)))

    def ps_subscribe(self, topic):
        """A Sock; each recv_msg() is a PSMessage (parse: 1 from, 2 data, 3 seqno, 4 topics)."""
        r, c = self.call(8, F(8, F(1, 3) + F(2, topic)), keep=True)
        c.s.settimeout(None)
        return c

    def close(self):
        for h in getattr(self, "handlers", []):
            h.close()
        if self.p.poll() is None:
            self.p.terminate()
            try:
                self.p.wait(5)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()
        self.log.close()
        shutil.rmtree(self.tmp, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.close()


def ma_enc_unix(path):
    p = path.encode()
    return uv(400) + uv(len(p)) + p


# ---------------------------------------------------------------- stock handlers

def echo(k, peer, proto):
    if k.buf:
        k.s.sendall(k.buf)
    while True:
        b = k.s.recv(65536)
        if not b:
            return
        k.s.sendall(b)


def sink(k, peer, proto):
    """Bulk sink: 8-byte big-endian size, then that many bytes; answers 8 bytes (the count) at the end."""
    n = struct.unpack(">Q", k.recv_exact(8))[0]
    got = len(k.buf)
    buf = bytearray(1 << 20)
    while got < n:
        r = k.s.recv_into(buf)
        if not r:
            return
        got += r
    k.s.sendall(struct.pack(">Q", got))
    k.s.recv(1)          # let the peer close first: p2pd resets a QUIC stream (dropping unread bytes) when its handler closes first


def perf(k, peer, proto):
    """/perf/1.0.0 server: 8-byte BE download size, upload until the peer closes its side, then that many bytes."""
    want = struct.unpack(">Q", k.recv_exact(8))[0]
    buf = bytearray(1 << 20)
    while k.s.recv_into(buf):
        pass
    z = bytes(65536)
    while want > 0:
        want -= k.s.send(z[:min(want, 65536)])
    k.s.shutdown(socket.SHUT_WR)


def ping(d, pid, n=5):
    """RTTs in seconds over one /ipfs/ping/1.0.0 stream."""
    k, _ = d.open(pid, ["/ipfs/ping/1.0.0"])
    out = []
    for _ in range(n):
        m = os.urandom(32)
        t = time.perf_counter()
        k.s.sendall(m)
        if k.recv_exact(32) != m:
            raise ValueError("ping payload differs")
        out.append(time.perf_counter() - t)
    k.close()
    return out


if __name__ == "__main__":
    import argparse
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sp = ap.add_subparsers(dest="cmd", required=True)
    s = sp.add_parser("serve")
    s.add_argument("--echo", default="/echo/1.0.0")
    s.add_argument("--sink", default="/bulk/1.0.0")
    s.add_argument("--listen", default="/ip4/127.0.0.1/tcp/0")
    for o in ("dht", "pubsub", "tls-only", "noise-only", "relay-service"):
        s.add_argument("--" + o, action="store_true")
    c = sp.add_parser("dial")
    c.add_argument("addr")
    c.add_argument("--proto", action="append")
    for o in ("tls-only", "noise-only"):
        c.add_argument("--" + o, action="store_true")
    a = ap.parse_args()
    if a.cmd == "serve":
        with Daemon(a.listen, dht_server=a.dht, pubsub=a.pubsub, tls_only=a.tls_only, noise_only=a.noise_only,
                    relay_service=a.relay_service) as d:
            d.handle([a.echo], echo)
            d.handle([a.sink], sink)
            for x in d.addrs:
                print(x + "/p2p/" + d.id, flush=True)
            sys.stdin.read()
    else:
        with Daemon("/ip4/127.0.0.1/tcp/0", tls_only=a.tls_only, noise_only=a.noise_only) as d:
            pid = d.connect(a.addr)
            print(json.dumps({"connected": pid, "ping_us": [round(x * 1e6) for x in ping(d, pid)]}))
            for pr in a.proto or []:
                k, got = d.open(pid, [pr])
                print(json.dumps({"opened": got}))
                k.close()
