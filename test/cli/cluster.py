#!/usr/bin/env python3
"""Engines of several nodes on this host, without ZFS: init, token, join, apply, what a lost quorum says.

Runs as root in a mount namespace of its own, where zfs(8) is a script that remembers names and the keeper
is fake_keeper. Arguments: the folders of zbaton, zbatond and of fake_keeper.
"""
import json
import os
import pathlib
import pty
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from ports import ports_free  # noqa: E402  (the path comes first)

SKIP = 77
DEADLINE_S = 60

FAKE_ZFS = """#!/bin/sh
for last; do :; done
case $1 in
list) grep -qxF "$last" "$ZFS_NAMES" || { echo "cannot open '$last': dataset does not exist" >&2; exit 1; }; echo "$last" ;;
create) echo "$last" >>"$ZFS_NAMES" ;;
destroy) grep -vxF "$last" "$ZFS_NAMES" >"$ZFS_NAMES.new"; mv "$ZFS_NAMES.new" "$ZFS_NAMES" ;;
get) case "$*" in *canmount*) echo off ;; *) echo none ;; esac ;;
esac
"""


def wait_for(what, condition):
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {DEADLINE_S} s: {what}")


class Node:
    def __init__(self, base, name, programs, fake_keeper):
        self.name = name
        self.dir = base / name
        self.dir.mkdir(mode=0o755)
        self.address = f"127.0.0.1:{ports_free(1)[0]}"
        self.root = f"pool/{name}"
        self.conf = self.dir / "zbatond.conf"
        self.programs = programs
        self.fake_keeper = fake_keeper
        self.process = None
        self.conf.write_text(
            f'node = "{name}"\nroot = "{self.root}"\nlisten = "{self.address}"\n'
            f'state-dir = "{self.dir}/state"\nrun-dir = "{self.dir}/run"\n')

    def zbaton(self, *args, code=0, text=""):
        done = subprocess.run([self.programs / "zbaton", "-f", self.conf, *args], input=text,
                              capture_output=True, text=True, timeout=DEADLINE_S)
        if done.returncode != code:
            raise AssertionError(f"{self.name}: zbaton {' '.join(args)}: exit {done.returncode}, wanted {code}\n"
                                 f"{done.stdout}{done.stderr}\n{self.log()}")
        return done.stdout + done.stderr

    def json(self, *args):
        return json.loads(self.zbaton(*args, "-j"))

    def events(self, rule, service=""):
        """All of a rule, oldest first."""
        lines = self.zbaton("events", "-j", "-n", "100000", *filter(None, [service])).splitlines()
        return [event for event in map(json.loads, lines) if event["rule"] == rule]

    def setup_options(self):
        return ["--node", self.name, "--root", self.root, "--listen", self.address]

    def start(self, **env):
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen([self.fake_keeper, self.programs / "zbatond-engine", self.conf],
                                            stdout=log, stderr=log, env={**os.environ, **env})
        wait_for(f"{self.name} answers", self.answers)

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}\n{self.log()}")
        return subprocess.run([self.programs / "zbaton", "-f", self.conf, "status"],
                              capture_output=True).returncode == 0

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            wait_for(f"the engine of {self.name} is gone", self.listens_not)

    def listens_not(self):
        """The engine ends by itself, a moment after its keeper."""
        host, port = self.address.rsplit(":", 1)
        with socket.socket() as s:
            return s.connect_ex((host, int(port))) != 0

    def log(self):
        path = self.dir / "log"
        return path.read_text() if path.exists() else ""

    def nodes_up(self):
        return self.json("status")["cluster"]["nodes_up"]

    def version(self):
        return self.json("config", "show")["version"]


SERVICES = """service web {{
    members = {{{members}}}
    leader = "{leader}"
    mountpoint = "/srv/web"
    interval = "30s"
}}
"""


def services(members, leader):
    return SERVICES.format(members=", ".join(f'"{m}"' for m in members), leader=leader)


def check_init(a):
    assert "go with --recover" in a.zbaton("init", "-n", "--cluster", "test", *a.setup_options(), code=2)
    out = a.zbaton("init", "--cluster", "test", *a.setup_options())
    assert "first node" in out and "ca.key" in out, out
    engine = a.dir / "state" / "engine"
    assert engine.stat().st_mode & 0o777 == 0o700, oct(engine.stat().st_mode)
    assert engine.owner() == "_zbaton", engine.owner()
    assert (a.dir / "state" / "ca.key").stat().st_mode & 0o777 == 0o600
    a.zbaton("init", "--cluster", "test", *a.setup_options(), code=3)


def check_failed_init_leaves_nothing(base, programs, fake_keeper):
    n = Node(base, "vm9", programs, fake_keeper)
    n.root = "nopool/x"
    n.conf.write_text(n.conf.read_text().replace("pool/vm9", "nopool/x"))
    n.zbaton("init", "--cluster", "test", *n.setup_options(), code=1)
    assert not (n.dir / "state").exists()


def check_join(first, new):
    token = first.zbaton("token", "create", "-H").strip()
    new.zbaton("join", token, *new.setup_options())
    new.start()
    wait_for(f"{new.name} has the configuration", lambda: new.version() == first.version())
    wait_for(f"{new.name} is up", lambda: first.nodes_up() == new.nodes_up() > 1)
    listed = first.json("token", "list")["tokens"]
    assert any(t["used_by"] == new.name for t in listed), listed
    return token


def check_records_of_an_earlier_node_are_in_the_way(first, base, programs, fake_keeper):
    n = Node(base, "vm7", programs, fake_keeper)
    (n.dir / "state" / "keeper").mkdir(parents=True)
    (n.dir / "state" / "keeper" / "web.record").touch()
    token = first.zbaton("token", "create", "-H").strip()
    for command in (["join", token], ["init", "--cluster", "other"]):
        out = n.zbaton(*command, *n.setup_options(), code=3)
        assert "web.record exists" in out and f"move {n.dir}/state away" in out, out
    assert [t["used_by"] for t in first.json("token", "list")["tokens"]].count("vm7") == 0


def check_used_token(token, base, programs, fake_keeper):
    n = Node(base, "vm8", programs, fake_keeper)
    out = n.zbaton("join", token, *n.setup_options(), code=3)
    assert "used" in out, out
    assert not (n.dir / "state").exists()


def check_apply(a, b, base):
    path = base / "services.conf"
    path.write_text(services(["vm1", "vm2"], "vm1"))
    before = a.version()
    out = b.zbaton("apply", "-n", str(path))
    assert "+ service web" in out and "nothing was changed" in out, out
    assert a.version() == before
    out = b.zbaton("apply", str(path))
    assert f"Version {before + 1} is in force" in out, out
    wait_for("vm1 has it", lambda: a.version() == before + 1)
    assert a.zbaton("config", "show") == path.read_text()
    out = b.zbaton("apply", str(path))
    assert "Nothing to change" in out, out
    status = a.json("status")
    assert [s["name"] for s in status["services"]] == ["web"], status
    path.write_text(services(["vm1", "vm2"], "vm1").replace("service web", "service oldweb"))
    out = a.zbaton("apply", str(path), code=3)
    assert "changes datasets that exist" in out and "readonly=on" in out, out
    path.write_text("service web { nonsense = 1 }\n")
    out = a.zbaton("apply", str(path), code=1)
    assert "services.conf:1" in out, out


def check_unhealthy(a, b):
    out = a.zbaton("status", "-x", code=6)
    assert "warning: web: nobody leads" in out and "vm1" in out, out
    assert json.loads(a.zbaton("status", "-xj", "web", code=6))["services"][0]["members"] != []
    b.stop()
    wait_for("vm2 is seen down", lambda: a.nodes_up() == 1)
    assert "vm2 is not reachable" in a.zbaton("status", "-x", code=6)
    b.start()
    wait_for("vm2 is back", lambda: a.nodes_up() == 2)


def check_healthy(a):
    wait_for("every node is up", lambda: a.nodes_up() == 3)
    assert a.zbaton("status", "-x") == "all services are healthy\n"
    assert a.zbaton("status", "-xH") == ""
    assert a.json("status", "-x")["warnings"] == []


def watch(node, terminal, *args):
    """Starts `status -w`; what it prints can be read from the second value."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    process = subprocess.Popen([node.programs / "zbaton", "-f", node.conf, "status", *args],
                               stdout=theirs, stderr=theirs)
    os.close(theirs)
    return process, open(ours, "rb", buffering=0)


def read_until(out, what, count):
    seen = b""
    while seen.count(what) < count:
        ready, _, _ = select.select([out], [], [], DEADLINE_S)
        assert ready, f"not within {DEADLINE_S} s: {count} times {what}: {seen}"
        chunk = out.read(4096)
        assert chunk, f"ended before {count} times {what}: {seen}"
        seen += chunk
    return seen


def check_watch(a):
    for terminal, args in ((False, ["-w", "1"]), (True, ["-w1"])):
        process, out = watch(a, terminal, *args)
        with out:
            try:
                seen = read_until(out, b"no services declared", 2)
                assert seen.count(b"\033[2J") == (seen.count(b"cluster test") if terminal else 0), seen
                a.stop()
                read_until(out, b"hint: is zbatond running?", 2)
                a.start()
                read_until(out, b"no services declared", 1)
                assert process.poll() is None
            finally:
                process.terminate()
                assert process.wait() == -signal.SIGTERM
    a.zbaton("status", "-w", "nothere", code=1)
    a.zbaton("status", "-w0", code=2)
    a.stop()
    a.zbaton("status", "-w", code=1)
    a.start()


def check_withdrawal(a, base):
    path = base / "services.conf"
    assert a.zbaton("freeze", "-r", "to be withdrawn") == "web is frozen\n"
    path.write_text("")
    out = a.zbaton("apply", str(path), code=3)
    assert "- service web" in out and "its data and snapshots stay" in out, out
    assert a.json("status")["services"] != []
    a.zbaton("apply", "-y", str(path))
    assert a.json("status")["services"] == []
    assert a.json("config", "show")["frozen"] == [], "what is withdrawn is not frozen any more"
    assert "no service is declared" in a.zbaton("freeze", "-r", "x", code=1)
    assert a.zbaton("thaw") == "nothing is frozen\n"


def check_follow(a):
    follower = subprocess.Popen([a.programs / "zbaton", "-f", a.conf, "events", "-jf", "-n", "1"],
                                stdout=subprocess.PIPE, text=True)
    try:
        first = json.loads(follower.stdout.readline())
        token = a.json("token", "create")["id"]
        while f"token {token} made" not in (event := json.loads(follower.stdout.readline()))["text"]:
            pass
        assert event["id"] > first["id"] and event["service"] == "", event
    finally:
        follower.kill()
        follower.wait()
    a.zbaton("token", "revoke", token)
    assert "hint: zbaton token list" in a.zbaton("token", "revoke", token, code=1)


def check_commands(a):
    out = a.zbaton("move", "web", "vm2", code=3)
    assert "nobody leads web" in out, out
    assert "hint: zbaton config show" in a.zbaton("move", "nothere", "vm2", code=1)
    assert "hint: zbaton node list" in a.zbaton("move", "web", "vm9", code=1)
    assert "hint: zbaton status web" in a.zbaton("snapshot", "web", code=3)
    assert "hint: zbaton config show" in a.zbaton("history", "nothere", code=1)
    assert a.events("CFG-committed")
    a.zbaton("history", "web")
    assert "vm2" in a.zbaton("node", "list")


def check_failover(a, b):
    out = a.zbaton("failover", "-n", "web", code=3)
    assert "no reachable member" in out and "--to names one anyway" in out, out
    out = a.zbaton("failover", "-n", "--to", "vm2", "web", code=3)  # passed on
    assert "web is to go to vm2, after term 0:" in out and "vm2: no whole set is here" in out, out
    assert "Nothing is lost." in out, out
    assert "no node 'vm9'" in a.zbaton("failover", "-y", "--to", "vm9", "web", code=1)
    assert "no node 'vm9'" in a.zbaton("failover", "-y", "--fenced", "vm1,vm9", "--to", "vm1", "web", code=1)
    assert "not in term 7" in a.zbaton("failover", "-y", "--as-of-term", "7", "--to", "vm1", "web", code=3)
    a.zbaton("failover", "--as-of-term", "x", "web", code=2)
    error = json.JSONDecoder().raw_decode(a.zbaton("failover", "-nj", "web", code=3))[0]["error"]
    assert error["word"] == "refused" and "web" in error["message"], error
    assert raw(a, b'{"v":1,"cmd":"fenced","args":{"service":"web","node":"vm2","term":1}}\n')["rc"] != 0
    assert raw(a, b'{"v":1,"cmd":"fenced","args":{"service":"nothere","node":"vm2","term":1}}\n')["rc"] == 15


def check_explain(a, b):
    out = b.zbaton("explain", "web")
    assert out.startswith("web is led by nobody\nvm1 (follower)\n") and "\nvm2 (follower)\n" in out, out
    assert out.count("! move: nobody leads: ") == 2 and "help: zbaton failover -n --to vm1 web" in out, out
    assert "vm2 cannot take it: no whole set is here, nor on a member that can be reached (C-failover-without-copy)" in out, out
    [member] = a.json("explain", "web", "vm2")["members"]
    assert member["node"] == "vm2" and {"about", "ok", "cause", "rule", "help"} == set(member["lines"][0]), member
    assert "hint: zbaton config show" in a.zbaton("explain", "nothere", code=1)
    out = a.zbaton("explain", "web", "vm9", code=1)
    assert "vm9 is no member of web" in out, out
    b.stop()
    wait_for("vm2 is seen down", lambda: a.nodes_up() == 1)
    out = a.zbaton("explain", "web")
    assert "! replicate: vm2 is not reachable" in out and "(A-peer-down)\n      help: zbaton node list" in out, out
    assert "! move: 1 of 2 voting members can be reached from vm1: no majority" in out, out
    b.start()
    wait_for("vm2 is back", lambda: a.nodes_up() == b.nodes_up() == 2)


def check_freeze(a, b, base):
    for reason, said in (("", "is empty"), ("  ", "is empty"), ("x" * 201, "has 201 bytes"), ("a\nb", "control character"),
                         ("\x1b[2J", "control character"), ("\u009b2J", "control character")):
        assert said in a.zbaton("freeze", "-r", reason, "web", code=2), reason
    a.zbaton("freeze", "web", code=2)
    assert "not UTF-8" in a.zbaton("freeze", "-r", b"\xff", "web", code=2)
    assert "no service 'nothere'" in a.zbaton("freeze", "-r", "x", "nothere", code=1)
    assert a.zbaton("thaw", "web") == "web is not frozen\n"
    assert a.zbaton("thaw") == "web is not frozen\n"
    before = a.version()
    assert a.zbaton("freeze", "-r", "kernel upgrade", "web") == "web is frozen\n"
    assert a.version() == b.version() == before + 1, "both decide by it when the command ends"
    why = "web is frozen by root@vm1 since 20"
    for node in (a, b):
        for command in (("move", "web", "vm2"), ("move", "-n", "web", "vm2"), ("failover", "-y", "--to", "vm2", "web"),
                        ("rejoin", "-y", "--discard", "web")):
            out = node.zbaton(*command, code=3)
            assert why in out and ": kernel upgrade" in out and "hint: zbaton thaw web" in out, out
    assert "Nothing is lost." in a.zbaton("failover", "-n", "--to", "vm2", "web", code=3), "the statement stands all the same"
    out = a.zbaton("explain", "web")
    assert out.count(": kernel upgrade (C-move-frozen)\n      help: zbaton thaw web\n") == 2, out
    wait_for("vm1 has its part", lambda: "frozen: kernel upgrade" in a.zbaton("status"))
    service = b.json("status", "web")["services"][0]
    assert service["frozen"]["reason"] == "kernel upgrade" and service["frozen"]["who"] == "root@vm1", service
    assert "frozen: web: kernel upgrade (root@vm1, 20" in b.zbaton("config", "show")
    assert b.json("config", "show")["frozen"][0]["service"] == "web"
    for node in (a, b):
        assert "kernel upgrade" in node.events("CFG-frozen", "web")[-1]["text"]
    assert a.zbaton("freeze", "-r", "kernel upgrade") == "web is frozen already, for that reason\n"
    assert a.version() == before + 1
    b.zbaton("freeze", "-r", "disk, \u00e4\u20ac")
    assert "frozen: disk, \u00e4\u20ac" in a.zbaton("status", "web")
    b.stop()
    b.start()
    assert b.json("status", "web")["services"][0]["frozen"]["who"] == "root@vm2", "a restart does not thaw"
    wait_for("vm2 is back", lambda: a.nodes_up() == b.nodes_up() == 2)
    path = base / "services.conf"
    path.write_text(services(["vm1", "vm2"], "vm1").replace("30s", "20s"))
    a.zbaton("apply", str(path))
    assert a.json("status", "web")["services"][0]["frozen"] is not None, "what stays declared stays frozen"
    assert a.zbaton("thaw", "web") == "web is not frozen any more\n"
    assert a.events("CFG-thaw", "web")[-1]["text"].startswith("thawed by root@vm1")
    assert "nobody leads web" in b.zbaton("move", "web", "vm2", code=3)
    assert a.json("status", "web")["services"][0]["frozen"] is None
    path.write_text(services(["vm1", "vm2"], "vm1"))
    a.zbaton("apply", str(path))


def check_freeze_of_few(a, b):
    """The other one does not know: it is said, and what it knows is told when it is back."""
    b.stop()
    wait_for("vm2 is seen down", lambda: a.nodes_up() == 1)
    assert "1 of 2 nodes answered" in a.zbaton("freeze", "-r", "alone", code=4)
    b.start()
    wait_for("vm2 is back", lambda: a.nodes_up() == b.nodes_up() == 2)


def check_fence_plan(a, b):
    """What would be run is said by the node that shall lead, and nothing is run."""
    command = b.dir / "fence"
    conf = b.conf.read_text()
    b.conf.write_text(conf + 'fence-command = "/etc/zbaton/commands/fence"\n')
    done = subprocess.run([b.programs / "zbatond", "-n", "-f", b.conf], capture_output=True, text=True)
    assert done.returncode != 0 and "any service could run it" in done.stderr, done
    b.stop()
    b.conf.write_text(conf + f'fence-command = "{command}"\n')
    wait_for("vm2 is seen down", lambda: a.nodes_up() == 1)
    b.start()
    wait_for("vm2 is back", lambda: a.nodes_up() == 2)
    out = a.zbaton("failover", "-n", "--to", "vm2", "web", code=3)
    assert f"Unless whoever may still be writing answers, vm2 runs: {command} NODE   (at most 1m" in out, out
    out = a.zbaton("failover", "-n", "--no-fence-command", "--to", "vm2", "web", code=3)
    assert "runs:" not in out, out
    out = a.zbaton("failover", "-n", "--to", "vm1", "web", code=3)
    assert "runs:" not in out, out
    error, statement = failover_json(a, "vm2")
    assert error["word"] == "refused", error
    assert statement["fence"] == {"on": "vm2", "command": str(command), "timeout_ms": 60000, "nodes": []}, statement


def failover_json(node, to):
    """What `failover -n -j` of the control socket says: the error and the statement."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(DEADLINE_S)
        s.connect(str(node.dir / "run" / "control.sock"))
        s.sendall(json.dumps({"v": 1, "cmd": "failover", "args": {"service": "web", "to": to, "dry_run": True}})
                  .encode() + b"\n")
        out = b""
        while chunk := s.recv(65536):
            out += chunk
    lines = [json.loads(line) for line in out.splitlines()]
    return lines[-1], next(line["statement"] for line in lines if "statement" in line)


def check_rescues(a):
    assert a.zbaton("rescue", "list") == "no rescues on vm1\n"
    assert a.json("rescue", "list", "--node", "vm2")["node"] == "vm2"
    assert "no rescue 'x' on vm2" in a.zbaton("rescue", "show", "x", "--node", "vm2", code=1)
    assert "there is no ZFS" in a.zbaton("rescue", "mount", "x", code=1)
    assert "there is no ZFS" in a.zbaton("rescue", "drop", "-y", "x", code=1)
    assert "no rescue 'x' on vm1" in a.zbaton("rescue", "diff", "x", code=1)
    for node in ("vm1", "vm2"):
        out = a.zbaton("rejoin", "-n", "web", node)
        assert f"{node} holds nothing beside the history of web" in out, out
    assert "no node 'vm9'" in a.zbaton("rejoin", "web", "vm9", code=1)
    wait_for("rescues in status", lambda: all(
        m["rescues"] == {"count": 0, "bytes": 0, "name": "", "created": "", "fork": ""}
        for m in a.json("status", "web")["services"][0]["members"] if m["state"] != "unreachable"))
    assert "hint: zbaton config show" in a.zbaton("rejoin", "nothere", code=1)


def check_pool(a, b):
    """A node that comes back with another pool: told on both, shown, and once."""
    b.stop()
    b.start(FAKE_KEEPER_POOL="2")
    for node in (a, b):
        wait_for(f"{node.name} tells of the pool", lambda: node.events("A-pool-changed"))
        assert "vm2: its pool is another one than before (guid 2, was 1)" in node.events("A-pool-changed")[0]["text"]
    out = a.zbaton("status", "web")
    assert "its pool is another one than before: a full copy is needed" in out, out
    assert "warning: web: the pool of vm2 is another one than before (A-pool-changed)" in out, out
    b.stop()
    b.start(FAKE_KEEPER_POOL="2")
    wait_for("vm2 is back", lambda: a.nodes_up() == 2)
    assert len(a.events("A-pool-changed")) == 1


def check_no_quorum(a, b, base):
    path = base / "services.conf"
    path.write_text(services(["vm1", "vm2"], "vm1").replace("30s", "10s"))
    before = a.version()
    b.stop()
    wait_for("vm2 is seen down", lambda: a.nodes_up() == 1)
    out = a.zbaton("apply", str(path), code=4)
    assert "1 of 2 nodes answered" in out, out
    assert a.version() == before
    b.start()
    wait_for("vm2 is back", lambda: a.nodes_up() == 2)
    a.zbaton("apply", str(path))
    wait_for("vm2 has it", lambda: b.version() == before + 1)


def check_catch_up(a, b, c, base):
    path = base / "services.conf"
    path.write_text(services(["vm1", "vm2", "vm3"], "vm1") +
                    services(["vm2", "vm3"], "vm2").replace("web", "two"))
    c.stop()
    wait_for("vm3 is seen down", lambda: a.nodes_up() == 2)
    a.zbaton("apply", str(path))
    out = a.zbaton("freeze", "-r", "vm3 misses it", "web")
    assert out == "web is frozen\nnot told yet: vm3; told as soon as they can be reached\n", out
    out = a.zbaton("freeze", "-r", "vm3 misses it", code=6)  # vm2 alone is no majority of the members of two
    assert out.startswith("two is frozen\nweb is frozen already, for that reason\nnot told yet: vm3; until"), out
    before = a.version()
    c.start()
    wait_for("vm3 caught up", lambda: c.version() == before)
    assert b.version() == before
    assert "frozen: vm3 misses it" in c.zbaton("status", "two")
    wait_for("all are up", lambda: a.nodes_up() == b.nodes_up() == c.nodes_up() == 3)
    assert c.zbaton("thaw") == "two, web are not frozen any more\n"
    path.write_text(services(["vm1", "vm2", "vm3"], "vm1"))
    a.zbaton("apply", "-y", str(path))


def raw(node, data):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(DEADLINE_S)
        s.connect(str(node.dir / "run" / "control.sock"))
        out = b""
        try:
            s.sendall(data)
        except BrokenPipeError:
            pass  # refused before it was read to the end
        try:
            while chunk := s.recv(65536):
                out += chunk
        except ConnectionResetError:
            pass  # the same, after the answer
    return json.loads(out)


def check_socket(a):
    assert raw(a, b'{"v":1,"cmd":"nope"}\n')["rc"] == 2
    assert raw(a, b'{"v":9,"cmd":"ping"}\n')["word"] == "version"
    assert raw(a, b"nonsense\n")["rc"] == 13
    assert raw(a, b'{"v":1,"cmd":"ping","args":[]}\n')["rc"] == 2
    assert raw(a, b"[" * (5 << 20))["rc"] == 12
    assert raw(a, b'{"v":1,"cmd":"ping"}\n')["data"]["node"] == "vm1"


def run(base, programs, fake_keeper):
    names = base / "zfs-names"
    names.write_text("pool\n")
    os.environ["ZFS_NAMES"] = str(names)
    nodes = [Node(base, f"vm{i}", programs, fake_keeper) for i in (1, 2, 3)]
    a, b, c = nodes
    try:
        check_init(a)
        check_failed_init_leaves_nothing(base, programs, fake_keeper)
        a.start()
        assert a.nodes_up() == 1
        check_socket(a)
        token = check_join(a, b)
        check_used_token(token, base, programs, fake_keeper)
        check_records_of_an_earlier_node_are_in_the_way(a, base, programs, fake_keeper)
        check_apply(a, b, base)
        check_commands(a)
        check_failover(a, b)
        check_fence_plan(a, b)
        check_rescues(a)
        check_explain(a, b)
        check_freeze(a, b, base)
        check_freeze_of_few(a, b)
        check_pool(a, b)
        check_unhealthy(a, b)
        check_no_quorum(a, b, base)
        check_join(a, c)
        check_catch_up(a, b, c, base)
        check_withdrawal(a, base)
        check_healthy(a)
        check_watch(a)
        wait_for("vm1 is back", lambda: a.nodes_up() == 3)
        check_follow(a)
    except BaseException:
        for n in nodes:
            print(f"--- {n.name}\n{n.log()}", file=sys.stderr)
        raise
    finally:
        for n in nodes:
            n.stop()


def mount_over(path, target):
    subprocess.run(["mount", "--bind", path, target], check=True)


def add_user(base):
    """The engine's user, for this mount namespace: the host's own files stay as they are."""
    for file, line in (("group", "zbaton:x:64998:\n_zbaton:x:64999:\n"),
                       ("passwd", "_zbaton:x:64999:64999::/:/usr/sbin/nologin\n")):
        copy = base / file
        names = {entry.split(":")[0] for entry in line.split()}
        kept = [entry for entry in pathlib.Path("/etc", file).read_text().splitlines()
                if entry.split(":")[0] not in names]
        copy.write_text("\n".join(kept) + "\n" + line)
        mount_over(copy, f"/etc/{file}")


def main(run):
    """Runs it where /usr/sbin and the users are its own."""
    if os.geteuid() != 0:
        print("needs root")
        return SKIP
    if os.environ.get("ZB_TEST_INSIDE") != "1":
        if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
            print("needs a mount namespace")
            return SKIP
        os.environ["ZB_TEST_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, *sys.argv])
    with tempfile.TemporaryDirectory(prefix="zbaton-test-") as name:
        base = pathlib.Path(name)
        base.chmod(0o755)
        sbin = base / "sbin"
        sbin.mkdir()
        (sbin / "zfs").write_text(FAKE_ZFS)
        (sbin / "zfs").chmod(0o755)
        mount_over(sbin, "/usr/sbin")
        add_user(base)
        try:
            run(base, pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve() / "fake_keeper")
        finally:
            subprocess.run(["umount", "/usr/sbin"], check=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(run))
