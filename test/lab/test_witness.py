"""Two members and etcd as the third voter: failover of one by the other, under a continuous writer.

etcd's members run beside the hosts (test_etcd.py); the third host holds no copy of the service.
"""

import base64
import json
import signal
import subprocess
import time

import pytest
from test_etcd import CONF, MEMBERS, START_S, TTL_S, etcd, sessions_open  # noqa: F401
from zblab import wait_until
from zblab.cluster import Recorder
from zblab.watch import Watch

NAME = "pair"
PORT = 6472


@pytest.fixture(scope="module")
def pair(cluster_session, etcd):  # noqa: F811
    """The cluster with sessions in etcd, and a service of two members and the witness."""
    cluster = cluster_session
    for host in cluster.hosts:
        host.run("cp /etc/zbaton/zbatond.conf /etc/zbaton/zbatond.conf.before")
        host.run("cat >>/etc/zbaton/zbatond.conf", input=CONF)
        cluster.daemon_stop(host)
        cluster.daemon_start(host)
    cluster.declare(NAME, members=["vm1", "vm2"], witness="etcd", failover="automatic", max_loss="60s", interval="2s",
                    start=f"redis {PORT}")
    cluster.apply()
    cluster.wait_current(NAME)
    yield cluster
    for host in cluster.hosts:
        if not host.alive():
            host.boot()
        cluster.daemon_stop(host)
        host.run("mv /etc/zbaton/zbatond.conf.before /etc/zbaton/zbatond.conf")
        cluster.daemon_start(host)
    cluster.services.pop(NAME)
    cluster.apply("-y")


class Store:
    """etcd's keys, as an administrator sees them."""

    def __init__(self, cluster):
        cluster_id = cluster.status()["cluster"]["id"]
        self.lab, self.key = cluster.lab, f"/zbaton/{cluster_id}/vote/{NAME}"

    def _call(self, what, **fields):
        coded = {name: base64.b64encode(text.encode()).decode() for name, text in fields.items()}
        ask = ("import sys, urllib.request as u; print(u.urlopen(u.Request(sys.argv[1], sys.argv[2].encode()), "
               "timeout=10).read().decode())")
        argv = ["/usr/bin/python3", "-c", ask, f"http://{MEMBERS[0]}:2379/v3/kv/{what}", json.dumps(coded)]
        return json.loads(subprocess.run(self.lab.net.exec_argv(argv), capture_output=True, check=True).stdout)

    def vote(self):
        """The record of the witness."""
        found = self._call("range", key=self.key)
        assert "kvs" in found, found
        return json.loads(base64.b64decode(found["kvs"][0]["value"]))

    def put(self, text):
        """Something else in its place."""
        self._call("put", key=self.key, value=text)

    def delete(self):
        """Nothing."""
        self._call("deleterange", key=self.key)


def votes(cluster):
    """Both members can ask for etcd's vote."""
    for host in cluster.hosts[:2]:
        witness = cluster.service(NAME, host)["witness"]
        assert witness["by"] == "etcd" and witness["up"], (host.name, witness)
    return True


def ready(cluster):
    """All is whole, and a witness knows who leads."""
    wait_until(lambda: sessions_open(cluster) and votes(cluster), 90, "every node has a session, and etcd a vote")
    cluster.wait_current(NAME)
    term = cluster.service(NAME)["term"]
    wait_until(lambda: int(Store(cluster).vote()["learned_term"]) == term, 60, "the witness knows the leader")


def test_one_member_and_etcd_are_a_majority(pair, tmp_path):
    """The leader loses power: the other one leads by itself in time, and is followed by it afterwards."""
    ready(pair)
    old = pair.leader(NAME)
    new = next(host for host in pair.hosts[:2] if host is not old)
    before = {host.name: pair.rescues(host, NAME) for host in pair.hosts[:2]}
    recorder = Recorder(pair.lab, str(tmp_path), port=PORT, name=tmp_path.name)
    recorder.wait_more(20)
    begun = time.monotonic()
    watch = Watch(pair, NAME).start()
    pair.zbaton(f"sync {NAME}", host=old)
    store = Store(pair)
    old.power_cut()
    wait_until(lambda: pair.leader(NAME, new) is new, TTL_S + 5 + START_S, f"{NAME} runs on {new.name}")
    recorder.wait_more(20)
    wait_until(lambda: store.vote()["learned_leader"] == new.name, 30, "the witness knows the new leader")
    assert store.vote()["granted_to"] == new.name
    old.boot()
    pair.daemon_start(old)
    pair.wait_current(NAME, new.name)
    recorder.wait_more(5)
    watch.stop()
    watch.assert_one_writer(begun)
    made = [(host, rescue) for host in pair.hosts[:2] for rescue in pair.rescues(host, NAME)
            if rescue not in before[host.name]]
    recorder.assert_all_kept(pair, new, made)


@pytest.mark.long
def test_both_members_are_a_majority_without_etcds_vote(pair):
    """A record that cannot be read is no vote, and is told; who leads can be changed all the same."""
    ready(pair)
    old = pair.leader(NAME)
    new = next(host for host in pair.hosts[:2] if host is not old)
    store = Store(pair)
    store.put("nothing of ours")
    pair.move(NAME, new.name)
    pair.wait_current(NAME, new.name)
    wait_until(lambda: "A-witness-record" in pair.zbaton("events", host=new).out, 30, "the record is told to be bad")
    store.delete()
    ready(pair)


@pytest.mark.long
def test_without_etcd_nobody_leads(pair, etcd):  # noqa: F811
    """Sessions end with etcd, whoever votes: nobody writes, a move is refused, and it goes on by itself afterwards."""
    ready(pair)
    old = pair.leader(NAME)
    new = next(host for host in pair.hosts[:2] if host is not old)
    try:
        for address in MEMBERS:
            etcd.signal(address, signal.SIGSTOP)
        wait_until(lambda: pair.writers(NAME) == [], 40, "nobody can write")
        assert pair.zbaton(f"move {NAME} {new.name}", host=old, check=False).rc != 0
    finally:
        for address in MEMBERS:
            etcd.signal(address, signal.SIGCONT)
    wait_until(lambda: pair.leader(NAME, old) is old, 60, f"{NAME} runs again where it ran last")
    ready(pair)
