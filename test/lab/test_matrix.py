"""A move that is struck at each of its steps: no two writers, nothing lost, and it ends by itself."""

import os
import subprocess
import time
from dataclasses import dataclass

import pytest
from zblab import wait_until
from zblab.cluster import Recorder, stage
from zblab.lab import for_each
from zblab.watch import Watch

NAME = "matrix"
PORT = 6421
ENGINE_DIR = "/var/lib/zbaton/engine"
SETTLE_S = 150
SAME_SETS = 30  # the newest ones; older ones are pruned by each member in its own time
KINDS = ("engine", "keeper", "both", "power", "link")
SIDES = ("source", "target")


@dataclass(frozen=True)
class Point:
    """Where a move is held: a pause point (src/agent/pause.h) of the host on one side."""

    step: int
    name: str
    at: str
    released: bool  # from here on a move only goes forward


POINTS = (
    Point(1, "1-begin", "source", False),
    Point(2, "2-begin", "source", False),
    Point(3, "3-begin", "source", False),
    Point(4, "4-begin", "source", False),
    Point(5, "5-begin", "source", False),
    Point(6, "6-begin", "source", False),
    Point(6, "6-end", "source", True),
    Point(7, "R-take", "target", True),
    Point(7, "R-granted", "target", True),
    Point(8, "R-writable", "target", True),
    Point(9, "R-started", "target", True),
)
# Each step once, kinds and sides in turn.
ONCE = (
    ("1-begin", "engine", "source"),
    ("2-begin", "link", "target"),
    ("3-begin", "power", "target"),
    ("4-begin", "keeper", "source"),
    ("5-begin", "both", "source"),
    ("6-begin", "link", "source"),
    ("6-end", "power", "source"),
    ("R-granted", "both", "target"),
    ("R-writable", "engine", "target"),
    ("R-started", "keeper", "target"),
)


@dataclass(frozen=True)
class Case:
    """One fault at one point of a move."""

    point: Point
    kind: str
    side: str

    def __str__(self):
        return f"{self.point.step}:{self.point.name}-{self.kind}-{self.side}"


def cases_once():
    """The few of `make test`."""
    points = {point.name: point for point in POINTS}
    return [Case(points[name], kind, side) for name, kind, side in ONCE]


def cases_all():
    """Every point with every fault on both sides, except for those of cases_once()."""
    every = [Case(point, kind, side) for point in POINTS for kind in KINDS for side in SIDES]
    return [case for case in every if case not in cases_once()]


# --- the cluster, with daemons that can be held ------------------------------------------------


def install_engine(cluster, path, hosts=None):
    """Puts an engine in place of the installed one, on all hosts or some; services go on."""
    def change(host):
        if not host.alive():
            host.boot()
        cluster.daemon_stop(host)
        host.put(path, "/usr/sbin/zbatond-engine", 0o755)
        host.run("sync")
        cluster.daemon_start(host)
    for_each(hosts or cluster.hosts, change)


def points_clear(host):
    """Lets go what is held on a host and forgets what was asked for."""
    host.run(f"rm -f {ENGINE_DIR}/pause-* {ENGINE_DIR}/held-*")


@pytest.fixture(scope="module")
def watch(cluster_session):
    """The service under watch, on daemons with pause points."""
    cluster = cluster_session
    build = os.path.dirname(stage())
    install_engine(cluster, os.path.join(build, "src/cmd/zbatond-engine-paused"))
    cluster.declare(NAME, start=f"redis {PORT}", keep=2 * SAME_SETS)
    cluster.apply()
    cluster.wait_current(NAME)
    watch = Watch(cluster, NAME).start()
    yield watch
    watch.stop()
    install_engine(cluster, os.path.join(stage(), "usr/sbin/zbatond-engine"))


# --- faults ------------------------------------------------------------------------------------


class Fault:
    """Harm to one host; heal() makes the host whole, as an operator or a service manager would."""

    def __init__(self, cluster, host, kind):
        self.cluster = cluster
        self.host = host
        self.kind = kind
        self.keeper = cluster.keeper_pid(host)
        self.engine = cluster.engine_pid(host)

    def strike(self):
        """Does it."""
        if self.kind == "power":
            self.host.power_cut()
        elif self.kind == "link":
            self.host.link(False)
        else:
            pids = {"engine": [self.engine], "keeper": [self.keeper],
                    "both": [self.keeper, self.engine]}[self.kind]
            self.host.run("kill -9 " + " ".join(map(str, pids)))

    def heal(self):
        """Ends it."""
        host, cluster = self.host, self.cluster
        if self.kind == "power":
            host.boot()
            points_clear(host)
        elif self.kind == "link":
            wait_until(lambda: cluster.status(cluster.hosts[2])["cluster"]["nodes_up"] < 3, 60,
                       f"the others miss {host.name}")
            host.link(True)
            return
        else:
            wait_until(lambda: host.run(f"kill -0 {self.engine}", check=False).rc != 0, 30,
                       "the engine is gone")
        if self.kind != "engine":
            cluster.daemon_start(host)


# --- a case ------------------------------------------------------------------------------------


def move_held(cluster, case, source, target):
    """Begins a move and returns its command when it stands at the case's point."""
    holder = source if case.point.at == "source" else target
    held = f"test -e {ENGINE_DIR}/held-{case.point.name}"
    holder.run(f"touch {ENGINE_DIR}/pause-{case.point.name}")
    command = cluster.hosts[2].popen(f"zbaton move {NAME} {target.name}", stderr=subprocess.STDOUT)
    wait_until(lambda: holder.run(held, check=False).rc == 0, 90, f"held at {case.point.name}")
    return command


def settled(cluster):
    """Waits until the service runs and takes sets that everybody gets; returns who leads."""
    def synced():
        cluster.zbaton(f"sync {NAME}", host=cluster.hosts[2])
        return cluster.leader(NAME, cluster.hosts[2])
    wait_until(synced, SETTLE_S, "a leader runs the service and takes sets")
    service = cluster.wait_current(NAME)
    assert cluster.status()["cluster"]["nodes_up"] == 3
    return cluster.lab[service["leader"]]


def assert_same_sets(cluster, name=NAME):
    """The newest sets are the same on every host, by the guid of each dataset's snapshot."""
    def newest(host):
        return {dataset: [(snap, guid) for snap, guid in snaps.items()
                          if snap.startswith("zbaton-")][-SAME_SETS:]
                for dataset, snaps in cluster.snapshots(host, name).items()}
    first, *others = cluster.lab.each(newest)
    assert first[""], "there are sets"
    for host, sets in zip(cluster.hosts[1:], others):
        assert sets == first, f"{host.name} differs from {cluster.hosts[0].name}"


def strike(cluster, case, source, target):
    """The move with its fault, up to rest; returns the seconds from whole hosts to rest."""
    victim = source if case.side == "source" else target
    command = move_held(cluster, case, source, target)
    try:
        fault = Fault(cluster, victim, case.kind)
        fault.strike()
        for host in (source, target):
            if host.alive():
                points_clear(host)
        fault.heal()
        healed = time.monotonic()
        said, _ = command.communicate(timeout=SETTLE_S)
        print(said.decode())
        settled(cluster)
        return time.monotonic() - healed
    finally:
        command.kill()


def run_case(cluster, watch, case, folder):
    """One case with all that has to hold; returns what became of the move."""
    source = cluster.leader(NAME)
    assert source in cluster.hosts[:2]
    target = next(host for host in cluster.hosts[:2] if host is not source)
    cluster.lab.each(points_clear)
    begun = time.monotonic()
    recorder = Recorder(cluster.lab, folder, port=PORT, name=f"case-{begun:.0f}")
    try:
        recorder.wait_more(10)
        took_s = strike(cluster, case, source, target)
        recorder.wait_more(10)
    finally:
        recorder.stop()
        cluster.lab.each(lambda host: host.alive() and points_clear(host))
    leader = settled(cluster)
    records = recorder.assert_nothing_lost(leader)
    assert cluster.writers(NAME) == [leader]
    watch.assert_one_writer(begun)
    cluster.assert_at_rest(NAME)
    wait_until(lambda: assert_same_sets(cluster) is None, 60, "the same sets everywhere")
    assert leader in (source, target)
    assert not case.point.released or leader is target, "released: only forward"
    return (f"{case}: {'completed' if leader is target else 'undone'} {took_s:.0f} s after the fault "
            f"ended, {records} records, {watch.count(begun)} observations")


def some_long(cases):
    """Every fifth one is run each time, the others among the long ones."""
    return [pytest.param(case, marks=[pytest.mark.long] if i % 5 else []) for i, case in enumerate(cases)]


@pytest.mark.parametrize("case", some_long(cases_once()), ids=str)
def test_a_move_struck_at_each_step_ends_by_itself(cluster, watch, case, tmp_path, capsys):
    became = run_case(cluster, watch, case, tmp_path)
    with capsys.disabled():
        print(f"\n{became}", end="")


@pytest.mark.long
@pytest.mark.parametrize("case", cases_all(), ids=str)
def test_a_move_struck_anywhere_ends_by_itself(cluster, watch, case, tmp_path, capsys):
    became = run_case(cluster, watch, case, tmp_path)
    with capsys.disabled():
        print(f"\n{became}", end="")
