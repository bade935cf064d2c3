#!/usr/bin/env python3
"""Where services run: drains, relocation, failback; and what is sent between them. Engines of three nodes on this host over services in memory (model_keeper)."""
import os
import pathlib
import signal
import subprocess
import sys
import time

from cluster import Node, check_join, main, wait_for

NAMES = ("vm1", "vm2", "vm3")


def service(name, leader="vm1", members=NAMES, more=""):
    return (f'service {name} {{\n members = {{{", ".join(members)}}}\n leader = "{leader}"\n'
            f' mountpoint = "/srv/{name}"\n interval = "1s"\n start-timeout = "2s"\n runner = "command"\n start = "run"\n {more}\n}}\n')


def apply(node, base, *services):
    path = base / "services.conf"
    path.write_text("".join(services))
    node.zbaton("apply", "-y", str(path))


def status(node):
    return {s["name"]: s for s in node.json("status")["services"]}


def leaders(node):
    return {name: s["leader"] for name, s in status(node).items()}


def settled(node, want):
    """Led there and running, and everybody follows."""
    now = status(node)
    return all(now[name]["leader"] == leader and now[name]["state"] == "running" and
               all(m["role"] == "leader" or m["state"] in ("current", "unreachable") for m in now[name]["members"])
               for name, leader in want.items())


def wait_settled(*nodes, **want):
    for n in nodes:
        wait_for(f"{want} for {n.name}", lambda: settled(n, want))


def check_drain(a, b, c, base):
    apply(a, base, *(service(name) for name in ("web", "db", "mail", "old")))
    wait_settled(a, b, c, web="vm1", db="vm1", mail="vm1", old="vm1")
    a.zbaton("freeze", "-r", "kernel upgrade", "old")
    assert "no node 'vm9'" in a.zbaton("drain", "vm9", code=1)

    # The dry run says where each would go, spread over the others, and changes nothing.
    out = b.zbaton("drain", "-n", "vm1", code=6)
    assert "db: would move to vm2, by name: before vm3" in out, out
    assert "mail: would move to vm3, by load: leads 0, vm2 1" in out, out
    assert "web: would move to vm2, by name: before vm3" in out, out
    assert "old: stays: frozen by root@" in out and "zbaton thaw old" in out, out
    assert b.json("status")["cluster"]["drained"] == []

    # Given on a node that leads none of them; their leader takes a while to have the mark.
    (a.dir / "run" / "db.slow").touch()
    out = b.zbaton("drain", "vm1", code=6)
    assert out.count(": runs on ") == 3 and "old: stays: frozen by root@" in out, out
    assert "vm1 is drained, and still leads 1: zbaton drain vm1 tries again" in out, out
    wait_settled(a, b, c, db="vm2", mail="vm3", web="vm2", old="vm1")
    for n in (a, b, c):
        [drained] = wait_for("it is known", lambda: n.json("status")["cluster"]["drained"])
        assert drained["node"] == "vm1" and drained["who"].startswith("root@"), drained
        assert "warning: vm1 is drained by root@" in n.zbaton("status")
    assert "self, drained" in a.zbaton("node", "list")
    assert [e["service"] for e in b.events("A-drain")] == ["db", "mail", "web"]
    assert "moved to vm3, by load: leads 0, vm2 1" in b.events("A-drain")[1]["text"]

    # Nothing is moved to it; explain says so beforehand.
    out = b.zbaton("move", "db", "vm1", code=3)
    assert "db to vm1: it is drained by root@" in out and "hint: zbaton undrain vm1" in out, out
    assert "A-drained" in b.zbaton("explain", "db")

    # Given again it goes on; who is drained too is no target.
    a.zbaton("thaw", "old")
    c.zbaton("drain", "vm3")
    wait_settled(a, b, c, mail="vm2", old="vm1")
    out = a.zbaton("drain", "vm1")
    assert "old: moves to vm2, by drain: vm3 is drained" in out, out
    assert "vm1 is drained: 1 moved, it leads nothing" in out, out
    wait_settled(a, b, c, old="vm2")
    out = a.zbaton("drain", "vm2", code=6)
    assert "db: stays: vm1 is drained; vm3 is drained" in out, out

    # The mark outlives the engines.
    for n in (a, b, c):
        n.stop()
    for n in (a, b, c):
        n.start()
    wait_for("all are up", lambda: a.nodes_up() == 3)
    assert [d["node"] for d in a.json("status")["cluster"]["drained"]] == list(NAMES)
    for name in NAMES:
        assert f"{name} is not drained any more" in a.zbaton("undrain", name)
    assert "vm1 is not drained\n" == a.zbaton("undrain", "vm1")
    wait_for("nobody is", lambda: not c.json("status")["cluster"]["drained"])


def check_interrupted(a, b, _c, base):
    """Ctrl-C leaves the mark, and what was not begun."""
    names = ("db", "mail", *(f"mail{i}" for i in range(4)), "web")  # so many that they are not all gone before the signal
    apply(a, base, *(service(name) for name in names))
    wait_settled(a, b, **{name: "vm1" for name in names})
    drain = subprocess.Popen([b.programs / "zbaton", "-f", b.conf, "drain", "vm1"], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert "db: moves to " in drain.stdout.readline()
    drain.send_signal(signal.SIGINT)
    _, err = drain.communicate(timeout=60)
    assert drain.returncode == 130 and "zbaton drain vm1 goes on, zbaton undrain vm1 takes the mark away" in err, err
    wait_for("it is told", lambda: b.events("A-drain-ended"))
    left = [name for name, leader in leaders(b).items() if leader == "vm1"]
    assert "web" in left, left
    assert [d["node"] for d in b.json("status")["cluster"]["drained"]] == ["vm1"]
    b.zbaton("drain", "vm1")
    assert "vm1" not in leaders(b).values(), leaders(b)
    b.zbaton("undrain", "vm1")


def fails(node, name, so):
    """Whether it cannot run there."""
    path = node.dir / "run" / f"{name}.fails"
    path.touch() if so else path.unlink()


def starts(node, name):
    path = node.dir / "run" / f"{name}.starts"
    return len(path.read_text().splitlines()) if path.exists() else 0


def failed(node, name):
    return {f["node"]: f for f in status(node)[name]["failed"]}


def check_relocation(a, b, c, base):
    """It fails on one host only, and goes to where it has not failed; once."""
    apply(a, base, service("web", more='restarts = 1\n relocate = "yes"'), service("db", leader="vm2"))
    wait_settled(a, b, c, web="vm1", db="vm2")
    fails(a, "web", True)
    wait_settled(a, b, c, web="vm3")  # which leads less
    assert starts(a, "web") == 2, "the first one, and the one that restarts allows"
    [mark] = failed(c, "web").values()
    assert mark["node"] == "vm1" and mark["times"] == 1 and not mark["held"], mark
    assert mark["why"] == "the start program ended with exit status 1", mark
    assert "warning: web: failed on vm1 at " in b.zbaton("status")
    term = status(a)["web"]["term"]
    [event] = a.events("A-placing")
    assert event["text"] == "relocation: moved to vm3, by load: leads 0, vm2 1", event
    out = b.zbaton("history", "web")
    assert "zbatond@vm1: relocation, vm3, by load: leads 0, vm2 1" in out, out

    # It is drained away, and not to where it failed.
    out = a.zbaton("drain", "-n", "vm3")
    assert "web: would move to vm2, by failures: it failed on vm1" in out, out

    # It fails everywhere: each is tried once, then it stays stopped where it is.
    fails(b, "web", True)
    fails(c, "web", True)
    wait_for("it failed everywhere", lambda: len(failed(a, "web")) == 3)
    wait_for("it goes nowhere", lambda: b.events("A-placing-nowhere"))
    now = status(a)["web"]
    assert now["leader"] == "vm2" and now["term"] == term + 1 and now["state"] == "stopped", now
    assert failed(a, "web")["vm2"]["held"]
    assert "vm1 failed it lately; vm3 failed it lately; it stays stopped: zbaton start web" in \
        b.events("A-placing-nowhere")[0]["text"]
    out = c.zbaton("status", "web")
    assert "and stays stopped: the start program ended" in out and "(zbaton start web)" in out, out
    assert "zbaton start web" in c.zbaton("explain", "web"), c.zbaton("explain", "web")

    # A restart of the engines and their keepers' services begins nothing anew.
    before = starts(b, "web")
    restart_engine(b)
    wait_for("vm2 is back", lambda: a.nodes_up() == 3)
    wait_for("it leads again", lambda: b.answers() and status(b)["web"]["leader"] == "vm2")
    b.zbaton("snapshot", "web")
    assert starts(b, "web") == before and status(b)["web"]["term"] == term + 1

    # An operator's word begins it again.
    fails(b, "web", False)
    out = c.zbaton("start", "web")
    assert "web is started on vm2: that it failed is forgotten" in out, out
    wait_settled(a, b, c, web="vm2")
    assert failed(c, "web") == {}
    assert "web has not failed: nothing to start" in a.zbaton("start", "web")


def check_sick(a, b, c, base):
    """What runs and fails its check is stopped, started again, and goes elsewhere."""
    apply(a, base, service("web", more='check = "check"\n restarts = 1\n relocate = "yes"'))
    wait_settled(a, b, c, web="vm1")
    (a.dir / "run" / "web.sick").touch()
    wait_settled(a, b, c, web="vm2")
    assert "its check failed 3 times in a row" in a.events("A-check-failed")[0]["text"]
    assert list(failed(c, "web")) == ["vm1"]


def check_stays(a, b, c, base):
    """Without relocate it stays stopped, with an alarm; a frozen one is not moved."""
    apply(a, base, service("web", more="restarts = 1"), service("db", more='restarts = 1\n relocate = "yes"'))
    wait_settled(a, b, c, web="vm1", db="vm1")
    a.zbaton("freeze", "-r", "test", "db")
    for name in ("web", "db"):
        fails(a, name, True)
    for name in ("web", "db"):
        wait_for("it has failed", lambda: failed(b, name))
        wait_for("it is told", lambda: [e for e in a.events("A-service-failed") if e["service"] == name])
    [event] = [e for e in a.events("A-service-failed") if e["service"] == "web"]
    assert "it stays stopped: zbaton start web" in event["text"] and event["level"] == "error", event
    assert leaders(c) == {"web": "vm1", "db": "vm1"}
    a.zbaton("thaw", "db")
    wait_settled(a, b, c, db="vm2")
    assert status(a)["web"]["leader"] == "vm1" and status(a)["web"]["state"] == "stopped"
    a.zbaton("move", "web", "vm3")  # an operator's word
    wait_settled(a, b, c, web="vm3")


def check_failback(a, b, c, base):
    db = service("db", leader="vm2", more="prefer = {vm1}")
    apply(a, base, service("web", leader="vm2"), db)
    wait_settled(a, b, c, web="vm2", db="vm2")  # everybody has a copy: who is preferred is a choice
    apply(a, base, service("web", leader="vm2", more='prefer = {vm1, vm3}\n failback = "3s"'), db)
    wait_settled(a, b, c, web="vm1", db="vm2")
    [event] = b.events("A-placing")
    assert event["text"] == "failback: moved to vm1, by preference: before vm2 in prefer", event
    assert "zbatond@vm2: failback, vm1, by preference" in a.zbaton("history", "web")
    a.zbaton("drain", "vm1")
    wait_settled(a, b, c, web="vm3", db="vm2")
    a.zbaton("undrain", "vm1")
    wait_settled(a, b, c, web="vm1", db="vm2")


def check_unseen(a, b, c, base):
    """Of a leader that is not seen nothing is believed: it is not drained, and not forgotten."""
    apply(a, base, service("web", leader="vm3"), service("db"))
    wait_settled(a, b, c, web="vm3", db="vm1")
    c.stop()
    wait_for("vm3 is gone", lambda: a.nodes_up() == 2 and b.nodes_up() == 2)
    wait_for("nobody is seen to lead", lambda: leaders(a)["web"] is None)
    out = a.zbaton("drain", "vm3", code=6)
    assert "web: stays: it may lead it, and nobody is seen to" in out and "db" not in out, out
    path = base / "services.conf"
    path.write_text(service("db"))
    out = a.zbaton("apply", "-y", str(path), code=3)
    assert "service web: vm3 may have led it last, and nobody is seen to lead it" in out, out
    assert "zbaton failover web" in out, out


def check_transfers(a, b, c, base):
    """A first copy that takes its time is seen from every node."""
    assert c.zbaton("transfers") == "nothing is being sent\n"
    (b.dir / "run" / "web.stalls").touch()
    apply(a, base, service("web"), service("db"))
    wait_settled(a, c, db="vm1")
    for node in (a, b, c):
        [one] = wait_for("it is estimated", lambda: [t for t in node.json("transfers", "web")["transfers"] if t["bytes_total"]])
        assert (one["service"], one["from"], one["to"], one["set"]) == ("web", "vm1", "vm2", {"term": 1, "seq": 0}), one
        assert one["bytes_total"] == 20000 and 3000 < one["bytes"] < 4000 and one["elapsed_ms"] >= 1000, one
    assert c.json("transfers")["silent"] == []
    [line] = c.zbaton("transfers", "-Hp", "-o", "service,from,to,set,of,part,left", "web").splitlines()
    assert line == "web\tvm1\tvm2\t1/0\t20000\t15\t-", line
    [member] = [m for m in status(a)["web"]["members"] if m["node"] == "vm2"]
    assert member["state"] == "receiving" and member["note"].startswith("15%"), member
    assert member["transfer"]["bytes_total"] == 20000, member
    assert "no service 'nothere'" in a.zbaton("transfers", "nothere", code=1)
    a.zbaton("transfers", "-w0", code=2)
    a.zbaton("transfers", "-o", "nothere", code=2)
    b.stop()
    wait_for("vm2 is gone", lambda: a.nodes_up() == 2)
    wait_for("nothing is sent to it", lambda: a.json("transfers", "web")["transfers"] == [])
    out = a.zbaton("transfers", "web")
    assert out.startswith("nothing is being sent\nwarning: what vm2 sends is not known: "), out
    [silent] = a.json("transfers")["silent"]
    assert silent["node"] == "vm2", silent


def restart_engine(node):
    """Its keeper goes on, and so does what runs."""
    [engine] = pathlib.Path(f"/proc/{node.process.pid}/task/{node.process.pid}/children").read_text().split()
    os.kill(int(engine), signal.SIGKILL)
    wait_for("the engine is gone", lambda: not pathlib.Path(f"/proc/{engine}").exists())


def check_new_host_of_a_name(a, b, c, base):
    """Who led may be writing where nobody sees it: a new host does not take its name, and its grant, without a word."""
    apply(a, base, service("web", leader="vm2"))
    wait_settled(a, b, c, web="vm2")
    b.stop()
    wait_for("vm2 is seen down", lambda: a.nodes_up() == 2)
    anew = base / "anew"
    anew.mkdir(mode=0o755)
    new = Node(anew, "vm2", b.programs, b.fake_keeper)
    token = a.zbaton("token", "create", "-H").strip()
    out = new.zbaton("join", token, *new.setup_options(), code=3)
    assert "the host that was vm2 may be writing to web still" in out and "zbaton join --lost" in out, out
    assert "vm2 is a node of cluster test" in new.zbaton("join", "--lost", token, *new.setup_options())


def make(base, programs, keeper):
    nodes = [Node(base, name, programs, keeper) for name in NAMES]
    a, b, c = nodes
    a.zbaton("init", "--cluster", "test", *a.setup_options())
    a.start()
    check_join(a, b)
    check_join(a, c)
    wait_for("all are up", lambda: all(n.nodes_up() == 3 for n in nodes))
    return nodes


CHECKS = (check_drain, check_interrupted, check_relocation, check_sick, check_stays, check_failback, check_unseen, check_transfers, check_new_host_of_a_name)


def run(base, programs, fake_keeper):
    zfs_names = base / "zfs-names"
    zfs_names.write_text("pool\n")
    os.environ["ZFS_NAMES"] = str(zfs_names)
    nodes = []
    try:
        for check in [c for c in CHECKS if os.environ.get("ZB_CHECK", c.__name__) == c.__name__]:
            part = base / check.__name__
            part.mkdir(mode=0o755)
            zfs_names.write_text("pool\n")
            begun = time.monotonic()
            nodes = make(part, programs, fake_keeper.with_name("model_keeper"))
            check(*nodes, part)
            print(f"{check.__name__}: {time.monotonic() - begun:.0f} s", flush=True)
            for n in nodes:
                n.stop()
    except BaseException:
        for n in nodes:
            print(f"--- {n.name}\n{n.log()}", file=sys.stderr)
        raise
    finally:
        for n in nodes:
            n.stop()


if __name__ == "__main__":
    sys.exit(main(run))
