"""TCP ports of the loopback for programs that a test starts.

Not those that the kernel hands out: a connection of anybody could have one before the program does. Each process
takes them from a block that its pid says: tests at the same time, whose pids are close to each other, have different ones.
"""
import os
import socket

FIRST, BLOCKS, BLOCK = 20000, 400, 30  # below the kernel's, 32768 to 60999
_taken = 0


def ports_free(count):
    """So many that nobody listens on, and that were not given out before."""
    global _taken
    out = []
    while len(out) < count:
        if _taken == BLOCK:
            raise RuntimeError(f"more than {BLOCK} ports for one test")
        port = FIRST + os.getpid() % BLOCKS * BLOCK + _taken
        _taken += 1
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        out.append(port)
    return out
