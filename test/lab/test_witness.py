"""Two members and etcd as the third voter: failover of one by the other, under a continuous writer.

etcd's members run beside the hosts (etcd_auto.py); the third host holds no copy of the service.
"""

import json
import time

import pytest
from etcd_auto import KEYS, START_S, TTL_S, etcd, sessions, sessions_open  # noqa: F401
from zblab import wait_until
from zblab.cluster import Recorder
from zblab.watch import Watch

NAME = "pair"
PORT = 6472


@pytest.fixture(scope="module")
def pair(cluster_session, etcd):  # noqa: F811
    """The cluster with sessions in etcd, and a service of two members and the witness."""
    cluster = cluster_session
    with sessions(cluster, etcd, KEYS):
        cluster.declare(NAME, members=["vm1", "vm2"], witness="etcd", failover="automatic", max_loss="60s",
                        interval="2s", start=f"redis {PORT}")
        cluster.apply()
        cluster.wait_current(NAME)
        yield cluster
        etcd.make_whole()
        cluster.make_whole()
        cluster.services.pop(NAME)
        cluster.apply("-y")


class Store:
    """etcd's record, as an administrator sees it."""

    def __init__(self, cluster, etcd):
        cluster_id = cluster.status()["cluster"]["id"]
        self.etcd, self.host, self.key = etcd, etcd.hosts[0], f"/zbaton/{cluster_id}/vote/{NAME}"

    def vote(self):
        """The record of the witness."""
        found = self.etcd.get(self.key, self.host)
        assert found, self.key
        return json.loads(found)

    def put(self, text):
        """Something else in its place."""
        self.etcd.put(self.key, text, self.host)

    def delete(self):
        """Nothing."""
        self.etcd.delete(self.key, self.host)


def votes(cluster):
    """Both members can ask for etcd's vote."""
    for host in cluster.hosts[:2]:
        witness = cluster.service(NAME, host)["witness"]
        assert witness["by"] == "etcd" and witness["up"], (host.name, witness)
    return True


def ready(cluster, etcd):
    """All is whole, and a witness knows who leads."""
    wait_until(lambda: sessions_open(cluster) and votes(cluster), 90, "every node has a session, and etcd a vote")
    cluster.wait_current(NAME)
    term = cluster.service(NAME)["term"]
    wait_until(lambda: int(Store(cluster, etcd).vote()["learned_term"]) == term, 60, "the witness knows the leader")


@pytest.mark.long
def test_one_member_and_etcd_are_a_majority(pair, etcd, tmp_path):  # noqa: F811
    """The leader loses power: the other one leads by itself in time, and is followed by it afterwards."""
    ready(pair, etcd)
    old = pair.leader(NAME)
    new = next(host for host in pair.hosts[:2] if host is not old)
    before = {host.name: pair.rescues(host, NAME) for host in pair.hosts[:2]}
    recorder = Recorder(pair.lab, str(tmp_path), port=PORT, name=tmp_path.name)
    recorder.wait_more(20)
    begun = time.monotonic()
    watch = Watch(pair, NAME).start()
    pair.zbaton(f"sync {NAME}", host=old)
    store = Store(pair, etcd)
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
def test_both_members_are_a_majority_without_etcds_vote(pair, etcd):  # noqa: F811
    """A record that cannot be read is no vote, and is told; who leads can be changed all the same."""
    ready(pair, etcd)
    old = pair.leader(NAME)
    new = next(host for host in pair.hosts[:2] if host is not old)
    store = Store(pair, etcd)
    store.put("nothing of ours")
    pair.move(NAME, new.name)
    pair.wait_current(NAME, new.name)
    wait_until(lambda: "A-witness-record" in pair.zbaton("events", host=new).out, 30, "the record is told to be bad")
    store.delete()
    ready(pair, etcd)


@pytest.mark.long
def test_without_etcd_nobody_leads(pair, etcd):  # noqa: F811
    """Sessions end with etcd, whoever votes: nobody writes, a move is refused, and it goes on by itself afterwards."""
    ready(pair, etcd)
    old = pair.leader(NAME)
    new = next(host for host in pair.hosts[:2] if host is not old)
    try:
        for member in etcd.hosts:
            etcd.signal(member, "STOP")
        wait_until(lambda: pair.writers(NAME) == [], 40, "nobody can write")
        assert pair.zbaton(f"move {NAME} {new.name}", host=old, check=False).rc != 0
    finally:
        etcd.make_whole()
    wait_until(lambda: pair.leader(NAME, old) is old, 60, f"{NAME} runs again where it ran last")
    ready(pair, etcd)
