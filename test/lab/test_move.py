"""The main job: services move between hosts with real data, and nothing is lost."""

import json
import shlex
import threading

import pytest
from zblab import LabError, wait_until
from zblab.cluster import Recorder


def assert_same_history(cluster, name, foreign=()):
    """Every host lists the same snapshots with the same guids, foreign ones included."""
    def same():
        histories = cluster.lab.each(lambda host: cluster.snapshots(host, name))
        for host, history in zip(cluster.hosts[1:], histories[1:]):
            assert history == histories[0], f"{host.name} differs from {cluster.hosts[0].name}"
        return histories[0]
    history = wait_until(same, 60, "the last sets have reached everybody")
    names = set().union(*(set(snaps) for snaps in history.values()))
    assert set(foreign) <= names, f"missing: {set(foreign) - names}"
    return history


def move_and_check(cluster, name, source, target):
    """One move; the tree equals the final set by guid before anything is written to it."""
    cluster.move(name, target.name)
    wait_until(lambda: cluster.leader(name, target) is target, 60, f"{name} runs on {target.name}")
    assert cluster.writers(name) == [target]
    final = final_set(cluster, name, target)
    here = cluster.snapshots(target, name)
    there = cluster.snapshots(source, name)
    assert {d: s[final] for d, s in here.items()} == {d: s[final] for d, s in there.items()}
    top = cluster.dataset(source, name)
    written = source.run(f"zfs list -Hp -r -o written {top}").out.split()
    assert set(written) == {"0"}


def final_set(cluster, name, host):
    """Name of the set from which the newest term forked, as it stands on that host."""
    terms = json.loads(cluster.zbaton(f"history -j {name}", host=host).out)["terms"]
    fork = max(terms, key=lambda term: term["term"])["fork_set"]
    prefix = f"zbaton-{fork['term']:06d}-{fork['seq']:08d}-"
    return next(snap for snap in cluster.snapshots(host, name)[""] if snap.startswith(prefix))


@pytest.mark.parametrize("moves", (8, pytest.param(20, marks=pytest.mark.long)))
def test_moves_in_a_ring_lose_nothing(cluster, moves, tmp_path):
    name = f"ring-{moves}"
    cluster.declare(name, start=f"redis {6400 + moves}", keep=200)
    cluster.apply()
    cluster.wait_current(name, "vm1")
    recorder = Recorder(cluster.lab, tmp_path, port=6400 + moves)
    foreign = []
    try:
        recorder.wait_more(20)
        for i in range(moves):
            source, target = cluster.hosts[i % 3], cluster.hosts[(i + 1) % 3]
            if i % 5 == 0:
                foreign.append(f"by-hand-{i}")
                source.run(f"zfs snapshot -r {cluster.dataset(source, name)}@by-hand-{i}")
            move_and_check(cluster, name, source, target)
            recorder.wait_more(5)
            if i % 7 == 0:
                cluster.wait_current(name, target.name)
                cluster.assert_at_rest(name)
    finally:
        recorder.stop()
    last = cluster.hosts[moves % 3]
    assert recorder.assert_nothing_lost(last) > 5 * moves
    cluster.zbaton(f"sync {name}")
    cluster.wait_current(name, last.name)
    cluster.assert_at_rest(name)
    history = assert_same_history(cluster, name, foreign)
    sets = [snap for snap in history[""] if snap.startswith("zbaton-")]
    assert len({snap.split("-")[1] for snap in sets}) == moves + 1, "a set of every term is there"


def test_two_services_cross_and_a_tree_moves_whole(cluster, tmp_path):
    top = cluster.dataset(cluster.hosts[0], "east")
    cluster.hosts[0].run(f"zfs create -o mountpoint=/srv/east {top}")
    for child in ("a", "a/deep", "b"):
        cluster.hosts[0].run(f"zfs create {top}/{child} && echo {child} >/srv/east/{child}/file")
    for name, port, leader in (("east", 6402, "vm1"), ("west", 6403, "vm2")):
        cluster.declare(name, start=f"redis {port}", leader=leader)
    cluster.apply()
    for name, leader in (("east", "vm1"), ("west", "vm2")):
        cluster.wait_current(name, leader)
    recorders = [Recorder(cluster.lab, tmp_path, port=port) for port in (6402, 6403)]
    try:
        for recorder in recorders:
            recorder.wait_more(20)
        errors = []

        def move(name, node):
            try:
                cluster.move(name, node)
            except LabError as err:
                errors.append(err)

        movers = [threading.Thread(target=move, args=a) for a in (("east", "vm2"), ("west", "vm1"))]
        for mover in movers:
            mover.start()
        for mover in movers:
            mover.join()
        assert not errors, errors
        for recorder in recorders:
            recorder.wait_more(10)
    finally:
        for recorder in recorders:
            recorder.stop()
    cluster.wait_current("east", "vm2")
    cluster.wait_current("west", "vm1")
    recorders[0].assert_nothing_lost(cluster.lab["vm2"])
    recorders[1].assert_nothing_lost(cluster.lab["vm1"])
    for child in ("a", "a/deep", "b"):
        assert cluster.lab["vm2"].run(f"cat /srv/east/{child}/file").out == f"{child}\n"
    history = assert_same_history(cluster, "east")
    assert set(history) == {"", "a", "a/deep", "b"}
    newest = {list(snaps)[-1] for snaps in history.values()}
    assert len(newest) == 1, f"the tree's newest sets differ: {newest}"
    cluster.assert_at_rest("east")
    cluster.assert_at_rest("west")


HOLDERS = {
    "outsider": "cd /srv/held && exec sleep 600",
    "ignores-term": "cd /srv/held && trap '' TERM && while :; do sleep 1; done",
    "namespace": "exec unshare -m sh -c 'cd / && exec sleep 600'",
}


@pytest.fixture
def held(cluster):
    """A running service `held` on vm1 with everybody current."""
    cluster.declare("held", start="redis 6404")
    cluster.apply()
    service = cluster.service("held")
    if service["leader"] and service["leader"] != "vm1":
        cluster.move("held", "vm1")
    cluster.wait_current("held", "vm1")
    return cluster


def assert_aborts(cluster, names):
    """A move of `held` aborts, names the holder, and the service runs as before in its term."""
    term = cluster.service("held")["term"]
    said = cluster.move("held", "vm2", check=False)
    assert said.rc == 1, said
    for name in names:
        assert name in said.out + said.err, said
    wait_until(lambda: cluster.leader("held") is cluster.lab["vm1"], 60, "held runs on vm1 again")
    assert cluster.service("held")["term"] == term
    assert cluster.writers("held") == [cluster.lab["vm1"]]


@pytest.mark.parametrize("kind", sorted(HOLDERS))
def test_a_holder_aborts_the_move_and_is_named(held, kind, tmp_path):
    host = held.lab["vm1"]
    recorder = Recorder(held.lab, tmp_path, port=6404, name=kind)
    recorder.wait_more(5)
    host.run(f"setsid sh -c {shlex.quote(HOLDERS[kind])} </dev/null >/dev/null 2>&1 & "
             "echo $! >/run/holder.pid; sleep 0.5")
    try:
        assert_aborts(held, ["pid", "sleep" if kind != "ignores-term" else "sh"])
        recorder.wait_more(5)
    finally:
        host.run("p=$(cat /run/holder.pid); kill -9 -$p $p 2>/dev/null; pkill -9 -P $p; true", check=False)
        recorder.stop()
    recorder.assert_nothing_lost(host)
    held.move("held", "vm2")
    recorder.assert_nothing_lost(held.lab["vm2"])
    held.wait_current("held", "vm2")


def test_a_lazily_unmounted_view_of_the_tree_aborts_the_move(held):
    host = held.lab["vm1"]
    host.run("mkdir -p /run/view && mount --bind /srv/held /run/view && "
             "{ (cd /run/view && exec setsid sleep 601) </dev/null >/dev/null 2>&1 & } ; "
             "echo $! >/run/holder.pid; sleep 0.5; umount -l /run/view")
    try:
        assert_aborts(held, ["pid", "sleep"])
    finally:
        host.run("kill -9 $(cat /run/holder.pid)", check=False)
    held.move("held", "vm2")
    held.wait_current("held", "vm2")


def test_a_mount_that_somebody_took_away_is_put_back(held):
    host = held.lab["vm1"]
    term = held.service("held")["term"]
    host.run("umount -l /srv/held")
    wait_until(lambda: held.writers("held") == [host] and held.leader("held") is host, 90,
               "mounted and running again")
    assert held.service("held")["term"] == term
    held.wait_current("held", "vm1")


MMAP_WRITER = r"""
import mmap, os, sys, time
path = os.path.join(os.environ["ZBATON_MOUNTPOINT"], "pages")
pages = 256
with open(path, "a+b") as file:
    file.truncate(pages * 4096)
    view = mmap.mmap(file.fileno(), pages * 4096)
    log = os.open("/var/log/mmap-acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    n = 0
    while True:
        n += 1
        at = (n % pages) * 4096
        view[at:at + 8] = n.to_bytes(8, "big")
        if n % 3:
            view.flush(at, 4096)
            os.write(log, f"{n}\n".encode())
        time.sleep(0.002)
"""


def test_an_mmap_writer_killed_at_the_seal_loses_no_synced_page(cluster):
    for host in cluster.hosts:
        host.run("rm -f /var/log/mmap-acknowledged; cat >/usr/local/lib/mmap-writer.py", input=MMAP_WRITER)
        cluster.command(host, "mmap-writer",
                        "#!/bin/sh\nexec python3 /usr/local/lib/mmap-writer.py\n")
    cluster.declare("pages", start="mmap-writer")
    cluster.apply()
    cluster.wait_current("pages", "vm1")
    one, two = cluster.lab["vm1"], cluster.lab["vm2"]
    wait_until(lambda: int(one.run("wc -l </var/log/mmap-acknowledged").out) > 300, 60, "pages are written")
    cluster.move("pages", "vm2")
    acknowledged = [int(n) for n in one.run("cat /var/log/mmap-acknowledged").out.split()]
    top = cluster.dataset(two, "pages")
    final = final_set(cluster, "pages", two)
    two.run(f"mkdir -p /run/peek && mount -t zfs {top}@{final} /run/peek")
    try:
        dump = two.run("python3 -c \"d=open('/run/peek/pages','rb').read();"
                       "print(*[int.from_bytes(d[i:i+8],'big') for i in range(0,len(d),4096)])\"").out
    finally:
        two.run("umount /run/peek")
    stored = [int(n) for n in dump.split()]
    newest = {}
    for n in acknowledged:
        newest[n % 256] = n
    lost = {page: (n, stored[page]) for page, n in newest.items() if stored[page] < n}
    assert not lost, f"msync'ed pages lost: {lost}"
    cluster.wait_current("pages", "vm2")
