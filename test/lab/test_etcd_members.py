"""etcd on the hosts of the lab (zblab/etcd.py), whose members can be ended and whose disks can stand still."""

import pytest
from zblab import LabError, wait_until
from zblab.etcd import Etcd


@pytest.fixture
def etcd(lab3):
    with Etcd(lab3) as members:
        yield members


def moved(etcd, old):
    """The leader, once it is another one."""
    def other():
        leader = etcd.leader()
        return leader if leader not in (None, old) else None
    return wait_until(other, 60, f"another leader than {old.name}")


def put(etcd, key, value, host):
    """During an election nothing is done for a moment."""
    wait_until(lambda: etcd.put(key, value, host), 60, f"{key} is put through {host.name}")


def test_etcd_members_fail_and_come_back(etcd):
    for host in etcd.hosts:
        put(etcd, f"/{host.name}", host.name, host)
    for host in etcd.hosts:
        assert [etcd.get(f"/{other.name}", host) for other in etcd.hosts] == ["vm1", "vm2", "vm3"]
    assert etcd.get("/nothere", etcd.hosts[0]) is None
    first = etcd.leader()
    etcd.kill(first)
    second = moved(etcd, first)
    put(etcd, "/a", "after a kill", second)
    etcd.start(first)
    assert etcd.get("/a", first) == "after a kill"

    etcd.freeze(second)
    with pytest.raises(LabError):
        etcd.put("/late", "", second)
    third = moved(etcd, second)
    put(etcd, "/a", "after a freeze", third)
    second.run("echo 1 >/var/tmp/etcd-test; sync /var/tmp/etcd-test; rm /var/tmp/etcd-test")  # the host writes on
    etcd.thaw(second)
    wait_until(lambda: etcd.get("/a", second) == "after a freeze", 60, "the thawed member goes on")


def test_hosts_have_a_software_watchdog(lab3):
    host = lab3["vm1"]
    host.run("modprobe softdog soft_noboot=1")
    try:
        wait_until(lambda: host.run("test -c /dev/watchdog0", check=False).rc == 0, 30, "/dev/watchdog0")
        assert host.run("cat /sys/class/watchdog/watchdog0/identity").out == "Software Watchdog\n"
    finally:
        host.run("modprobe -r softdog")
