#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ten machines given one address knit into one network: network namespaces on a bridge, a `tutti rig` in each.

usage: Tests/Interop/bootstrap.py TUTTI          TUTTI: the built command; Linux only

Each runs under the limits `internet`, decides by itself whether it serves the DHT (AutoNAT), and is told nothing but the
first one's address. Within 5 s of the start of the last one the graph of connections must be one component, each node must
find each other one by a lookup, and each must know from another's dial-back that it can be reached.

As root; where namespaces can't be made it says so and runs the ten on loopback under the limits `lab`.
"""
import json, os, queue, shutil, subprocess, sys, threading, time

COUNT, LIMIT = 10, 5.0
BRIDGE = "tboot%d" % (os.getpid() % 10_000)
HUB = BRIDGE + "-hub"
NAMES = ["%s-%d" % (BRIDGE, number) for number in range(COUNT)]


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def address(number):
    return "10.214.%d.1" % number


def make_network():
    """One switch in a namespace of its own, one cable to each node, all on one link."""
    run("ip", "netns", "add", HUB)
    run("ip", "-n", HUB, "link", "add", "switch", "type", "bridge")
    run("ip", "-n", HUB, "link", "set", "switch", "up")
    for number, name in enumerate(NAMES):
        run("ip", "netns", "add", name)
        run("ip", "link", "add", "lan", "netns", name, "type", "veth", "peer", "name", "port%d" % number, "netns", HUB)
        run("ip", "-n", HUB, "link", "set", "port%d" % number, "master", "switch", "up")
        run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", name, "address", "add", address(number) + "/16", "dev", "lan")
        run("ip", "-n", name, "link", "set", "lan", "up")
    # A bridge carries nothing before both ends of each cable are up.
    deadline = time.monotonic() + 10
    while True:
        ports = subprocess.run(["ip", "-n", HUB, "-d", "link", "show", "master", "switch"], capture_output=True, text=True)
        if ports.stdout.count("state forwarding") >= COUNT:
            return
        if time.monotonic() > deadline:
            raise RuntimeError("the network doesn't come up")
        time.sleep(0.05)


def remove_network():
    for name in NAMES + [HUB]:
        subprocess.run(["ip", "netns", "del", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Node:
    def __init__(self, tutti, number, isolated, entry):
        host = address(number) if isolated else "127.0.0.1"
        environment = dict(os.environ, RIG_LISTEN="/ip4/%s/tcp/0" % host, RIG_DHT="automatic", RIG_MESH="1",
                           RIG_PUBSUB="1", RIG_LIMITS="internet" if isolated else "lab", RIG_BOOTSTRAP=entry)
        inside = ["ip", "netns", "exec", NAMES[number]] if isolated else []
        self.process = subprocess.Popen(inside + [tutti, "rig"], env=environment, text=True, bufsize=1,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.lines, self.last = queue.Queue(), 0
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def ready(self):
        message = self.lines.get(timeout=20)
        if not message:
            raise RuntimeError("a node ended at its start")
        self.id, self.addresses = message["id"], message["addrs"]

    def ask(self, operation, **more):
        self.last += 1
        self.process.stdin.write(json.dumps(dict(more, i=self.last, op=operation)) + "\n")
        while True:
            answer = self.lines.get(timeout=20)
            if not answer:
                raise RuntimeError("a node ended")
            if answer.get("i") == self.last:
                return answer

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def component(edges, start):
    reached, following = {start}, [start]
    while following:
        for other in edges.get(following.pop(), ()):
            if other not in reached:
                reached.add(other)
                following.append(other)
    return reached


def wait(what, began, condition):
    """The seconds since `began` at which the condition first held. It says what is missing, or nothing."""
    while missing := condition():
        if time.monotonic() - began > 3 * LIMIT:
            raise AssertionError("%s: not after %.1f s: %s" % (what, 3 * LIMIT, missing))
    return time.monotonic() - began


def check(nodes, isolated, began):
    ids = {node.id for node in nodes}

    def one_component():
        edges = {node.id: set(node.ask("peers").get("peers") or ()) & ids for node in nodes}
        for node, others in list(edges.items()):
            for other in others:
                edges[other].add(node)
        return len(ids) - len(component(edges, nodes[0].id))

    def lookups():
        """Each asks for each other one; the first failures are named."""
        failures = []

        def look(node):
            for other in ids - {node.id}:
                found = node.ask("find_peer", peer=other)
                if not found.get("addrs"):
                    return failures.append("%s… doesn't find %s…: %s" % (node.id[-6:], other[-6:], found.get("err")))

        threads = [threading.Thread(target=look, args=(node,)) for node in nodes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return failures[:3]

    def reachability():
        return [node.ask("reachability").get("value") for node in nodes].count("unknown")

    knit = wait("one component", began, one_component)
    found = wait("lookups", began, lookups)
    print("     one component after %.2f s, each of the %d finds each other one after %.2f s" % (knit, COUNT, found))
    slowest = max(knit, found)
    if isolated:
        confirmed = wait("dial-backs", began, reachability)
        states = {node.ask("reachability").get("value") for node in nodes}
        assert states == {"local"}, states
        print("     each was dialled back by another after %.2f s" % confirmed)
        slowest = max(slowest, confirmed)
    assert slowest <= LIMIT, "%.2f s" % slowest
    return slowest


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    tutti = os.path.abspath(sys.argv[1])
    isolated = os.geteuid() == 0 and shutil.which("ip") is not None
    nodes = []
    try:
        if isolated:
            try:
                make_network()
            except (subprocess.CalledProcessError, RuntimeError) as error:
                print("namespaces can't be made here (%s): on loopback instead, limits lab" % error)
                isolated = False
        nodes.append(Node(tutti, 0, isolated, ""))
        nodes[0].ready()
        nodes += [Node(tutti, number, isolated, nodes[0].addresses[0]) for number in range(1, COUNT)]
        for node in nodes[1:]:
            node.ready()
        seconds = check(nodes, isolated, time.monotonic())
        print("ok   ten nodes    %.2f s after the last one listened, limits %s" % (
            seconds, "internet, in ten namespaces" if isolated else "lab, on loopback"))
    except Exception as error:
        print("FAIL ten nodes    %s: %s" % (type(error).__name__, error))
        sys.exit(1)
    finally:
        for node in nodes:
            node.stop()
        remove_network()


if __name__ == "__main__":
    main()
