"""Random faults on a cluster with sessions in etcd: a few at once, drawn by seed, under a continuous writer.

ZB_SEEDS=1-50 says which seeds. Each that ends well is one line in etcd-random.log of the build folder (ZB_BUILD), and is
not run again as long as that line stands there; so some labs may each do a part, and a run may go on later.
"""

import os
import random
import threading
import time
from dataclasses import dataclass

import faults
import pytest
from etcd_auto import MAX_LOSS_S, NAME, PAUSED_S, START_S, TTL_S, auto, etcd, run  # noqa: F401  (fixtures)
from zblab import LabError, wait_until

pytestmark = pytest.mark.long

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LOG = os.path.join(TOP, os.environ.get("ZB_BUILD", "build"), "etcd-random.log")
WITHIN_S = 20  # every fault of a sequence begins in this time
SHORTEST_S, LONGEST_S = 2, 45
# A service manager starts what was killed again; who is not back before the hard deadline is not fenced by "deadline".
AWAY_S = 10

# What is done to a host; a function of the cluster, the host and etcd.
HOST_FAULTS = {
    "power": lambda cluster, host, _: faults.power_lost(cluster, host),
    "paused": lambda cluster, host, _: faults.paused(host),
    "engine-stopped": lambda cluster, host, _: faults.engine_stopped(cluster, host),
    "engine-killed": lambda cluster, host, _: faults.engine_killed(cluster, host),
    "daemon-killed": lambda cluster, host, _: faults.daemon_killed(cluster, host),
    "cut-off": lambda cluster, host, _: faults.cut_off(host),
    "deaf": lambda cluster, host, _: faults.deaf(host),
    "mute": lambda cluster, host, _: faults.mute(host),
    "cut-from-etcd": lambda cluster, host, members: faults.cut_from(host, members.hosts),
    "pool-frozen": lambda cluster, host, _: faults.pool_frozen(host),
    "pool-lost": lambda cluster, host, _: faults.pool_lost(cluster, host),
}
ETCD_FAULTS = {
    "etcd-disk-frozen": faults.etcd_disk_frozen,
    "etcd-member-stopped": lambda members: faults.etcd_stopped(members, 1),
    "etcd-no-quorum": lambda members: faults.etcd_stopped(members, 2),
    "etcd-gone": faults.etcd_gone,
}


@dataclass(frozen=True)
class Planned:
    """A fault of a sequence; host is a number, counted from the leader of its begin, None: etcd's."""

    kind: str
    host: int | None
    begin_s: float
    end_s: float

    def __str__(self):
        at = "" if self.host is None else f" {('leader', 'next', 'third')[self.host]}"
        return f"{self.kind}{at} {self.begin_s:.0f}-{self.end_s:.0f} s"


def plan(seed):
    """Two to four faults, each of another kind."""
    draw = random.Random(seed)
    kinds = draw.sample(sorted(HOST_FAULTS) + sorted(ETCD_FAULTS), draw.randint(2, 4))
    out = []
    for kind in kinds:
        begin_s = draw.uniform(0, WITHIN_S)
        host = draw.choice((0, 0, 1, 2)) if kind in HOST_FAULTS else None
        lasts_s = draw.uniform(SHORTEST_S, LONGEST_S)
        out.append(Planned(kind, host, begin_s, begin_s + (min(lasts_s, AWAY_S) if kind == "daemon-killed" else lasts_s)))
    return sorted(out, key=lambda fault: fault.begin_s)


def is_done(seed):
    """It stands in the log."""
    try:
        with open(LOG, encoding="utf-8") as file:
            return any(line.startswith(f"seed {seed}: ") for line in file)
    except FileNotFoundError:
        return False


def seeds():
    """Those that are asked for."""
    first, _, last = os.environ.get("ZB_SEEDS", "1-3").partition("-")
    return [pytest.param(seed, marks=pytest.mark.skipif(is_done(seed), reason=f"stands in {LOG}"))
            for seed in range(int(first), int(last or first) + 1)]


def strike(run, etcd, fault, missed):  # noqa: F811
    """One fault from begin to end, in a thread of its own. What another fault has taken away is not to be struck."""
    def until(moment_s):
        time.sleep(max(0, run.begun + moment_s - time.monotonic()))
    hosts = run.cluster.hosts
    until(fault.begin_s)
    try:
        if fault.host is None:
            harm = ETCD_FAULTS[fault.kind](etcd)
        else:
            host = hosts[(hosts.index(run.old) + fault.host) % len(hosts)]
            harm = HOST_FAULTS[fault.kind](run.cluster, host, etcd)
        with harm:
            until(fault.end_s)
        if fault.kind == "paused":
            run.watch.excuse(host, time.monotonic() - 1, time.monotonic() + PAUSED_S)
    except (LabError, IndexError, ValueError) as err:
        missed.append(f"{fault.kind}: {err}")


def assert_lost_no_more_than_promised(run, live):
    """What is not live any more was acknowledged in spans of time that are no longer than promised."""
    span = []
    for number, at, _ in run.recorder.acknowledged():
        span = [] if number in live else [*span[:1], at]
        assert not span or at - span[0] <= MAX_LOSS_S, f"{number} at {at}, since {span[0]}"


@pytest.mark.parametrize("seed", seeds())
def test_random_faults(run, etcd, seed):  # noqa: F811
    """All is whole again by itself, never with two writers, and every record is somewhere."""
    cluster, planned, missed = run.cluster, plan(seed), []
    print(seed, *planned, sep="\n")
    threads = [threading.Thread(target=strike, args=(run, etcd, fault, missed)) for fault in planned]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(*missed, sep="\n")
    etcd.make_whole()
    cluster.make_whole()
    whole = time.monotonic()
    wait_until(lambda: cluster.leader(NAME), TTL_S + 5 + START_S, f"{NAME} runs again")
    took_s = time.monotonic() - whole
    run.settle(None)
    leader = cluster.leader(NAME)
    made = run.rescued()
    run.watch.stop()
    run.watch.assert_one_writer(run.begun)
    acknowledged, live, rescued = run.recorder.assert_all_kept(cluster, leader, made)
    assert_lost_no_more_than_promised(run, live)
    cluster.assert_at_rest(NAME)
    gap_s, _ = run.longest_gap()
    run.said = (f"seed {seed}: {', '.join(map(str, planned))}: term {run.term} to {cluster.service(NAME)['term']}, "
                f"{took_s:.0f} s after the last one ended, longest gap {gap_s:.0f} s, {len(acknowledged)} records, "
                f"{len(rescued - live)} of them in {len(made)} rescues, {run.watch.count(run.begun)} observations, "
                f"{len(missed)} not struck")
    with open(LOG, "a", encoding="utf-8") as file:
        file.write(run.said + "\n")
