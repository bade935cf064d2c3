"""Volumes below a service's dataset: devices where the service is led, and datasets of its sets everywhere."""

import json

import pytest
from zblab import wait_until

# Counts in the first block of its disk, and holds the disk open.
PROGRAM = """#!/usr/bin/python3
import os, sys, time
disk = os.open(f"/dev/zbaton/{sys.argv[1]}/disk", os.O_RDWR)
number = int(os.pread(disk, 16, 0).strip(b"\\0 \\n") or 0)
while True:
    number += 1
    os.pwrite(disk, b"%-16d" % number, 0)
    os.fsync(disk)
    time.sleep(0.1)
"""
PROPERTIES = "readonly,volmode,snapdev,refreservation"


def number(host, device):
    """What the program has counted to, as the device says."""
    return int(host.run(f"head -c 16 {device} | tr -d '\\0'").out or 0)


def properties(host, dataset):
    said = host.run(f"zfs get -Hp -o property,value,source {PROPERTIES} {dataset}").out
    return {line.split("\t")[0]: tuple(line.split("\t")[1:]) for line in said.splitlines()}


def devices(host, top):
    """Devices of the zvols below a dataset."""
    return host.run(f"find /dev/zvol/{top} -type l -exec readlink -e {{}} + 2>/dev/null || true").out.split()


def assert_devices_on(cluster, leader, name, count):
    """The leader has them all, writable; nobody else has any."""
    for host in cluster.hosts:
        top = cluster.dataset(host, name)
        there = devices(host, top)
        assert len(there) == (count if host is leader else 0), (host.name, there)
        if host is leader:
            continue
        for volume in host.run(f"zfs list -Hr -t volume -o name {top}").out.split():
            now = properties(host, volume)
            assert now["readonly"] == ("on", "local") and now["volmode"] == ("none", "local"), (host.name, now)
            assert now["refreservation"][0] == "0", (host.name, now)
        assert host.run(f"test -e /dev/zbaton/{name}/disk", check=False).rc != 0, host.name


@pytest.fixture
def programs(cluster):
    for host in cluster.hosts:
        cluster.command(host, "disk", PROGRAM)


def test_volumes_go_where_the_service_goes(cluster, programs):
    one, two, three = cluster.hosts
    top = cluster.dataset(one, "vm")
    one.run(f"zfs create -o mountpoint=/srv/vm {top} && zfs create -V 64M {top}/disk")
    wait_until(lambda: one.run(f"test -b /dev/zvol/{top}/disk", check=False).rc == 0, 30, "udev made the device's link")
    one.run(f"echo 41 | dd of=/dev/zvol/{top}/disk conv=fsync,notrunc status=none")
    before = properties(one, f"{top}/disk")
    cluster.declare("vm", start="disk vm")
    cluster.apply()
    cluster.wait_current("vm", "vm1")
    wait_until(lambda: number(one, "/dev/zbaton/vm/disk") > 41, 30, "the service writes to its disk, which was adopted")
    assert_devices_on(cluster, one, "vm", 1)

    # One that comes in while the service runs is written to after the next set.
    one.run(f"zfs create {top}/more && zfs create -s -V 32M {top}/more/second")
    cluster.zbaton("sync vm")
    wait_until(lambda: one.run("dd if=/dev/urandom of=/dev/zbaton/vm/more/second bs=1M count=20 conv=fsync,notrunc",
                               check=False).rc == 0, 30, "the second disk can be written to")
    digest = one.run("sha256sum </dev/zbaton/vm/more/second").out
    cluster.zbaton("sync vm")
    cluster.wait_current("vm", "vm1")
    assert_devices_on(cluster, one, "vm", 2)

    # Who has it open beside the service is named, and the service goes on here.
    one.run("exec 3<>/dev/zbaton/vm/more/second; setsid sleep 500 >/dev/null 2>&1 & echo $! >/run/holder.pid")
    refused = cluster.move("vm", "vm2", check=False)
    assert refused.rc != 0 and "(sleep) has /dev/zd" in refused.out + refused.err, refused
    wait_until(lambda: cluster.leader("vm") is one, 60, "the service runs where it was")
    least = number(one, "/dev/zbaton/vm/disk")
    wait_until(lambda: number(one, "/dev/zbaton/vm/disk") > least, 30, "and writes")
    one.run("kill $(cat /run/holder.pid)")

    # Somebody's own below a follower's tree is in the way of nothing.
    foreign = cluster.dataset(two, "vm", "foreign")
    two.run(f"zfs create -s -V 8M {foreign}")
    cluster.zbaton("sync vm")
    cluster.wait_current("vm", "vm1")
    two.run(f"zfs destroy {foreign}")

    source = one
    for target in (two, three, one):
        cluster.wait_current("vm", source.name)
        least = number(source, "/dev/zbaton/vm/disk")
        cluster.move("vm", target.name)
        cluster.wait_current("vm", target.name)
        wait_until(lambda: number(target, "/dev/zbaton/vm/disk") > least, 30, "it counts on from where it was")
        assert target.run("sha256sum </dev/zbaton/vm/more/second").out == digest
        assert_devices_on(cluster, target, "vm", 2)
        source = target

    # Compared part by part; what a peek shows of it cannot be written to.
    said = json.loads(cluster.zbaton("verify -j --full vm", timeout=180).out)
    assert said["same"] and [node["read_files"] for node in said["nodes"]] == [4 + 2] * 3, said  # parts of 64 and 32 MiB
    path = cluster.zbaton("peek vm", host=two).out.strip()
    peeked = f"/dev/zvol/{two.pool}/services/.peek/{path.split('/')[-1]}"
    assert two.run(f"sha256sum <{peeked}/more/second").out == digest
    assert number(two, f"{peeked}/disk") > 41
    assert two.run(f"dd if=/dev/zero of={peeked}/disk bs=4k count=1", check=False).rc != 0
    cluster.zbaton(f"peek end {path.split('/')[-1]}", host=two)
    assert devices(two, f"{two.pool}/services/.peek") == []

    del cluster.services["vm"]
    cluster.apply()

    def given_back():
        now = properties(one, f"{top}/disk")
        assert now == before, (now, before)
        return True
    wait_until(given_back, 60, "the disk is as it was")
    wait_until(lambda: len(devices(one, top)) == 2, 30, "the devices are there")
    one.run(f"zfs destroy -r {top}")


@pytest.mark.long
def test_what_a_dead_leader_alone_had_on_a_volume_is_rescued(cluster):
    one, two, _ = cluster.hosts
    cluster.declare("disks", runner="none", interval="1h")
    cluster.apply()
    cluster.wait_current("disks", "vm1")
    one.run(f"zfs create -V 64M {cluster.dataset(one, 'disks', 'disk')}")
    cluster.zbaton("sync disks")
    device = "/dev/zbaton/disks/disk"
    wait_until(lambda: one.run(f"echo 7 | dd of={device} conv=fsync,notrunc status=none", check=False).rc == 0, 30,
               "the disk can be written to")
    cluster.zbaton("sync disks")
    one.run(f"echo 8 | dd of={device} conv=fsync,notrunc status=none")  # in the intent log alone
    one.power_cut()
    for host in (two, cluster.hosts[2]):
        cluster.wait_up(2, host)
    cluster.failover("disks", "vm2", "vm1")
    wait_until(lambda: number(two, device) == 7, 60, "the new leader has what was distributed")
    two.run(f"echo 9 | dd of={device} conv=fsync,notrunc status=none")

    one.boot()
    cluster.daemon_start(one)
    cluster.wait_up(3, two)
    cluster.zbaton("sync disks", host=two)
    cluster.wait_current("disks", "vm2")
    assert_devices_on(cluster, two, "disks", 1)
    made = cluster.rescues(one, "disks")
    assert len(made) == 1, made
    with cluster.rescue(one, made[0]):
        kept = f"/dev/zvol/{one.pool}/services/.rescue/{made[0]}/disk"
        assert number(one, kept) == 8, "what was fsync'ed before the power cut"
        assert one.run(f"dd if=/dev/zero of={kept} bs=4k count=1", check=False).rc != 0
    assert devices(one, f"{one.pool}/services/.rescue") == []
    cluster.move("disks", "vm1")
    cluster.wait_current("disks", "vm1")
    assert number(one, device) == 9
