#!/usr/bin/env python3
"""Nodes that leave the cluster, and certificates: engines of several nodes on this host, as in cluster.py."""
import os
import shutil
import sys

from cluster import Node, check_join, main, services, wait_for


def names(node):
    return [n["name"] for n in node.json("node", "list")["nodes"]]


def refusals(node, text):
    return sum("A-peer-refused" in line and text in line for line in node.zbaton("events", "-j", "-n", "1000").splitlines())


def all_up(*nodes):
    wait_for("all are up", lambda: all(n.nodes_up() == len(nodes) for n in nodes))


def check_remove_refused(a, b, c, base):
    """vm2 has made the cluster; vm1 and vm3 have joined."""
    assert "no node 'vm9'" in a.zbaton("node", "remove", "-y", "vm9", code=1)
    out = a.zbaton("node", "remove", "-y", "vm2", code=3)
    assert "vm2 is this node" in out, out
    out = c.zbaton("node", "remove", "-y", "vm2", code=3)
    assert "vm2 holds the key of the cluster's CA" in out, out
    out = a.zbaton("node", "remove", "-y", "--lost", "vm1", code=3)
    assert "vm1 is not lost: it is up" in out, out
    out = a.zbaton("node", "remove", "vm1", code=3)
    assert "not agreed to; nothing was changed" in out, out
    path = base / "services.conf"
    path.write_text(services(["vm1", "vm2"], "vm1"))
    a.zbaton("apply", str(path))
    out = a.zbaton("node", "remove", "-y", "vm1", code=3)
    assert "vm1 is declared in service web" in out and "hint: take vm1 out of the services file" in out, out
    path.write_text(services(["vm2"], "vm2"))
    a.zbaton("apply", "-y", str(path))
    b.stop()
    wait_for("vm3 is seen down", lambda: a.nodes_up() == 2)
    out = a.zbaton("node", "remove", "-y", "vm3", code=3)
    assert "vm3 is not reachable" in out and "hint: zbaton node remove --lost vm3" in out, out
    assert sorted(names(a)) == sorted(names(c)) == ["vm1", "vm2", "vm3"]


def check_removed(a, b, c, base):
    """vm1 is taken out while vm3 is away, and is not let in by anybody: not by vm3, not after restarts."""
    before = a.version()
    out = a.zbaton("node", "remove", "-y", "vm1")
    assert "vm1 is no node of the cluster any more" in out, out
    assert sorted(names(a)) == ["vm2", "vm3"] and a.version() == before + 1
    assert "took vm1 out of the cluster" in a.zbaton("events")
    wait_for("vm1 is refused", lambda: refusals(c, "the other side refused: vm1 is not a node of this cluster"))
    b.start()
    wait_for("vm3 knows", lambda: sorted(names(b)) == ["vm2", "vm3"])
    for node in (a, b, c):
        node.stop()
    for node in (a, b, c):
        node.start()
    all_up(a, b)
    wait_for("vm1 is refused by vm3", lambda: refusals(b, "vm1 is not a node of this cluster"))
    assert c.nodes_up() == 1
    assert a.nodes_up() == b.nodes_up() == 2

    # With a new token it is a node again; its old certificate is not that node's.
    c.stop()
    old = base / "old-state"
    shutil.move(c.dir / "state", old)
    check_join(a, c)
    all_up(a, b, c)
    c.stop()
    shutil.move(c.dir / "state", base / "new-state")
    shutil.move(old, c.dir / "state")
    c.start()
    wait_for("the old one is refused", lambda: refusals(c, "the certificate of vm1 is not the pinned one"))
    assert a.nodes_up() == b.nodes_up() == 2
    c.stop()

    # Gone for ever.
    out = a.zbaton("node", "remove", "-y", "vm1", code=3)
    assert "vm1 is not reachable" in out, out
    a.zbaton("node", "remove", "-y", "--lost", "vm1")
    wait_for("vm3 knows that too", lambda: sorted(names(b)) == ["vm2", "vm3"])


def run(base, programs, fake_keeper):
    zfs_names = base / "zfs-names"
    zfs_names.write_text("pool\n")
    os.environ["ZFS_NAMES"] = str(zfs_names)
    nodes = [Node(base, name, programs, fake_keeper) for name in ("vm2", "vm3", "vm1")]
    a, b, c = nodes
    try:
        a.zbaton("init", "--cluster", "test", *a.setup_options())
        a.start()
        check_join(a, b)
        check_join(a, c)
        all_up(a, b, c)
        check_remove_refused(a, b, c, base)
        check_removed(a, b, c, base)
    except BaseException:
        for n in nodes:
            print(f"--- {n.name}\n{n.log()}", file=sys.stderr)
        raise
    finally:
        for n in nodes:
            n.stop()


if __name__ == "__main__":
    sys.exit(main(run))
