"""Whether a follower's copy would do: drills."""

import json

from zblab import wait_until

CHECK = """#!/bin/sh
[ "$PWD" = "$ZBATON_MOUNTPOINT" ] || { echo "not in $ZBATON_MOUNTPOINT" >&2; exit 9; }
touch written 2>/dev/null && { echo it can be written >&2; exit 8; }
[ "$(cat log/file)" = good ] || { echo "log/file says $(cat log/file)" >&2; exit 1; }
"""


def write(cluster, text):
    """A set with this in the file that the check looks at."""
    cluster.hosts[0].run(f"echo {text} >/srv/prove/log/file")
    wait_until(lambda: cluster.zbaton("sync prove", check=False).rc == 0, 20, "a set is taken")


def drilled(cluster, node, host=None):
    """What status says of the last drill of a member."""
    return cluster.member("prove", node, host)["drill"]


def test_a_member_that_fails_its_drill_is_not_led_to(cluster):
    one, two, three = cluster.hosts
    for host in cluster.hosts:
        cluster.command(host, "check-prove", CHECK)
    cluster.declare("prove", runner="none", interval="1h", drill_check="check-prove")
    cluster.apply()
    cluster.wait_current("prove", "vm1")
    one.run(f"zfs create {cluster.dataset(one, 'prove', 'log')}")
    cluster.zbaton("sync prove")
    write(cluster, "good")
    assert drilled(cluster, "vm2") is None
    newest = cluster.member("prove", "vm2", two)["newest_set"]
    said = cluster.zbaton("drill prove", host=two).out
    assert f"prove on vm2: set {newest['term']}/{newest['seq']} would do" in said, said
    assert cluster.zbaton("drill prove", check=False).rc == 3, "vm1 leads"
    wait_until(lambda: (drilled(cluster, "vm2") or {}).get("ok"), 10, "vm1 is told")
    assert "drill ok" in cluster.zbaton("status prove").out

    # By itself, on every follower, and remembered; what fails is told and blocks.
    write(cluster, "bad")
    cluster.declare("prove", runner="none", interval="1h", drill_check="check-prove", drill="10s")
    cluster.apply()
    for node in ("vm2", "vm3"):
        wait_until(lambda n=node: (d := drilled(cluster, n)) and not d["ok"] and "log/file says bad" in d["text"], 60,
                   f"{node} fails")
    assert drilled(cluster, "vm1") is None
    refused = cluster.move("prove", "vm2", check=False)
    assert refused.rc == 3 and "its last drill failed" in refused.err and "says bad" in refused.err, refused
    explained = json.loads(cluster.zbaton("explain -j prove vm1").out)["members"][0]["lines"]
    assert {line["cause"].split(":")[0] for line in explained if line["rule"] == "A-drill-failed"} == \
        {"not to vm2", "not to vm3"}, explained
    assert any("last drill of vm3 failed" in w for w in cluster.status(three)["warnings"])
    assert [e for e in cluster.events("prove", three) if e["rule"] == "A-drill-failed"]

    # It is the newest set that counts: once that is good the copy is.
    cluster.declare("prove", runner="none", interval="1h", drill_check="check-prove")
    cluster.apply()
    write(cluster, "good")
    wait_until(lambda: cluster.zbaton("drill prove", host=two, check=False).rc == 0, 30, "vm2 would do again")
    cluster.daemon_stop(three, "KILL")
    cluster.daemon_start(three)
    cluster.wait_up(3, one)
    assert drilled(cluster, "vm3", three)["ok"] is False, "remembered over a restart"
    wait_until(lambda: drilled(cluster, "vm3")["ok"] is False, 20, "vm1 is told again")

    assert cluster.zbaton("move -n prove vm2").rc == 0
    assert cluster.zbaton("move -n prove vm3", check=False).rc == 3
    cluster.zbaton("move --allow-undrilled prove vm3")
    cluster.wait_current("prove", "vm3")
    for host in cluster.hosts:
        left = host.run(f"ls -A /run/zbaton/peek; zfs list -Hr -o name {host.pool}/services/.peek", check=False).out
        assert left in ("", f"{host.pool}/services/.peek\n"), (host.name, left)
