# SPDX-License-Identifier: Apache-2.0
"""What a process pays that only copies bytes from one unix socket to another.

p2pd hands each stream's bytes over one unix socket, which ours does not: half of this (one of the two crossings) is
subtracted from each go-libp2p daemon before processor time is compared. It is also the ceiling of its MB/s.
"""
import os, socket, threading

import rig


class Child:
    def __init__(self, pid):
        self.pids = [pid]


def measure(total):
    """One run: MB/s and CPU s/GB of a relay that reads 32 KiB and writes it on."""
    to_relay, relay_in = socket.socketpair(socket.AF_UNIX)
    relay_out, from_relay = socket.socketpair(socket.AF_UNIX)
    pid = os.fork()
    if pid == 0:
        to_relay.close()
        from_relay.close()
        buffer = bytearray(32768)
        view = memoryview(buffer)
        while count := relay_in.recv_into(buffer):
            relay_out.sendall(view[:count])
        os._exit(0)
    relay_in.close()
    relay_out.close()

    def source():
        zeros, left = memoryview(bytes(1 << 20)), total
        while left:
            left -= to_relay.send(zeros[:min(left, len(zeros))])

    with rig.Meter([Child(pid)]) as meter:
        thread = threading.Thread(target=source)
        thread.start()
        got, buffer = 0, bytearray(1 << 20)
        while got < total:
            got += from_relay.recv_into(buffer)
        thread.join()
    to_relay.close()
    from_relay.close()
    os.waitpid(pid, 0)
    return {"MBps": total / meter.dt / 1e6, "cpu_s_per_GB": meter.cpu[0] / total * 1e9}, meter.quiet
