"""Nodes of a cluster: who is needed stays, and who comes late gets its copy from who has least to do."""

import pytest
from zblab import wait_until


def test_who_leads_is_not_taken_out(cluster):
    cluster.declare("needed", runner="none", interval="1h")
    cluster.apply()
    cluster.wait_current("needed", "vm1")
    cluster.move("needed", "vm3")
    cluster.wait_current("needed", "vm3")
    said = cluster.zbaton("node remove -y vm3", check=False)
    assert said.rc == 3 and "vm3 leads " in said.err and "hint: zbaton move " in said.err, said
    cluster.move("needed", "vm1")
    said = cluster.zbaton("node remove -y vm2", check=False)
    assert said.rc == 3 and "vm2 leads " in said.err or "vm2 is declared in service " in said.err, said
    assert cluster.status()["cluster"]["nodes_up"] == 3


def sent_bytes(host):
    """What went out on the data network since the host's boot."""
    return int(host.run("cat /sys/class/net/eth0/statistics/tx_bytes").out)


def is_here(cluster, host, name, least):
    """So many bytes of a first copy are here already."""
    return int(host.run(f"zfs list -Hpo used {cluster.dataset(host, name)} 2>/dev/null || echo 0").out) >= least


def holds_newest(cluster, name, host):
    """That member holds the newest set of the leader."""
    newest = {member["node"]: member["newest_set"] for member in cluster.service(name)["members"]}
    return newest[host.name] is not None and newest[host.name] == newest["vm1"]


COPY_MIB = 24


def joined_late(cluster, name):
    """A service on vm1 and vm2 with something to copy, of which vm3 becomes a member; bytes sent by vm1 and vm2 before."""
    one, two, _ = cluster.hosts
    cluster.declare(name, members=["vm1", "vm2"], runner="none", interval="1h")
    cluster.apply()
    cluster.wait_current(name, "vm1")
    one.run(f"head -c {COPY_MIB}M /dev/urandom >/srv/{name}/blob; sync")
    cluster.zbaton(f"sync {name}")
    before = sent_bytes(one), sent_bytes(two)
    cluster.declare(name, members=["vm1", "vm2", "vm3"], runner="none", interval="1h")
    cluster.apply()
    return before


def test_the_first_copy_comes_from_a_follower(cluster):
    one, two, three = cluster.hosts
    before = joined_late(cluster, "joined")
    cluster.wait_current("joined", "vm1")
    by_leader, by_follower = sent_bytes(one) - before[0], sent_bytes(two) - before[1]
    print(f"{COPY_MIB} MiB: vm1, which leads, sent {by_leader} bytes, vm2 {by_follower}")
    assert by_follower > COPY_MIB << 20 and by_leader < 4 << 20
    guids = {host.run(f"zfs list -Hpo guid -t snapshot -r {cluster.dataset(host, 'joined')} | sort").out
             for host in cluster.hosts}
    assert len(guids) == 1 and guids != {""}
    cluster.move("joined", "vm3")
    assert three.run("stat -c %s /srv/joined/blob").out.strip() == str(COPY_MIB << 20)
    cluster.move("joined", "vm1")


@pytest.mark.long
def test_a_first_copy_goes_on_from_another_member(cluster):
    """The follower that sends it goes away in the middle: the leader sends the rest."""
    one, two, three = cluster.hosts
    two.netem("rate 4mbit")
    before = joined_late(cluster, "halved")
    wait_until(lambda: sent_bytes(two) - before[1] > COPY_MIB << 18, 120, "the follower has sent a quarter")
    wait_until(lambda: is_here(cluster, three, "halved", COPY_MIB << 17), 60, "an eighth is kept")
    two.link(False)
    by_follower = sent_bytes(two) - before[1]
    wait_until(lambda: sent_bytes(one) - before[0] > 1 << 20, 60, "the leader sends it")
    wait_until(lambda: holds_newest(cluster, "halved", three), 120, "vm3 holds the newest set")
    by_leader = sent_bytes(one) - before[0]
    print(f"{COPY_MIB} MiB, cut after {by_follower} bytes of the follower: the leader sent {by_leader}")
    assert by_leader < (COPY_MIB << 20) * 0.95
    two.link(True)
    two.netem(None)
    cluster.wait_current("halved", "vm1")
