# SPDX-License-Identifier: Apache-2.0
"""The storage row: what the journal's file can do on this machine's disk, and how a whole node fills a new replica over loopback.
Compared with nothing else."""
import json, os, shutil, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Tests", "Interop"))
import rig

ENTRIES, DOCUMENTS, REPLICATED, LISTINGS = 1_000_000, 100_000, 100_000, 100_000


def replicate(replica, place):
    """A founder with so many messages; somebody joins, and takes everything."""
    founder = subprocess.Popen([replica, "serve", os.path.join(place, "founder"), "--count", str(REPLICATED)],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        served = json.loads(founder.stdout.readline())
        out = subprocess.run([replica, "join", os.path.join(place, "reader"), served["link"], str(served["entries"])],
                             capture_output=True, text=True, check=True, timeout=300)
        return {**json.loads(out.stdout.splitlines()[-1]),
                **{key: served[key] for key in ("entries", "entriesPerSecond", "singleP50", "singleP99")}}
    finally:
        founder.kill()
        founder.wait()
        for name in ("founder", "reader"):
            shutil.rmtree(os.path.join(place, name), ignore_errors=True)


def measure(journal, replica_tool, runs, folder):
    """`folder` must be on the disk that counts: in memory a flush costs nothing."""
    def call(*arguments):
        out = subprocess.run([journal, *map(str, arguments)], capture_output=True, text=True, check=True)
        return json.loads(out.stdout.splitlines()[-1])

    def medians(rows):
        return {key: rig.median([row[key] for row in rows]) if isinstance(value, (int, float)) else value
                for key, value in rows[0].items()}

    place = tempfile.mkdtemp(prefix="storage-", dir=folder)
    try:
        appends = [call("append", os.path.join(place, "append-%d" % run)) for run in range(runs)]
        replica = os.path.join(place, "replica")
        filled = call("fill", replica, "--count", ENTRIES, "--documents", DOCUMENTS)
        market = os.path.join(place, "market")
        shelved = call("shelve", market, "--count", LISTINGS)
        shops = medians([call("shop", market) for _ in range(runs)])
        replicas = medians([replicate(replica_tool, place) for _ in range(runs)])
        return {"replica": replicas, "market": {**shelved, **shops}, "append": medians(appends), "fill": filled, "open": medians([call("open", replica) for _ in range(runs)])}
    finally:
        shutil.rmtree(place)


def lines(row):
    """(figure, value, goal, met)"""
    append, opened, replica, market = row["append"], row["open"], row["replica"], row["market"]
    return [
        ("whole node: appends signed and durable, entries/s", replica["entriesPerSecond"], "≥ 5,000",
         replica["entriesPerSecond"] >= 5000),
        ("… one alone until acknowledged, p99, ms", replica["singleP99"], "≤ 15", replica["singleP99"] <= 15),
        ("new replica over loopback: first screen, s", replica["firstScreenSeconds"], "≤ 2", replica["firstScreenSeconds"] <= 2),
        ("… all of 100,000 entries on disk, s", replica["allSeconds"], "≤ 25", replica["allSeconds"] <= 25),
        ("durable appends, group commit, entries/s", append["appends_per_s"], "≥ 5,000", append["appends_per_s"] >= 5000),
        ("… one alone until acknowledged, p99, ms", append["single_p99_ms"], "≤ 15", append["single_p99_ms"] <= 15),
        ("replica of 1M entries: open, s", opened["open_s"], "≤ 1", opened["open_s"] <= 1),
        ("… Private_Dirty after 2,000 searches, MiB", opened["private_dirty_MiB"], "≤ 150", opened["private_dirty_MiB"] <= 150),
        ("… search of 100,000 documents, p95, ms", opened["search_p95_ms"], "≤ 50", opened["search_p95_ms"] <= 50),
        ("… slowest search, ms", opened["search_max_ms"], "≤ 200", opened["search_max_ms"] <= 200),
        ("100,000 listings: open, s", market["open_s"], "≤ 2", market["open_s"] <= 2),
        ("… Private_Dirty after 2,000 queries, MiB", market["private_dirty_MiB"], "≤ 250", market["private_dirty_MiB"] <= 250),
        ("… search with words and filters, p95, ms", market["search_p95_ms"], "≤ 50", market["search_p95_ms"] <= 50),
        ("… look without words, p95, ms", market["look_p95_ms"], "≤ 50", market["look_p95_ms"] <= 50),
        ("… slowest query, ms", market["max_ms"], "≤ 200", market["max_ms"] <= 200),
        ("replica filled with, entries/s", row["fill"]["entries_per_s"], "", None),
    ]
