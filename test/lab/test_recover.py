"""What `zbaton init --recover` finds on a host, and where it refuses; nothing is changed by it here. The whole of it
is in test_disaster.py."""

import pytest
from zblab.cluster import PORT, ROOT

NAME = "kept"


@pytest.fixture
def kept(cluster):
    """A service of data alone, current everywhere; daemons that a test stops are started again."""
    cluster.declare(NAME, runner="none", interval="1h")
    cluster.apply()
    cluster.wait_current(NAME)
    yield cluster
    for host in cluster.hosts:
        if cluster.zbaton("status -j", host=host, check=False).rc != 0:
            cluster.daemon_start(host)


def recover(cluster, host, flags="-n"):
    identity = f"--node {host.name} --root {host.pool}/{ROOT} --listen {host.data_ip}:{PORT}"
    return cluster.zbaton(f"init --recover {flags} --cluster other {identity}", host=host, check=False)


def test_what_is_left_is_told(kept):
    leader = kept.leader(NAME) or kept.lab[kept.service(NAME)["leader"]]
    backup = next(host for host in kept.hosts if host is not leader)
    at = kept.member(NAME, backup.name)["newest_set"]

    said = recover(kept, backup)
    assert said.rc != 0 and "zbatond runs on /var/lib/zbaton" in said.err and "systemctl stop zbaton" in said.err, said

    kept.daemon_stop(backup)
    before = backup.run("find /var/lib/zbaton -type f | sort; cat /var/lib/zbaton/cluster.json").out
    said = recover(kept, backup)
    assert said.rc == 0, said
    line = next(line.split() for line in said.out.splitlines() if line.startswith(f"{NAME} "))
    assert line[1] == f"{at['term']}/{at['seq']}", said.out
    assert f"service {NAME} {{" in said.out and "thousands above it" in said.out, said.out
    # Of this session's other services some may be led there.
    mounted = backup.run("findmnt -t zfs -n -o SOURCE | grep services/", check=False).out
    said = recover(kept, backup, "-y")
    assert said.rc != 0 and ("is mounted" if mounted else "the earlier cluster is not gone") in said.err, said
    assert backup.run("find /var/lib/zbaton -type f | sort; cat /var/lib/zbaton/cluster.json").out == before
    kept.daemon_start(backup)

    # Where it is led it is mounted, though no daemon runs.
    kept.daemon_stop(leader)
    assert "is mounted" in recover(kept, leader).out
    said = recover(kept, leader, "-y")
    assert said.rc != 0 and "is mounted" in said.err and "zfs unmount" in said.err, said
    kept.daemon_start(leader)
    kept.wait_current(NAME)
