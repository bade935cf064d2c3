"""Failover that nobody orders: a cluster with an etcd of three members, under a continuous writer.

The members run beside the hosts, on the lab's management network; the hosts' data link is another.
"""

import contextlib
import signal
import subprocess
import time

import pytest
from zblab import wait_until
from zblab.cluster import Recorder
from zblab.watch import Watch

NAME = "auto"
PORT = 6471
TTL_S = 30
START_S = 60  # of the service, and of what is asked here, on a busy machine
MEMBERS = ["10.78.0.251", "10.78.0.252", "10.78.0.253"]
PAUSED_S = 2 + 2 * 2 + 16  # a heartbeat, two answers, and the time to demote
ETCD = " ".join(f"http://{address}:2379" for address in MEMBERS)

# A guest that is emulated beside others may take seconds to start or stop a process: the deadlines
# are later than by default, so that this does not count as a fault.
CONF = f"""etcd = "{ETCD}"
fenced-by = "deadline"
soft-deadline = "12s"
hard-deadline = "28s"
session-timeout = "{TTL_S}s"
"""


class Etcd:
    """Three members in the lab's network namespace."""

    def __init__(self, lab, folder):
        self.lab, self.folder = lab, folder
        self.processes = {}

    def start(self):
        """Starts every member; returns when each answers with a quorum."""
        for address in MEMBERS:
            subprocess.run(self.lab.net.exec_argv(["ip", "addr", "replace", f"{address}/24", "dev", "mgmt"]), check=True)
        for address in MEMBERS:
            self.member_start(address)
        for address in MEMBERS:
            wait_until(lambda a=address: self._healthy(a), 30, f"etcd {address} has a quorum")

    def _healthy(self, address):
        ask = f"import urllib.request as u; print(u.urlopen('http://{address}:2379/health', timeout=2).read().decode())"
        done = subprocess.run(self.lab.net.exec_argv(["/usr/bin/python3", "-c", ask]), capture_output=True, check=False)
        return b"true" in done.stdout

    def member_start(self, address):
        """Starts one member, anew or again."""
        cluster = ",".join(f"{a.replace('.', '-')}=http://{a}:2380" for a in MEMBERS)
        argv = ["etcd", "--name", address.replace(".", "-"), "--data-dir", f"{self.folder}/{address}",
                "--listen-client-urls", f"http://{address}:2379", "--advertise-client-urls", f"http://{address}:2379",
                "--listen-peer-urls", f"http://{address}:2380", "--initial-advertise-peer-urls", f"http://{address}:2380",
                "--initial-cluster", cluster, "--initial-cluster-state", "new", "--log-level", "error"]
        with open(f"{self.folder}/{address}.log", "ab") as log:
            self.processes[address] = subprocess.Popen(self.lab.net.exec_argv(argv), stdout=log, stderr=log,
                                                       start_new_session=True)

    def signal(self, address, number):
        """A signal to one member."""
        self.processes[address].send_signal(number)

    def close(self):
        """Ends every member."""
        for process in self.processes.values():
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def etcd(lab3_session, tmp_path_factory):
    """An etcd with a quorum."""
    members = Etcd(lab3_session, tmp_path_factory.mktemp("etcd"))
    members.start()
    yield members
    members.close()


@pytest.fixture(scope="module")
def auto(cluster_session, etcd):
    """The cluster with sessions in etcd, and a service that is taken over by itself."""
    cluster = cluster_session
    for host in cluster.hosts:
        host.run("cp /etc/zbaton/zbatond.conf /etc/zbaton/zbatond.conf.before")
        host.run("cat >>/etc/zbaton/zbatond.conf", input=CONF)
        cluster.daemon_stop(host)
        cluster.daemon_start(host)
    cluster.declare(NAME, failover="automatic", max_loss="60s", interval="2s", start=f"redis {PORT}")
    cluster.apply()
    cluster.wait_current(NAME)
    yield cluster
    for host in cluster.hosts:
        cluster.daemon_stop(host)
        host.run("mv /etc/zbaton/zbatond.conf.before /etc/zbaton/zbatond.conf")
        cluster.daemon_start(host)
    cluster.services.pop(NAME)
    cluster.apply("-y")


@contextlib.contextmanager
def etcd_cut(host):
    """Takes the way to etcd away from a host, and nothing else, for a `with`."""
    routes = [f"blackhole {address}/32" for address in MEMBERS]
    host.run("; ".join(f"ip route replace {route}" for route in routes))
    try:
        yield
    finally:
        host.run("; ".join(f"ip route delete {route}" for route in routes))


def sessions_open(cluster):
    """Every node has a session, and believes the ends of the others'."""
    for host in cluster.hosts:
        etcd = cluster.status(host)["etcd"]
        assert etcd["open"] and etcd["may_judge"], (host.name, etcd)
    return True


class Run:
    """One fault: a writer and a watch all the time, and what they saw at the end."""

    def __init__(self, cluster, tmp_path):
        wait_until(lambda: sessions_open(cluster), 90, "every node has a session")
        cluster.wait_current(NAME)
        self.cluster = cluster
        self.old = cluster.leader(NAME)
        self.left = [host for host in cluster.hosts if host is not self.old]
        self.before = {host.name: cluster.rescues(host, NAME) for host in cluster.hosts}
        self.term = cluster.service(NAME)["term"]
        self.recorder = Recorder(cluster.lab, str(tmp_path), port=PORT, name=tmp_path.name)
        self.recorder.wait_more(20)
        self.begun = time.monotonic()
        self.watch = Watch(cluster, NAME).start()
        cluster.zbaton(f"sync {NAME}", host=self.old)

    def moves_on(self):
        """The service runs on another host within the promised time; returns that host."""
        def leader():
            for host in self.left:
                if self.cluster.leader(NAME, host) is host:
                    return host
            return None
        new = wait_until(leader, TTL_S + 5 + START_S, f"{NAME} runs on another host")
        self.recorder.wait_more(20)
        return new

    def end(self, leader, stays=False, alone=True):
        """All is whole again without hand work; never two writers; every record is somewhere."""
        wait_until(lambda: sessions_open(self.cluster), 120, "every node has a session again")
        self.cluster.wait_current(NAME, leader.name)
        self.recorder.wait_more(5)
        made = [(host, rescue) for host in self.cluster.hosts for rescue in self.cluster.rescues(host, NAME)
                if rescue not in self.before[host.name]]
        self.watch.stop()
        if alone:
            self.watch.assert_one_writer(self.begun)
        self.recorder.assert_all_kept(self.cluster, leader, made)
        assert (self.cluster.service(NAME)["term"] == self.term) == stays
        self.cluster.assert_at_rest(NAME)


def test_the_leader_loses_power(auto, tmp_path):
    """Its service runs elsewhere by itself, and it follows when it is back."""
    run = Run(auto, tmp_path)
    run.old.power_cut()
    new = run.moves_on()
    run.old.boot()
    auto.daemon_start(run.old)
    run.end(new)


@pytest.mark.long
def test_the_engine_is_killed(auto, tmp_path):
    """The next engine goes on with the session: nobody takes over."""
    run = Run(auto, tmp_path)
    run.old.run(f"kill -9 {auto.engine_pid(run.old)}")
    run.recorder.wait_more(50)
    run.end(run.old, stays=True)


def test_the_engine_is_stopped(auto, tmp_path):
    """A hung engine renews nothing: the keeper demotes, and another host takes over."""
    run = Run(auto, tmp_path)
    run.old.run(f"kill -STOP {auto.engine_pid(run.old)}")
    new = run.moves_on()
    run.old.run(f"kill -CONT {auto.engine_pid(run.old)}")
    run.end(new)


@pytest.mark.long
def test_the_keeper_is_killed(auto, tmp_path):
    """The next keeper finds the tree mounted, and goes on with the session."""
    run = Run(auto, tmp_path)
    auto.daemon_stop(run.old, "KILL")
    auto.daemon_start(run.old)
    run.recorder.wait_more(50)
    run.end(run.old, stays=True)


@pytest.mark.long
def test_zbatond_is_stopped_for_long(auto, tmp_path):
    """It leaves its session: the service goes on there, and nobody takes over."""
    run = Run(auto, tmp_path)
    auto.daemon_stop(run.old)
    time.sleep(TTL_S + 10)  # what must not happen would happen by now
    run.recorder.wait_more(20)
    auto.daemon_start(run.old)
    run.end(run.old, stays=True)


@pytest.mark.long
def test_the_leader_is_cut_off_from_etcd(auto, tmp_path):
    """It demotes itself in time though it reaches everybody else, and another host takes over."""
    run = Run(auto, tmp_path)
    with etcd_cut(run.old):
        new = run.moves_on()
    run.end(new)


def test_etcd_has_no_quorum_and_regains_it(auto, etcd, tmp_path):
    """Everybody demotes, nothing is reset, and the last leader goes on by itself afterwards."""
    run = Run(auto, tmp_path)
    boots = [host.run("cat /proc/sys/kernel/random/boot_id").out for host in auto.hosts]
    try:
        for address in MEMBERS[:2]:
            etcd.signal(address, signal.SIGSTOP)
        wait_until(lambda: auto.writers(NAME) == [], 30, "nobody can write")
    finally:
        for address in MEMBERS[:2]:
            etcd.signal(address, signal.SIGCONT)
    wait_until(lambda: auto.leader(NAME, run.old) is run.old, 60, f"{NAME} runs again where it ran last")
    run.end(run.old)
    assert boots == [host.run("cat /proc/sys/kernel/random/boot_id").out for host in auto.hosts]


@pytest.mark.long
def test_the_leader_is_paused(auto, tmp_path):
    """It writes for a moment only when it goes on, and all that was acknowledged is kept."""
    run = Run(auto, tmp_path)
    run.old.pause()
    new = run.moves_on()
    run.old.cont()
    wait_until(lambda: auto.writers(NAME) == [new], PAUSED_S, "it has noticed, and cannot write any more")
    run.end(new, alone=False)


@pytest.mark.long
def test_a_move_waits_for_nothing(auto, tmp_path):
    """A planned move is done before any session could have ended."""
    run = Run(auto, tmp_path)
    begun = time.monotonic()
    auto.move(NAME, run.left[0].name)
    assert time.monotonic() - begun < TTL_S
    run.end(run.left[0])
