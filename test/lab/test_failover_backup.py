"""A backup never leads and does not vote, but it may hold more than everybody else.

Four hosts: with the leader gone, two of three members still are a majority.
"""

import pytest
from test_failover import NAME, PORT, Web
from test_move import assert_same_history
from zblab import Lab, wait_until
from zblab.cluster import Cluster

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def four():
    """zbaton on four hosts, the last one a backup."""
    with Lab(hosts=4) as lab:
        cluster = Cluster(lab).start()
        names = [host.name for host in lab.hosts]
        cluster.declare(NAME, start=f"redis {PORT}", interval="1h", keep=200, members=names[:3],
                        backups=names[3:])
        cluster.apply()
        yield cluster


@pytest.fixture
def web(four, tmp_path):
    """The service, running and current everywhere."""
    four.wait_current(NAME)
    four.zbaton(f"sync {NAME}")
    web = Web(four, tmp_path)
    yield web
    web.recorder.stop()


def backup_alone_is_ahead(web):
    """The backup gets a set that no member but the leader has; then the leader is gone."""
    cluster, backup = web.cluster, web.cluster.hosts[3]
    web.write()
    cluster.zbaton(f"sync {NAME}")
    web.new.link(False)
    web.third.link(False)
    web.write()
    there = web.written_on(web.old)
    cluster.zbaton(f"snapshot {NAME}", host=web.old)
    at = cluster.member(NAME, web.old.name, web.old)["newest_set"]
    wait_until(lambda: cluster.member(NAME, backup.name, backup)["newest_set"] == at, 60, "the backup has the set")
    web.cut_old()
    return backup, at, there


def test_a_backup_that_is_ahead_comes_first(four, web):
    backup, at, there = backup_alone_is_ahead(web)
    web.new.link(True)
    web.third.link(True)
    four.wait_up(3, backup)  # a member that still sees the leader is believed
    said = web.failover(up=3)
    assert f"from {backup.name}" in said.out, said.out
    fork = four.terms(NAME, web.new)[-1]["fork_set"]
    assert (fork["term"], fork["seq"]) == (at["term"], at["seq"])
    web.old_back()
    web.settled()
    web.assert_all_kept()
    assert there <= set(web.recorder.stored(web.new)), "what was in the set is live"
    assert web.rescues(backup) == []


def test_a_backup_that_was_cut_off_keeps_what_it_holds(four, web):
    backup, _, there = backup_alone_is_ahead(web)
    before = {snap: guid for snaps in four.snapshots(backup, NAME).values() for snap, guid in snaps.items()}
    backup.link(False)
    web.new.link(True)
    web.third.link(True)
    web.failover()  # its link was down while the backup got its set: it knows of nobody ahead
    web.write()
    backup.link(True)
    web.old_back()
    web.settled()
    web.assert_all_kept(web.old, backup)
    [rescue] = web.rescues(backup)
    aside = f"{backup.pool}/services/.rescue/{rescue}"
    kept = backup.run(f"zfs list -Hp -t snapshot -o guid -r {aside} {four.dataset(backup, NAME)}").out.split()
    assert set(before.values()) <= set(kept), "nothing that the backup held is gone"
    lost = there - set(web.recorder.stored(web.new))
    with four.rescue(backup, rescue) as path:
        assert lost <= set(web.recorder.stored_in(backup, path)), "what was in its set"
    assert_same_history(four, NAME)
