#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A market of real processes, typed as its people would.

usage: Tests/Interop/trade.py TUTTI          TUTTI: the built command

Camila founds, Rosa and Jun join. Rosa lists, Jun finds it on his own node, whatever became of hers. A second device of Rosa's,
begun by her recovery code alone, revises what the first one listed. Then Jun makes an offer, Rosa another one, Jun agrees: the
two are never up at the same time, and Camila's node, which can't read a word of it, holds it for them.

Then eight: four witnesses, the founder among them, and two arbiters. Rosa reserves, Jun signs and pays; the founder's process is
killed (SIGKILL); the trade goes on to its end all the same, and both sides' dossiers say so by certificates.
"""
import json, os, shutil, signal, sys, tempfile, time, traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from community import code, wait
from governance import Person

SECRET = "no third person is to read this"


class Trader(Person):
    def kinds(self, kind):
        """How many entries of a kind this node holds."""
        return sum(1 for line in self.ask("journal", "log", "--count", "10000", "--json")
                   if json.loads(line)["entry"]["_0"]["kind"] == kind)

    def found(self, *words):
        return [listing["title"] for listing in self.json("market", "search", *words)]


def market(people, page):
    """Rosa's listings, as everybody sees them."""
    camila, rosa, jun = people
    bass = rosa.json("market", "list", "Fender Precision Bass 1963", "--category", "basses", "--condition", "very good",
                     "--price", "3200", "--currency", "EUR", "--delivery", "domestic=25", "--delivery", "in person",
                     "--text", "All original, with its case.")
    assert (bass["price"], bass["state"], bass["delivery"]) == ("3200.00", "open", ["in person", "domestic=25.00"]), bass
    rosa.ask("market", "list", "Strings, medium", "--category", "parts", "--condition", "brand new", "--price", "9.50",
             "--currency", "EUR", "--quantity", "20", "--reference", "S-1")
    for words, complaint in (
            (["--price", "3,200"], "write it like 1250.00, with a point"), (["--price", "0"], "a price is above zero"),
            (["--condition", "shiny"], "there are brand new, mint"), (["--currency", "XXX"], "no currency of ISO 4217"),
            (["--days", "31"], "1 to 30 days"), (["--delivery", "pigeon"], "no way of delivery")):
        given = {"--category": "parts", "--condition": "good", "--price": "1", "--currency": "EUR"}
        given.update(dict(zip(words[::2], words[1::2])))
        said = rosa.refused("market", "list", "Something", *[word for pair in given.items() for word in pair])
        assert complaint in said, said
    wait("the listings at Jun's", lambda: len(jun.found()) == 2)
    assert jun.found("prec") == ["Fender Precision Bass 1963"] and jun.found("bass", "case") == jun.found("prec")
    assert jun.found("--category", "parts") == ["Strings, medium"]
    assert jun.found("--currency", "EUR", "--min", "10", "--max", "5000") == ["Fender Precision Bass 1963"]
    assert jun.found("--order", "cheapest") == ["Strings, medium", "Fender Precision Bass 1963"]
    assert jun.found("--seller", "camila") == [] and len(jun.found("--seller", "rosa")) == 2
    assert jun.refused("market", "end", bass["id"][:8]).endswith("only its seller changes or ends a listing")
    assert "add --currency" in jun.refused("market", "search", "--max", "5")
    shown = "\n".join(jun.ask("market", "show", bass["id"][:8]))
    assert "3200.00 EUR" in shown and "in person, domestic=25.00" in shown and "rosa" in shown, shown
    print("     listed, found by words, price, category and seller on another node")

    rosa.stop(signal.SIGKILL)
    assert len(jun.found()) == 2
    fresh = Trader(rosa.tutti, os.path.dirname(rosa.folder), "fresh").up()
    people.append(fresh)
    fresh.ask("device", "recover", "--peer", camila.address, typed=code(page) + "\n")
    wait("her listings on her new device", lambda: len(fresh.found("--seller", "rosa")) == 2)
    fresh.ask("market", "revise", bass["id"][:8], "--price", "2900")
    wait("the new price", lambda: "2900.00 EUR" in "\n".join(jun.ask("market", "show", bass["id"][:8])))
    fresh.ask("market", "end", bass["id"][:8], "--sold")
    wait("the end", lambda: jun.found() == ["Strings, medium"])
    assert len(jun.found("--all")) == 2
    assert "ended already" in fresh.refused("market", "end", bass["id"][:8])
    print("     another device of rosa's, begun by her code alone, goes on with what the first one listed")
    return fresh


def held(by, author):
    """Until everything that is on one's disk is on the other's."""
    wait("%s's journal at %s's" % (author.name, by.name), lambda: set(author.entries()) <= set(by.entries()), 30)


def bargain(camila, rosa, jun):
    """Offer, counter-offer, agreement."""
    pedal = rosa.json("market", "list", "Overdrive pedal", "--category", "pedals", "--condition", "good", "--price", "120",
                      "--currency", "EUR", "--delivery", "domestic=8", "--delivery", "in person")
    wait("the pedal at Jun's", lambda: "Overdrive pedal" in jun.found())
    assert "your own listing" in rosa.refused("trade", "offer", pedal["id"][:8])
    held(camila, rosa)
    rosa.stop()
    assert "choose with --delivery" in jun.refused("trade", "offer", pedal["id"][:8])
    assert "doesn't deliver 'worldwide'" in jun.refused("trade", "offer", pedal["id"][:8], "--delivery", "worldwide")
    offer = jun.json("trade", "offer", pedal["id"][:8], "--delivery", "domestic", "--price", "100", "--payment", "bank",
                     "--note", SECRET)
    name = offer["id"][:8]
    assert (offer["state"], offer["role"], offer["price"]) == ("offered", "buyer", "100.00"), offer
    assert "It is rosa's turn" in offer["turn"] and "otherwise the proposal lapses" in offer["turn"], offer
    assert "other side's turn" in jun.refused("trade", "counter", name, "--price", "90")
    held(camila, jun)
    jun.stop()
    assert camila.json("trade", "list") == [] and not camila.holds(SECRET), "camila's node reads what two agree on"

    rosa.up("--bootstrap", camila.address)
    wait("the offer at Rosa's", lambda: [t["id"] for t in rosa.json("trade", "list")] == [offer["id"]])
    shown = "\n".join(rosa.ask("trade", "status", name))
    assert "It is your turn" in shown and SECRET in shown and "tutti trade counter " + name in shown, shown
    assert "same terms" in rosa.refused("trade", "counter", name, "--price", "100")
    counter = rosa.json("trade", "counter", name, "--price", "115.50")
    assert (counter["state"], counter["price"], counter["role"]) == ("countered", "115.50", "seller"), counter
    held(camila, rosa)
    rosa.stop(signal.SIGKILL)

    jun.up("--bootstrap", camila.address)
    wait("the counter-offer at Jun's", lambda: jun.json("trade", "status", name)["price"] == "115.50")
    agreed = jun.json("trade", "accept", name)
    assert agreed["price"] == "115.50" and "It is rosa's turn" in agreed["turn"], agreed
    held(camila, jun)
    rosa.up("--bootstrap", camila.address)
    wait("the agreement at Rosa's", lambda: "It is your turn" in rosa.json("trade", "status", name)["turn"])
    for person in (rosa, jun):
        assert len(person.json("trade", "status", name)["history"]) == 3
    assert camila.json("trade", "list") == []
    print("     offer, counter-offer and agreement of two who were never up together, through a node that can't read them")


WITNESSES, ARBITERS = ["camila", "noor", "ada", "eli"], ["vera", "wim"]


def appoint(people, root):
    """Four witnesses by an amendment of the charter, two arbiters by their consent."""
    camila = people["camila"]
    path = os.path.join(root, "rules.json")
    rules = camila.charter()
    rules["witnesses"] = WITNESSES
    with open(path, "w") as file:
        json.dump(rules, file)
    camila.ask("community", "propose", "Witnesses", "--text", "the four of us", "--amend", path)
    for person in people.values():
        wait("the proposal at %s's" % person.name, lambda: person.proposal("Witnesses"), 30)
        person.ask("community", "vote", person.proposal("Witnesses")["id"][:10], "yes")
    wait("the votes", lambda: camila.proposal("Witnesses")["yes"] == len(people), 30)
    camila.ask("community", "close", camila.proposal("Witnesses")["id"][:10])
    for name in ARBITERS:
        camila.ask("community", "grant", name, "arbiter")
        arbiter = people[name]
        wait("%s's role" % name, lambda: "arbiter" in arbiter.roles(name), 30)
        arbiter.ask("market", "arbitrate", "--language", "en", "--days", "120")
    for person in people.values():
        wait("cards and consents at %s's" % person.name, lambda: person.kinds("witness card") >= 4
             and person.kinds("arbiter consent") >= 2, 60)


def state(person, name, expected, limit=30.0):
    wait("'%s' at %s's" % (expected, person.name),
         lambda: person.json("trade", "status", name)["state"] == expected, limit)


def deal(people):
    """A trade by all the steps, from the listing to its end; the founder is killed in the middle."""
    rosa, jun, camila = people["rosa"], people["jun"], people["camila"]
    pedal = rosa.json("market", "list", "Overdrive pedal", "--category", "pedals", "--condition", "good", "--price", "100",
                      "--currency", "EUR", "--delivery", "domestic=8")
    wait("the pedal at Jun's", lambda: "Overdrive pedal" in jun.found())
    name = jun.json("trade", "offer", pedal["id"][:8], "--payment", "bank")["id"][:10]
    wait("the offer at Rosa's", lambda: rosa.json("trade", "list"))
    began = time.monotonic()
    rosa.ask("trade", "accept", name)
    for person in (rosa, jun):
        state(person, name, "reserved")
    jun.ask("trade", "sign", name, "--to", "12 High Street")
    for person in (rosa, jun):
        state(person, name, "bound")
    print("     accepted, reserved and bound by four witnesses in %.2f s" % (time.monotonic() - began))
    assert "not now" in rosa.refused("trade", "ship", name, "--carrier", "Post", "--tracking", "1")
    jun.ask("trade", "paid", name, "--way", "bank", "--reference", "pedal")
    for person in (rosa, jun):
        state(person, name, "paid-claimed")
    camila.stop(signal.SIGKILL)
    rosa.ask("trade", "received", name)
    state(jun, name, "paid")
    rosa.ask("trade", "ship", name, "--carrier", "Post", "--tracking", "AB 123")
    state(jun, name, "shipped")
    jun.ask("trade", "receipt", name)
    state(rosa, name, "delivered")
    jun.ask("trade", "complete", name, "--text", "as described")
    for person in (rosa, jun):
        state(person, name, "completed")
        shown = "\n".join(person.ask("trade", "status", name))
        assert "Completed: the buyer has the goods and the seller the money." in shown and "AB 123" in shown, shown
    jun.ask("trade", "export", name, os.path.join(os.path.dirname(jun.folder), "pedal.tutti-trade"))
    print("     paid, received, shipped and completed with the founder's node killed")


def eight(tutti, root):
    names = WITNESSES + ARBITERS + ["rosa", "jun"]
    people = {name: Trader(tutti, root, name) for name in names}
    try:
        found(people.values())
        appoint(people, root)
        deal(people)
    finally:
        for person in people.values():
            person.stop(signal.SIGKILL)


def found(people):
    """The first founds a community, the others join it. Their recovery pages, by name."""
    first, *others = people
    first.ask("community", "create", "Rare gear", "--as", first.name)
    first.up()
    link = first.ask("community", "invite", "--uses", "20")[-1]
    pages = {}
    for person in others:
        person.up()
        pages[person.name] = person.ask("community", "join", link, "--as", person.name)
    return pages


def play(tutti, root):
    camila, rosa, jun = people = [Trader(tutti, root, name) for name in ("camila", "rosa", "jun")]
    try:
        pages = found(people)
        bargain(camila, market(people, pages["rosa"]), jun)
    finally:
        for person in people:
            person.stop(signal.SIGKILL)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    root = tempfile.mkdtemp(prefix="tutti-trade-")
    try:
        for part in (play, eight):
            place = os.path.join(root, part.__name__)
            os.mkdir(place)
            part(os.path.abspath(sys.argv[1]), place)
        print("ok   trade        listings, offers through others' nodes, and a trade whose founder is killed")
    except Exception as error:
        traceback.print_exc()
        print("FAIL trade        %s: %s" % (type(error).__name__, error))
        sys.exit(1)
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
