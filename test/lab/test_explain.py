"""What is in the way of a service is named, with the command that helps; and what a freeze stops."""

import json

import pytest
from zblab import wait_until


def said(cluster, name, node=""):
    """{node: [line]} of what is in the way."""
    answer = json.loads(cluster.zbaton(f"explain -j {name} {node}").out)
    return {m["node"]: [line for line in m["lines"] if not line["ok"]] for m in answer["members"]}


def line_of(cluster, name, node, rule):
    """The line of this rule that a member says, which is one; waits for it."""
    def there():
        lines = said(cluster, name, node)[node]
        found = [line for line in lines if line["rule"] == rule]
        assert len(found) == 1, lines
        return found[0]
    return wait_until(there, 30, f"{node} says {rule}")


def oldest(cluster, host, name):
    """Full name of the oldest set of the tree's own dataset."""
    return f"{cluster.dataset(host, name)}@{next(iter(cluster.snapshots(host, name)['']))}"


@pytest.mark.long
def test_what_is_in_the_way_is_named(cluster):
    cluster.declare("why", start="redis 6471", keep=2, interval="1h")
    cluster.apply()
    cluster.wait_current("why", "vm1")
    one, two, three = cluster.hosts
    held, cloned = oldest(cluster, one, "why"), oldest(cluster, two, "why")
    one.run(f"zfs hold mine {held}")
    two.run(f"zfs clone -o canmount=noauto {cloned} {two.pool}/mine")
    for _ in range(3):
        cluster.zbaton("sync why")
    line = line_of(cluster, "why", "vm1", "A-hold")
    assert (line["about"], line["cause"], line["help"]) == \
        ("prune", f"{held} is held: mine", f"zfs release mine {held}"), line
    line = line_of(cluster, "why", "vm2", "A-clone")
    assert line["cause"] == f"{cloned} has a clone: {two.pool}/mine", line
    assert f"zfs destroy {two.pool}/mine" in line["help"], line

    # A copy that somebody mounted, and works in: nothing is received there.
    copy = cluster.dataset(three, "why")
    three.run(f"mkdir -p /mnt/copy; mount -t zfs -o ro,zfsutil {copy} /mnt/copy; "
              "(cd /mnt/copy && exec setsid sleep 3600) >/dev/null 2>&1 </dev/null & echo $! >/run/explain.pid")
    line = line_of(cluster, "why", "vm3", "A-mount")
    assert (line["about"], line["cause"], line["help"]) == \
        ("replicate", f"{copy} is mounted at /mnt/copy", "umount /mnt/copy"), line
    line = line_of(cluster, "why", "vm3", "A-process")
    assert "(sleep) works in /mnt/copy" in line["cause"], line
    line = line_of(cluster, "why", "vm3", "R-operation-failed")
    assert line["about"] == "replicate" and "unmounting failed" in line["cause"] and "sleep" in line["cause"], line
    one.run("echo more >/srv/why/more")
    cluster.zbaton("sync why")
    line = line_of(cluster, "why", "vm1", "R-ship-failed")
    assert line["about"] == "replicate" and "vm3: " in line["cause"] and line["help"] == "zbaton explain why vm3", line

    # Beside the service, somebody works in the leader's tree: it is not unmounted then.
    one.run("(cd /srv/why && exec setsid sleep 3600) >/dev/null 2>&1 </dev/null & echo $! >/run/explain.pid")
    line = line_of(cluster, "why", "vm1", "A-process")
    assert line["about"] == "move" and "(sleep) works in /srv/why" in line["cause"], line
    assert "redis" not in json.dumps(said(cluster, "why", "vm1")), "the service is not in its own way"

    # What was said helps.
    for host in (one, three):
        host.run("kill $(cat /run/explain.pid)")
    one.run(f"zfs release mine {held}")
    two.run(f"zfs destroy {two.pool}/mine")
    # zbaton tries to unmount it as well: whoever comes first.
    wait_until(lambda: three.run("umount /mnt/copy 2>/dev/null; ! grep -q ' /mnt/copy ' /proc/mounts", check=False).rc == 0,
               60, "it is unmounted")

    def nothing_is():
        cluster.zbaton("sync why")
        left = said(cluster, "why")
        assert not any(left.values()), left
        return True
    wait_until(nothing_is, 60, "nothing is in the way")
    text = cluster.zbaton("explain why").out
    assert "move: movable to vm2, vm3\n" in text and "replicate: vm3 has set 1/" in text, text
    assert text.count("prune: prunable: ") == 3 and "!" not in text, text

    cluster.zbaton("freeze -r 'disk is changed' why", host=two)
    refused = cluster.move("why", "vm2", check=False)
    assert refused.rc == 3 and "why is frozen by root@vm2 since 20" in refused.err, refused
    assert "disk is changed" in refused.err and "zbaton thaw why" in refused.err, refused
    assert cluster.service("why")["frozen"]["reason"] == "disk is changed"
    cluster.zbaton("sync why")
    assert [line["rule"] for line in said(cluster, "why", "vm1")["vm1"]] == ["C-move-frozen"]
    cluster.zbaton("thaw why", host=three)
    cluster.move("why", "vm2")
    wait_until(lambda: cluster.leader("why", two) is two, 60, "why runs on vm2")
