"""A watchdog behind the deadline: it resets a host that cannot be seen to have stopped writing, and no other."""

import time

import pytest
from etcd_auto import NAME, TTL_S, etcd, one_run, service, sessions  # noqa: F401  (a fixture)
from faults import engine_stopped, etcd_gone, revive
from zblab import wait_until

pytestmark = pytest.mark.long

HARD_S = 20
WATCHDOG_S = 6
DEVICE = "/dev/watchdog0"
KEYS = {"fenced-by": "watchdog", "watchdog": DEVICE, "soft-deadline": "12s", "hard-deadline": f"{HARD_S}s",
        "watchdog-timeout": f"{WATCHDOG_S}s", "session-timeout": f"{TTL_S}s"}
BUSY_S = 10  # what an emulated host may be late


def softdog(host):
    """The host has a watchdog device."""
    host.run("modprobe softdog")
    wait_until(lambda: host.run(f"test -c {DEVICE}", check=False).rc == 0, 30, DEVICE)


def boot(cluster, host):
    """A host that was reset is back."""
    host.boot()
    softdog(host)
    revive(cluster, host)


@pytest.fixture(scope="module")
def guarded(cluster_session, etcd):  # noqa: F811
    """The cluster with sessions in etcd, watchdogs that are armed, and the service."""
    cluster_session.lab.each(softdog)
    with service(cluster_session), sessions(cluster_session, etcd, KEYS):
        yield cluster_session
    cluster_session.lab.each(lambda host: host.run("modprobe -r softdog"))


@pytest.fixture
def run(guarded, etcd, tmp_path, capsys):  # noqa: F811
    """One fault on whole hosts."""
    yield from one_run(guarded, etcd, tmp_path, capsys)


def test_a_hung_keeper_is_reset(run):
    """Nobody pats the watchdog."""
    cluster, old = run.cluster, run.old
    old.run(f"kill -STOP {cluster.keeper_pid(old)} {cluster.engine_pid(old)}")
    wait_until(lambda: not old.alive(), WATCHDOG_S + BUSY_S, "the watchdog resets the host")
    new = run.moves_on()
    boot(cluster, old)
    run.end(new)


def test_a_demotion_that_does_not_succeed_is_a_reset(run):
    """A process beside the service keeps the tree from being unmounted."""
    cluster, old = run.cluster, run.old
    old.run(f"cd /srv/{NAME} && {{ setsid sleep 1000 >/dev/null 2>&1 </dev/null & }}")
    with engine_stopped(cluster, old):
        wait_until(lambda: not old.alive(), HARD_S + BUSY_S, "the hard deadline resets the host")
    assert time.time() - run.struck >= HARD_S - 4, "it had its time"
    new = run.moves_on()
    boot(cluster, old)
    run.end(new)


def test_what_is_demoted_is_not_reset(run, etcd):  # noqa: F811
    """However long etcd is away."""
    with etcd_gone(etcd):
        wait_until(lambda: run.cluster.writers(NAME) == [], HARD_S + BUSY_S, "nobody can write")
        time.sleep(TTL_S + WATCHDOG_S)  # what must not happen would happen by now
    run.end(run.runs_again())
    assert run.boot_ids() == run.boots
