# SPDX-License-Identifier: Apache-2.0
"""The witness row: four witnesses, each a whole node of its own, and a seller's node that has units reserved by them: as many as go
through, and at a fixed rate over paths of 30 ms. Compared with nothing else."""
import json, os, re, shutil, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Tests", "Interop"))
import rig
import rows
from community import Machine, wait

WITNESSES, RATE, RTT_MS = ["camila", "rosa", "jun", "noor"], 100, 30


class Town:
    """A community whose charter names four witnesses; each runs."""

    def __init__(self, tutti, folder):
        self.people = [Machine(tutti, folder, name) for name in WITNESSES]
        first = self.people[0]
        first.ask("community", "create", "Rare gear", "--as", first.name)
        for person in self.people:
            person.up()
            if person is first:
                self.link = first.ask("community", "invite", "--uses", "50")[-1]
            else:
                person.ask("community", "join", self.link, "--as", person.name)
        members = lambda p: {m["nickname"] for m in self.json(p, "community", "members")}
        for person in self.people:
            wait("all members at %s's" % person.name, lambda: members(person) == set(WITNESSES), 30)
        self.amend(folder)

    def json(self, person, *words):
        (answer,) = json.loads(person.ask(*words, "--json")[0]).values()
        return answer["_0"]

    def amend(self, folder):
        first, path = self.people[0], os.path.join(folder, "rules.json")
        rules = json.loads("\n".join(first.ask("community", "charter", "--json")))
        rules["witnesses"] = WITNESSES
        with open(path, "w") as file:
            json.dump(rules, file)
        first.ask("community", "propose", "Witnesses", "--text", "the four of us", "--amend", path)
        find = lambda p: next((x["id"][:10] for x in self.json(p, "community", "proposals")), None)
        for person in self.people:
            wait("the proposal at %s's" % person.name, lambda: find(person), 30)
            person.ask("community", "vote", find(person), "yes")
        wait("the votes", lambda: self.json(first, "community", "proposals")[0]["yes"] == len(WITNESSES), 30)
        first.ask("community", "close", find(first))

    def close(self):
        for person in self.people:
            person.stop()


class Relays:
    """A long path to each address."""

    def __init__(self, relay, addresses, rtt_ms):
        self.processes, self.addresses = [], []
        for address in addresses:
            port = re.search(r"/tcp/(\d+)", address).group(1)
            process = subprocess.Popen([relay, "--to", port, "--rtt-ms", str(rtt_ms)], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)
            self.processes.append(process)
            ours = json.loads(process.stdout.readline())["port"]
            self.addresses.append(address.replace("/tcp/" + port, "/tcp/%d" % ours))

    def close(self):
        for process in self.processes:
            process.stdin.close()
            process.wait(10)


def measure(tutti, client, runs, folder):
    """`folder` must be on the disk that counts: a witness's answers wait for it."""
    place = tempfile.mkdtemp(prefix="witness-", dir=folder)
    town, number = None, 0

    def call(addresses, *arguments):
        nonlocal number
        number += 1
        out = subprocess.run([client, os.path.join(place, "seller-%d" % number), town.link, "--via", ",".join(addresses),
                              *map(str, arguments)], capture_output=True, text=True, timeout=120)
        if out.returncode != 0:
            raise RuntimeError("the seller's node: %s" % out.stderr.strip()[-500:])
        return json.loads(out.stdout.splitlines()[-1])

    def medians(rows):
        return {key: rig.median([row[key] for row in rows]) for key in rows[0]}

    try:
        town = Town(tutti, place)
        direct = [person.address for person in town.people]
        many = medians([call(direct, "--window", 96, "--count", 4000) for _ in range(runs)])
        relays = Relays(rows.compile_relay(place), direct, RTT_MS)
        try:
            paced = medians([call(relays.addresses, "--rate", RATE, "--count", 10 * RATE) for _ in range(runs)])
        finally:
            relays.close()
        return {"batched": many, "paced": paced}
    finally:
        if town:
            town.close()
        shutil.rmtree(place)


def lines(row):
    """(figure, value, goal, met)"""
    batched, paced = row["batched"], row["paced"]
    return [
        ("four witnesses on this machine: certificates/s", batched["perSecond"], "≥ 500", batched["perSecond"] >= 500),
        ("… one at %d ms RTT, %d/s, p95, ms" % (RTT_MS, RATE), paced["p95"], "≤ 200", paced["p95"] <= 200),
    ]
