"""make demo on a machine that has ZFS: three agents on loopback, inside one host of the lab."""

import io
import os
import re
import tarfile

import pytest
from zblab import Lab, wait_until
from zblab.cluster import TOP, stage

pytestmark = pytest.mark.long

HOME = "/opt/zbaton-demo"
# What the demonstration may change of its machine, read before and after it.
TRACES = {
    "pools": "zpool list -H -o name",
    "processes": "pgrep -l 'zbaton|redis|unshare|sleep|record' || true",
    "groups": "find /sys/fs/cgroup -name '*zb*'",
    "files": "ls -d /etc/zbaton /var/lib/zbaton /run/zbaton* /srv/* /var/tmp/* /var/log/zbat* 2>/dev/null || true",
    "users": "cat /etc/passwd /etc/group",
    "mounts": "grep -E 'zblocal|zbaton' /proc/mounts || true",
    "namespaces": "readlink /proc/[0-9]*/ns/mnt /proc/[0-9]*/ns/net | sort -u | wc -l",
}


def traces(host):
    """The state of the host, by name."""
    return {name: host.run(cmd).out for name, cmd in TRACES.items()}


def assert_as_before(host, before):
    """Nothing is left of the demonstration; the last namespaces go a moment after their processes."""
    def as_before():
        now = traces(host)
        assert now == before, {name: (before[name], now[name]) for name in now if now[name] != before[name]}
        return True
    wait_until(as_before, 20, "the host is as before")


@pytest.fixture(scope="module")
def machine():
    """A host with ZFS and a clone of the project, where zbaton's users do not exist."""
    with Lab(hosts=1) as lab:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(os.path.join(TOP, "lab"), "lab")
            tar.add(stage(), "build/stage")
        host = lab["vm1"]
        host.run(f"mkdir -p {HOME} && tar -C {HOME} --no-same-owner -xf -", input=archive.getvalue(), timeout=120)
        host.run("sed -i '/zbaton/d' /etc/passwd /etc/group && rm /usr/bin/redis-server")
        yield host


def test_demo_moves_redis_over_three_agents_and_leaves_nothing(machine):
    before = traces(machine)
    done = machine.run(f"{HOME}/lab/demo", timeout=900, check=False)
    assert done.rc == 0, done.out + done.err
    assert "This machine has ZFS" in done.out
    for node in ("vm2", "vm3", "vm1"):
        assert re.search(rf"^redis runs on {node}\. Down for .* Nothing lost\.$", done.out, re.M), done.out
    counts = re.search(r"== (\d+) records were acknowledged, (\d+) are there: nothing lost in 3 moves\.", done.out)
    assert counts and counts[1] == counts[2] and int(counts[1]) >= 110, done.out
    assert "equal by guid on all three hosts (zblocal-pool1, zblocal-tank, zblocal-zdata)" in done.out, done.out
    assert_as_before(machine, before)


@pytest.mark.parametrize("signal", ["INT", "TERM"])
def test_demo_that_is_ended_leaves_nothing(machine, signal):
    before = traces(machine)
    machine.run(f"env --default-signal=INT setsid {HOME}/lab/demo >/tmp/demo.log 2>&1 </dev/null & echo $! >/tmp/demo.pid")
    wait_until(lambda: "Move to vm2" in machine.run("cat /tmp/demo.log").out, 300, "the demonstration moves", 1)
    machine.run(f"kill -{signal} $(cat /tmp/demo.pid)")
    wait_until(lambda: machine.run("kill -0 $(cat /tmp/demo.pid)", check=False).rc != 0, 120, "it ends")
    assert_as_before(machine, before)
