#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""py-libp2p 0.8.1 as a rig peer (line-JSON contract of rig.py). Run it with the python of peers.ensure("pylibp2p").

usage: pylibp2p_peer.py      env: RIG_LISTEN, RIG_DHT=server|client, RIG_PUBSUB=1, RIG_SECURITY=noise|tls
"""
import base64, json, os, struct, sys, time
import logging
logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
import multiaddr, trio
from libp2p import new_host, create_yamux_muxer_option
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.host.ping import ID as PING_ID, PingService
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.custom_types import TProtocol

OUT = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
ECHO, BULK, PERF = TProtocol("/echo/1.0.0"), TProtocol("/bulk/1.0.0"), TProtocol("/perf/1.0.0")


def say(o):
    OUT.write(json.dumps(o) + "\n")
    OUT.flush()


async def rd(s, n):
    b = b""
    while len(b) < n:
        c = await s.read(n - len(b))
        if not c:
            raise EOFError
        b += c
    return b


async def h_echo(s):
    try:
        while True:
            b = await s.read(65536)
            if not b:
                break
            await s.write(b)
        await s.close()
    except Exception:
        pass


async def h_bulk(s):
    try:
        n = struct.unpack(">Q", await rd(s, 8))[0]
        got = 0
        while got < n:
            b = await s.read(65536)
            if not b:
                return
            got += len(b)
        await s.write(struct.pack(">Q", got))
        await s.close()
    except Exception:
        pass


async def to_eof(s):
    try:
        while await s.read(65536):
            pass
    except Exception as e:                       # py-libp2p raises StreamEOF instead of returning b""
        if "EOF" not in type(e).__name__:
            raise


async def h_perf(s):
    try:
        want = struct.unpack(">Q", await rd(s, 8))[0]
        await to_eof(s)
        z = bytes(65536)
        while want > 0:
            k = min(want, 65536)
            await s.write(z[:k])
            want -= k
        await s.close()
    except Exception:
        pass


async def main():
    listen = [multiaddr.Multiaddr(x) for x in (os.environ.get("RIG_LISTEN") or "/ip4/127.0.0.1/tcp/0").split(",")]
    kw = {}
    key = create_new_key_pair()
    sec = os.environ.get("RIG_SECURITY")
    if sec == "noise":
        from libp2p.security.noise.transport import Transport as Noise, PROTOCOL_ID
        from libp2p.crypto.x25519 import create_new_key_pair as xkey
        kw["sec_opt"] = {PROTOCOL_ID: Noise(key, noise_privkey=xkey().private_key)}
    elif sec == "tls":
        from libp2p.security.tls.transport import PROTOCOL_ID, TLSTransport
        kw["sec_opt"] = {PROTOCOL_ID: TLSTransport(key)}
    if any("quic" in str(x) for x in listen):
        kw["enable_quic"] = True
    host = new_host(key_pair=key, listen_addrs=listen, muxer_opt=create_yamux_muxer_option(), **kw)
    host.set_stream_handler(PING_ID, PingService(host).handle_ping)
    host.set_stream_handler(ECHO, h_echo)
    host.set_stream_handler(BULK, h_bulk)
    host.set_stream_handler(PERF, h_perf)
    host.set_stream_handler(TProtocol("/x/echo"), h_echo)
    host.set_stream_handler(TProtocol("/x/bulk"), h_bulk)
    dht = pubsub = None

    async def serve(r, nursery):
        try:
            say({"i": r["i"], "ok": True} | (await op(r, nursery) or {}))
        except NotImplementedError:
            say({"i": r["i"], "err": "unsupported"})
        except Exception as e:
            say({"i": r["i"], "err": "%s: %s" % (type(e).__name__, e)})

    async def op(r, nursery):
        o = r["op"]
        pid = ID.from_base58(r["peer"]) if "peer" in r and r["peer"].startswith(("Qm", "12D", "16U")) else None
        if o == "connect":
            info = info_from_p2p_addr(multiaddr.Multiaddr(r["addr"]))
            await host.connect(info)
            if dht is not None:
                await dht.routing_table.add_peer(info)
            return {}
        if o == "disconnect":
            await host.disconnect(pid)
            return {}
        if o == "ping":
            s = await host.new_stream(pid, [PING_ID])
            out = []
            for _ in range(r.get("count", 5)):
                m = os.urandom(32)
                t = time.perf_counter()
                await s.write(m)
                if await rd(s, 32) != m:
                    raise ValueError("ping differs")
                out.append((time.perf_counter() - t) * 1e6)
            await s.close()
            return {"rtt_us": out}
        if o == "protocols":
            ps = host.get_peerstore()
            return {"protocols": list(ps.get_protocols(pid))}
        if o == "echo":
            d = base64.b64decode(r["data"])
            s = await host.new_stream(pid, [TProtocol(r.get("proto") or ECHO)])
            async with trio.open_nursery() as n2:
                n2.start_soon(s.write, d)
                g = await rd(s, len(d))
            await s.close()
            return {"data": base64.b64encode(g).decode()}
        if o == "streams":
            t = time.perf_counter()

            async def work(k):
                for _ in range(k):
                    s = await host.new_stream(pid, [TProtocol(r.get("proto") or PING_ID)])
                    m = os.urandom(32)
                    await s.write(m)
                    assert await rd(s, 32) == m
                    await s.close()
            par = r.get("par", 1)
            async with trio.open_nursery() as n2:
                for _ in range(par):
                    n2.start_soon(work, r["count"] // par)
            return {"seconds": time.perf_counter() - t}
        if o == "cycle":
            info = info_from_p2p_addr(multiaddr.Multiaddr(r["addr"]))
            t = time.perf_counter()
            for _ in range(r["count"]):
                await host.connect(info)
                await host.disconnect(info.peer_id)
            return {"seconds": time.perf_counter() - t}
        if o == "bulk":
            s = await host.new_stream(pid, [TProtocol(r.get("proto") or BULK)])
            z, left = bytes(65536), r["bytes"]
            t = time.perf_counter()
            await s.write(struct.pack(">Q", left))
            while left:
                k = min(left, 65536)
                await s.write(z[:k])
                left -= k
            if struct.unpack(">Q", await rd(s, 8))[0] != r["bytes"]:
                raise ValueError("bulk count differs")
            dt = time.perf_counter() - t
            await s.close()
            return {"seconds": dt}
        if o == "perf":
            s = await host.new_stream(pid, [PERF])
            z, left = bytes(65536), r["up"]
            t = time.perf_counter()
            await s.write(struct.pack(">Q", r["down"]))
            while left:
                k = min(left, 65536)
                await s.write(z[:k])
                left -= k
            await s.close_write()
            got = 0
            while got < r["down"]:
                b = await s.read(65536)
                if not b:
                    raise EOFError("perf: %d" % got)
                got += len(b)
            return {"seconds": time.perf_counter() - t}
        if o == "dht_put":
            await dht.put_value(base64.b64decode(r["key"]).decode(), base64.b64decode(r["value"]))   # UTF-8 keys only
            return {}
        if o == "dht_get":
            v = await dht.get_value(base64.b64decode(r["key"]).decode())
            if v is None:
                raise KeyError("not found")
            return {"value": base64.b64encode(v).decode()}
        if o == "provide":
            ok = await dht.provide(base64.b64decode(r["cid"])[2:].hex())
            if not ok:
                raise RuntimeError("provide returned false")
            return {}
        if o == "find_providers":
            return {"peers": [p.peer_id.to_base58() for p in await dht.find_providers(base64.b64decode(r["cid"])[2:].hex(), r.get("count", 1))]}
        if o == "find_peer":
            p = await dht.find_peer(pid)
            if p is None:
                raise KeyError("not found")
            return {"addrs": [str(a) for a in p.addrs]}
        if o == "subscribe":
            sub = await pubsub.subscribe(r["topic"])

            async def loop():
                while True:
                    m = await sub.get()
                    say({"event": "msg", "topic": r["topic"], "from": ID(m.from_id).to_base58(),
                         "data": base64.b64encode(m.data).decode(), "t": time.time()})
            nursery.start_soon(loop)
            return {}
        if o == "publish":
            await pubsub.publish(r["topic"], base64.b64decode(r["data"]))
            return {}
        raise NotImplementedError

    async with host.run(listen_addrs=listen), trio.open_nursery() as nursery:
        from contextlib import AsyncExitStack
        async with AsyncExitStack() as st:
            from libp2p.tools.anyio_service import background_trio_service
            if os.environ.get("RIG_DHT"):
                from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
                dht = KadDHT(host, DHTMode.SERVER if os.environ["RIG_DHT"] == "server" else DHTMode.CLIENT)
                await st.enter_async_context(background_trio_service(dht))
            if os.environ.get("RIG_PUBSUB"):
                from libp2p.pubsub.gossipsub import GossipSub, PROTOCOL_ID_V11, PROTOCOL_ID_V12
                from libp2p.pubsub.pubsub import Pubsub
                gs = GossipSub(protocols=[PROTOCOL_ID_V12, PROTOCOL_ID_V11], degree=6, degree_low=5, degree_high=12,
                               heartbeat_interval=1, max_messages_per_topic_per_second=1e6)
                pubsub = Pubsub(host, gs, strict_signing=True)
                await st.enter_async_context(background_trio_service(pubsub))
                await st.enter_async_context(background_trio_service(gs))
                await pubsub.wait_until_ready()
            pid = host.get_id().to_base58()
            addrs = [str(a) for a in host.get_addrs()]
            addrs = [a if "/p2p/" in a else a + "/p2p/" + pid for a in addrs]
            say({"ready": True, "id": pid, "addrs": addrs, "pids": [os.getpid()]})
            f = trio.wrap_file(sys.stdin)
            while True:
                l = await f.readline()
                if not l:
                    os._exit(0)
                if l.strip():
                    nursery.start_soon(serve, json.loads(l), nursery)


if __name__ == "__main__":
    if sys.argv[1:2] in (["-h"], ["--help"]):
        print(__doc__, file=sys.stderr)
    else:
        trio.run(main)
