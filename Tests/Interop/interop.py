#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Interop matrix: every check, for every (dialer, listener) pair of real peers. Prints one line per pair.

usage: interop.py [--pairs A,B A,B ...] [--us SPEC] [--checks ...] [--json FILE]
Without --pairs: all ordered pairs of p2pd:noise, p2pd:tls, pylibp2p that share a security protocol. With --us SPEC (say --us "cmd:./tutti rig"): our
peer against each of them, both ways, and against itself.

check      what must work
wrongid    a dial to the listener's address under another peer's id is refused
connect    dial, secure, multiplex, identify
ping       10 round trips
echo1      1 KiB there and back
echo4m     4 MiB both ways at once: crosses the 256 KiB window 16 times
bulk       64 MiB one way
perf       1 MiB up, 8 MiB down: needs half-close
par        200 echo streams, 16 at once (not ping: go and py allow 2 ping streams a peer)
reconnect  disconnect, dial again, ping
gossip     a message each way
findpeer   find a third peer through the other
record     a /pk/ record put here is got there
provide    a provider announced here is found there

ok = passed; "-" = a peer said that it does not support this, which only OPTIONAL checks may say of our peer;
known = fails for a reason that is the other peer's (KNOWN); FAIL = anything else. Exit status 1 if there is a FAIL.
"""
import argparse, hashlib, itertools, json, os, sys, threading, time
import rig

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--pairs", nargs="*")
ap.add_argument("--us")
ap.add_argument("--checks", default="wrongid,connect,ping,echo1,echo4m,bulk,perf,par,reconnect,gossip,findpeer,record,provide")
ap.add_argument("--json")
a = ap.parse_args()
KINDS = ["p2pd:noise", "p2pd:tls", "pylibp2p"]
OPTIONAL = {"gossip", "findpeer", "record", "provide"}
# (part of a peer's spec, check): why it cannot pass, whoever is on the other side.
KNOWN = {("pylibp2p", "record"): "py-libp2p reads Kademlia keys as UTF-8 and drops binary ones"}
if a.us:
    pairs = [(a.us, k) for k in KINDS + [a.us]] + [(k, a.us) for k in KINDS]
else:
    pairs = [tuple(p.split(",")) for p in a.pairs] if a.pairs else [
        (x, y) for x, y in itertools.product(KINDS, KINDS) if {x, y} != {"p2pd:noise", "p2pd:tls"}]
os.environ.setdefault("RIG_STDERR", os.devnull)


class Skip(Exception):
    """The check cannot be made with this pair; not a fault of either peer under test."""


def require(peer, check):
    """Asks our peer first whether it has Kademlia or gossip at all: else the other side's failure would be reported."""
    try:
        if check == "gossip":
            peer.subscribe("rig-probe", lambda *_: None)
        else:
            peer.find_peer(peer.id)
    except (RuntimeError, AttributeError) as error:
        if isinstance(error, AttributeError) or "unsupported" in str(error):
            raise Skip("our peer does not have it")


def record():
    pub = b"\x08\x01\x12\x20" + os.urandom(32)
    return b"/pk/" + b"\x00" + bytes([len(pub)]) + pub, pub


def run(A, B, third, name):
    if name == "wrongid":
        try:
            A.connect(B.addrs[0].rpartition("/p2p/")[0] + "/p2p/" + third.id)
        except RuntimeError as e:
            if "unsupported" in str(e):
                raise
            return "refused"
        except Exception:
            return "refused"
        raise RuntimeError("a dial to the wrong peer id succeeded")
    elif name == "connect":
        A.connect(B.addrs[0])
    elif name == "ping":
        r = A.ping(B.id, 10)
        return "%d us" % rig.pct(r, 50)
    elif name == "echo1":
        d = os.urandom(1024)
        assert A.echo(B.id, d) == d
    elif name == "echo4m":
        d = os.urandom(4 << 20)
        assert A.echo(B.id, d) == d
    elif name == "bulk":
        return "%.0f MB/s" % ((64 << 20) / A.bulk(B.id, 64 << 20) / 1e6)
    elif name == "perf":
        if isinstance(A, rig.P2pd) or isinstance(B, rig.P2pd):
            raise Skip("p2pd's control socket has no half-close")
        return "%.2f s" % A.perf(B.id, 1 << 20, 8 << 20)
    elif name == "par":
        return "%.0f/s" % (200 / A.streams(B.id, 200, 16, rig.ECHO))
    elif name == "reconnect":
        A.disconnect(B.id)
        time.sleep(0.2)
        A.connect(B.addrs[0])
        A.ping(B.id, 1)
    elif name == "gossip":
        got = {}
        ev = threading.Event()

        def cb(who):
            def f(topic, frm, data, t):
                got[who, bytes(data)] = frm
                if len([1 for w, d in got if (w, d) in ((0, b"from-b"), (1, b"from-a"))]) == 2:
                    ev.set()
            return f
        A.subscribe("rig-interop", cb(0))
        B.subscribe("rig-interop", cb(1))
        t = time.time()
        while not ev.is_set() and time.time() - t < 15:
            time.sleep(1.5)
            A.publish("rig-interop", b"from-a")
            B.publish("rig-interop", b"from-b")
        if not ev.is_set():
            raise RuntimeError("a<-b %s, b<-a %s" % ((0, b"from-b") in got, (1, b"from-a") in got))
        assert got[0, b"from-b"] == B.id and got[1, b"from-a"] == A.id, "wrong author id"
    elif name == "findpeer":
        third.connect(B.addrs[0])
        time.sleep(1)
        assert A.find_peer(third.id)
    elif name == "record":
        k, v = record()
        A.dht_put(k, v)
        assert B.dht_get(k) == v
    elif name == "provide":
        c = b"\x01\x55\x12\x20" + hashlib.sha256(os.urandom(8)).digest()
        A.provide(c)
        assert A.id in B.find_providers(c, 1)


def verdict(pair, check, error):
    """What a failed check counts as: "-", "known ..." or "FAIL ..."."""
    if isinstance(error, Skip):
        return "-"
    text = " ".join((str(error) or type(error).__name__).split())[:90]
    for (part, known), why in KNOWN.items():
        if check == known and any(part in spec for spec in pair):
            return "known (%s)" % why
    unsupported = "unsupported" in text or isinstance(error, AttributeError)
    if unsupported and (check in OPTIONAL or a.us not in pair):
        return "-"
    return "FAIL " + text


out, bad = [], 0
for x, y in pairs:
    cells = {}
    A = B = third = None
    try:
        B = rig.make(y, dht="server", pubsub=True)
        A = rig.make(x, dht="server", pubsub=True)
        third = rig.make("p2pd", dht="server")
        for c in a.checks.split(","):
            t = time.time()
            try:
                for spec, P in ((x, A), (y, B)):
                    if spec == a.us and c in OPTIONAL:
                        require(P, c)
                cells[c] = "ok " + (run(A, B, third, c) or "%.1f s" % (time.time() - t))
            except Exception as e:
                cells[c] = verdict((x, y), c, e)
                bad += cells[c].startswith("FAIL")
                if c == "connect":
                    break
    except Exception as e:
        cells["start"] = "FAIL " + str(e)[:120]
        bad += 1
    finally:
        for P in (A, B, third):
            if P:
                P.close()
    out.append({"dialer": x, "listener": y, "cells": cells})
    print("%-10s -> %-10s  " % tuple("us" if spec == a.us else spec for spec in (x, y)) + " | ".join("%s %s" % kv for kv in cells.items()), flush=True)
if a.json:
    with open(a.json, "w") as f:
        json.dump(out, f, indent=1)
print("interop: %d pairs, %d failed checks" % (len(out), bad))
sys.exit(1 if bad else 0)
