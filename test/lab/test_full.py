"""A follower whose pool has no room."""

import contextlib

import pytest
from zblab import wait_until

NAME = "full"
MIB = 24
LEFT_MIB = 8  # less than what is written
FULL = "the pool is full"


@contextlib.contextmanager
def filled(host):
    """Nearly all room of a host's pool is taken."""
    room = int(host.run(f"zfs get -Hpo value available {host.pool}").out)
    host.run(f"zfs create -o mountpoint=none -o refreservation={room - (LEFT_MIB << 20)} {host.pool}/filled")
    try:
        yield
    finally:
        host.run(f"zfs destroy {host.pool}/filled", timeout=120)


def newest(cluster, host):
    """(term, seq) of a member's newest set."""
    return tuple(cluster.member(NAME, host.name)["newest_set"][key] for key in ("term", "seq"))


@pytest.fixture
def led(cluster):
    """The leader of a service."""
    cluster.declare(NAME, runner="none", interval="2s")
    cluster.apply()
    cluster.wait_current(NAME)
    yield cluster.leader(NAME)
    cluster.services.pop(NAME)
    cluster.apply()


def test_a_full_follower_holds_nobody_up(cluster, led):
    """It says so, the other goes on, and it follows by itself once there is room."""
    full, other = (host for host in cluster.hosts if host is not led)
    with filled(full):
        led.run(f"head -c {MIB}M /dev/urandom >/srv/{NAME}/data && sync", timeout=120)
        wait_until(lambda: FULL in cluster.member(NAME, full.name, host=led)["note"], 120, "the leader says so")
        since = newest(cluster, full)
        led.run(f"date >/srv/{NAME}/more; sync")
        cluster.zbaton(f"snapshot {NAME}", host=led)
        made = newest(cluster, led)
        wait_until(lambda: newest(cluster, other) >= made, 60, "the other one is current")
        assert newest(cluster, full) == since
        assert cluster.leader(NAME) is led
    cluster.wait_current(NAME)
    cluster.assert_at_rest(NAME)
