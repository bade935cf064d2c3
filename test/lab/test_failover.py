"""A leader is gone and another host is told to lead; what the old one alone had written is kept.

The service's sets are taken only when they are asked for, so that each test says who holds what.
Nobody is moved back in between: each test begins with whoever leads.
"""

import subprocess
import threading

import pytest
from test_move import assert_same_history
from zblab import wait_until
from zblab.cluster import Recorder

pytestmark = pytest.mark.long

NAME = "web"
PORT = 6431
CHILDREN = ("kept", "kept/deep", "gone")


class Web:
    """The service at the begin of a test: who leads it, who else is there, and a client."""

    def __init__(self, cluster, folder):
        self.cluster = cluster
        self.old = cluster.leader(NAME)
        self.new, self.third = [host for host in cluster.hosts[:3] if host is not self.old]
        self.before = {host.name: cluster.rescues(host, NAME) for host in cluster.hosts}
        self.term = cluster.service(NAME)["term"]
        self.folder = folder
        self.recorder = None

    def write(self, count=20):
        """Has a client write, from now on; returns when so many more records are acknowledged."""
        if self.recorder is None:
            self.recorder = Recorder(self.cluster.lab, self.folder, port=PORT, name=self.folder.name)
        self.recorder.wait_more(count)

    def written_on(self, host):
        """Numbers of the records that the service acknowledged on a host."""
        return {number for number, _, address in self.recorder.acknowledged() if address == host.mgmt_ip}

    def set_alone(self):
        """A set that only the leader has; its link stays down."""
        self.old.link(False)
        self.cluster.zbaton(f"snapshot {NAME}", host=self.old)

    def cut_old(self):
        """Power cut of the leader; its link is up when it comes back."""
        self.old.power_cut()
        self.old.link(True)

    def failover(self, up=2, **kwargs):
        """The new leader is told to lead, the old one is said to be off; so many nodes are up."""
        for host in (self.new, self.third):
            self.cluster.wait_up(up, host)
        said = self.cluster.failover(NAME, self.new.name, self.old.name, **kwargs)
        wait_until(lambda: self.cluster.leader(NAME, self.new) is self.new, 60, f"{NAME} runs on {self.new.name}")
        assert self.cluster.service(NAME, self.new)["term"] > self.term
        return said

    def old_back(self):
        """The old leader is switched on, and its daemon starts."""
        self.old.boot()
        self.cluster.daemon_start(self.old)

    def rescues(self, host=None):
        """Rescues that were made during the test."""
        host = host or self.old
        return [r for r in self.cluster.rescues(host, NAME) if r not in self.before[host.name]]

    def rescue(self, host=None):
        """The one rescue that the test made, once everybody follows."""
        self.settled()
        made = self.rescues(host)
        assert len(made) == 1, made
        return made[0]

    def settled(self):
        """Everybody holds the newest set of the new leader, and the same snapshots by guid."""
        self.cluster.zbaton(f"sync {NAME}", host=self.new)
        self.cluster.wait_current(NAME, self.new.name)
        self.cluster.assert_at_rest(NAME)
        assert self.cluster.writers(NAME) == [self.new]
        return assert_same_history(self.cluster, NAME)

    def assert_all_kept(self, *hosts):
        """Every acknowledged record is live or in a rescue; returns (acknowledged, live, rescued)."""
        made = [(host, rescue) for host in hosts or [self.old] for rescue in self.rescues(host)]
        return self.recorder.assert_all_kept(self.cluster, self.new, made)


@pytest.fixture
def web(cluster, tmp_path):
    """The service, running and current everywhere."""
    cluster.declare(NAME, start=f"redis {PORT}", interval="1h", keep=200)
    cluster.apply()
    cluster.wait_current(NAME)
    cluster.zbaton(f"sync {NAME}")
    web = Web(cluster, tmp_path)
    yield web
    if web.recorder:
        web.recorder.stop()


def test_what_was_not_distributed_is_rescued(cluster, web):
    web.write()
    cluster.zbaton(f"sync {NAME}")
    web.write()
    web.set_alone()
    web.write()
    web.cut_old()
    here = web.written_on(web.old)

    said = web.failover()
    print(said.out)
    assert f"Lost at most: what {web.old.name} wrote after set {web.term}/" in said.out
    web.write()
    lost = here - set(web.recorder.stored(web.new))
    assert len(lost) >= 40, "what was written after the sync was on the old leader only"

    web.old_back()
    rescue = web.rescue()
    _, live, rescued = web.assert_all_kept()
    assert lost <= rescued and not lost & live
    term = cluster.terms(NAME, web.third)[-1]
    assert (term["leader"], term["reason"]) == (web.new.name, "failover"), term
    assert web.old.name in term["lost"], term
    told = wait_until(lambda: [told for told in [cluster.member(NAME, web.old.name, web.third)["rescues"]]
                               if told["name"] == rescue], 60, f"{web.third.name} shows the rescue in status")[0]
    assert told["bytes"] > 0 and told["fork"] == f"{term['fork_set']['term']}/{term['fork_set']['seq']}", told
    top = f"{web.old.pool}/services/.rescue/{rescue}"
    snaps = web.old.run(f"zfs list -Hp -d 1 -t snapshot -o name {top}").out.split()
    assert len(snaps) == 1, f"the set that it had alone: {snaps}"


def test_synced_writes_of_the_intent_log_are_rescued(cluster, web):
    web.write(5)
    cluster.zbaton(f"sync {NAME}")
    web.write(30)
    web.cut_old()
    here = web.written_on(web.old)
    web.failover()
    lost = here - set(web.recorder.stored(web.new))
    assert len(lost) >= 30
    web.old_back()
    rescue = web.rescue()
    _, live, rescued = web.assert_all_kept()
    assert lost <= rescued and not lost & live
    top = f"{web.old.pool}/services/.rescue/{rescue}"
    snaps = web.old.run(f"zfs list -Hp -d 1 -t snapshot -o name {top}").out.split()
    assert not snaps, "no set was taken after the fork"


def test_nothing_written_nothing_said(cluster, web):
    cluster.zbaton(f"sync {NAME}")
    told = {(e["time"], e["rule"]) for e in cluster.events(NAME, web.old)}
    web.old.power_cut()
    web.failover()
    web.old_back()
    history = web.settled()
    assert history[""]
    assert web.rescues() == []
    events = cluster.events(NAME, web.old)
    assert events, "what it said before it lost its power"
    assert [e for e in events if (e["time"], e["rule"]) not in told and e["level"] != "info"] == []


def make_children(web):
    """A tree with children that everybody has."""
    top = web.cluster.dataset(web.old, NAME)
    for child in CHILDREN:
        web.old.run(f"zfs create {top}/{child}")
        web.cluster.zbaton(f"snapshot {NAME}")  # a new child is made writable with its first set
        web.old.run(f"echo before >/srv/{NAME}/{child}/file")
    web.cluster.zbaton(f"sync {NAME}")
    return top


def drop_children(web):
    """The tree is one dataset again; the followers keep theirs as orphans, which a promotion would make them."""
    top = web.cluster.dataset(web.new, NAME)
    web.new.run(f"zfs destroy -r {top}/gone && zfs destroy -r {top}/kept")
    web.cluster.zbaton(f"sync {NAME}", host=web.new)
    for host in (web.old, web.third):
        top = web.cluster.dataset(host, NAME)
        host.run(f"zfs set zbaton:orphan=1 {top}/gone {top}/kept")


def test_children_that_came_away(cluster, web):
    top = make_children(web)
    web.write()
    cluster.zbaton(f"sync {NAME}")
    web.set_alone()
    web.old.run(f"for c in kept kept/deep; do echo after >/srv/{NAME}/$c/file; done; zfs create {top}/made")
    wait_until(lambda: web.old.run(f"zfs destroy -r {top}/gone", check=False).rc == 0, 60, "nothing of it is being sent")
    cluster.zbaton(f"snapshot {NAME}", host=web.old)
    web.old.run(f"echo made >/srv/{NAME}/made/file; zfs create {top}/empty; sync")
    web.cut_old()
    web.failover()
    web.old_back()
    rescue = web.rescue()
    web.assert_all_kept()
    with cluster.rescue(web.old, rescue) as path:
        for child, text in (("kept", "after"), ("kept/deep", "after"), ("made", "made")):
            assert web.old.run(f"cat {path}/{child}/file").out == f"{text}\n"
    history = assert_same_history(cluster, NAME)
    assert set(history) == {"", *CHILDREN}, "the tree is the new leader's"
    for child in CHILDREN:
        assert web.new.run(f"cat /srv/{NAME}/{child}/file").out == "before\n"
    drop_children(web)


def foreign_things(web, top):
    """After the fork, on the old leader: another tool's snapshot, hold, clone, bookmark, and quotas."""
    pool = web.old.pool
    web.old.run(f"echo tool >/srv/{NAME}/kept/tool; zfs snapshot -r {top}@tool && "
                f"zfs hold -r keep {top}@tool && zfs clone -o canmount=noauto {top}/kept@tool {pool}/mine && "
                f"zfs bookmark {top}/kept@tool {top}/kept#mark && zfs set refquota=64M {top}/kept; sync")


def partial_receive(web, top):
    """What another tool left half received in a child, made on the host before its daemon starts."""
    pool, child = web.old.pool, f"{top}/kept/deep"
    newest = web.old.run(f"zfs list -Hp -d 1 -t snapshot -s createtxg -o name {child}").out.split()[-1]
    base = newest.split("@")[1]
    # Not a clone: what is sent of one from its origin is received into nothing that is there.
    said = web.old.run(f"zfs send {newest} | zfs receive -o readonly=off -o mountpoint=/mnt -o canmount=on {pool}/tmp && "
                f"dd if=/dev/urandom of=/mnt/bulk bs=1M count=2 status=none && zfs snapshot {pool}/tmp@next && "
                f"zfs send -i @{base} {pool}/tmp@next | head -c 1500000 | zfs receive -s -u {child}; "
                f"zfs destroy -r {pool}/tmp")
    token = web.old.run(f"zfs get -H -o value receive_resume_token {child}").out.strip()
    assert len(token) > 10, said


def test_foreign_things_do_not_block_and_survive(cluster, web):
    top = make_children(web)
    web.write()
    cluster.zbaton(f"sync {NAME}")
    web.old.link(False)
    foreign_things(web, top)
    web.write()
    web.cut_old()
    web.failover()
    web.new.run(f"dd if=/dev/urandom of=/srv/{NAME}/kept/more bs=1M count=96 status=none")
    cluster.zbaton(f"sync {NAME}", host=web.new)
    web.old.boot()
    partial_receive(web, top)
    cluster.daemon_start(web.old)
    rescue = web.rescue()
    web.assert_all_kept()
    aside = f"{web.old.pool}/services/.rescue/{rescue}"
    assert "keep" in web.old.run(f"zfs holds -H {aside}/kept@tool").out
    assert web.old.run(f"zfs get -H -o value origin {web.old.pool}/mine").out.strip() == f"{aside}/kept@tool"
    assert web.old.run(f"zfs list -H -t bookmark -o name -r {aside}").out.split() == [f"{aside}/kept#mark"]
    with cluster.rescue(web.old, rescue) as path:
        assert web.old.run(f"cat {path}/kept/tool").out == "tool\n"
    web.old.run(f"zfs destroy {web.old.pool}/mine; zfs release -r keep {aside}@tool")
    drop_children(web)


def test_who_is_ahead_comes_first(cluster, web):
    web.write()
    cluster.zbaton(f"sync {NAME}")
    web.new.link(False)
    web.write()
    there = web.written_on(web.old)
    cluster.zbaton(f"snapshot {NAME}", host=web.old)
    at = cluster.member(NAME, web.old.name, web.old)["newest_set"]
    wait_until(lambda: cluster.member(NAME, web.third.name, web.third)["newest_set"] == at, 60,
               f"{web.third.name} has the set")
    web.write()
    web.cut_old()
    web.new.link(True)
    said = web.failover()
    assert f"from {web.third.name}" in said.out, said.out
    fork = cluster.terms(NAME, web.new)[-1]["fork_set"]
    assert (fork["term"], fork["seq"]) == (at["term"], at["seq"])
    web.old_back()
    web.rescue()
    web.write()
    _, live, _ = web.assert_all_kept()
    assert there <= live, "what was in the set is live"


def test_a_leader_that_is_there_is_not_taken_over(cluster, web):
    web.write()
    refused = cluster.failover(NAME, web.new.name, check=False)
    assert refused.rc == 3 and "zbaton move" in refused.err, refused
    web.old.power_cut()
    for host in (web.new, web.third):
        cluster.wait_up(2, host)
    refused = cluster.failover(NAME, web.new.name, check=False)
    assert refused.rc == 3, refused
    assert f"zbaton failover --fenced {web.old.name} --to {web.new.name} {NAME}" in refused.err, refused
    web.old_back()
    # Its term was granted away, and nobody leads that one: it takes the next, with all that it wrote.
    wait_until(lambda: cluster.leader(NAME, web.old) is web.old, 90, f"{web.old.name} leads again")
    web.new = web.old
    web.settled()
    assert web.rescues() == []
    assert web.recorder.assert_nothing_lost(web.old)


def test_the_old_leader_returns_while_it_is_waited_for(cluster, web):
    web.write()
    cluster.zbaton(f"sync {NAME}")
    web.write()
    web.cut_old()
    for host in (web.new, web.third):
        cluster.wait_up(2, host)
    command = subprocess.Popen(web.new.ssh_argv(f"zbaton failover {NAME} --to {web.new.name}", tty=True),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        command.stdin.write(b"y\n\n")  # takes it; does not say that the old leader is off
        command.stdin.flush()
        web.old_back()
        said = command.communicate(timeout=120)[0].decode()
    finally:
        command.kill()
    print(said)
    assert command.returncode in (0, 6), said  # 6: it came back, and has not caught up yet
    assert "may still be writing" in said
    wait_until(lambda: cluster.leader(NAME, web.new) is web.new, 60, f"{NAME} runs on {web.new.name}")
    web.settled()
    web.assert_all_kept()


def test_two_operators_at_once(cluster, web):
    web.write()
    cluster.zbaton(f"sync {NAME}")
    web.cut_old()
    for host in (web.new, web.third):
        cluster.wait_up(2, host)
    said = {}

    def order(host):
        said[host.name] = cluster.failover(NAME, host.name, web.old.name, check=False)

    orders = [threading.Thread(target=order, args=(host,)) for host in (web.new, web.third)]
    for each in orders:
        each.start()
    for each in orders:
        each.join()
    print(said)
    leader = wait_until(lambda: cluster.leader(NAME, web.new), 60, "one of them leads")
    loser = web.third if leader is web.new else web.new
    assert said[leader.name].rc in (0, 6), said
    assert said[loser.name].rc in (1, 3), said
    assert said[loser.name].err, said
    web.new, web.third = leader, loser
    web.old_back()
    web.settled()
    web.assert_all_kept()


def test_a_leader_is_renewed_after_a_failover_that_was_given_up(cluster, web):
    web.write()
    web.old.link(False)
    cluster.wait_up(2, web.new)
    refused = cluster.failover(NAME, web.new.name, check=False)
    assert refused.rc == 3, refused
    web.old.link(True)
    cluster.wait_up(3, web.old)
    web.write()
    cluster.zbaton(f"failover {NAME} --to {web.old.name} -y", host=web.old, timeout=120)
    wait_until(lambda: cluster.leader(NAME) is web.old, 60, "it leads a new term")
    web.new = web.old
    web.settled()
    assert cluster.service(NAME)["term"] > web.term + 1
    assert web.rescues() == []
    assert web.recorder.assert_nothing_lost(web.old)
