"""The keeper on real OpenZFS: what it does, and what it refuses whatever its engine asks.

Two keepers on one guest, nodes va and vb with a pool on a file each; the engine of both is the probe
(test/lab/keeper), which asks what the test says. The program is taken from the build directory named by
ZB_BUILD (default: build). ZB_KEEPER_LAB names a lab that is up, for working on this.
"""

import json
import os
import shlex
import subprocess

import pytest
from zblab import Lab, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(HERE, "..", "..", os.environ.get("ZB_BUILD", "build"))
PROBE = "/opt/keeper_probe"
PROBE_ENV = os.environ.get("ZB_PROBE_ENV", "")  # "ASAN_OPTIONS=log_path=/var/tmp/asan"
FLAGS = {"unmount": 1, "sync": 2, "planned": 4, "remount": 8, "remounted": 16, "dry_run": 32,
         "adopt": 64, "forward": 128, "whole": 256, "marks": 512, "same": 0x2000}
MOUNT_RW = 2
MASK = (1 << 64) - 1

SETUP = r"""
set -e
mkdir -p /opt/commands /srv
for p in pa pb; do
    zpool destroy $p 2>/dev/null || true
    rm -f /var/tmp/$p.img
    truncate -s 512M /var/tmp/$p.img
    zpool create -o ashift=12 -o cachefile=none -O mountpoint=none -O canmount=off $p /var/tmp/$p.img
    zfs create -o canmount=off $p/svc
done
cat >/opt/commands/writer <<'X'
#!/bin/sh
echo "started in $ZBATON_MOUNTPOINT"
cd "$ZBATON_MOUNTPOINT"
i=0
while :; do i=$((i+1)); echo $i >counter; sync counter; sleep 0.2; done
X
cat >/opt/commands/holder <<'X'
#!/bin/sh
cd "$ZBATON_MOUNTPOINT"; exec sleep 1000
X
chmod 755 /opt/commands/*
"""


class Keeper:
    def __init__(self, host, node, pool):
        self.host, self.node, self.pool = host, node, pool
        self.conf = f"/etc/{node}.conf"
        self.root = f"{pool}/svc"
        self.state = f"/var/lib/probe/{node}"
        self.version = 0

    def configure(self):
        self.host.run(
            f"cat >{self.conf}; mkdir -p /var/lib/probe; rm -rf {self.state}",
            input=f'node = "{self.node}"\nroot = "{self.root}"\nlisten = "127.0.0.1:1"\n'
                  f'state-dir = "{self.state}"\nrun-dir = "/run/{self.node}"\n'
                  f'commands-dir = "/opt/commands"\nlog-level = "debug"\n')

    def start(self):
        self.host.run(f"rm -f /run/{self.node}/probe.sock; "
                      f"setsid env {PROBE_ENV} {PROBE} {self.conf} >>/var/log/{self.node}.log 2>&1 </dev/null & "
                      f"echo $! >/run/{self.node}.pid")
        wait_until(lambda: self.host.run(f"test -S /run/{self.node}/probe.sock", check=False).rc == 0,
                   60, f"keeper {self.node} runs: " + self.log()[-600:])

    def pid(self):
        return self.host.run(f"cat /run/{self.node}.pid").out.strip()

    def stop(self, signal="TERM"):
        pid = self.pid()
        self.host.run(f"kill -{signal} {pid}; true")
        wait_until(lambda: self.host.run(f"kill -0 {pid}", check=False).rc != 0, 30, "the keeper ends")

    def restart(self, signal="TERM"):
        self.stop(signal)
        self.start()

    def log(self):
        return self.host.run(f"cat /var/log/{self.node}.log 2>/dev/null; true").out

    def ask(self, op, service="web", timeout=90, **fields):
        words = words_of(dict(fields, op=op, service=service))
        return Reply(json.loads(self.host.run(f"{PROBE} ask {self.conf} {words}", timeout=timeout).out))

    def define(self, service="web", **changes):
        declaration = {"name": service, "members": ["va", "vb"], "leader": "va",
                       "mountpoint": f"/srv/{service}", "runner": "command", "start": "writer",
                       "start-timeout": "10s", "stop-timeout": "4s"}
        declaration.update(changes)
        declaration = {k: v for k, v in declaration.items() if v is not None}
        self.version += 1
        return self.ask("define", service, version=self.version, text=json.dumps(declaration))

    def observe(self, service="web"):
        return self.ask("observe", service).good()

    def take(self, term, service="web", **fields):
        """Grants the term to itself and promotes."""
        self.ask("grant", service, term=term, node=self.node, version=1, nonce=1).good()
        return self.ask("promote", service, term=term, **fields)

    def snapshot(self, term, seq, service="web", **fields):
        return self.ask("snapshot", service, term=term, seq=seq, **fields)


class Reply(dict):
    def good(self):
        assert self["rc"] == "ok", (self["op"], self["rc"], self["msg"], self["hint"])
        return self

    def bad(self, rc, text):
        assert self["rc"] == rc and text in self["msg"], (self["op"], self["rc"], self["msg"])
        return self


def words_of(fields):
    flags = fields.pop("flags", ())
    if flags:
        fields["flags"] = sum(FLAGS[f] for f in flags)
    if isinstance(fields.get("manifest"), dict):
        m = fields["manifest"]
        fields["manifest"] = f"{m['term']}/{m['seq']}" + "".join(
            f";{e['uuid']},{e['rel']},{e['guid'] & MASK}" for e in m["entries"])
    for name in ("guid", "from_guid"):
        if name in fields:
            fields[name] &= MASK
    return " ".join(shlex.quote(f"{k}={v}") for k, v in fields.items())


def set_name(host, dataset, term, seq):
    """The snapshot of this set."""
    said = host.run(f"zfs list -Hd1 -t snapshot -o name {dataset}").out
    return next(line.split("@")[1] for line in said.split() if f"@zbaton-{term:06d}-{seq:08d}-" in line)


def ship(source, target, manifest, base=None, term=1, leader=None, service="web", **extras):
    """Sends every dataset of a set; base: the manifest before. Returns the last pair of replies."""
    bases = {e["rel"]: e["guid"] for e in base["entries"]} if base else {}
    last = None
    for entry in sorted(manifest["entries"], key=lambda e: e["rel"]):
        rel = entry["rel"]
        dataset = f"{source.root}/{service}" + (f"/{rel}" if rel else "")
        words = words_of({
            "service": service, "rel": rel, "uuid": entry["uuid"], "guid": entry["guid"],
            "from_guid": bases.get(rel, 0), "term": term, "node": leader or source.node,
            "snap": set_name(source.host, dataset, manifest["term"], manifest["seq"]), **extras})
        said = source.host.run(f"{PROBE} ship {source.conf} {target.conf} {words}", timeout=120).out
        last = {k: Reply(v) if isinstance(v, dict) else v for k, v in json.loads(said).items()}
        if last["receive"]["rc"] != "ok":
            break
    return last


def state_of(keeper, service="web"):
    """Everything that a refused operation must leave alone."""
    host = keeper.host
    return (host.run(f"zfs list -Hpr -t all -o name,guid {keeper.root}").out,
            host.run(f"zfs get -Hpr -s local all {keeper.root}").out,
            host.run("grep ' zfs ' /proc/self/mountinfo; true").out,
            host.run(f"cat {keeper.state}/keeper/{service}.record; true").out)


@pytest.fixture(scope="module")
def host():
    attached = os.environ.get("ZB_KEEPER_LAB")
    lab = Lab.attach(attached) if attached else Lab(hosts=1)
    if not attached:
        lab.__enter__()
    try:
        vm = lab["vm1"]
        vm.run("pkill keeper_probe; true")
        vm.put(os.path.join(BUILD, "test/lab/keeper/keeper_probe"), PROBE, mode=0o755)
        yield vm
    finally:
        if not attached:
            lab.__exit__(None, None, None)


@pytest.fixture
def keepers(host):
    """Two fresh keepers with empty pools, nothing defined."""
    made = Keeper(host, "va", "pa"), Keeper(host, "vb", "pb")
    wipe(host)
    host.run(SETUP, timeout=120)
    for keeper in made:
        keeper.configure()
        keeper.start()
    yield made
    wipe(host)


def wipe(host):
    host.run("pkill -KILL keeper_probe; for g in /sys/fs/cgroup/zbaton/*/cgroup.kill; do "
             "[ -e $g ] && echo 1 >$g; done; sleep 0.2; for i in 1 2 3; do "
             "grep ' zfs ' /proc/self/mounts | sort -rk2 | awk '{print $2}' | xargs -rn1 umount; done; "
             "rm -f /var/log/va.log /var/log/vb.log; rm -rf /srv/web*; true", timeout=60)


@pytest.fixture
def led(keepers):
    """va leads `web` in term 1, mounted, with sets 1/0 and a child dataset; vb has nothing yet."""
    a, b = keepers
    for keeper in keepers:
        keeper.define().good()
    a.ask("create").good()
    a.take(1).good()
    a.host.run(f"zfs create {a.root}/web/log && echo 1 >/srv/web/file")
    manifest = a.snapshot(1, 0).good()["manifest"]
    a.host.run("echo 2 >/srv/web/log/file")
    b.ask("learn", term=1, node="va").good()
    return a, b, manifest


def test_walk(led):
    """CREATE to RELEASE, a full and an incremental copy, and the planned pass to the other keeper."""
    a, b, first = led
    host = a.host
    times = {}
    seen = a.observe()
    assert seen["mounted_here"] == 1 and not seen["sealed"]
    assert [d["mount"] for d in seen["datasets"]] == [MOUNT_RW] * 2, "the new child is mounted too"
    assert all(d["readonly_on"] and d["marked"] for d in seen["datasets"]), "S0 on the leader"
    assert [e["rel"] for e in first["entries"]] == ["", "log"]

    times["start"] = a.ask("start").good()["elapsed_ms"]
    assert a.ask("check").good()["running"] == 1
    times["ship full"] = ship(a, b, first)["elapsed_ms"]
    copy = b.observe()
    assert [d["newest_guid"] for d in copy["datasets"]] == [e["guid"] for e in first["entries"]]
    assert [d["uuid"] for d in copy["datasets"]] == [e["uuid"] for e in first["entries"]]
    assert all(d["mount"] == 0 and d["readonly_on"] and d["marked"] for d in copy["datasets"])
    get = "zfs get -Hp -o value"
    assert host.run(f"{get} mountpoint,canmount,exec,setuid,devices,dnodesize {b.root}/web/log").out.split() == \
        ["none", "noauto", "off", "off", "off", "legacy"]

    second = a.snapshot(1, 1, base_term=1, base_seq=0)
    times["snapshot"] = second.good()["elapsed_ms"]
    assert second["foreign"] == 0
    done = ship(a, b, second["manifest"], first)
    times["ship increment"] = done["elapsed_ms"]
    assert done["receive"].good()["bytes"] > 0

    times["stop"] = a.ask("stop").good()["elapsed_ms"]
    assert a.ask("check").good()["running"] == 0
    counter = host.run("cat /srv/web/counter").out
    final = a.snapshot(1, 2, base_term=1, base_seq=1, flags=["sync"])
    times["final snapshot"] = final.good()["elapsed_ms"]
    sealed = a.ask("seal", term=1, manifest=final["manifest"])
    times["seal"] = sealed.good()["elapsed_ms"]
    assert sealed["sealed"] == 1 and sealed["mounted_here"] == 0
    assert ship(a, b, final["manifest"], second["manifest"])["receive"].good()
    released = a.ask("release", term=2, node="vb", manifest=final["manifest"])
    times["release"] = released.good()["elapsed_ms"]
    assert released["record"]["suspects"] == ["va", "vb"]
    a.ask("release", term=2, node="vb", manifest=final["manifest"]).good()

    granted = b.ask("grant", term=2, node="vb", version=1)
    times["grant"] = granted.good()["elapsed_ms"]
    taken = b.ask("promote", term=2, manifest=final["manifest"], flags=["planned"])
    times["promote"] = taken.good()["elapsed_ms"]
    assert taken["mounted_here"] == 1 and taken["record"]["established_term"] == 2
    assert host.run("cat /srv/web/counter").out == counter, "nothing lost"
    b.ask("start").good()
    a.ask("learn", term=2, node="vb").good()
    assert host.run(f"{get} mountpoint {a.root}/web").out.strip() == "none"
    third = b.snapshot(2, 0, base_term=1, base_seq=2).good()["manifest"]
    assert ship(b, a, third, final["manifest"], term=2)["receive"].good(), "and back"
    times["observe"] = b.observe()["elapsed_ms"]
    print("measured (ms, two datasets): " + ", ".join(f"{k} {v}" for k, v in times.items()))
    held = host.run(f"zfs get -Hpr -t filesystem -o value written {a.root}/web").out.split()
    assert held == ["0", "0"]


@pytest.mark.parametrize("count", [30, pytest.param(120, marks=pytest.mark.long)])
def test_no_foreign_snapshot_is_missed(led, count):
    """Beside every other set another tool makes a snapshot, a little earlier from time to time, so that it
    falls into every moment of a set; a set says so exactly when one lies below it."""
    a, _, _ = led
    host = a.host
    script = (f"for i in $(seq {count}); do "
              f"if [ $((i % 2)) = 1 ]; then zfs snapshot -r {a.root}/web@by-hand-$i & "
              f"sleep $(printf 0.%03d $((i * 120 / {count}))); fi; "
              f"{PROBE} ask {a.conf} op=snapshot service=web term=1 seq=$i base_term=1 base_seq=$((i-1)); "
              f"echo; wait; done")
    said = host.run(f"bash -c {shlex.quote(script)}", timeout=300).out
    replies = [Reply(json.loads(line)).good() for line in said.splitlines() if line]
    flagged = {reply["manifest"]["seq"] for reply in replies if reply["foreign"] == 1}
    below = set()
    for dataset in (f"{a.root}/web", f"{a.root}/web/log"):
        foreign = False
        for snap in host.run(f"zfs list -Hd1 -t snapshot -s createtxg -o name {dataset}").out.split():
            name = snap.split("@")[1]
            if name.startswith("by-hand-"):
                foreign = True
                continue
            if foreign:
                below.add(int(name.split("-")[2]))
            foreign = False
    print(f"measured: {len(below)} of {count} sets lie above foreign snapshots")
    assert len(replies) == count and len(below) > count // 3, "the tool was there"
    assert flagged == below, f"missed: {sorted(below - flagged)}, false: {sorted(flagged - below)}"


def test_refusals_change_nothing(led):
    """A confused or hostile engine asks for what it must not get."""
    a, b, first = led
    guid = first["entries"][0]["guid"]
    uuid = first["entries"][0]["uuid"]
    snap = set_name(a.host, f"{a.root}/web", 1, 0)
    before = state_of(a), state_of(b)

    a.ask("observe", "nowhere").bad("not-found", "not defined")
    a.ask("snapshot", term=1, seq=0).bad("refused", "not above 1/0")
    a.ask("snapshot", term=2, seq=0).bad("refused", "not the established leader")
    b.ask("snapshot", term=1, seq=5).bad("not-found", "does not exist")
    a.ask("grant", term=2, node="vb", version=1).bad("refused", "mounted here")
    a.ask("grant", term=1, node="vb", version=1).bad("refused", "was granted to va")
    a.ask("release", term=2, node="vb", manifest=first).bad("refused", "not sealed with this set")
    a.ask("promote", term=1).bad("refused", "led by this node before")
    a.ask("promote", term=1, flags=["remount"]).bad("refused", "is mounted already")
    a.ask("promote", term=2).bad("refused", "not granted term 2 to itself")
    b.ask("promote", term=1).bad("refused", "not granted term 1 to itself")
    b.ask("start").bad("refused", "not the established leader")
    b.ask("learn", term=1, node="vb").bad("mismatch", "split brain")
    a.ask("seal", term=1, manifest=dict(first, term=2)).bad("refused", "not one of term 1")
    a.ask("unadopt").bad("refused", "is mounted")
    a.ask("define", version=99).bad("refused", "is mounted")
    a.ask("define", version=0, text="{}").bad("refused", "older than")
    a.ask("define", version=99, text='{"name":"web"}').bad("format", "")
    b.ask("create").bad("refused", "received, not made")
    receive = dict(snap=snap, guid=guid, uuid=uuid)
    b.ask("receive", **receive, term=2, node="va").bad("refused", "not the one known to be led")
    b.ask("receive", **receive, term=1, node="vb").bad("refused", "va leads term 1")
    a.ask("receive", **receive, term=1, node="va").bad("refused", "this node leads")
    b.ask("receive", **receive, from_guid=7, term=1, node="va").bad("not-found", "full stream")
    a.ask("send", snap=snap, guid=8).bad("mismatch", "guid of")
    a.ask("send", snap="nothing", guid=8).bad("not-found", "")
    a.ask("send", snap=snap, guid=guid, from_guid=9).bad("not-found", "no snapshot or bookmark")
    a.ask("cancel", target=12345).bad("not-found", "no such operation")
    a.ask("define", "other", version=1, text=json.dumps({"name": "web"})).bad("format", "")
    assert (state_of(a), state_of(b)) == before


def test_receive_proves_stream_and_base(led):
    a, b, first = led
    host = a.host
    # Not the stream that was announced, and one that was changed on the way.
    wrong = dict(first, entries=[dict(first["entries"][0], guid=77)])
    assert ship(a, b, wrong)["send"].bad("mismatch", "guid of")
    assert b.observe()["datasets"] == []
    ship(a, b, first, change=40)["receive"].bad("mismatch", "the stream leads")
    assert b.observe()["datasets"] == []
    ship(a, b, first)["receive"].good()
    second = a.snapshot(1, 1).good()["manifest"]
    # Somebody wrote to the copy, or made a snapshot of it.
    host.run(f"zfs snapshot {b.root}/web@foreign")
    ship(a, b, second, first)["receive"].bad("diverged", "foreign")
    host.run(f"zfs destroy {b.root}/web@foreign")
    host.run(f"mkdir -p /srv/webx && mount -t zfs -o rw,zfsutil {b.root}/web /srv/webx && echo x >/srv/webx/x")
    ship(a, b, second, first)["receive"].bad("refused", "is mounted here")
    host.run("umount /srv/webx")
    ship(a, b, second, first)["receive"].bad("diverged", "bytes written after")
    ship(a, b, first)["receive"].bad("refused", "a full stream, but")
    before = state_of(b)
    ship(a, b, second, first)
    assert state_of(b) == before, "S4: the diverged write is still there"


def test_a_base_is_what_has_its_guid_whatever_its_name(led):
    a, b, first = led
    ship(a, b, first)["receive"].good()
    sets = [first] + [a.snapshot(1, seq).good()["manifest"] for seq in range(1, 5)]
    names = [set_name(a.host, f"{a.root}/web", 1, manifest["seq"]) for manifest in sets]
    ship(a, b, sets[1], sets[0], from_snap=names[0])["receive"].good()
    ship(a, b, sets[2], sets[1], from_snap="nothing")["receive"].good()
    ship(a, b, sets[3], sets[2], from_snap=names[0])["receive"].good()  # another one's name
    for entry in sets[3]["entries"]:
        dataset = f"{a.root}/web" + (f"/{entry['rel']}" if entry["rel"] else "")
        a.host.run(f"zfs bookmark {dataset}@{names[3]} {dataset}#kept && zfs destroy {dataset}@{names[3]}")
    ship(a, b, sets[4], sets[3], from_snap=names[3])["receive"].good()
    assert {d["newest"] for d in b.observe()["datasets"]} == {names[4]}


def test_partial_receive_is_resumed_or_thrown_away(led):
    a, b, _ = led
    host = a.host
    host.run("dd if=/dev/urandom of=/srv/web/big bs=1M count=48 status=none")
    second = a.snapshot(1, 1).good()["manifest"]
    root = dict(second, entries=second["entries"][:1])
    ship(a, b, root, limit=20 << 20)["receive"].bad("closed", "")
    partial = b.observe()["datasets"][0]
    assert partial["token"] and partial["newest"] == ""
    b.ask("promote", term=1).bad("refused", "")
    done = ship(a, b, root, token=partial["token"])["receive"].good()
    assert done["bytes"] < 40 << 20, "only the rest was sent"
    ship(a, b, dict(second, entries=second["entries"][1:]))["receive"].good()
    host.run("dd if=/dev/urandom of=/srv/web/big2 bs=1M count=32 status=none")
    third = a.snapshot(1, 2).good()["manifest"]
    root3 = dict(third, entries=third["entries"][:1])
    ship(a, b, root3, second, limit=20 << 20)["receive"].bad("closed", "")
    assert b.observe()["datasets"][0]["token"]
    ship(a, b, third, second)["receive"].good()
    assert b.observe()["datasets"][0]["token"] == ""


def near(estimate, sent):
    assert abs(estimate - sent) <= sent / 5, (estimate, sent)


def test_estimates_are_near_what_is_sent(led):
    a, b, first = led
    host = a.host
    host.run("dd if=/dev/urandom of=/srv/web/big bs=1M count=48 status=none")
    second = a.snapshot(1, 1).good()["manifest"]
    host.run("dd if=/dev/urandom of=/srv/web/big2 bs=1M count=16 status=none")
    third = a.snapshot(1, 2).good()["manifest"]
    guids = [m["entries"][0]["guid"] for m in (first, second, third)]
    near(a.ask("estimate", guid=guids[1], count=1).good()["bytes"], 48 << 20)
    near(a.ask("estimate", guid=guids[2], count=2).good()["bytes"], 64 << 20)
    near(a.ask("estimate", guid=guids[2], from_guid=guids[0], count=2).good()["bytes"], 64 << 20)
    near(a.ask("estimate", guid=guids[2], from_guid=guids[1], count=1).good()["bytes"], 16 << 20)

    root = dict(second, entries=second["entries"][:1])
    ship(a, b, root, limit=20 << 20)["receive"].bad("closed", "")
    token = b.observe()["datasets"][0]["token"]
    rest = a.ask("estimate", guid=guids[1], count=1, token=token).good()["bytes"]
    near(rest, ship(a, b, root, token=token)["receive"].good()["bytes"])
    other = a.ask("estimate", guid=guids[2], from_guid=guids[1], count=1, token=token)
    near(other.good()["bytes"], 16 << 20)  # the token is of another stream

    a.ask("estimate", guid=8, count=1).bad("not-found", "")
    a.ask("estimate", guid=guids[2], count=0).bad("not-found", "")
    a.ask("estimate", guid=guids[2], count=4).bad("not-found", "")
    a.ask("estimate", guid=guids[2], from_guid=guids[0], count=3).bad("unsupported", "no snapshot before them")
    dataset = f"{a.root}/web"
    name = set_name(host, dataset, 1, 0)
    host.run(f"zfs bookmark {dataset}@{name} {dataset}#kept && zfs destroy {dataset}@{name}")
    a.ask("estimate", guid=guids[2], from_guid=guids[0], count=2).bad("unsupported", "no snapshot before them")


def test_cancel_and_grant_end_receives(led):
    a, b, first = led
    host = a.host
    host.run("dd if=/dev/urandom of=/srv/web/big bs=1M count=32 status=none")
    second = a.snapshot(1, 1).good()["manifest"]
    root = second["entries"][0]
    snap = set_name(host, f"{a.root}/web", 1, 1)
    canceled = a.ask("send", snap=snap, guid=root["guid"], cancel_after_ms=300)
    canceled.bad("canceled", "")
    words = words_of({"service": "web", "uuid": root["uuid"], "guid": root["guid"], "term": 1,
                      "node": "va", "snap": snap, "limit": 4 << 20, "stall": 1})
    stalled = host.popen(f"{PROBE} ship {a.conf} {b.conf} {words}")
    wait_until(lambda: host.run(f"zfs list {b.root}/web", check=False).rc == 0, 30, "the receive runs")
    b.ask("receive", snap=snap, guid=root["guid"], uuid=root["uuid"], term=1, node="va").bad("busy", "under way")
    b.ask("prune", count=5).bad("busy", "under way")
    b.ask("learn", term=1, node="va").good()
    granted = b.ask("grant", term=2, node="va", version=1).good()
    assert granted["elapsed_ms"] < 4000 and granted["record"]["granted_term"] == 2
    said = json.loads(stalled.communicate(timeout=60)[0])
    assert said["receive"]["rc"] == "canceled"
    b.ask("receive", snap=snap, guid=root["guid"], uuid=root["uuid"], term=1, node="va").bad(
        "refused", "term 2 was granted")


def test_seal_names_holders_and_puts_back(led):
    a, _, first = led
    host = a.host
    holder = host.popen("cd /srv/web/log && exec sleep 777")
    wait_until(lambda: host.run("pgrep -f 'sleep 777'", check=False).rc == 0, 20, "the holder is there")
    final = a.snapshot(1, 1, flags=["sync"]).good()["manifest"]
    held = a.ask("seal", term=1, manifest=final).bad("held", "sleep")
    assert held["flags"] == FLAGS["remounted"]
    seen = a.observe()
    assert seen["mounted_here"] == 1 and [d["mount"] for d in seen["datasets"]] == [MOUNT_RW] * 2
    host.run("pkill -f 'sleep 777'")
    holder.wait(20)
    # Kept by a mount namespace of somebody else: unmounted here, held all the same.
    spaces = host.popen("exec unshare -m --propagation private sleep 778")
    wait_until(lambda: host.run("pgrep -fx 'sleep 778'", check=False).rc == 0, 20, "the namespace is there")
    held = a.ask("seal", term=1, manifest=final).bad("held", "namespace")
    assert held["flags"] == FLAGS["remounted"] and a.observe()["mounted_here"] == 1
    host.run("pkill -f 'sleep 778'")
    spaces.wait(20)
    # A lost write after the set: another set, another seal.
    final = a.snapshot(1, 2, flags=["sync"]).good()["manifest"]
    host.run("echo late >/srv/web/late")
    a.ask("seal", term=1, manifest=final).bad("mismatch", "written after the set")
    seen = a.observe()
    assert seen["sealed"] == 1 and [d["mount"] for d in seen["datasets"]] == [0, 0]
    a.ask("release", term=2, node="vb", manifest=final).bad("refused", "not sealed with this set")
    final = a.snapshot(1, 3).good()["manifest"]
    a.ask("seal", term=1, manifest=final).good()
    # Put back, and sealed again.
    a.ask("start").bad("refused", "it is sealed")
    a.ask("promote", term=1, flags=["remount"]).good()
    assert host.run("cat /srv/web/late").out == "late\n"
    a.ask("release", term=2, node="vb", manifest=final).bad("refused", "not sealed")
    a.ask("start").good()
    a.ask("seal", term=1, manifest=final).bad("refused", "is running")
    a.ask("stop").good()
    final = a.snapshot(1, 4, flags=["sync"]).good()["manifest"]
    a.ask("seal", term=1, manifest=final).good()
    # What changes after the seal keeps the release from being made.
    host.run(f"zfs snapshot {a.root}/web@late")
    a.ask("release", term=2, node="vb", manifest=final).bad("mismatch", "late")
    host.run(f"zfs destroy {a.root}/web@late")
    a.ask("release", term=2, node="vb", manifest=final).good()
    a.ask("promote", term=1, flags=["remount"]).bad("refused", "term 2 was granted to vb")


def test_fsynced_writer_is_sealed_clean(led):
    """A set taken while the intent log is in use, then sealed: written is 0."""
    a, _, _ = led
    a.ask("start").good()
    wait_until(lambda: a.host.run("cat /srv/web/counter", check=False).rc == 0, 20, "it writes")
    a.snapshot(1, 1).good()
    a.ask("stop").good()
    final = a.snapshot(1, 2, flags=["sync"]).good()["manifest"]
    a.ask("seal", term=1, manifest=final).good()


def test_restart_continues_and_only_then(led):
    """M12: a restarted keeper goes on with its mounted tree; anything else is stopped and unmounted."""
    a, b, first = led
    host = a.host
    a.ask("start").good()
    for signal in ("TERM", "KILL"):
        a.restart(signal)
        seen = a.observe()
        assert seen["mounted_here"] == 1 and seen["running"] == 1, a.log()[-500:]
    a.snapshot(1, 0).bad("refused", "not above 1/0")
    a.snapshot(1, 1).good()
    # Partly unmounted while nobody looked: given up.
    a.stop()
    host.run("umount /srv/web/log")
    a.start()
    seen = a.observe()
    assert seen["mounted_here"] == 0 and seen["running"] == 0
    assert [d["mount"] for d in seen["datasets"]] == [0, 0]
    a.snapshot(1, 2).bad("refused", "not mounted by this keeper")
    # The last leader takes its tree again, in a new term only.
    a.ask("promote", term=1).bad("refused", "led by this node before")
    a.take(2).good()
    a.snapshot(2, 0).good()
    # A damaged record: frozen, and nothing is left writable.
    a.ask("start").good()
    a.stop()
    host.run(f"sed -i s/granted-term/granted-terx/ {a.state}/keeper/web.record")
    a.start()
    a.ask("observe").bad("refused", "frozen")
    a.ask("grant", term=9, node="vb", version=1).bad("refused", "frozen")
    assert "/srv/web" not in host.run("cat /proc/mounts").out
    assert host.run("pgrep -f commands/writer", check=False).rc != 0


def test_stray_mounts_and_properties_are_put_right(led):
    a, b, first = led
    host = a.host
    ship(a, b, first)
    b.stop()
    host.run(f"zfs set readonly=off canmount=on mountpoint=/srv/webb {b.root}/web && zfs mount {b.root}/web; "
             f"mount | grep -q 'on /srv/webb '")
    b.start()
    assert "/srv/webb" not in host.run("cat /proc/mounts").out
    assert host.run(f"zfs get -Hp -o value readonly,canmount,mountpoint {b.root}/web").out.split() == \
        ["on", "noauto", "none"]
    # The same without any record: found by its mark.
    b.stop()
    host.run(f"rm {b.state}/keeper/web.*; mkdir -p /srv/webb; mount -t zfs -o rw,zfsutil {b.root}/web /srv/webb")
    b.start()
    assert "/srv/webb" not in host.run("cat /proc/mounts").out, b.log()[-500:]


def test_learning_a_higher_term_demotes(led):
    a, _, _ = led
    a.ask("start").good()
    learned = a.ask("learn", term=3, node="vb").good()
    assert learned["mounted_here"] == 0 and learned["running"] == 0
    assert [d["mount"] for d in learned["datasets"]] == [0, 0]
    a.take(4).bad("refused", "vb led term 3")


def test_demote_and_failed_promotion(led):
    a, _, _ = led
    host = a.host
    a.ask("start").good()
    gone = a.ask("demote").good()
    assert gone["running"] == 0 and [d["mount"] for d in gone["datasets"]] == [0, 0]
    # A mount point in use: recorded, but nothing stays mounted, and the term is used up.
    host.run("rm -rf /srv/web && mkdir /srv/web && echo x >/srv/web/x")
    a.take(2).bad("refused", "/srv/web")
    seen = a.observe()
    assert [d["mount"] for d in seen["datasets"]] == [0, 0] and seen["mounted_here"] == 0
    assert seen["record"]["established_term"] == 2
    host.run("rm /srv/web/x")
    a.ask("promote", term=2).bad("refused", "led by this node before")
    a.take(3).good()


def test_power_cut_replays_the_intent_log(led):
    """What was fsync'ed before the power went is in the tree that OBSERVE shows."""
    a, _, _ = led
    host = a.host
    host.run("zpool sync pa; dd if=/dev/urandom of=/srv/web/fsynced bs=8k count=1 conv=fsync status=none")
    a.stop("KILL")
    # A crash of the pool alone: what is not synced is lost, what is in the intent log stays.
    host.run("umount /srv/web/log; zpool freeze pa 2>/dev/null || true; "
             "dd if=/dev/urandom of=/srv/web/late bs=8k count=4 conv=fsync status=none; "
             "umount /srv/web; zpool export -f pa; zpool import -N -d /var/tmp pa", timeout=60)
    a.start()
    seen = a.observe()
    assert seen["datasets"][0]["written_bytes"] > 0
    a.take(2).good()
    assert host.run("stat -c %s /srv/web/late").out.strip() == "32768"


def test_adoption_and_back(keepers):
    a, _ = keepers
    host = a.host
    host.run(f"zfs create -o mountpoint=/srv/webold -o atime=off {a.root}/web && echo 1 >/srv/webold/f && "
             f"zfs create -o quota=100M {a.root}/web/sub && zfs snapshot -r {a.root}/web@daily")
    a.define().good()
    before = state_of(a)
    a.ask("create").bad("held", "/srv/webold")
    plan = a.ask("create", flags=["dry_run"]).good()["text"]
    assert "unmount /srv/webold" in plan and "readonly" in plan and "quota" in plan, plan
    assert state_of(a)[:3] == before[:3]
    a.ask("create", flags=["unmount"]).good()
    a.ask("create").good()
    seen = a.observe()
    assert all(d["marked"] and d["readonly_on"] and d["uuid"] for d in seen["datasets"])
    a.take(1).good()
    assert host.run("cat /srv/web/f").out == "1\n"
    manifest = a.snapshot(1, 0).good()
    assert manifest["foreign"] == 1
    assert a.snapshot(1, 1, base_term=1, base_seq=0).good()["foreign"] == 0
    snaps = a.ask("snaps").good()
    assert [s["name"] for s in snaps["snaps"]][0] == "daily" and snaps["count"] == 3
    a.ask("create", "web", uuid="6f0a0f3e-6a4f-4d4e-8a43-0f6f3f1c2d11").bad("refused", "is mounted")
    a.ask("demote").good()
    host.run(f"zfs set zbaton:service=other {a.root}/web/sub")
    a.ask("create").bad("refused", "belongs to service other")
    host.run(f"zfs set zbaton:service=web {a.root}/web/sub")
    a.ask("unadopt").good()
    after = host.run(f"zfs get -Hpr -s local -o name,property,value all {a.root}/web | sort").out
    assert "zbaton" not in after, after
    # canmount cannot be inherited: its default is set instead.
    assert sorted(line.split("\t", 1)[1] for line in after.splitlines() if "canmount\ton" not in line) == sorted(
        ["mountpoint\t/srv/webold", "atime\toff", f"quota\t{100 << 20}"])
    host.run(f"zfs mount {a.root}/web && cat /srv/webold/f && zfs unmount {a.root}/web")


def test_prune_keeps_what_it_must(led):
    a, _, _ = led
    host = a.host
    a.define(keep="2").good()
    for seq in range(1, 8):
        a.snapshot(1, seq).good()
    host.run(f"zfs snapshot {a.root}/web@mine; zfs hold keep {a.root}/web@{set_name(host, a.root + '/web', 1, 2)}; "
             f"zfs clone -o canmount=off {a.root}/web@{set_name(host, a.root + '/web', 1, 3)} {a.root}/clone")
    pruned = a.ask("prune", protect="1/1").good()
    left = [s["name"] for s in a.ask("snaps").good()["snaps"]]
    assert [int(n.split("-")[2]) for n in left if n.startswith("zbaton")] == [1, 2, 3, 6, 7] and "mine" in left
    assert pruned["count"] == 3 + 5  # 0, 4, 5 of the root; 0, 2, 3, 4, 5 of the child
    host.run(f"zfs destroy {a.root}/clone; zfs release -r keep {a.root}/web@{set_name(host, a.root + '/web', 1, 2)}")

    # Where another member stands, and the set after it, bookmarks stay, for as long as it stands there; not others' bookmarks.
    name = set_name(host, f"{a.root}/web", 1, 1)
    host.run(f"zfs bookmark {a.root}/web@{name} {a.root}/web#{name}")  # as another tool may
    assert a.ask("prune", count=1, protect="1/1").good()["count"] == 3 + 1
    assert [s["name"] for s in a.ask("snaps").good()["snaps"] if s["name"].startswith("zbaton")] == \
        [set_name(host, f"{a.root}/web", 1, seq) for seq in (6, 7)]
    marks = [m["name"] for m in a.ask("snaps", flags=["marks"]).good()["snaps"]]
    assert marks[0] == f"base-{name}" and [int(m.split("-")[3]) for m in marks] == [1, 2], marks
    assert a.ask("snaps", flags=["marks"], rel="log").good()["snaps"][0]["name"] == f"base-{name}"
    gone = a.ask("prune", count=2, protect="1/6,1/3").good()
    assert gone["count"] == 0 and gone["text"] == "1/3\n", "of what it stands on nothing is left"
    assert len(a.ask("snaps", flags=["marks"]).good()["snaps"]) == 2, "it may stand elsewhere"
    a.ask("prune", count=1, protect="1/6").good()
    assert a.ask("snaps", flags=["marks"]).good()["snaps"] == []
    assert host.run(f"zfs list -H -t bookmark -o name {a.root}/web").out == f"{a.root}/web#{name}\n"


@pytest.mark.long
def test_prune_ends_after_a_while_and_goes_on(led):
    a, _, _ = led
    host = a.host
    a.define(keep="2").good()
    host.run(f"for i in 1 2 3 4 5 6; do zfs create {a.root}/web/$i; done")
    sets = 40
    for seq in range(1, sets + 1):
        a.snapshot(1, seq).good()
    there = int(host.run(f"zfs list -Hr -t snapshot -o name {a.root}/web | wc -l").out)
    counts = [a.ask("prune").good()["count"] for _ in range(3)]
    assert counts[0] >= 256 and counts[1] > 0 and counts[2] == 0 and sum(counts) == there - 8 * 2, counts
    left = host.run(f"zfs list -Hr -t snapshot -o name {a.root}/web").out.split()
    assert all(int(name.split("-")[2]) > sets - 2 for name in left), left


def test_engine_that_breaks_the_protocol_is_started_again(led):
    a, _, _ = led
    host = a.host
    engine = host.run("pgrep -f -- 'va.conf --engine'").out
    host.run(f"{PROBE} ask {a.conf} op=hello version=666", check=False)
    wait_until(lambda: host.run("pgrep -f -- 'va.conf --engine'", check=False).out not in ("", engine), 20,
               "another engine runs")
    wait_until(lambda: host.run(f"{PROBE} ask {a.conf} op=observe service=web", check=False).rc == 0, 20,
               "it answers")
    assert a.observe()["mounted_here"] == 1
    a.ask("hello", version=2).bad("version", "")
    hello = a.ask("hello", version=1).good()
    assert hello["node"] == "va" and hello["text"] == "web\n" and hello["nonce"] != 0
    assert host.run(f"{PROBE} {a.conf}", check=False).err.count("another keeper") == 1


def test_new_child_with_foreign_snapshot_of_a_tool(led):
    a, b, first = led
    a.host.run(f"zfs snapshot -r {a.root}/web@autosnap_1")
    second = a.snapshot(1, 1, base_term=1, base_seq=0).good()
    assert second["foreign"] == 1


def test_a_child_that_was_made_elsewhere_comes_in(led):
    """To its place when that is free; and nothing else mounts it read-write in any case (S0)."""
    a, _, _ = led
    host = a.host
    host.run("mkdir /srv/web/busy && touch /srv/web/busy/in-the-way")
    for child in ("free", "busy"):
        host.run(f"zfs create -o readonly=off -o mountpoint=/srv/made-{child} {a.root}/web/{child} && "
                 f"echo {child} >/srv/made-{child}/file")
    a.snapshot(1, 1).good()

    def mount(child):
        return host.run(f"awk '$1 == \"{a.root}/web/{child}\" {{print $2, substr($4, 1, 2)}}' /proc/self/mounts").out.strip()
    assert mount("free") == "/srv/web/free rw" and host.run("cat /srv/web/free/file").out == "free\n"
    assert mount("busy") == "/srv/made-busy ro"
    # Of what is mounted read-write against its value, zfs tells the mount's.
    for child, value in (("free", ["off", "temporary"]), ("busy", ["on", "local"])):
        assert host.run(f"zfs get -Hp -o value,source readonly {a.root}/web/{child}").out.split() == value


def test_children_that_come_while_a_set_is_made(led):
    """Also those between two looks at the tree: each set has a uuid of every dataset."""
    a, _, _ = led
    host = a.host
    host.run(f"rm -f /run/made; setsid sh -c 'for i in $(seq 30); do zfs create {a.root}/web/c$i; sleep 0.2; done; "
             "touch /run/made' >/dev/null 2>&1 </dev/null &")
    sets = 0
    for seq in range(1, 100):
        made = host.run("test -e /run/made", check=False).rc == 0
        said = a.snapshot(1, seq)
        assert said["rc"] == "ok" or (said["rc"] == "busy" and "again and again" in said["msg"]), said
        if said["rc"] == "ok":
            sets += 1
            assert all(len(e["uuid"]) == 36 for e in said["manifest"]["entries"]), said
        if made:
            break
    assert sets > 1 and len(said["manifest"]["entries"]) == 2 + 30


def test_a_child_that_is_made_anew_while_a_set_is_made(led):
    """The set says the uuid of what it has a snapshot of."""
    a, _, _ = led
    host = a.host
    host.run(f"zfs create {a.root}/web/c; rm -f /run/made; setsid sh -c 'for i in $(seq 20); do zfs destroy -r {a.root}/web/c; "
             f"zfs create {a.root}/web/c; done; touch /run/made' >/dev/null 2>&1 </dev/null &")
    sets = 0
    for seq in range(1, 100):
        said = a.snapshot(1, seq)
        assert said["rc"] in ("ok", "busy", "not-found"), said
        sets += said["rc"] == "ok"
        for entry in said.get("manifest", {}).get("entries", []):
            name = f"{a.root}/web" + (f"/{entry['rel']}" if entry["rel"] else "")
            there = host.run(f"zfs list -Hp -t snapshot -o guid,zbaton:uuid {name}", check=False).out.split()
            guid = str(entry["guid"] & MASK)
            # One that is not there any more was of a child before.
            assert guid not in there or there[there.index(guid) + 1] == entry["uuid"], (entry, there)
        if host.run("test -e /run/made", check=False).rc == 0:
            break
    assert sets > 1


def test_a_copy_that_was_rolled_back_is_not_taken_as_written_to(led):
    """`written` stays above 0 after a rollback to a set taken while the intent log was in use."""
    a, b, _ = led
    host = a.host
    written = f"zfs list -Hpr -t filesystem -o written {a.root}/web"
    host.run("for i in $(seq 20); do dd if=/dev/urandom of=/srv/web/$i bs=8k count=1 conv=fsync status=none; done")
    base = a.snapshot(1, 1).good()["manifest"]
    ship(a, b, base)["receive"].good()
    host.run("dd if=/dev/urandom of=/srv/web/late bs=8k count=1 conv=fsync status=none")
    a.ask("demote").good()
    for entry in base["entries"]:
        dataset = f"{a.root}/web/{entry['rel']}".rstrip("/")
        host.run(f"zfs rollback {dataset}@{set_name(host, dataset, 1, 1)}")
    assert host.run(written).out.split() != ["0", "0"], "what this test is about"
    assert [d["written_bytes"] for d in a.observe()["datasets"]] == [0, 0]

    # As the follower of another term: it receives.
    b.ask("grant", term=2, node="vb", version=1).good()
    b.ask("promote", term=2, manifest=base, flags=["planned"]).good()
    a.ask("learn", term=2, node="vb").good()
    second = b.snapshot(2, 0, base_term=1, base_seq=1).good()["manifest"]
    ship(b, a, second, base, term=2)["receive"].good()

    # As the target of a move: it takes the tree, and what was written to it is told apart.
    host.run("for i in $(seq 20); do dd if=/dev/urandom of=/srv/web/$i bs=8k count=1 conv=fsync status=none; done")
    third = b.snapshot(2, 1, base_term=2, base_seq=0).good()["manifest"]
    ship(b, a, third, second, term=2)["receive"].good()
    host.run("dd if=/dev/urandom of=/srv/web/late bs=8k count=1 conv=fsync status=none")
    b.ask("demote").good()
    for entry in third["entries"]:
        dataset = f"{b.root}/web/{entry['rel']}".rstrip("/")
        host.run(f"zfs rollback {dataset}@{set_name(host, dataset, 2, 1)}")
    assert host.run(f"zfs list -Hpr -t filesystem -o written {b.root}/web").out.split() != ["0", "0"]
    host.run(f"mkdir -p /srv/webx && mount -t zfs -o rw,zfsutil {b.root}/web/log /srv/webx && "
             "echo x >/srv/webx/x && umount /srv/webx")
    b.ask("grant", term=3, node="vb", version=1).good()
    b.ask("promote", term=3, manifest=third, flags=["planned"]).bad("mismatch", "log has")
    log = f"{b.root}/web/log"
    host.run(f"zfs rollback {log}@{set_name(host, log, 2, 1)}")
    b.ask("promote", term=3, manifest=third, flags=["planned"]).good()


def one_set(manifest, *rels):
    """The set's manifest with the entries of these datasets alone."""
    return dict(manifest, entries=[e for e in manifest["entries"] if e["rel"] in rels])


def guid_of(host, name):
    return host.run(f"zfs get -Hp -o value guid {name}").out.strip()


@pytest.mark.long
def test_names_become_those_of_the_set(led):
    """On a follower: made anew under its name, renamed, and both at once; nothing is destroyed."""
    a, b, first = led
    host = a.host
    ship(a, b, first)["receive"].good()
    old = guid_of(host, f"{b.root}/web/log")
    uuid = first["entries"][1]["uuid"]
    host.run(f"zfs destroy -r {a.root}/web/log && zfs create {a.root}/web/log")
    second = a.snapshot(1, 1, base_term=1, base_seq=0).good()["manifest"]
    assert [e["rel"] for e in second["entries"]] == ["", "log"] and second["entries"][1]["uuid"] != uuid

    before = state_of(b)
    b.ask("arrange", term=2, node="va", manifest=second).bad("refused", "not the one known to be led")
    b.ask("arrange", term=1, node="vb", manifest=second).bad("refused", "va leads term 1")
    a.ask("arrange", term=1, node="va", manifest=second).bad("refused", "this node leads")
    host.run(f"zfs set zbaton:orphan=0 {b.root}/web/log; mount -t zfs -o ro,zfsutil {b.root}/web/log /mnt")
    b.ask("arrange", term=1, node="va", manifest=second).bad("held", "mounted at /mnt")
    host.run(f"umount /mnt; zfs inherit zbaton:orphan {b.root}/web/log")
    assert state_of(b) == before
    b.ask("arrange", term=1, node="va", manifest=second).good()
    aside = f"{b.root}/web/log.aside-{uuid[:8]}"
    assert guid_of(host, aside) == old, "renamed, not copied"
    assert host.run(f"zfs get -Hp -o value,source zbaton:orphan {aside}").out.split() == ["1", "local"]
    assert [d["rel"] for d in b.observe()["datasets"]] == [""]
    ship(a, b, second, one_set(first, ""))["receive"].good()
    seen = b.observe()["datasets"]
    assert [(d["rel"], d["newest_guid"]) for d in seen] == [(e["rel"], e["guid"]) for e in second["entries"]]

    # Renamed, and another made under the old name.
    log = guid_of(host, f"{b.root}/web/log")
    host.run(f"zfs rename {a.root}/web/log {a.root}/web/old && zfs create {a.root}/web/log")
    third = a.snapshot(1, 2, base_term=1, base_seq=1).good()["manifest"]
    b.ask("arrange", term=1, node="va", manifest=third).good()
    assert guid_of(host, f"{b.root}/web/old") == log
    moved = dict(second, entries=[dict(e, rel=e["rel"].replace("log", "old")) for e in second["entries"]])
    ship(a, b, third, moved)["receive"].good()
    assert [d["rel"] for d in b.observe()["datasets"]] == ["", "log", "old"]

    # Two that change names reach a follower that has to lead at once.
    host.run(f"zfs rename {a.root}/web/log {a.root}/web/x && zfs rename {a.root}/web/old {a.root}/web/log && "
             f"zfs rename {a.root}/web/x {a.root}/web/old")
    final = a.snapshot(1, 3, base_term=1, base_seq=2, flags=["sync"]).good()["manifest"]
    bases = {e["uuid"]: e["guid"] for e in third["entries"]}
    names = {e["uuid"]: e["rel"] for e in third["entries"]}
    for entry in final["entries"]:  # by the names that the follower has still
        source = f"{a.root}/web/{entry['rel']}".rstrip("/")
        snap = set_name(host, source, 1, 3)
        host.run(f"zfs send -i @{set_name(host, source, 1, 2)} {source}@{snap} | "
                 f"zfs receive -u {b.root}/web/{names[entry['uuid']]}".rstrip("/"))
        assert bases[entry["uuid"]] != entry["guid"]
    a.ask("demote").good()
    b.ask("grant", term=2, node="vb", version=1).good()
    taken = b.ask("promote", term=2, manifest=final, flags=["planned"]).good()
    assert [(d["rel"], d["uuid"]) for d in taken["datasets"]] == [(e["rel"], e["uuid"]) for e in final["entries"]]
    assert "aside" not in host.run("cat /proc/mounts").out
    assert guid_of(host, aside) == old
