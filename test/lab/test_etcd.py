"""Failover that nobody orders: a cluster with an etcd of three members, under a continuous writer.

The members run beside the hosts, on the lab's management network; the hosts' data link is another.
"""

import os
import signal
import subprocess

import pytest
from zblab import wait_until
from zblab.cluster import Recorder
from zblab.watch import Watch

NAME = "auto"
PORT = 6471
TTL_S = 20
MEMBERS = ["10.78.0.251", "10.78.0.252", "10.78.0.253"]
ETCD = " ".join(f"http://{address}:2379" for address in MEMBERS)


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
        host.run("cat >>/etc/zbaton/zbatond.conf", input=f'etcd = "{ETCD}"\nfenced-by = "deadline"\n')
        cluster.daemon_stop(host)
        cluster.daemon_start(host)
    cluster.declare(NAME, failover="automatic", max_loss="60s", interval="2s", start=f"redis {PORT}")
    cluster.apply()
    cluster.wait_current(NAME)
    yield cluster
    for host in cluster.hosts:
        host.run("mv /etc/zbaton/zbatond.conf.before /etc/zbaton/zbatond.conf")
        cluster.daemon_stop(host)
        cluster.daemon_start(host)
    cluster.services.pop(NAME)
    cluster.apply("-y")


def sessions_open(cluster):
    """Every node's session is open, as each of them says."""
    return all(cluster.status(host)["etcd"]["may_judge"] for host in cluster.hosts)


def test_the_leader_loses_power(cluster, auto, etcd, tmp_path):
    """Its service runs elsewhere by itself; never two writers; all that was distributed is there."""
    wait_until(lambda: sessions_open(auto), 60, "every node has a session")
    old = auto.leader(NAME)
    recorder = Recorder(auto.lab, str(tmp_path), port=PORT, name="power")
    recorder.wait_more(20)
    auto.zbaton(f"sync {NAME}", host=old)
    old.power_cut()
    left = [host for host in auto.hosts if host is not old]
    with_leader = wait_until(lambda: next((h for h in left if auto.leader(NAME, h) is h), None), TTL_S + 40,
                             f"{NAME} runs on another host")
    recorder.wait_more(20)
    assert with_leader is not old
    old.boot()
    auto.daemon_start(old)
    auto.wait_current(NAME, with_leader.name)
    recorder.stop()
