#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scripts/verify-export accepts the export of docs/protocols/journal/ and refuses every change of it.

usage: verify_export.py [--mutations 4000] [--seed N] [FILE...]

Each round changes, inserts or removes one byte, or changes one bit. Then come changes that make another text of the same
meaning (blanks, order, escapes, numbers), lines taken out, doubled and moved, and a forger: who changes a byte and makes
the digest of the last line anew gets nowhere either, but with what nobody signs (when an entry was first seen here).
"""
import argparse, base64, hashlib, importlib.machinery, importlib.util, json, os, random, subprocess, sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
SCRIPT = os.path.join(ROOT, "scripts", "verify-export")
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("verify_export", SCRIPT)
verifier = importlib.util.module_from_spec(importlib.util.spec_from_loader("verify_export", loader))
loader.exec_module(verifier)


def refusal(data):
    """Why the verifier refuses, or None. Any other exception is a fault of the verifier."""
    try:
        verifier.verify(data.splitlines(keepends=True) if b"\r" not in data else
                        [line + b"\n" for line in data.split(b"\n")[:-1]] + ([data.split(b"\n")[-1]] if data[-1:] != b"\n" else []))
        return None
    except verifier.Bad as bad:
        return str(bad)


def changed(data, chance):
    at, how = chance.randrange(len(data)), chance.randrange(4)
    if how == 0:
        return data[:at] + data[at + 1:]
    if how == 1:
        return data[:at] + bytes([chance.randrange(256)]) + data[at:]
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8) if how == 2 else chance.randrange(1, 256))]) + data[at + 1:]


def sealed(lines):
    """With a last line that fits the lines."""
    digest = bytes(32)
    for line in lines:
        digest = hashlib.sha256(digest + line).digest()
    counts = [sum(line.startswith(kind) for line in lines) for kind in ((b'{"envelope"', b'{"evidence"'), b'{"proof"')]
    end = {"entries": counts[0], "proofs": counts[1], "digest": base64.b64encode(digest).decode()}
    return b"".join(lines) + json.dumps(end, separators=(",", ":")).encode() + b"\n"


def same_meaning(lines):
    """(name, lines): other texts that a JSON reader takes for the same."""
    for index, line in enumerate(lines[:-1]):
        fields = json.loads(line)
        compact = (",", ":")
        yield "a blank", index, line.replace(b":", b": ", 1)
        yield "a blank at the end", index, line[:-1] + b" \n"
        yield "a carriage return", index, line[:-1] + b"\r\n"
        yield "another order", index, json.dumps(dict(reversed(fields.items())), separators=compact).encode() + b"\n"
        yield "a field twice", index, line[:-2] + b"," + line[1:]
        yield "a further field", index, line[:-2] + b',"more":1}\n'
        yield "an escape", index, line.replace(b"e", b"\\u0065", 1)
        if "seen" in fields:
            yield "a number with a point", index, line[:-2] + b".0}\n"
            yield "a number as true", index, line[:line.rindex(b":") + 1] + b"true}\n"
            text = fields.get("envelope") or fields["evidence"]
            alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
            if text.endswith("=="):
                other = alphabet[alphabet.index(text[-3]) ^ 1]
                yield "other unused bits", index, line.replace(text.encode(), (text[:-3] + other + "==").encode())


def check(path, count, chance):
    with open(path, "rb") as file:
        data = file.read()
    lines = data.splitlines(keepends=True)
    assert data == b"".join(lines)
    problems, done = [], 0

    def must_refuse(other, name):
        nonlocal done
        if other != data:
            done += 1
            if refusal(other) is None:
                problems.append(name)

    accepted = subprocess.run([sys.executable, SCRIPT, path], capture_output=True, text=True)
    if accepted.returncode != 0 or refusal(data) is not None:
        problems.append("it is refused as it is: " + accepted.stdout)
    print(accepted.stdout.strip())
    for number in range(count):
        must_refuse(changed(data, chance), "byte change %d" % number)
    for name, index, line in same_meaning(lines):
        must_refuse(b"".join(lines[:index] + [line] + lines[index + 1:]), "%s in line %d" % (name, index + 1))
        must_refuse(sealed(lines[:index] + [line] + lines[index + 1:-1]), "%s in line %d, sealed" % (name, index + 1))
    for index in range(len(lines)):
        must_refuse(b"".join(lines[:index]), "cut before line %d" % (index + 1))
        must_refuse(b"".join(lines[:index] + lines[index + 1:]), "without line %d" % (index + 1))
        must_refuse(b"".join(lines[:index + 1] + lines[index:]), "line %d twice" % (index + 1))
        if 0 < index < len(lines) - 1:
            must_refuse(sealed(lines[:index + 1] + lines[index:-1]), "line %d twice, sealed" % (index + 1))
            if index + 1 < len(lines) - 1:
                must_refuse(sealed(lines[:index] + [lines[index + 1], lines[index]] + lines[index + 2:-1]),
                            "line %d moved, sealed" % (index + 1))
    for number in range(count // 4):
        index = chance.randrange(len(lines) - 1)
        line = changed(lines[index], chance)
        done += line != lines[index]
        if line != lines[index] and refusal(sealed(lines[:index] + [line] + lines[index + 1:-1])) is None:
            before, after = lines[index].rpartition(b'"seen":'), line.rpartition(b'"seen":')
            if not before[1] or before[0] != after[0]:
                problems.append("forged change %d in line %d" % (number, index + 1))
    foreign = base64.b64encode(bytes(32)).decode()
    if subprocess.run([sys.executable, SCRIPT, path, "--community", foreign], capture_output=True).returncode != 1:
        problems.append("another community was asked for")
    for problem in problems:
        print("ACCEPTED: " + problem)
    print("%d changes refused, %d accepted" % (done - len(problems), len(problems)))
    return not problems


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", default=[os.path.join(ROOT, "docs", "protocols", "journal", "export.jsonl")])
    parser.add_argument("--mutations", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    results = [check(path, options.mutations, random.Random(options.seed)) for path in options.files]
    sys.exit(0 if all(results) else 1)
