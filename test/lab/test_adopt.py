"""Datasets that exist before zbaton: adopted with their data and history, and given back."""

import pytest
from zblab import wait_until

PROPERTIES = "mountpoint,canmount,readonly,atime,setuid,exec,devices"


def properties(host, dataset):
    """{property: (value, source)} of what adoption may touch; canmount has no way back to "default"."""
    said = host.run(f"zfs get -Hp -o property,value,source {PROPERTIES} {dataset}").out
    return {p: (v, s if p != "canmount" else "") for p, v, s in
            (line.split("\t") for line in said.splitlines())}


@pytest.fixture
def old(cluster):
    """A dataset `old` with 30 snapshots on vm1, mounted and in use, not known to zbaton."""
    host = cluster.lab["vm1"]
    top = cluster.dataset(host, "old")
    host.run(f"zfs create -o mountpoint=/srv/old {top} && zfs create {top}/inner && "
             f"for i in $(seq 30); do echo $i >>/srv/old/file; echo $i >>/srv/old/inner/file; "
             f"zfs snapshot -r {top}@daily-$i; done; echo after >>/srv/old/file")
    yield host, top
    cluster.services.pop("old", None)
    cluster.apply(check=False)
    for each in cluster.hosts:
        each.run(f"umount /srv/old/inner /srv/old; zfs destroy -r {cluster.dataset(each, 'old')}", check=False)


def test_adoption_keeps_data_and_history_and_can_be_undone(cluster, old):
    host, top = old
    before = properties(host, top)
    guid = host.run(f"zfs get -Hp -o value guid {top}").out
    process = host.popen("cd /srv/old && exec sleep 500")
    wait_until(lambda: host.run("pgrep -f 'sleep 500'", check=False).rc == 0, 20, "the dataset is in use")
    cluster.declare("old", start="redis 6491", mountpoint="/srv/old")

    dry = cluster.apply("-n").out
    assert "old" in dry and "readonly" in dry and "unmount" in dry, dry
    assert properties(host, top) == before, "a dry run changes nothing"
    refused = cluster.apply("", check=False)
    assert refused.rc == 3, "without consent nothing is unmounted"

    cluster.apply("-y")
    wait_until(lambda: "sleep" in cluster.zbaton("events -j").out, 60, "the holder is named in the events")
    assert host.run("cat /srv/old/file").out.endswith("after\n"), "still mounted while it is held"
    host.run("pkill -f 'sleep 500'")
    process.wait(20)

    cluster.wait_current("old", "vm1", 300)
    assert host.run(f"zfs get -Hp -o value guid {top}").out == guid, "adopted, not copied"
    assert host.run("cat /srv/old/file").out.endswith("30\nafter\n")
    histories = cluster.lab.each(lambda h: cluster.snapshots(h, "old"))
    assert histories[1] == histories[0] and histories[2] == histories[0]
    for rel in ("", "inner"):
        assert {f"daily-{i}" for i in range(1, 31)} <= set(histories[0][rel])

    del cluster.services["old"]
    dry = cluster.apply("-n").out
    assert "old" in dry, dry
    cluster.apply("-y")
    wait_until(lambda: properties(host, top) == before, 60, f"properties as before: {before}")
    wait_until(lambda: host.run("cat /srv/old/file", check=False).out.endswith("30\nafter\n"), 60,
               "mounted as before, with its data")
    assert not host.run(f"zfs get -H -s local -o property all {top} | grep zbaton", check=False).out
    assert "daily-30" in cluster.snapshots(host, "old")[""]


@pytest.mark.long
def test_an_existing_copy_that_shares_a_snapshot_is_adopted(cluster, old):
    host, top = old
    other = cluster.lab["vm2"]
    copy = cluster.dataset(other, "old")
    for rel in ("", "/inner"):
        host.run(f"zfs send -L -c -e {top}{rel}@daily-20 >/tmp/copy.stream")
        host.get("/tmp/copy.stream", "/tmp/zblab-copy.stream")
        other.put("/tmp/zblab-copy.stream", "/tmp/copy.stream")
        other.run(f"zfs receive -u {copy}{rel} </tmp/copy.stream; rm /tmp/copy.stream")
    guid = other.run(f"zfs get -Hp -o value guid {copy} {copy}/inner").out
    cluster.declare("old", start="redis 6491", mountpoint="/srv/old")
    cluster.apply("-y")
    cluster.wait_current("old", "vm1", 300)
    assert other.run(f"zfs get -Hp -o value guid {copy} {copy}/inner").out == guid, "continued, not sent again"
    mine, theirs = cluster.snapshots(host, "old"), cluster.snapshots(other, "old")
    for rel in ("", "inner"):
        shared = [f"daily-{i}" for i in range(20, 31)]
        assert [theirs[rel][s] for s in shared] == [mine[rel][s] for s in shared]


def test_an_unrelated_dataset_in_the_way_is_never_overwritten(cluster, old):
    host, _ = old
    other = cluster.lab["vm3"]
    there = cluster.dataset(other, "old")
    other.run(f"zfs create -o mountpoint=/srv/unrelated {there} && echo precious >/srv/unrelated/file && "
              f"zfs snapshot {there}@mine && zfs umount {there}")
    guid = other.run(f"zfs get -Hp -o value guid {there}").out
    cluster.declare("old", start="redis 6491", mountpoint="/srv/old")
    cluster.apply("-y")
    wait_until(lambda: cluster.leader("old") is host, 60, "old runs on vm1")
    wait_until(lambda: [e for e in cluster.zbaton("events -j").out.splitlines()
                        if "old" in e and "common" in e], 60, "the clash is reported")
    assert other.run(f"zfs get -Hp -o value guid {there}").out == guid
    other.run(f"mkdir -p /run/look && mount -t zfs {there}@mine /run/look")
    try:
        assert other.run("cat /run/look/file").out == "precious\n"
    finally:
        other.run("umount /run/look")
