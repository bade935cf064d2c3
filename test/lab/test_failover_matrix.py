"""A failover, and the rejoin after it, struck at each of their steps: no two writers, and every
acknowledged record is in the service or in a rescue. Then many in a row."""

import itertools
import os
import subprocess
import time
from dataclasses import dataclass

import pytest
from test_matrix import ENGINE_DIR, Fault, assert_same_sets, install_engine, points_clear
from zblab import wait_until
from zblab.cluster import Recorder, stage
from zblab.watch import Watch

NAME = "struck"
PORT = 6441
SETTLE_S = 150
KINDS = ("engine", "keeper", "both", "power")

# Of the candidate, in their order; from 5-begin on its keeper may have recorded the term, and from R-writable on it has.
FAILOVER = ("R-failover", "2-begin", "3-begin", "R-forward", "4-begin", "R-granted", "5-begin", "R-writable",
            "6-begin", "R-started", "7-begin")
BEGUN = FAILOVER[:FAILOVER.index("5-begin")]
TAKEN = FAILOVER[FAILOVER.index("R-writable"):]
# Of the host that comes back.
REJOIN = ("learn", "rescue", "R-rescued")


@dataclass(frozen=True)
class Case:
    """One fault at one pause point (src/agent/pause.h), while the host stands still there."""

    point: str
    kind: str

    def __str__(self):
        return f"{self.point}-{self.kind}"


def cases(points):
    """Every point with every fault."""
    return [Case(point, kind) for point in points for kind in KINDS]


def cases_once():
    """Each point once, kinds in turn: a leader is lost for each point at which the order may not be given again, with
    some of those before, after which it is, and a case of the rejoin after it."""
    kinds = itertools.cycle(KINDS)
    failovers = [Case(point, next(kinds)) for point in FAILOVER]
    rejoins = [Case(point, next(kinds)) for point in REJOIN]
    begun, taken = failovers[:len(BEGUN)], failovers[len(BEGUN):]
    share = -(-len(begun) // len(taken))
    groups = [begun[i * share:(i + 1) * share] + [case] for i, case in enumerate(taken)]
    return list(itertools.zip_longest(groups, rejoins))


def some_long(groups):
    """The first one is run each time, the others among the long ones."""
    return [pytest.param(*group, marks=[pytest.mark.long] if i > 0 else []) for i, group in enumerate(groups)]


def case_name(value):
    """Of a test with cases of a failover, or with one of a rejoin."""
    return "-".join(str(case) for case in value) if isinstance(value, list) else str(value)


# --- the service, with daemons that can be held ------------------------------------------------


class Struck:
    """The service under watch, records that a client writes, and who was told to lead."""

    def __init__(self, cluster, watch):
        self.cluster = cluster
        self.watch = watch

    def begin(self, folder):
        """A new client; the leader of now is the one that will be lost, the next in turn the candidate."""
        self.begun = time.monotonic()
        self.cluster.lab.each(points_clear)
        hosts = self.cluster.hosts
        self.old = self.cluster.leader(NAME)
        at = hosts.index(self.old)
        self.new, self.third = hosts[(at + 1) % 3], hosts[(at + 2) % 3]
        self.before = {host.name: self.cluster.rescues(host, NAME) for host in hosts}
        self.recorder = Recorder(self.cluster.lab, folder, port=PORT, name=f"case-{self.begun:.0f}")
        self.recorder.wait_more(10)

    def lose_leader(self):
        """The third host gets a set that the candidate has not; then the leader loses its power."""
        cluster = self.cluster
        self.new.link(False)
        cluster.zbaton(f"snapshot {NAME}", host=self.old)
        at = cluster.member(NAME, self.old.name, self.old)["newest_set"]

        def there():
            newest = cluster.member(NAME, self.third.name, self.third)["newest_set"]
            return (newest["term"], newest["seq"]) >= (at["term"], at["seq"])
        wait_until(there, 60, f"{self.third.name} has the set")
        self.recorder.wait_more(10)
        self.old.power_cut()
        self.new.link(True)
        for host in (self.new, self.third):
            cluster.wait_up(2, host)

    def led(self, again):
        """Waits until the candidate leads; with `again` the operator repeats the order."""
        def leads():
            leader = self.cluster.leader(NAME, self.third)
            if leader is None and again:
                self.cluster.failover(NAME, self.new.name, self.old.name, check=False)
            return leader
        assert wait_until(leads, SETTLE_S, f"{self.new.name} leads", 2) is self.new

    def settled(self):
        """Waits until everybody follows the candidate."""
        wait_until(lambda: self.cluster.zbaton(f"sync {NAME}", host=self.new), SETTLE_S, "sets are taken")
        self.cluster.wait_current(NAME, self.new.name)

    def check(self):
        """All that has to hold at the end; returns what to print."""
        cluster = self.cluster
        self.recorder.wait_more(10)
        self.recorder.stop()
        self.settled()
        made = [(host, name) for host in cluster.hosts for name in cluster.rescues(host, NAME)
                if name not in self.before[host.name]]
        acknowledged, live, rescued = self.recorder.assert_all_kept(cluster, self.new, made)
        assert [host for host, _ in made] == [self.old], made
        assert cluster.writers(NAME) == [self.new]
        self.watch.assert_one_writer(self.begun)
        cluster.assert_at_rest(NAME)
        wait_until(lambda: assert_same_sets(cluster, NAME) is None, 60, "the same sets everywhere")
        return (f"{len(acknowledged)} records, {len(rescued - live)} of them in a rescue, "
                f"{self.watch.count(self.begun)} observations, {time.monotonic() - self.begun:.0f} s")


@pytest.fixture(scope="module")
def struck_session(cluster_session):
    """The service under watch, on daemons with pause points."""
    cluster = cluster_session
    install_engine(cluster, os.path.join(os.path.dirname(stage()), "src/cmd/zbatond-engine-paused"))
    cluster.declare(NAME, start=f"redis {PORT}", keep=60)
    cluster.apply()
    cluster.wait_current(NAME)
    watch = Watch(cluster, NAME).start()
    yield Struck(cluster, watch)
    watch.stop()
    install_engine(cluster, os.path.join(stage(), "usr/sbin/zbatond-engine"))


@pytest.fixture
def struck(cluster, struck_session, tmp_path):
    """The service led by somebody and everybody current."""
    struck_session.cluster.wait_current(NAME)
    struck_session.begin(tmp_path)
    yield struck_session
    struck_session.recorder.stop()
    cluster.lab.each(lambda host: host.alive() and points_clear(host))


def held(host, point):
    """Waits until a host's engine stands still at a point."""
    wait_until(lambda: host.run(f"test -e {ENGINE_DIR}/held-{point}", check=False).rc == 0, 90,
               f"{host.name} held at {point}")


def strike(cluster, host, kind):
    """Does the harm to a host that is held, lets go what was held, and makes the host whole."""
    fault = Fault(cluster, host, kind)
    fault.strike()
    if host.alive():
        points_clear(host)
    fault.heal()


def failover_struck(struck, case):
    """The candidate is struck while it carries out the order."""
    cluster, new = struck.cluster, struck.new
    wait_until(lambda: cluster.zbaton("status -j", host=new, check=False).rc == 0, 60, f"zbatond answers on {new.name}")
    for host in (new, struck.third):
        cluster.wait_up(2, host)
    new.run(f"touch {ENGINE_DIR}/pause-{case.point}; sync")
    command = new.popen(f"zbaton failover {NAME} --to {new.name} --fenced {struck.old.name} -y",
                        stderr=subprocess.STDOUT)
    try:
        held(new, case.point)
        strike(cluster, new, case.kind)
        print(command.communicate(timeout=SETTLE_S)[0].decode())
    finally:
        command.kill()


def rejoin_struck(struck, case):
    """The host that comes back is struck."""
    cluster, old = struck.cluster, struck.old
    old.boot()
    old.run(f"touch {ENGINE_DIR}/pause-{case.point}; sync")
    cluster.daemon_start(old, wait=False)
    held(old, case.point)
    strike(cluster, old, case.kind)


def story(struck, failover, rejoin):
    """The leader is lost, another one takes over, by an order that the operator repeats until it does, and the lost
    one comes back; struck where there are cases."""
    struck.lose_leader()
    for case in failover:
        failover_struck(struck, case)
    if not failover:
        struck.cluster.failover(NAME, struck.new.name, struck.old.name)
    elif failover[-1].point not in TAKEN:
        struck.led(again=True)
    if rejoin:
        rejoin_struck(struck, rejoin)
    else:
        struck.old.boot()
        struck.cluster.daemon_start(struck.old)
    # Whose power was cut after it took may have to wait for the lost one, which nobody said is off now.
    struck.led(again=False)
    struck.settled()
    return struck.check()


def said(capsys, text):
    """Prints while pytest captures."""
    with capsys.disabled():
        print(f"\n{text}", end="")


@pytest.mark.parametrize("failover, rejoin", some_long(cases_once()), ids=case_name)
def test_each_step_is_struck_once(struck, failover, rejoin, capsys):
    struck_at = ", ".join(str(case) for case in [*failover, rejoin] if case)
    said(capsys, f"{struck_at}: {story(struck, failover, rejoin)}")


@pytest.mark.long
@pytest.mark.parametrize("case", cases(FAILOVER), ids=str)
def test_a_failover_struck_anywhere(struck, case, capsys):
    said(capsys, f"{case}: {story(struck, [case], None)}")


@pytest.mark.long
@pytest.mark.parametrize("case", cases(REJOIN), ids=str)
def test_a_rejoin_struck_anywhere(struck, case, capsys):
    said(capsys, f"{case}: {story(struck, [], case)}")


# --- many in a row -----------------------------------------------------------------------------


def ping_pong(cluster, folder, rounds):
    """Fails over to the next host so many times while a client writes; the lost leader comes back each time."""
    hosts = cluster.hosts
    first = hosts.index(cluster.leader(NAME))
    before = len(cluster.terms(NAME))
    recorder = Recorder(cluster.lab, folder, port=PORT, name=f"rounds-{rounds}")
    known = {host.name: set(cluster.rescues(host, NAME)) for host in hosts}
    try:
        for i in range(rounds):
            old, new = hosts[(first + i) % 3], hosts[(first + i + 1) % 3]
            recorder.wait_more(20)
            old.power_cut()
            for host in hosts:
                if host is not old:
                    cluster.wait_up(2, host)
            cluster.failover(NAME, new.name, old.name)
            recorder.wait_more(20)
            old.boot()
            cluster.daemon_start(old)
            cluster.wait_current(NAME, new.name)
    finally:
        recorder.stop()
    leader = hosts[(first + rounds) % 3]
    cluster.zbaton(f"sync {NAME}", host=leader)
    cluster.wait_current(NAME, leader.name)
    made = [(host, name) for host in hosts for name in set(cluster.rescues(host, NAME)) - known[host.name]]
    acknowledged, live, rescued = recorder.assert_all_kept(cluster, leader, made)
    assert len(made) == rounds, "each lost leader had written something that nobody had"
    terms = cluster.terms(NAME)[before:]
    assert [term["reason"] for term in terms] == ["failover"] * rounds
    for i, term in enumerate(terms):
        assert f"what {hosts[(first + i) % 3].name} wrote after set" in term["lost"], term
    wait_until(lambda: assert_same_sets(cluster, NAME) is None, 60, "the same sets everywhere")
    return f"{rounds} failovers: {len(acknowledged)} records, {len(rescued - live)} of them in {len(made)} rescues"


@pytest.mark.long
@pytest.mark.parametrize("rounds", (4, 20))
def test_failovers_in_a_ring_lose_nothing_for_ever(cluster, struck_session, rounds, tmp_path, capsys):
    begun = time.monotonic()
    cluster.wait_current(NAME)
    said(capsys, ping_pong(cluster, tmp_path, rounds))
    struck_session.watch.assert_one_writer(begun)
