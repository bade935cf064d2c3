"""A large transfer that is cut goes on from what is there."""

import contextlib
import json
import random
import time

import pytest
from faults import daemon_killed, engine_killed, fault, power_lost
from zblab import wait_until

NAME = "resumed"
RATE = "rate 8mbit"
MIB = 32
POWER_MIB = 80  # what is not in a transaction group yet is lost: 5 s, of which this makes little
AWAY_S = 12  # the link: until each side knows
RESENT = 0.10
WIRE = 1.03  # TLS and TCP beside the stream


def link_lost(_, host):
    """The cable is pulled for a while."""
    def begin():
        host.link(False)
        time.sleep(AWAY_S)
    return fault(begin, lambda: host.link(True))


CUTS = {"link": link_lost, "engine": engine_killed, "daemon": daemon_killed, "power": power_lost}
# Each cut on each side, and two more, at points that are drawn.
CASES = [(kind, side) for kind in CUTS for side in ("leader", "follower")] + [("link", "follower"), ("engine", "leader")]
SHORT = {1}  # in every run of the tests


@pytest.fixture(scope="module")
def pair(cluster_session):
    """A service of two members."""
    cluster = cluster_session
    cluster.declare(NAME, members=["vm1", "vm2"], runner="none", interval="1h")
    cluster.apply()
    cluster.wait_current(NAME, "vm1")
    yield cluster
    cluster.services.pop(NAME)
    cluster.apply("-y")


def newest(cluster, node):
    """The newest set of a member."""
    return cluster.member(NAME, node, cluster.hosts[2])["newest_set"]


def reaches(cluster, part):
    """So much of the transfer was sent: how much, in bytes."""
    for one in json.loads(cluster.zbaton(f"transfers -j {NAME}", host=cluster.hosts[0]).out)["transfers"]:
        if one["bytes_total"] and one["bytes"] >= part * one["bytes_total"]:
            return one["bytes"]
    return None


def on_the_wire(host, what):
    """Bytes that went through the host's data network since its boot."""
    return int(host.run(f"cat /sys/class/net/eth0/statistics/{what}_bytes").out)


@contextlib.contextmanager
def slow(host):
    """The way out of a host is slow."""
    host.netem(RATE)
    try:
        yield
    finally:
        if host.alive():
            host.netem(None)


@pytest.mark.parametrize("number", [pytest.param(n, marks=[] if n in SHORT else pytest.mark.long, id=f"{n}-{'-'.join(c)}")
                                    for n, c in enumerate(CASES)])
def test_a_cut_transfer_goes_on(cluster, pair, number, capsys):
    kind, side = CASES[number]
    one, two = pair.hosts[:2]
    # Who is not struck counts: the other one's counter may begin anew.
    counter = (two, "rx") if side == "leader" else (one, "tx")
    size = (POWER_MIB if kind == "power" else MIB) << 20
    part = random.Random(number).uniform(0.15, 0.85)
    with slow(one):
        one.run(f"head -c {size} /dev/urandom >/srv/{NAME}/data && sync && zpool sync {one.pool}")
        before = on_the_wire(*counter)
        pair.zbaton(f"snapshot {NAME}", host=one)
        wanted = newest(pair, "vm1")
        done = wait_until(lambda: reaches(pair, part), 300, f"{part:.0%} are sent")
        with CUTS[kind](pair, one if side == "leader" else two):
            pass
        pair.wait_up(3, pair.hosts[2])
        wait_until(lambda: newest(pair, "vm2") == wanted or newest(pair, "vm2")["term"] > wanted["term"], 300,
                   "vm2 holds the set")
        sent = on_the_wire(*counter) - before
    with capsys.disabled():
        print(f"\n{kind} of the {side} after {done / size:.0%}: sent {sent / size / WIRE:.3f} of it", end="")
    assert sent <= size * WIRE * (1 + RESENT)
    pair.wait_current(NAME, "vm1")
