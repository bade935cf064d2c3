"""Children of a led tree that come, go and change their names: every member gets the same, and nothing is destroyed."""

import pytest
from zblab import wait_until


def value(host, dataset, prop):
    """A property's value."""
    return host.run(f"zfs get -Hp -o value {prop} {dataset}").out.strip()


def tree(host, top):
    """{name below top: guid} of the file systems there."""
    said = host.run(f"zfs list -Hp -r -t filesystem -o name,guid {top}").out
    return {line.split("\t")[0][len(top):].lstrip("/"): line.split("\t")[1] for line in said.splitlines()}


def child_create(cluster, host, name, child, text):
    """A new child of a led tree with a file; it becomes writable with the next set."""
    host.run(f"zfs create {cluster.dataset(host, name, child)}")
    cluster.zbaton(f"sync {name}", host=host)
    path = f"/srv/{name}/{child}/file"
    wait_until(lambda: host.run(f"echo {text} >{path}", check=False).rc == 0, 30, f"{child} is writable")
    cluster.zbaton(f"sync {name}", host=host)


def test_children_made_anew_and_renamed_reach_every_member(cluster):
    cluster.declare("kids", start="redis 6481")
    cluster.apply()
    cluster.wait_current("kids", "vm1")
    one, two, three = cluster.hosts
    tops = {host.name: cluster.dataset(host, "kids") for host in cluster.hosts}
    top = tops["vm1"]
    for child in ("anew", "renamed"):
        child_create(cluster, one, "kids", child, f"first-{child}")
    cluster.wait_current("kids", "vm1")
    before = {host.name: tree(host, tops[host.name]) for host in (two, three)}
    uuid = value(one, f"{top}/anew", "zbaton:uuid")

    one.run(f"zfs destroy -r {top}/anew")
    child_create(cluster, one, "kids", "anew", "second-anew")
    one.run(f"zfs rename {top}/renamed {top}/other")
    child_create(cluster, one, "kids", "renamed", "second-renamed")
    cluster.wait_current("kids", "vm1")

    leader = cluster.snapshots(one, "kids")
    aside = f"anew.aside-{uuid[:8]}"
    for host in (two, three):
        here = tree(host, tops[host.name])
        assert set(here) == {"", "anew", "renamed", "other", aside}, here
        assert here[aside] == before[host.name]["anew"], "the old one is there under another name"
        assert value(host, f"{tops[host.name]}/{aside}", "zbaton:orphan") == "1"
        assert here["other"] == before[host.name]["renamed"], "renamed, not sent again"
        assert host.run(f"zfs list -H -t snapshot -o name {tops[host.name]}/{aside}").out, "with its snapshots"
        snaps = cluster.snapshots(host, "kids")
        for child, theirs in snaps.items():
            newest = list(leader[child])[-1]
            assert theirs[newest] == leader[child][newest], (host.name, child)
        assert list(snaps["anew"].values())[0] == list(leader["anew"].values())[0], "received in full"

    cluster.move("kids", "vm2")
    cluster.wait_current("kids", "vm2")
    for child, text in (("anew", "second-anew"), ("renamed", "second-renamed"), ("other", "first-renamed")):
        assert two.run(f"cat /srv/kids/{child}/file").out == f"{text}\n"
    two.run(f"mkdir -p /run/peek && mount -t zfs -o ro,zfsutil {tops['vm2']}/{aside} /run/peek")
    try:
        assert two.run("cat /run/peek/file").out == "first-anew\n"
    finally:
        two.run("umount /run/peek")
    cluster.move("kids", "vm1")
    cluster.wait_current("kids", "vm1")
    assert set(tree(one, top)) == {"", "anew", "renamed", "other"}


@pytest.mark.long
def test_a_leader_that_lost_a_child_leads_again_after_a_power_cut(cluster):
    cluster.declare("lost", start="redis 6482", interval="1h")
    cluster.apply()
    cluster.wait_current("lost", "vm1")
    one, two, _ = cluster.hosts
    child_create(cluster, one, "lost", "child", "precious")
    cluster.wait_current("lost", "vm1")
    term = cluster.service("lost")["term"]
    cluster.daemon_stop(one)
    one.run(f"zfs destroy -r {cluster.dataset(one, 'lost', 'child')}; zpool sync")
    one.power_cut()
    one.boot()
    cluster.daemon_start(one)
    cluster.wait_current("lost", "vm1", 300)
    assert cluster.service("lost")["term"] > term
    assert cluster.writers("lost") == [one]
    assert "precious" not in one.run("cat /srv/lost/child/file", check=False).out
    copy = cluster.snapshots(two, "lost")["child"]
    assert copy, "what the leader destroyed is destroyed nowhere else"


@pytest.mark.long
def test_a_disk_that_went_back_is_refused_until_it_is_whole(cluster):
    cluster.declare("back", start="redis 6483", interval="1h")
    cluster.apply()
    cluster.wait_current("back", "vm1")
    one, two, _ = cluster.hosts
    top = cluster.dataset(one, "back")
    cluster.zbaton("sync back")
    cluster.wait_current("back", "vm1")
    older = list(cluster.snapshots(one, "back")[""])[-1]
    one.run("redis-cli -p 6483 set key value")
    cluster.zbaton("sync back")
    cluster.wait_current("back", "vm1")
    newest = list(cluster.snapshots(two, "back")[""])[-1]
    assert newest != older
    one.power_cut()
    one.boot()
    one.run(f"zfs rollback -r {top}@{older}")
    cluster.daemon_start(one)
    wait_until(lambda: "R-own-disk-older" in cluster.zbaton("events -j", host=one).out, 120, "it is noticed")
    assert cluster.writers("back") == []

    cluster.daemon_stop(one)
    copy = cluster.dataset(two, "back")
    two.run(f"zfs send -i @{older} {copy}@{newest} >/tmp/back.stream")
    two.get("/tmp/back.stream", "/tmp/zblab-back.stream")
    one.put("/tmp/zblab-back.stream", "/tmp/back.stream")
    one.run(f"zfs receive -u {top} </tmp/back.stream; rm /tmp/back.stream")
    cluster.daemon_start(one)
    cluster.wait_current("back", "vm1", 300)
    assert one.run("redis-cli -p 6483 get key").out == "value\n"
