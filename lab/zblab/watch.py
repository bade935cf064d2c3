"""Watches on every host whether a service's datasets can be written and are, and proves two writers.

Each observation is bracketed on the watcher's clock by its question and its answer. Only what two
successive observations of a host agree about counts, so that the hosts' different moments never
look like two writers; who writes alone for longer than two observations is seen.
"""

import json
import shlex
import subprocess
import threading
import time
from dataclasses import dataclass

from .util import LabError

INTERVAL_S = 0.2

# One answer per line of input: what is mounted read-write in any mount namespace (namespace, mount,
# dataset), and the bytes that were written to each object set that is open, mounted or not.
OBSERVER = r"""
import glob, json, os, sys
top = sys.argv[1]

def ours(dataset):
    return dataset == top or dataset.startswith(top + "/")

def mounts():
    seen = set()
    spaces = {}
    for proc in glob.glob("/proc/[0-9]*"):
        try:
            spaces.setdefault(os.readlink(proc + "/ns/mnt"), proc)
        except OSError:
            pass
    for space, proc in spaces.items():
        try:
            lines = open(proc + "/mountinfo").read().splitlines()
        except OSError:
            continue
        for line in lines:
            left, right = (part.split() for part in line.split(" - ", 1))
            writable = "rw" in left[5].split(",") and "rw" in right[2].split(",")
            if right[0] == "zfs" and ours(right[1]) and writable:
                seen.add(" ".join((space, left[0], right[1])))
    return sorted(seen)

def written():
    out = {}
    for path in glob.glob("/proc/spl/kstat/zfs/" + top.split("/")[0] + "/objset-*"):
        try:
            words = dict(line.split()[::2] for line in open(path).read().splitlines()[2:])
        except (OSError, ValueError):
            continue
        if ours(words["dataset_name"]):
            out[words["dataset_name"]] = int(words["nwritten"])
    return out

for _ in sys.stdin:
    print(json.dumps([mounts(), written()]), flush=True)
"""


@dataclass
class Seen:
    """One observation of a host."""

    begin: float
    end: float
    mounts: frozenset
    written: dict


class Watch:
    """Observes all hosts for one service from start() to stop(); hosts may go and come."""

    def __init__(self, cluster, name):
        self._cluster = cluster
        self._name = name
        self._seen = {host.name: [] for host in cluster.hosts}
        self._excused = []
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._follow, args=(host,), daemon=True)
                         for host in cluster.hosts]

    def start(self):
        """Begins to observe."""
        for thread in self._threads:
            thread.start()
        return self

    def stop(self):
        """Ends the observers."""
        self._ending.set()
        for thread in self._threads:
            thread.join(30)

    def count(self, since):
        """How many observations were made since a moment of time.monotonic()."""
        return sum(len([s for s in seen if s and s.begin >= since]) for seen in self._seen.values())

    def excuse(self, host, begin, end):
        """What is seen on a host between two moments of time.monotonic() is allowed."""
        self._excused.append((host.name, begin, end))

    def assert_one_writer(self, since):
        """one_writer() of what was seen since a moment of time.monotonic(), without what is excused."""
        def counts(name, seen):
            return seen and not any(name == of and seen.begin < end and begin < seen.end
                                    for of, begin, end in self._excused)
        seen = {name: [s if counts(name, s) else None for s in list(of)] for name, of in self._seen.items()}
        one_writer(seen, since)

    # --- inside ---------------------------------------------------------------------------

    def _follow(self, host):
        while not self._ending.is_set():
            try:
                if host.alive():
                    self._observe(host)
            except (LabError, OSError, ValueError):
                pass
            self._seen[host.name].append(None)
            self._ending.wait(1.0)

    def _observe(self, host):
        top = self._cluster.dataset(host, self._name)
        cmd = f"exec python3 -u -c {shlex.quote(OBSERVER)} {top}"
        process = host.popen(cmd, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            while not self._ending.wait(INTERVAL_S):
                begin = time.monotonic()
                process.stdin.write(b"\n")
                process.stdin.flush()
                mounts, written = json.loads(process.stdout.readline())
                self._seen[host.name].append(
                    Seen(begin, time.monotonic(), frozenset(mounts), written))
        finally:
            process.kill()
            process.communicate()


def one_writer(seen, since):
    """No two hosts could write at once, none wrote while another could: {name: observations}."""
    spans = {name: list(writable(of, since)) for name, of in seen.items()}
    wrote = {name: list(writes(of, since)) for name, of in seen.items()}
    for one, other in ((a, b) for a in seen for b in seen if a != b):
        for first, last in spans[one]:
            both = [span for span in spans[other] if span[0] < last and first < span[1]]
            assert not both, f"{one} and {other} both writable: {first}-{last}, {both}"
            during = [w for w in wrote[other] if first <= w[0] and w[1] <= last]
            assert not during, f"{other} wrote at {during} while {one} was writable"


def pairs(seen, since):
    """Successive observations of a host without a gap between them."""
    for one, next_one in zip(seen, seen[1:]):
        if one and next_one and one.begin >= since:
            yield one, next_one


def writable(seen, since):
    """(from, until): in between a dataset was mounted read-write all the time."""
    span = None
    for one, next_one in pairs(seen, since):
        if not one.mounts & next_one.mounts:
            continue
        if span and span[1] == one.begin:
            span = (span[0], next_one.begin)
        else:
            if span:
                yield span
            span = (one.end, next_one.begin)
    if span:
        yield span


def writes(seen, since):
    """(from, until): somewhere in between something was written."""
    for one, next_one in pairs(seen, since):
        if any(count > one.written.get(name, 0) for name, count in next_one.written.items()):
            yield one.begin, next_one.end
