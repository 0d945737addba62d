#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A community of three processes that loses its founder's machine: nothing is lost, and the founder goes on elsewhere.

usage: Tests/Interop/community.py TUTTI          TUTTI: the built command

1. Camila founds a community; Rosa and Jun join by a link, typed as a user would. First screen within 10 s each.
2. Jun's node stops. Camila writes. Rosa's node has it on disk (Camila sees "on 1 other disks").
3. Camila's node is killed (SIGKILL). Jun's comes back and has everything, from Rosa's.
    So does a message to Jun alone, and one of Jun's to her, which Rosa's node holds and can't read.
4. On a fresh machine Camila's recovery code alone makes her Camila again: she writes, both read it, and she reads what
   was said to her alone before. At a terminal two talk and see that it was read.
5. Her old folder turns up and starts: it is a device of hers still, beside the new one.
Every node's journal then verifies, and all hold the same entries. A copy of a folder doesn't write its original's feed.
"""
import json, os, pty, select, shutil, signal, subprocess, sys, tempfile, time, traceback

LIMIT = 10.0
PRIVATE = "nobody else is to read this"


class Machine:
    """A data folder, and the node that may run in it."""

    def __init__(self, tutti, root, name):
        self.tutti, self.name, self.folder = tutti, name, os.path.join(root, name)
        self.process = None

    def up(self, *options):
        self.process = subprocess.Popen(
            [self.tutti, "up", "--data", self.folder, "--listen", "/ip4/127.0.0.1/tcp/0", "--limits", "lab", "--no-mdns",
             *options],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.process.stdout:
            if line.startswith("listening "):
                self.address = line.split()[1]
                return self
        raise RuntimeError("%s's node didn't start" % self.name)

    def stop(self, by=signal.SIGTERM):
        if self.process:
            self.process.send_signal(by)
            self.process.wait(20)
            self.process = None

    def ask(self, *words, typed=None):
        """One command as it is typed; its lines."""
        done = subprocess.run([self.tutti, *words, "--data", self.folder], input=typed, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise AssertionError("%s: tutti %s: %s" % (self.name, " ".join(words), done.stderr.strip()))
        return done.stdout.splitlines()

    def can(self, *words):
        try:
            self.ask(*words)
            return True
        except AssertionError:
            return False

    def texts(self, channel="general"):
        lines = self.ask("chat", "read", channel, "--count", "1000", "--json")
        return [json.loads(line)["message"]["_0"]["text"] for line in lines]

    def holds(self, text):
        """Whether some file of the folder has these bytes, or an export of it."""
        paths = [os.path.join(folder, name) for folder, _, names in os.walk(self.folder) for name in names]
        export = self.folder + ".export"
        self.ask("export", export)
        return any(text.encode() in open(path, "rb").read() for path in paths + [export] if os.path.isfile(path))

    def entries(self):
        return sorted(json.loads(line)["entry"]["_0"]["id"] for line in self.ask("journal", "log", "--count", "100000", "--json"))


def wait(what, condition, limit=LIMIT):
    """The seconds until the condition held."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > limit:
            raise AssertionError("%s: not within %.0f s" % (what, limit))
        time.sleep(0.05)
    return time.monotonic() - began


def code(lines):
    """The recovery code on a page as it is printed."""
    words = []
    for line in lines:
        parts = line.split()
        if len(parts) == 6 and parts[0].endswith("."):
            words += parts[1::2]
    assert len(words) == 15, lines
    return " ".join(words)


def wrong(words):
    """The same with one word of the list that isn't the one."""
    words = words.split()
    words[6] = "zone" if words[6] == "zoo" else "zoo"
    return " ".join(words)


def talk(one, place, other, back):
    """One types at a terminal, the other reads it there; then it is told to be read."""
    ours, theirs = Terminal(one, place), Terminal(other, back)
    try:
        ours.type("typed in a terminal")
        theirs.expect("%s: typed in a terminal" % one.name)
        ours.expect("read: typed in a terminal")
        theirs.type("/nothing")
        theirs.expect("there is no /nothing")
        theirs.type("an answer")
        ours.expect(": an answer")
        theirs.type("/edit another answer")
        ours.expect("another answer  (edited)")
        theirs.type("/delete")
        ours.expect("[taken back by its author]")
        ours.type("/quit")
        assert ours.process.wait(10) == 0
    finally:
        ours.close()
        theirs.close()
    print("     two talk at terminals: sent, read, edited, taken back")


class Terminal:
    """`tutti chat` at a pseudo-terminal."""

    def __init__(self, machine, place):
        self.fd, inner = pty.openpty()
        self.process = subprocess.Popen([machine.tutti, "chat", place, "--data", machine.folder],
                                        stdin=inner, stdout=inner, stderr=inner, start_new_session=True)
        os.close(inner)
        self.seen = ""
        self.expect("/quit ends")

    def type(self, line):
        os.write(self.fd, (line + "\n").encode())

    def expect(self, text):
        end = time.monotonic() + LIMIT
        while text not in self.seen:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise AssertionError("the terminal doesn't show %r: %r" % (text, self.seen[-400:]))
            self.seen += os.read(self.fd, 65536).decode(errors="replace")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.fd)


def play(tutti, root):
    camila, rosa, jun = (Machine(tutti, root, name) for name in ("camila", "rosa", "jun"))
    machines = [camila, rosa, jun]
    try:
        page = camila.ask("community", "create", "Rare gear", "--as", "camila")
        camila.up()
        link = camila.ask("community", "invite", "--uses", "10")[-1]
        for machine in (rosa, jun):
            machine.up()
            began = time.monotonic()
            machine.ask("community", "join", link, "--as", machine.name)
            assert "camila" in "\n".join(machine.ask("community", "members"))
            seconds = time.monotonic() - began
            assert seconds < LIMIT, seconds
            print("     %s: from the link to the first screen %.2f s" % (machine.name, seconds))
        link = camila.ask("community", "invite", "--uses", "10")[-1]
        rosa.ask("chat", "send", "general", "a 1963 bass, anyone?")
        wait("the message at Jun's", lambda: "a 1963 bass, anyone?" in jun.texts())

        # Sealed to Camila while she is there, read by her fresh machine later.
        wait("Camila's mailbox key", lambda: jun.can("chat", "send", "@camila", PRIVATE + " from jun"))
        wait("it at Camila's", lambda: PRIVATE + " from jun" in camila.texts("@jun"))
        jun.stop()
        camila.ask("chat", "send", "@jun", PRIVATE + " from camila")
        for number in range(20):
            camila.ask("chat", "send", "general", "offer %d" % number)
        wait("the receipt", lambda: "on 1 other disks" in camila.ask("chat", "read")[-1])
        camila.stop(signal.SIGKILL)
        # Nobody has it for now: it turns up again below.
        os.rename(camila.folder, camila.folder + "-lost")
        jun.up()
        seconds = wait("Jun's journal", lambda: [text for text in jun.texts() if text.startswith("offer")]
                       == ["offer %d" % number for number in range(20)])
        print("     jun has all that camila wrote while he was off, from rosa's node, %.2f s after his start" % seconds)

        wait("the message to Jun alone", lambda: PRIVATE + " from camila" in jun.texts("@camila"))
        assert not rosa.texts("@camila") and not rosa.texts("@jun")
        assert not rosa.holds(PRIVATE), "rosa's folder has what was said to jun alone"
        assert jun.holds(PRIVATE)
        print("     what camila sent to jun alone reached him from rosa's node, which can't read it")

        fresh = Machine(tutti, root, "fresh")
        machines.append(fresh)
        fresh.up()
        try:
            fresh.ask("device", "recover", "--peer", rosa.address, typed=wrong(code(page)) + "\n")
            raise RuntimeError("a code with a wrong word was taken")
        except AssertionError as error:
            assert "word 7 doesn't fit the others; is it \"%s\"?" % code(page).split()[6] in str(error), error
        began = time.monotonic()
        # Of rosa's node its address alone: no link, and nothing of the community is here.
        fresh.ask("device", "recover", "--peer", rosa.address, typed=code(page) + "\n")
        fresh.ask("chat", "send", "general", "I am back")
        print("     camila goes on, on a fresh machine, %.2f s after she typed her code" % (time.monotonic() - began))
        for machine in (rosa, jun, fresh):
            wait("her message at %s's" % machine.name, lambda: "I am back" in machine.texts())
        wait("her old mail", lambda: fresh.texts("@jun") == [PRIVATE + " from jun", PRIVATE + " from camila"])
        print("     she reads what was said to her alone before, %.2f s after she typed her code" % (time.monotonic() - began))
        talk(jun, "@camila", fresh, "@jun")
        names = {json.loads(line)["message"]["_0"]["nickname"] for line in rosa.ask("chat", "read", "--json")
                 if "I am back" in line}
        assert names == {"camila"}, names
        wait("equal journals", lambda: rosa.entries() == jun.entries() == fresh.entries(), 60)
        for machine in (rosa, jun, fresh):
            report = machine.ask("journal", "verify")
            assert report[0].endswith("all good"), report
        print("     %s" % report[0])

        old = Machine(tutti, root, "camila-lost")
        machines.append(old)
        old.up("--bootstrap", rosa.address)
        old.ask("chat", "send", "general", "from the drawer")
        for machine in (rosa, fresh):
            wait("the old folder's message at %s's" % machine.name, lambda: "from the drawer" in machine.texts())
        devices = fresh.ask("device", "list")
        assert len(devices) == 2 and all("  good  " in device for device in devices), devices
        print("     her old folder, found again, is a device of hers still")
        old.stop()

        jun.stop()
        copy = Machine(tutti, root, "copy")
        shutil.copytree(jun.folder, copy.folder, ignore=shutil.ignore_patterns("control"))
        try:
            copy.ask("chat", "send", "general", "from a copy")
            raise RuntimeError("a copied folder writes its original's feed")
        except AssertionError as error:
            assert "tutti device recover" in str(error), error
        jun.ask("chat", "send", "general", "from the original")
        print("     a copied folder doesn't write; the original does")
    finally:
        for machine in machines:
            machine.stop(signal.SIGKILL)


def main(name, did, play, usage):
    """Plays a scenario in a folder of its own; the exit status says whether it went as it should."""
    if len(sys.argv) != 2:
        sys.exit(usage)
    root = tempfile.mkdtemp(prefix="tutti-%s-" % name)
    try:
        play(os.path.abspath(sys.argv[1]), root)
        print("ok   %-12s %s" % (name, did))
    except Exception as error:
        script = os.path.abspath(sys.argv[0])
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if os.path.abspath(f.filename) == script]
        print("FAIL %-12s line %d: %s: %s" % (name, lines[-1] if lines else 0, type(error).__name__, error))
        sys.exit(1)
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main("community", "three nodes, the founder's lost, the founder back on a fresh machine", play, __doc__)
