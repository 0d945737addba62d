#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mDNS between machines: network namespaces joined by veth pairs, nodes with no configuration.

usage: Tests/Interop/mdns.py TUTTI          TUTTI: the built command; run as root, Linux only

Prints one line per case and exits 1 if one fails. Where namespaces can't be made it says so and exits 77.
With P2P_RIG_DIR set, `zeroconf` of its py-libp2p environment is the second implementation.
"""
import os, re, shutil, signal, socket, subprocess, sys, tempfile, time

GROUP, PORT = "224.0.0.251", 5353
NAMES = ["tutti-mdns-%d-%s" % (os.getpid(), side) for side in "ab"]
ADDRESSES = ["10.213.77.1", "10.213.77.2"]
ADDRESSES6 = ["fd00:213:77::1", "fd00:213:77::2"]
QUERY = (b"\0\0\0\0\0\1\0\0\0\0\0\0" + b"\x04_p2p\x04_udp\x05local\0" + b"\0\x0c\0\x01")
LIMIT = 3.0


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def make_network():
    for name in NAMES:
        run("ip", "netns", "add", name)
    run("ip", "link", "add", "tmdns-a", "netns", NAMES[0], "type", "veth", "peer", "name", "tmdns-b", "netns", NAMES[1])
    for name, side, address, address6 in zip(NAMES, "ab", ADDRESSES, ADDRESSES6):
        run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", name, "address", "add", address + "/24", "dev", "tmdns-" + side)
        # Without looking for duplicates, which would take a second.
        run("ip", "-n", name, "address", "add", address6 + "/64", "dev", "tmdns-" + side, "nodad")
        run("ip", "-n", name, "link", "set", "tmdns-" + side, "multicast", "on", "up")
    # A veth pair carries nothing before both ends are up.
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        text = subprocess.run(["ip", "-n", NAMES[0], "link", "show", "tmdns-a"], capture_output=True, text=True).stdout
        if "LOWER_UP" in text:
            return
        time.sleep(0.05)
    raise RuntimeError("the link doesn't come up")


def remove_network():
    for name in NAMES:
        subprocess.run(["ip", "netns", "del", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Node:
    """A `tutti up` in one of the namespaces."""

    def __init__(self, tutti, folder, side, *options, listen=None):
        self.log = os.path.join(folder, "log-%s-%d" % (side, time.monotonic_ns()))
        self.out = open(self.log, "wb")
        self.side, self.tutti = side, tutti
        self.data = os.path.join(folder, "data-%s-%d" % (side, time.monotonic_ns()))
        command = ["ip", "netns", "exec", NAMES["ab".index(side)], tutti, "up", "--data", self.data,
                   "--log-level", "debug"] + (["--listen", listen] if listen else []) + list(options)
        self.process = subprocess.Popen(command, stdout=self.out, stderr=subprocess.STDOUT)
        self.id = self.wait(r"^id (\S+)$", 10)
        self.wait(r"^listening ", 10)

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def find(self, pattern):
        return re.search(pattern, self.text(), re.M)

    def wait(self, pattern, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := self.find(pattern):
                return found.group(found.lastindex or 0)
            if self.process.poll() is not None:
                raise RuntimeError("the node ended: " + self.text()[-400:])
            time.sleep(0.01)
        raise RuntimeError("not within %.1f s: %s\n%s" % (seconds, pattern, self.text()[-800:]))

    def ask(self, *words, typed=None):
        """The lines of a command that asks this node."""
        return ask(self.tutti, self.side, self.data, *words, typed=typed)

    def wait_peer(self, peer, seconds):
        self.wait(re.escape(peer) + r".*peer connected", seconds)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
        self.out.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def ask(tutti, side, data, *words, typed=None):
    command = ["ip", "netns", "exec", NAMES["ab".index(side)], tutti, *words, "--data", data]
    done = subprocess.run(command, input=typed, capture_output=True, text=True, timeout=90)
    if done.returncode != 0:
        raise RuntimeError("%s: %s" % (" ".join(words), done.stderr.strip()))
    return done.stdout.splitlines()


class Listener:
    """A socket of the group inside a namespace, made by a thread of ours that enters it."""

    def __init__(self, side):
        index = "ab".index(side)
        own = os.open("/proc/self/ns/net", os.O_RDONLY)
        other = os.open("/var/run/netns/" + NAMES[index], os.O_RDONLY)
        enter(other)
        try:
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self.socket.bind((GROUP, PORT))
            member = socket.inet_aton(GROUP) + socket.inet_aton(ADDRESSES[index])
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(ADDRESSES[index]))
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        finally:
            enter(own)
            os.close(own)
            os.close(other)

    def send(self, data):
        self.socket.sendto(data, (GROUP, PORT))

    def collect(self, seconds):
        """(time, is a response, bytes, source) of each datagram."""
        found, deadline = [], time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                data, source = self.socket.recvfrom(9000)
            except TimeoutError:
                break
            found.append((time.monotonic(), bool(data[2] & 0x80), data, source[0]))
        return found

    def close(self):
        self.socket.close()


def enter(namespace):
    import ctypes
    if ctypes.CDLL(None, use_errno=True).setns(namespace, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")


# ------------------------------------------------------------------------------------------------ cases


def case_find_each_other(tutti, folder):
    with Node(tutti, folder, "a") as a:
        began = time.monotonic()
        with Node(tutti, folder, "b") as b:
            listening = time.monotonic()
            a.wait_peer(b.id, LIMIT)
            b.wait_peer(a.id, LIMIT)
            took = time.monotonic() - began
            assert took < LIMIT, "%.2f s" % took
            return "%.2f s after the second one's start, %.2f s after it listened" % (
                took, time.monotonic() - listening)


def find_each_other6(tutti, folder):
    listen = "/ip6/::/tcp/0"
    with Node(tutti, folder, "a", listen=listen) as a:
        began = time.monotonic()
        with Node(tutti, folder, "b", listen=listen) as b:
            a.wait_peer(b.id, LIMIT)
            b.wait_peer(a.id, LIMIT)
            took = time.monotonic() - began
            assert took < LIMIT, "%.2f s" % took
            return "%.2f s after the second one's start" % took


def case_ipv6_nodes(tutti, folder):
    """On a link of both families, nodes that listen on IPv6 only."""
    return find_each_other6(tutti, folder)


def case_ipv6_link(tutti, folder):
    """No IPv4 address anywhere: the group is ff02::fb."""
    for name, side in zip(NAMES, "ab"):
        run("ip", "-n", name, "-4", "address", "flush", "dev", "tmdns-" + side)
    try:
        return find_each_other6(tutti, folder)
    finally:
        for name, side, address in zip(NAMES, "ab", ADDRESSES):
            run("ip", "-n", name, "address", "add", address + "/24", "dev", "tmdns-" + side)


def case_recover(tutti, folder):
    """A member's machine and a fresh one on one link: the recovery code is all that is typed, with and without a node
    that runs in the fresh folder."""
    with Node(tutti, folder, "a") as a:
        page = a.ask("community", "create", "Rare gear", "--as", "camila")
        words = " ".join(word for line in page if re.match(r"\d+\. ", line) for word in line.split()[1::2])
        assert len(words.split()) == 15, page
        times = []
        with Node(tutti, folder, "b") as b:
            began = time.monotonic()
            b.ask("device", "recover", typed=words + "\n")
            times.append(time.monotonic() - began)
        fresh = os.path.join(folder, "data-fresh")
        began = time.monotonic()
        ask(tutti, "b", fresh, "device", "recover", typed=words + "\n")
        times.append(time.monotonic() - began)
        for told in (a.ask("device", "list"), ask(tutti, "b", fresh, "device", "list")):
            assert len(told) == 3 and all("  good  " in line for line in told), told
        return "%.2f s where a node ran, %.2f s with one that starts for it" % tuple(times)


def case_silent(tutti, folder, *options, **more):
    listener = Listener("a")
    try:
        with Node(tutti, folder, "b", *options, **more):
            listener.send(QUERY)
            heard = [item for item in listener.collect(2.5) if item[3] == ADDRESSES[1]]
    finally:
        listener.close()
    assert not heard, "%d datagrams" % len(heard)
    return "no datagram in 2.5 s, asked or not"


def case_no_mdns(tutti, folder):
    return case_silent(tutti, folder, "--no-mdns")


def case_loopback(tutti, folder):
    return case_silent(tutti, folder, listen="/ip4/127.0.0.1/tcp/0")


def case_flood(tutti, folder):
    """Many questions: one answer a second, none to anybody but the group, and none unasked for."""
    listener = Listener("a")
    try:
        with Node(tutti, folder, "b"):
            listener.collect(1.5)
            sent = 0
            began = time.monotonic()
            answers = []
            while time.monotonic() - began < 3:
                for _ in range(100):
                    listener.send(QUERY)
                    sent += len(QUERY)
                answers += [item for item in listener.collect(0.05) if item[1] and item[3] == ADDRESSES[1]]
            answers += [item for item in listener.collect(1.2) if item[1] and item[3] == ADDRESSES[1]]
            gaps = [after[0] - before[0] for before, after in zip(answers, answers[1:])]
            received = sum(len(item[2]) for item in answers)
            assert 1 <= len(answers) <= 6, "%d answers" % len(answers)
            assert min(gaps, default=1) > 0.9, "a gap of %.2f s" % min(gaps)
            assert received <= 3 * sent, "%d bytes for %d" % (received, sent)
            return "%d bytes of questions, %d answers of %d bytes in all" % (sent, len(answers), received)
    finally:
        listener.close()


ZEROCONF = r'''
import socket, sys, time
from zeroconf import IPVersion, ServiceBrowser, ServiceInfo, Zeroconf
own, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
zc = Zeroconf(interfaces=[own], ip_version=IPVersion.V4Only)
server = socket.create_server((own, port))
fake = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"
zc.register_service(ServiceInfo("_p2p._udp.local.", "zeroconfpeer0123456789012345678901._p2p._udp.local.", port=port,
    properties={b"dnsaddr": b"/ip4/%s/tcp/%d/p2p/%s" % (own.encode(), port, fake.encode())},
    server="zeroconfpeer.local.", addresses=[socket.inet_aton(own)]))
class Found:
    def add_service(self, zc, type_, name):
        info = zc.get_service_info(type_, name, timeout=2000)
        for value in (info.properties if info else {}).items():
            sys.stdout.write("txt %s %s\n" % tuple(part.decode() for part in value))
    update_service = add_service
    def remove_service(self, *_): pass
ServiceBrowser(zc, "_p2p._udp.local.", listener=Found())
server.settimeout(seconds)
try:
    sys.stdout.write("dialled by %s\n" % server.accept()[1][0])
except TimeoutError:
    sys.stdout.write("not dialled\n")
time.sleep(1)
sys.stdout.flush()
zc.close()
'''


def case_zeroconf(tutti, folder):
    """Another implementation of mDNS sees us, and we see what it registers."""
    python = os.path.join(os.environ.get("P2P_RIG_DIR", ""), "venv-pylibp2p", "bin", "python")
    if not os.environ.get("P2P_RIG_DIR") or not os.path.exists(python):
        return "SKIPPED: no second implementation here (set P2P_RIG_DIR)"
    script = os.path.join(folder, "zeroconf_peer.py")
    with open(script, "w") as file:
        file.write(ZEROCONF)
    with Node(tutti, folder, "b") as b:
        output = subprocess.run(
            ["ip", "netns", "exec", NAMES[0], python, script, ADDRESSES[0], "4001", "8"], capture_output=True,
            text=True, timeout=30)
        text = output.stdout
        assert re.search(r"^txt dnsaddr /ip4/%s/tcp/\d+/p2p/%s$" % (re.escape(ADDRESSES[1]), b.id), text, re.M), \
            text + output.stderr[-600:]
        assert "dialled by " + ADDRESSES[1] in text, text
    return "it reads our dnsaddr, and we dial what it registers"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    tutti = os.path.abspath(sys.argv[1])
    if os.geteuid() != 0 or not shutil.which("ip"):
        print("SKIPPED: network namespaces need root and iproute2; nothing was tested")
        sys.exit(77)
    folder = tempfile.mkdtemp(prefix="tutti-mdns-")
    failures = 0
    try:
        try:
            make_network()
        except (subprocess.CalledProcessError, RuntimeError) as error:
            print("SKIPPED: network namespaces can't be made here; nothing was tested: %s" % error)
            sys.exit(77)
        for case in (case_find_each_other, case_ipv6_nodes, case_ipv6_link, case_no_mdns, case_loopback, case_flood,
                     case_recover, case_zeroconf):
            name = case.__name__.removeprefix("case_").replace("_", " ")
            try:
                print("ok   %-16s %s" % (name, case(tutti, folder)), flush=True)
            except Exception as error:
                failures += 1
                print("FAIL %-16s %s: %s" % (name, type(error).__name__, error), flush=True)
    finally:
        remove_network()
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
