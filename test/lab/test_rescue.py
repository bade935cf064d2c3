"""RESCUE and what goes with it, on real OpenZFS: a tree that came away from the lineage is set aside
as it is, and goes on from its forks. Keepers and helpers are those of test_keeper.py.
"""

import json
import os

import pytest
from test_keeper import PROBE, guid_of, host, keepers, led, one_set, set_name, ship, state_of  # noqa: F401
from test_keeper import words_of
from zblab import wait_until

CHILDREN = ("", "log", "still")


def guids(host, root):
    """{name below root: guid} of datasets, snapshots and bookmarks."""
    said = host.run(f"zfs list -Hpr -t all -o name,guid {root}").out
    return {line.split("\t")[0][len(root):]: line.split("\t")[1] for line in said.splitlines()}


def local_values(host, dataset):
    said = host.run(f"zfs get -Hp -s local -o property,value all {dataset}").out
    return {line for line in said.splitlines() if not line.startswith("zbaton:rescue")}


def rescues(keeper, **fields):
    return [json.loads(line) for line in keeper.ask("rescues", **fields).good()["text"].splitlines()]


def peeks(keeper, **fields):
    return [json.loads(line) for line in keeper.ask("peeks", **fields).good()["text"].splitlines()]


def in_s(host, seconds):
    """The host's time so many seconds from now."""
    return int(host.run("date +%s").out) + seconds


def write(keeper, rel, name, text):
    """A write into a dataset at rest, as one that nobody knows of."""
    keeper.host.run(f"mount -t zfs -o rw,zfsutil {keeper.root}/web{rel} /mnt && echo {text} >/mnt/{name}; umount /mnt")


def on_forks(keeper, forks):
    """What OBSERVE shows is exactly the forks."""
    seen = keeper.observe()["datasets"]
    assert [(d["rel"], d["uuid"], d["newest_guid"], d["written_bytes"], d["mount"]) for d in seen] == \
        [(e["rel"], e["uuid"], e["guid"], 0, 0) for e in forks["entries"]]
    assert all(d["marked"] and d["readonly_on"] for d in seen)


@pytest.fixture
def parted(led):
    """vb leads term 2 from set 1/1; va wrote on alone and knows it now. -> a, b, forks (set 1/1)."""
    a, b, first = led
    host = a.host
    host.run(f"zfs create {a.root}/web/still; dd if=/dev/urandom of=/srv/web/bulk bs=1M count=8 status=none")
    forks = a.snapshot(1, 1, base_term=1, base_seq=0).good()["manifest"]
    assert [e["rel"] for e in forks["entries"]] == list(CHILDREN)
    ship(a, b, first)["receive"].good()
    ship(a, b, forks, first)["receive"].good()
    # At va alone: sets, a child, a tool's snapshot, and a tip that is in none.
    host.run("echo set >/srv/web/set; echo set >/srv/web/log/set")
    a.snapshot(1, 2, base_term=1, base_seq=1).good()
    host.run(f"zfs create {a.root}/web/new")
    a.snapshot(1, 3, base_term=1, base_seq=2).good()
    host.run(f"echo new >/srv/web/new/file; echo tool >/srv/web/log/tool; zfs snapshot {a.root}/web/log@tool; "
             f"echo tip >/srv/web/tip; echo tip >/srv/web/log/tip")
    a.ask("demote").good()
    b.take(2, manifest=forks, flags=["planned"]).good()
    a.ask("learn", term=2, node="vb").good()
    return a, b, forks


def rescue(keeper, forks, **fields):
    return keeper.ask("rescue", term=2, node="vb", manifest=forks, **fields)


def test_everything_is_kept_and_the_lineage_goes_on(parted):
    a, b, forks = parted
    host = a.host
    last = {rel: set_name(host, f"{a.root}/web/{rel}".rstrip("/"), 1, 3) for rel in ("", "log")}
    fork = set_name(host, f"{a.root}/web", 1, 1)
    host.run(f"zfs set quota=200M compression=gzip my:prop='a b' {a.root}/web/log; zfs set my:prop=x {a.root}/web;"
             f"zfs hold keep {a.root}/web@{last['']}; zfs hold keep {a.root}/web/log@{fork};"
             f"zfs bookmark {a.root}/web@{last['']} {a.root}/web#later; zfs bookmark {a.root}/web@{fork} {a.root}/web#fork;"
             f"zfs clone -o canmount=noauto {a.root}/web/log@tool pa/mine")
    before = guids(host, f"{a.root}/web")
    values = {rel: local_values(host, f"{a.root}/web/{rel}".rstrip("/")) for rel in CHILDREN}
    done = rescue(a, forks).good()
    name = done["text"]
    aside = f"{a.root}/.rescue/{name}"
    assert name.startswith("web-000002-20") and done["bytes"] > 0
    print(f"measured: RESCUE of {len(before)} names, four datasets: {done['elapsed_ms']} ms")

    on_forks(a, forks)
    live, kept = guids(host, f"{a.root}/web"), guids(host, aside)
    assert {n: g for n, g in live.items() if "@" in n or "#" in n} == \
        {n: g for n, g in before.items() if "@zbaton-000001-00000000" in n or "@zbaton-000001-00000001" in n or
         n == "#fork"}
    assert {**{n: g for n, g in live.items() if "@" in n or "#" in n}, **kept} == before, "nothing is gone or new"
    for rel in CHILDREN:
        assert local_values(host, f"{a.root}/web/{rel}".rstrip("/")) == values[rel]
        assert local_values(host, f"{aside}/{rel}".rstrip("/")) == values[rel]
    assert host.run(f"zfs holds -H {aside}@{last['']} {a.root}/web/log@{fork}").out.count("keep") == 2
    assert host.run("zfs get -H -o value origin pa/mine").out.strip() == f"{aside}/log@tool"

    third = b.snapshot(2, 0, base_term=1, base_seq=1).good()["manifest"]
    ship(b, a, third, forks, term=2)["receive"].good()
    again = rescue(a, third).good()
    assert again["text"] == "" and again["bytes"] == 0, "there is nothing to rescue now"
    on_forks(a, third)

    [one] = rescues(a)
    assert (one["name"], one["service"], one["term"], one["whole"], one["kept"]) == (name, "web", 2, False, True)
    assert one["bytes"] == done["bytes"] and one["mounted"] == "" and one["created"].startswith("20")
    said = {d["rel"]: d for d in one["datasets"]}
    assert [said[r]["snaps"] for r in ("", "log", "new", "still")] == [2, 3, 1, 2]
    assert said["log"]["fork"] == fork and int(said["log"]["fork_guid"]) == forks["entries"][1]["guid"] % (1 << 64)
    assert said["new"]["fork"] == "" and said["new"]["written"] > 0 and said["still"]["written"] == 0

    path = a.ask("rescue-mount", text=name, rel="on").good()["text"]
    assert path == f"/run/va/rescue/{name}"
    assert a.ask("rescue-mount", text=name, rel="on").good()["text"] == path
    assert host.run(f"cd {path} && cat set tip log/set log/tool log/tip new/file file").out.split() == \
        ["set", "tip", "set", "tool", "tip", "new", "1"]
    assert host.run(f"touch {path}/x", check=False).rc != 0
    assert all({"ro", "nosuid", "nodev", "noexec"} <= set(line.split()[5].split(","))
               for line in host.run(f"grep {path} /proc/self/mountinfo").out.splitlines())
    assert host.run("stat -c %a%u /run/va/rescue").out.strip() == "7000"
    assert rescues(a)[0]["mounted"] == path
    a.ask("rescue-drop", text=name).bad("held", "is mounted at")
    a.ask("rescue-mount", text=name, rel="off").good()
    assert host.run(f"ls /run/va/rescue; grep -c {name} /proc/mounts", check=False).out.split() == ["0"]

    # Sets that a rescue hangs on stay; all others go.
    a.define(keep="2").good()
    fourth = b.snapshot(2, 1, base_term=2, base_seq=0).good()["manifest"]
    ship(b, a, fourth, third, term=2)["receive"].good()
    assert a.ask("prune", count=2).good()["count"] == 2, "1/0 of two datasets; 1/1 has clones"
    assert f"@{fork}" in guids(host, f"{a.root}/web")

    held = a.ask("rescue-drop", text=name).bad("held", "is held: keep")
    assert held["hint"] == f"zfs release keep {aside}@{last['']}"
    host.run(held["hint"])
    held = a.ask("rescue-drop", text=name).bad("held", "has a clone: pa/mine")
    assert held["hint"] == "zfs promote pa/mine"
    host.run(f"zfs create {aside}/theirs")
    host.run(held["hint"])
    a.ask("rescue-drop", text=name).bad("refused", "theirs in the rescue is not zbaton's")
    host.run(f"zfs destroy {aside}/theirs")
    # What was promoted away took the snapshots along, and is what log hangs on now.
    a.ask("rescue-drop", text=name).good()
    assert rescues(a) == [] and host.run(f"zfs list {aside}", check=False).rc != 0
    on_forks(a, fourth)
    host.run(f"zfs release keep {a.root}/web/log@{fork}")
    assert a.ask("prune", count=2).good()["count"] == 2, "1/1, but for what is the origin of mine"


@pytest.mark.long
def test_refusals_change_nothing(parted):
    a, b, forks = parted
    host = a.host
    before = state_of(a)
    a.ask("rescue", term=3, node="vb", manifest=forks).bad("refused", "not the one known to be led")
    a.ask("rescue", term=2, node="va", manifest=forks).bad("refused", "has not granted term 2 to itself")
    b.ask("rescue", term=2, node="vb", manifest=forks).bad("refused", "vb leads term 2 already")
    stranger = dict(forks, entries=[dict(e, guid=e["guid"] ^ 1) for e in forks["entries"]])
    rescue(a, stranger).bad("not-found", "nothing in common")
    rescue(a, dict(forks, entries=[])).bad("not-found", "nothing in common")
    host.run(f"mount -t zfs -o ro,zfsutil {a.root}/web/new /mnt")
    rescue(a, forks).bad("refused", "dataset new is mounted here")
    host.run("umount /mnt; mkdir -p /tmp/elsewhere")
    # Invisible in this namespace, and proven all the same.
    host.run(f"setsid unshare -m sh -c 'mount -t zfs -o ro,zfsutil {a.root}/web /tmp/elsewhere && touch /tmp/there &&"
             " exec sleep 300' >/dev/null 2>&1 </dev/null & echo $! >/tmp/pid")
    wait_until(lambda: host.run("test -e /tmp/there", check=False).rc == 0, 30, "mounted elsewhere")
    rescue(a, forks).bad("held", "is held")
    host.run("kill $(cat /tmp/pid); rm /tmp/there")
    wait_until(lambda: host.run("kill -0 $(cat /tmp/pid)", check=False).rc != 0, 30, "gone")
    assert state_of(a) == before

    host.run(f"zfs create -o canmount=noauto -o zbaton:uuid=6d9f3f0e-1111-4222-8333-444455556666 "
             f"-o zbaton:service=other {a.root}/web/foreign")
    blocked = rescue(a, forks).bad("refused", "foreign of the tree is not zbaton's")
    assert "rename" in blocked["hint"]
    host.run(f"zfs destroy {a.root}/web/foreign; zfs create -s -V 8M {a.root}/web/vol")
    rescue(a, forks).bad("refused", "dataset vol of the tree")
    wait_until(lambda: host.run(f"zfs destroy {a.root}/web/vol", check=False).rc == 0, 30, "udev lets it go")
    assert state_of(a) == before

    # In no set yet, as a child that was made while this node led: it is the service's.
    host.run(f"zfs create -o canmount=noauto {a.root}/web/latest")
    rescue(a, forks).good()
    on_forks(a, forks)
    assert "latest" in {d["rel"] for d in rescues(a)[0]["datasets"]}


@pytest.mark.long
def test_nothing_in_common(parted):
    """The whole tree is set aside; the service begins with a full copy."""
    a, b, forks = parted
    stranger = dict(forks, entries=[dict(e, guid=e["guid"] ^ 1) for e in forks["entries"]])
    name = rescue(a, stranger, flags=["whole"]).good()["text"]
    assert a.observe()["datasets"] == []
    [one] = rescues(a)
    assert one["whole"] and one["kept"] and len(one["datasets"]) == 4
    assert rescue(a, stranger, flags=["whole"]).good()["text"] == "", "asked again"
    a.restart("KILL")
    assert a.observe()["datasets"] == []
    ship(b, a, forks, term=2)["receive"].good()
    on_forks(a, forks)
    a.ask("rescue-drop", text=name).good()
    a.ask("rescue-drop", text=name).bad("not-found", "there is no rescue")
    for bad in ("", "..", "../web", "a/b", "x@y"):
        a.ask("rescue-drop", text=bad).bad("usage", "not the name of a rescue")
    on_forks(a, forks)


@pytest.mark.long
def test_twice_and_names_of_the_set(parted):
    """A second rescue hangs on the first one's past; a renamed child goes on under the set's name."""
    a, b, forks = parted
    host = a.host
    renamed = dict(forks, entries=sorted((dict(e, rel=e["rel"].replace("still", "quiet")) for e in forks["entries"]),
                                         key=lambda e: e["rel"]))
    first = a.ask("rescue", term=2, node="vb", manifest=renamed, time_s=1795329660).good()["text"]
    assert first == "web-000002-20261122T064100Z"
    on_forks(a, renamed)
    write(a, "/log", "again", "again")
    a.ask("rescue", term=2, node="vb", manifest=renamed, time_s=1795329660).bad("exists", first)
    seen = {d["rel"]: d for d in a.observe()["datasets"]}
    assert seen["log"]["written_bytes"] > 0 and seen["quiet"]["written_bytes"] == 0
    second = a.ask("rescue", term=2, node="vb", manifest=one_set(renamed, "", "log"), time_s=1795329661).good()["text"]
    on_forks(a, one_set(renamed, "", "log"))
    assert [r["name"] for r in rescues(a)] == [first, second]
    assert [r["name"] for r in rescues(a, count=1)] == [second]
    assert a.ask("rescues", service="").good()["count"] == 2
    path = a.ask("rescue-mount", service="", text=second, rel="on").good()["text"]
    assert host.run(f"cat {path}/log/again").out == "again\n"
    a.ask("rescue-mount", text=second, rel="off").good()
    a.ask("rescue-drop", text=first).good()
    a.ask("rescue-drop", text=second).good()
    on_forks(a, one_set(renamed, "", "log"))


@pytest.mark.long
def test_no_place_below_the_parent(parted):
    """A directory that is gone and one with files in it: the child is mounted beside, and readable all the same."""
    a, _, forks = parted
    host = a.host
    host.run(f"mount -t zfs -o rw,zfsutil {a.root}/web /mnt && rmdir /mnt/new && echo under >/mnt/log/under; umount /mnt")
    name = rescue(a, forks).good()["text"]
    path = a.ask("rescue-mount", text=name, rel="on").good()["text"]
    assert host.run(f"cat {path}+new/file {path}+log/tip {path}/log/under").out.split() == ["new", "tip", "under"]
    assert a.ask("rescue-mount", text=name, rel="on").good()["text"] == path
    host.run(f"sh -c 'cd {path}/still && exec sleep 60' >/dev/null 2>&1 </dev/null & echo $! >/tmp/pid")
    wait_until(lambda: "still" in host.run("readlink /proc/$(cat /tmp/pid)/cwd").out, 30, "somebody is in it")
    held = a.ask("rescue-mount", text=name, rel="off").bad("held", "")
    assert "sleep" in held["msg"], held["msg"]
    host.run("kill $(cat /tmp/pid)")
    a.ask("rescue-mount", text=name, rel="off").good()
    a.ask("rescue-mount", text=name, rel="off").good()
    a.ask("rescue-mount", text=name, rel="up").bad("usage", "on or off")
    assert host.run("ls -A /run/va/rescue").out == ""
    assert "/rescue/" not in host.run("cat /proc/mounts").out
    host.run("rmdir /run/va/rescue; mkdir -m 755 /run/va/rescue")
    a.ask("rescue-mount", text=name, rel="on").bad("refused", "root's alone")
    host.run("rmdir /run/va/rescue")


@pytest.mark.long
def test_partial_receives_are_aborted(parted):
    """A beginning without any set, and one of a dataset that was written to since: both of zbaton's own streams."""
    a, b, forks = parted
    host = a.host
    host.run(f"zfs create {b.root}/web/late")
    b.snapshot(2, 0, base_term=1, base_seq=1).good()  # takes the child in, and mounts it read-write
    host.run("for f in late/f log/g; do dd if=/dev/urandom of=/srv/web/$f bs=1M count=4 status=none; done")
    third = b.snapshot(2, 1, base_term=2, base_seq=0).good()["manifest"]
    ship(b, a, one_set(third, "late"), term=2, limit=3 << 20)
    assert {d["rel"]: d["token"] != "" for d in a.observe()["datasets"]}["late"]
    name = rescue(a, forks).good()["text"]
    on_forks(a, forks)
    assert host.run(f"zfs list {a.root}/.rescue/{name}/late", check=False).rc != 0
    ship(b, a, one_set(third, "log"), forks, term=2, limit=3 << 20)
    write(a, "", "more", "more")
    assert [d["token"] != "" for d in a.observe()["datasets"]] == [False, True, False]
    rescue(a, forks).good()
    on_forks(a, forks)
    ship(b, a, third, forks, term=2)["receive"].good()
    on_forks(a, third)
    assert "%recv" not in host.run(f"zfs list -Hro name {a.root}").out


def die_at(keeper, op, at, **fields):
    """True: the keeper was killed before its change number `at`."""
    host = keeper.host
    host.run(f"echo {at} >/run/{keeper.node}/die")
    words = words_of(dict(fields, op=op, service="web"))
    pid = keeper.pid()
    host.run(f"{PROBE} ask {keeper.conf} {words}", check=False, timeout=90)
    died = host.run(f"rm -f /run/{keeper.node}/die; kill -0 {pid}", check=False).rc != 0
    return died


@pytest.mark.long
def test_killed_before_every_change(parted):
    """At each: nothing was begun and the tree is as it was, or the next start of the keeper ends it."""
    a, _, forks = parted
    host = a.host
    kept = 0
    for at in range(30):
        text = f"write-{at}"
        write(a, "/log", "file", text)
        if not die_at(a, "rescue", at, term=2, node="vb", manifest=forks, time_s=1795329660 + at):
            break
        a.restart("KILL")
        marks = host.run(f"zfs get -Hr -s local -o name zbaton:rescue {a.root}/.rescue", check=False).out.split()
        begun = len(marks) > kept
        seen = a.observe()["datasets"]
        if begun:
            on_forks(a, forks)
            kept = len(rescues(a))
            assert kept == len(marks)
        else:
            assert {d["rel"]: d["written_bytes"] for d in seen}["log"] > 0
        assert "begun" not in host.run(f"zfs get -Hr -s local -o value zbaton:rescue {a.root}").out
        assert host.run(f"zfs get -Hr -s local -o value zbaton:rescue:fork {a.root}/web").out == ""
        if begun:
            name = rescues(a)[-1]["name"]
            path = a.ask("rescue-mount", text=name, rel="on").good()["text"]
            assert host.run(f"cat {path}/log/file").out.strip() == text
            a.ask("rescue-mount", text=name, rel="off").good()
    assert 12 <= at < 29 and kept >= 7, (at, kept)
    on_forks(a, forks)


@pytest.mark.long
def test_power_cut_and_half_made_clone(parted):
    """The rename reached the disk, and so did a clone without any of its properties."""
    a, b, forks = parted
    host = a.host
    values = {rel: local_values(host, f"{a.root}/web/{rel}".rstrip("/")) for rel in CHILDREN}
    # create, three forks, begun, rename | clone, promote of the root; clone of log
    assert die_at(a, "rescue", 9, term=2, node="vb", manifest=forks)
    assert host.run(f"zfs list -Ho name {a.root}/web/log").rc == 0
    aside = host.run(f"zfs list -Hd1 -o name {a.root}/.rescue").out.split()[-1]
    assert host.run(f"zfs get -H -o value origin {a.root}/web/log").out.strip().startswith(f"{aside}/log@")
    host.run(f"zfs destroy {a.root}/web/log && zfs clone {aside}/log@{set_name(host, aside + '/log', 1, 1)} {a.root}/web/log;"
             "sync")
    host.power_cut()
    host.boot()
    host.run("zpool import -N -d /var/tmp pa && zpool import -N -d /var/tmp pb", timeout=120)
    a.start()
    b.start()
    on_forks(a, forks)
    for rel in CHILDREN:
        assert local_values(host, f"{a.root}/web/{rel}".rstrip("/")) == values[rel]
    assert host.run(f"zfs get -H -o value origin {a.root}/web/log").out.strip() == "-"
    assert len(rescues(a)) == 1
    b.take(3).good()
    a.ask("learn", term=3, node="vb").good()
    third = b.snapshot(3, 0, base_term=1, base_seq=1).good()["manifest"]
    ship(b, a, third, forks, term=3)["receive"].good()


@pytest.mark.long
def test_nobody_is_told_there_is_no_tree(parted):
    """Something in the way, of a promotion and of a name: BUSY or its error, until it is out of it."""
    a, _, forks = parted
    host = a.host
    assert die_at(a, "rescue", 6, term=2, node="vb", manifest=forks)
    host.run(f"zfs create {a.root}/web")
    a.start()
    blocked = a.ask("observe").bad("exists", f"{a.root}/web is in the way")
    assert "rename" in blocked["hint"]
    a.ask("observe").bad("exists", "in the way")
    [one] = rescues_anywhere(a)
    assert not one["kept"]
    a.ask("rescue-drop", service="", text=one["name"]).bad("refused", "is not ended")
    a.ask("promote", term=2).bad("exists", "in the way")
    host.run(f"zfs destroy {a.root}/web")
    on_forks(a, forks)


def rescues_anywhere(keeper):
    return [json.loads(line) for line in keeper.ask("rescues", service="").good()["text"].splitlines()]


def test_while_it_is_being_sent(parted):
    """A send of what is to go over is ended first; observers see the tree before or after, or BUSY."""
    a, _, forks = parted
    host = a.host
    entry = forks["entries"][0]
    words = words_of({"op": "send", "service": "web", "rel": "", "guid": entry["guid"],
                      "snap": set_name(host, f"{a.root}/web", 1, 1), "cancel_after_ms": 20000})
    sender = host.popen(f"rm -f /tmp/over; echo $$; exec {PROBE} ask {a.conf} {words}", text=True)
    pid = sender.stdout.readline().strip()
    wait_until(lambda: host.run(f"ls -l /proc/{pid}/fd").out.count("socket:") == 2, 30, "a stream, not read by anybody")
    watcher = host.popen(f"for i in $(seq 400); do {PROBE} ask {a.conf} op=observe service=web; "
                         "test -e /tmp/over && break; done", text=True)
    rescue(a, forks).good()
    host.run("touch /tmp/over")
    on_forks(a, forks)
    seen = [json.loads(line) for line in watcher.communicate(timeout=120)[0].splitlines()]
    assert {r["rc"] for r in seen} <= {"ok", "busy"}
    assert any(r["rc"] == "ok" for r in seen) and all(r["datasets"] for r in seen if r["rc"] == "ok")
    assert json.loads(sender.communicate(timeout=60)[0])["rc"] == "canceled"


def test_candidate_sets_aside_and_is_forwarded(parted):
    """Before it leads: its own tree to the fork, then the other's sets, all under a term it granted itself."""
    a, b, forks = parted
    ahead = b.snapshot(2, 0, base_term=1, base_seq=1).good()["manifest"]
    forward = {"term": 3, "leader": "vb", "flags": ["forward"]}
    a.ask("arrange", term=3, node="vb", manifest=ahead, flags=["forward"]).bad("refused", "has not granted term 3")
    a.ask("rescue", term=3, node="va", manifest=forks).bad("refused", "has not granted term 3")
    a.ask("grant", term=3, node="va", version=1, nonce=1).good()
    a.ask("rescue", term=3, node="va", manifest=forks).good()
    on_forks(a, forks)
    a.ask("arrange", term=3, node="vb", manifest=ahead).bad("refused", "not the one known to be led")
    a.ask("arrange", term=3, node="va", manifest=ahead, flags=["forward"]).bad("refused", "from itself")
    a.ask("arrange", term=3, node="vb", manifest=ahead, flags=["forward"]).good()
    ship(b, a, ahead, forks, **forward)["receive"].good()
    b.ask("demote").good()
    a.ask("promote", term=3, manifest=ahead, flags=["planned"]).good()
    assert ship(b, a, ahead, forks, **forward)["receive"]["rc"] == "refused"
    assert os.path.basename(rescues(a)[0]["name"]).startswith("web-000003-")


@pytest.mark.long
def test_a_value_that_is_refused(parted):
    """One property that this ZFS does not take any more keeps nothing from going on; the others are set."""
    a, _, forks = parted
    host = a.host
    limit = "/sys/module/zfs/parameters/zfs_max_recordsize"
    old = host.run(f"cat {limit}").out.strip()
    host.run(f"echo 16777216 >{limit} && zfs set recordsize=4M compression=gzip my:prop=x {a.root}/web/log && echo 1048576 >{limit}")
    try:
        rescue(a, forks).good()
    finally:
        host.run(f"echo {old} >{limit}")
    on_forks(a, forks)
    get = "zfs get -Hp -o value recordsize,compression,my:prop,zbaton:uuid,canmount"
    name = rescues(a)[0]["name"]
    live, kept = (host.run(f"{get} {d}").out.split() for d in (f"{a.root}/web/log", f"{a.root}/.rescue/{name}/log"))
    assert kept[0] == str(4 << 20) and live[0] == str(128 << 10) and live[1:] == kept[1:]
    assert "not carried over: set recordsize" in a.log()


@pytest.mark.long
def test_encrypted_without_its_key(keepers):
    """Setting aside wants no key: neither what compares, nor the clone, nor the promotion."""
    a, b = keepers
    host = a.host
    for keeper in keepers:
        keeper.define().good()
    host.run(f"echo 12345678 >/root/key; zfs create -o encryption=on -o keyformat=passphrase -o pbkdf2iters=100000 "
             f"-o keylocation=file:///root/key -o zbaton:service=web -o zbaton:node=va "
             f"-o zbaton:pool=$(zpool get -Hp -o value guid {a.root.split('/')[0]}) {a.root}/web && "
             f"zfs create {a.root}/web/log")  # its marks: taken in before that was refused
    a.ask("create").good()
    a.take(1).good()
    host.run("echo 1 >/srv/web/file; dd if=/dev/urandom of=/srv/web/log/synced bs=8k count=2 conv=fsync status=none")
    forks = a.snapshot(1, 0).good()["manifest"]
    b.ask("learn", term=1, node="va").good()
    ship(a, b, forks)["receive"].good()
    host.run("echo tip >/srv/web/log/tip")
    a.ask("demote").good()
    b.take(2, manifest=forks, flags=["planned"]).good()
    a.ask("learn", term=2, node="vb").good()
    host.run(f"zfs unload-key -r {a.root}/web")
    name = rescue(a, forks).good()["text"]
    on_forks(a, forks)
    roots = host.run(f"zfs get -Hrp -t filesystem -o value encryptionroot {a.root}/web {a.root}/.rescue/{name}").out
    assert set(roots.split()) == {f"{a.root}/web"}
    assert "available" not in host.run(f"zfs get -Hrp -t filesystem -o value keystatus {a.root}").out.split()
    cannot = a.ask("peek", manifest=forks, time_s=in_s(host, 60)).bad("unsupported", "its encryption key is not loaded")
    assert cannot["hint"] == f"zfs load-key {a.root}/web" and peeks(a) == []
    again = rescue(a, forks).bad("unsupported", "its encryption key is not loaded")
    host.run(again["hint"])
    assert rescue(a, forks).good()["text"] == ""
    on_forks(a, forks)
    second = b.snapshot(2, 0, base_term=1, base_seq=0).good()["manifest"]
    ship(b, a, second, forks, term=2)["receive"].good()
    path = a.ask("rescue-mount", text=name, rel="on").good()["text"]
    assert host.run(f"cat {path}/file {path}/log/tip").out.split() == ["1", "tip"]
    a.ask("rescue-mount", text=name, rel="off").good()
    a.ask("rescue-drop", text=name).good()
    on_forks(a, second)


@pytest.mark.long
def test_a_peek_is_in_nobodys_way(parted):
    """What is being looked into: the tree is set aside and goes on, the clones stay what they are."""
    a, b, forks = parted
    host = a.host
    live = guids(host, f"{a.root}/web")
    one = json.loads(a.ask("peek", manifest=forks, time_s=in_s(host, 600)).good()["text"])
    assert (one["service"], one["term"], one["seq"], one["datasets"]) == ("web", 1, 1, 3)
    path, top = one["mounted"], f"{a.root}/.peek/{one['name']}"
    assert path == f"/run/va/peek/{one['name']}" and peeks(a) == [one]
    assert host.run(f"cd {path} && cat file log/file && ls").out.split() == ["1", "2", "bulk", "file", "log", "still"]
    assert host.run(f"touch {path}/x", check=False).rc != 0
    assert all({"ro", "nosuid", "nodev", "noexec"} <= set(line.split()[5].split(","))
               for line in host.run(f"grep {path} /proc/self/mountinfo").out.splitlines())
    assert host.run("stat -c %a%u /run/va/peek").out.strip() == "7000"
    assert guids(host, f"{a.root}/web") == live
    a.ask("peek", manifest=dict(forks, entries=forks["entries"] + [
        {"uuid": "0" * 8 + "-0000-4000-8000-" + "0" * 12, "rel": "zzz", "guid": 5}]),
        time_s=in_s(host, 60)).bad("not-found", "dataset zzz is missing")
    a.ask("peek", manifest=forks, time_s=in_s(host, -1)).bad("usage", "a peek lasts")

    name = rescue(a, forks).good()["text"]
    on_forks(a, forks)
    assert host.run(f"cat {path}/file").out.strip() == "1"
    assert host.run(f"zfs get -H -o value origin {top}/log").out.startswith(f"{a.root}/web/log@")
    a.ask("rescue-drop", text=name).good()
    a.restart("KILL")
    assert peeks(a) == [one]
    third = b.snapshot(2, 0, base_term=1, base_seq=1).good()["manifest"]
    ship(b, a, third, forks, term=2)["receive"].good()
    fourth = b.snapshot(2, 1, base_term=2, base_seq=0).good()["manifest"]
    ship(b, a, fourth, third, term=2)["receive"].good()
    a.define(keep="2").good()
    clones = [line.split("\t") for line in a.ask("blockers").good()["text"].splitlines()]
    assert {(kind, what) for kind, _, _, what in clones if kind in ("clone", "rescue", "peek")} == {("peek", one["name"])}
    a.ask("prune").good()
    assert set_name(host, f"{a.root}/web", 1, 1), "the set that is looked into stays"

    # In use: nothing of it goes, and who uses it is named.
    host.run(f"cd {path}/log && exec setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo $! >/run/peek.pid")
    a.ask("peek-end", text=one["name"]).bad("held", "sleep")
    host.run(f"kill $(cat /run/peek.pid)")
    a.ask("peek-end", text=one["name"]).good()
    one = json.loads(a.ask("peek", manifest=forks, time_s=in_s(host, 600)).good()["text"])
    path, top = one["mounted"], f"{a.root}/.peek/{one['name']}"
    host.run(f"zfs create -o mountpoint=none {top}/theirs")
    a.ask("peek-end", text=one["name"]).bad("refused", "theirs in the peek is not zbaton's")
    assert host.run(f"cat {path}/log/file").out.strip() == "2"
    host.run(f"zfs destroy {top}/theirs")
    a.ask("peek-end", text=one["name"]).good()
    assert peeks(a) == [] and host.run(f"zfs list {top}; ls {path}", check=False).rc != 0
    a.ask("peek-end", text=one["name"]).bad("not-found", "there is no peek")
    a.ask("prune").good()
    assert set_name(host, f"{a.root}/web", 2, 0)
    assert "zbaton-000001-" not in host.run(f"zfs list -Hrt snapshot -o name {a.root}/web").out
