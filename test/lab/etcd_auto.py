"""Failover that nobody orders, for the tests of it: a cluster with sessions in an etcd of three members, a service
under a continuous writer, and what has to hold at the end of each fault. Test files import the fixtures.

The members run beside the hosts, on their data network.
"""

import contextlib
import time

import pytest
from zblab import wait_until
from zblab.beside import Machines
from zblab.cluster import Recorder
from zblab.etcd import Etcd
from zblab.watch import Watch

NAME = "auto"
PORT = 6471
TTL_S = 30
START_S = 60  # of the service, and of what is asked here, on a busy machine
PAUSED_S = 2 + 2 * 2 + 16  # a heartbeat, two answers, and the time to demote
MAX_LOSS_S = 60
QUIET_S = 10  # the longest that the writer waits while nothing happens to the service, on a busy machine
CONF = "/etc/zbaton/zbatond.conf"

# A guest that is emulated beside others may take seconds to start or stop a process: the deadlines
# are later than by default, so that this does not count as a fault.
KEYS = {"fenced-by": "deadline", "soft-deadline": "12s", "hard-deadline": "28s", "session-timeout": f"{TTL_S}s"}


@contextlib.contextmanager
def sessions(cluster, etcd, keys):
    """Every node has a session, for a `with`: zbatond.conf has the keys besides etcd, and is as it was afterwards."""
    text = "".join(f'{key} = "{value}"\n' for key, value in {"etcd": " ".join(etcd.endpoints), **keys}.items())

    def change(host, cmd, content=""):
        cluster.daemon_stop(host)
        host.run(cmd, input=content)
        cluster.daemon_start(host)
    cluster.lab.each(lambda host: change(host, f"cp {CONF} {CONF}.before && cat >>{CONF}", text))
    wait_until(lambda: sessions_open(cluster), 90, "every node has a session")
    try:
        yield
    finally:
        etcd.make_whole()
        cluster.make_whole()
        wait_until(lambda: sessions_open(cluster, judge=False), 90, "every node has a session to leave")
        cluster.lab.each(lambda host: change(host, f"mv {CONF}.before {CONF}"))


def sessions_open(cluster, judge=True):
    """Every node has a session, and believes the ends of the others'."""
    for host in cluster.hosts:
        etcd = cluster.status(host)["etcd"]
        assert etcd["open"] and (etcd["may_judge"] or not judge), (host.name, etcd)
    return True


@contextlib.contextmanager
def service(cluster):
    """The service that is taken over by itself, for a `with`."""
    cluster.declare(NAME, failover="automatic", max_loss=f"{MAX_LOSS_S}s", interval="2s", start=f"redis {PORT}")
    # One of that name may just have been withdrawn.
    wait_until(lambda: cluster.apply(check=False).rc == 0, 60, f"{NAME} is declared")
    cluster.wait_current(NAME)
    try:
        yield
    finally:
        cluster.services.pop(NAME)
        # Every daemon was started anew: until who leads has told so, it is not withdrawn.
        wait_until(lambda: cluster.apply("-y", check=False).rc == 0, 60, f"{NAME} is withdrawn")


@pytest.fixture(scope="module")
def etcd(lab3_session):
    """An etcd with a quorum."""
    with Machines(lab3_session) as machines, Etcd(machines) as members:
        yield members


@pytest.fixture(scope="module")
def auto(cluster_session, etcd):
    """The cluster with sessions in etcd, and the service."""
    with service(cluster_session), sessions(cluster_session, etcd, KEYS):
        yield cluster_session


@pytest.fixture
def run(auto, etcd, tmp_path, capsys):
    """One fault on whole hosts."""
    yield from one_run(auto, etcd, tmp_path, capsys)


def one_run(cluster, etcd, folder, capsys):
    """For a fixture: a Run, which has ended in any case."""
    etcd.make_whole()
    cluster.make_whole()
    run = Run(cluster, folder)
    try:
        yield run
    finally:
        run.stop()
    if run.said:
        with capsys.disabled():
            print(f"\n{run.said}", end="")


class Run:
    """One fault: a writer and a watch all the time, and what they saw at the end."""

    def __init__(self, cluster, folder):
        wait_until(lambda: sessions_open(cluster), 90, "every node has a session")
        cluster.wait_current(NAME)
        self.cluster = cluster
        self.folder = str(folder)
        self.old = cluster.leader(NAME)
        self.left = [host for host in cluster.hosts if host is not self.old]
        self.before = {host.name: cluster.rescues(host, NAME) for host in cluster.hosts}
        self.boots = self.boot_ids()
        self.term = cluster.service(NAME)["term"]
        self.said = ""
        self.recorder = Recorder(cluster.lab, self.folder, port=PORT, name=folder.name)
        self.watch = Watch(cluster, NAME).start()
        self.begun = time.monotonic()
        try:
            self.recorder.wait_more(20)
            cluster.zbaton(f"sync {NAME}", host=self.old)
        except BaseException:
            self.stop()
            raise
        self.since = self.struck = time.time()

    def stop(self):
        """Ends the writer and the watch."""
        self.recorder.stop()
        self.watch.stop()

    def boot_ids(self):
        """Of every host."""
        return [host.run("cat /proc/sys/kernel/random/boot_id").out for host in self.cluster.hosts]

    def moves_on(self, late_s=0):
        """The service runs on another host within the promised time, which begins when that is a fault, late_s
        from now at most; returns that host."""
        self.struck += late_s

        def leader():
            for host in self.left:
                if self.cluster.leader(NAME, host) is host:
                    return host
            return None
        new = wait_until(leader, late_s + TTL_S + 5 + START_S, f"{NAME} runs on another host")
        self.recorder.wait_more(20)
        return new

    def runs_again(self):
        """It runs where it ran last, as promised from now on."""
        self.struck = time.time()
        wait_until(lambda: self.cluster.leader(NAME, self.old) is self.old, TTL_S + 5 + START_S, f"{NAME} runs again")
        self.recorder.wait_more(20)
        return self.old

    def rescued(self):
        """[(host, rescue)] since the begin."""
        return [(host, rescue) for host in self.cluster.hosts for rescue in self.cluster.rescues(host, NAME)
                if rescue not in self.before[host.name]]

    def settle(self, leader):
        """All is whole again without hand work."""
        wait_until(lambda: sessions_open(self.cluster), 120, "every node has a session again")
        self.cluster.wait_current(NAME, leader and leader.name)
        self.recorder.wait_more(5)

    def end(self, leader, stays=False, quiet_s=QUIET_S):
        """Settled; never two writers, every record is somewhere, no more was lost than promised; if the leader
        stays, its service had no longer a break than quiet_s."""
        self.settle(leader)
        made = self.rescued()
        self.watch.stop()
        self.watch.assert_one_writer(self.begun)
        acknowledged, live, rescued = self.recorder.assert_all_kept(self.cluster, leader, made)
        lost = [at for number, at, _ in self.recorder.acknowledged() if number not in live]
        gap_s, again = self.longest_gap()
        assert (self.cluster.service(NAME)["term"] == self.term) == stays
        if stays:
            assert not made and gap_s <= quiet_s, (made, gap_s)
        else:
            assert again - self.struck <= TTL_S + 5 + START_S
            assert not lost or max(lost) - min(lost) <= MAX_LOSS_S, lost
            hosts = {host.name for host, _ in made}
            assert hosts == {self.old.name} if lost else hosts <= {self.old.name}, (made, len(lost))
        self.cluster.assert_at_rest(NAME)
        self.said = (f"{len(acknowledged)} records, {len(rescued - live)} of them in a rescue, the longest gap "
                     f"{gap_s:.1f} s, {self.watch.count(self.begun)} observations")
        return made

    def longest_gap(self):
        """The longest time without an acknowledged record, and when it ended."""
        times = [self.since] + [at for _, at, _ in self.recorder.acknowledged() if at > self.since]
        return max((after - at, after) for at, after in zip(times, times[1:]))
