#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a peer speaks: security protocols over raw multistream-select, app protocols by opening streams.

usage: probe.py MULTIADDR            any running libp2p listener on /ip4/../tcp/..
       probe.py --spec SPEC          start SPEC (rig.py) with DHT and pubsub on, then probe it
1. Raw TCP: multistream-select header, `ls`, then each security protocol id on its own connection; also
   an unknown id (must answer `na`), and header+protocol sent in one write (lazy/optimistic negotiation).
2. Through a p2pd: noise-only and tls-only connects, /ipfs/ping and each known app protocol id.
"""
import argparse, socket, sys
import p2pd, rig

SEC = ["/noise", "/tls/1.0.0", "/plaintext/2.0.0", "/secio/1.0.0"]
APP = ["/ipfs/ping/1.0.0", "/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/p2p/id/delta/1.0.0", "/ipfs/kad/1.0.0", "/ipfs/lan/kad/1.0.0",
       "/meshsub/1.0.0", "/meshsub/1.1.0", "/meshsub/1.2.0", "/meshsub/1.3.0", "/floodsub/1.0.0",
       "/libp2p/circuit/relay/0.2.0/hop", "/libp2p/circuit/relay/0.2.0/stop", "/libp2p/circuit/relay/0.1.0",
       "/libp2p/dcutr", "/libp2p/autonat/1.0.0", "/libp2p/autonat/2/dial-request", "/libp2p/autonat/2/dial-back",
       "/perf/1.0.0", "/libp2p/fetch/0.0.1", "/rendezvous/1.0.0",
       "/ipfs/bitswap", "/ipfs/bitswap/1.0.0", "/ipfs/bitswap/1.1.0", "/ipfs/bitswap/1.2.0", "/x/", "/echo/1.0.0"]


def ms(s):
    b = s.encode() + b"\n"
    return p2pd.uv(len(b)) + b


def raw(host, port, *protos, one_write=False):
    s = socket.create_connection((host, port), 5)
    s.settimeout(5)
    k = p2pd.Sock(s)
    out = []
    try:
        if one_write:
            s.sendall(ms("/multistream/1.0.0") + b"".join(ms(p) for p in protos))
            out.append(k.recv_msg().decode().strip())
            out += [k.recv_msg().decode(errors="replace").strip() for _ in protos]
        else:
            s.sendall(ms("/multistream/1.0.0"))
            out.append(k.recv_msg().decode().strip())
            for p in protos:
                s.sendall(ms(p))
                out.append(k.recv_msg().decode(errors="replace").strip())
    except (OSError, EOFError) as e:
        out.append("<%s>" % (e or type(e).__name__))
    s.close()
    return out


ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("addr", nargs="?")
ap.add_argument("--spec")
a = ap.parse_args()
peer = rig.make(a.spec, dht="server", pubsub=True, relay="service") if a.spec else None
addr = a.addr or peer.addrs[0]
try:
    p = addr.split("/")
    host, port = p[2], int(p[4])
    print("multistream `ls`:", raw(host, port, "ls"))
    for s in SEC:
        print("security %-18s -> %s" % (s, raw(host, port, s)[1:]))
    print("unknown then /noise    -> %s" % raw(host, port, "/no-such/1.0.0", "/noise")[1:])
    print("one write, /noise      -> %s" % raw(host, port, "/noise", one_write=True))
    for kind in ("noise", "tls"):
        d = rig.make("p2pd:" + kind)
        try:
            pid = d.connect(addr)
            print("p2pd %s-only connect: ok, ping p50 %d us" % (kind, rig.pct(d.ping(pid, 20), 50)))
            if kind == "noise":
                yes = []
                for x in APP:
                    try:
                        k, got = d.d.open(pid, [x], timeout=5)
                        k.close()
                        yes.append(got)
                    except Exception as e:
                        pass
                print("app protocols accepted:", " ".join(yes))
                try:
                    k, _ = d.d.open(pid, ["/ipfs/id/1.0.0"])
                    k.s.settimeout(5)
                    m = p2pd.parse(k.recv_msg())
                    t = lambda n: [x.decode(errors="replace") for x in m.get(n, [])]
                    print("identify: protocolVersion=%s agent=%s signedPeerRecord=%s listen=%s observed=%s" % (
                        t(5), t(6), 8 in m, [p2pd.ma_dec(x) for x in m.get(2, [])], [p2pd.ma_dec(x) for x in m.get(4, [])]))
                    print("identify protocols:", " ".join(t(3)))
                    pk = p2pd.parse(m[1][0])
                    print("public key type:", {0: "RSA", 1: "Ed25519", 2: "Secp256k1", 3: "ECDSA"}[pk.get(1, [0])[0]])
                except Exception as e:
                    print("identify:", e)
        except Exception as e:
            print("p2pd %s-only connect: FAIL %s" % (kind, str(e)[:160]))
        finally:
            d.close()
finally:
    if peer:
        peer.close()
