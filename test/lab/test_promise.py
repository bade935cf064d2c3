"""What would be lost with the leader, against what was promised, and who hears of it; copies of other tools' snapshots."""

import json

import pytest
from zblab import wait_until

NAME = "promise"
INTERVAL_S = 2
MAX_LOSS_S = 6
GRACE_S = 4
PROGRAM = "/etc/zbaton/notify"
CONF = "/etc/zbaton/zbatond.conf"
HEARD = "/tmp/zbaton-heard"
TEXT = f"""#!/bin/sh
echo "$(id -un)|$ZBATON_NODE|$ZBATON_SERVICE|$ZBATON_LEVEL|$ZBATON_RULE|$ZBATON_TEXT" >>{HEARD}
"""


@pytest.fixture
def led(cluster):
    """A service of data alone that both others hold, withdrawn in the end; the host that leads it."""
    cluster.declare(NAME, runner="none", interval=f"{INTERVAL_S}s", foreign_grace=f"{GRACE_S}s")
    cluster.services[NAME].update({"max-loss": f"{MAX_LOSS_S}s", "max-loss-members": 2})
    cluster.apply()
    cluster.wait_current(NAME)
    yield cluster.leader(NAME)
    del cluster.services[NAME]
    cluster.apply()


@pytest.fixture
def heard(cluster, led):
    """What the notify program of the leader's host has heard, as a function."""
    led.run(f"install -m 666 /dev/null {HEARD}; cat >{PROGRAM} && chmod 755 {PROGRAM}", input=TEXT)
    led.run(f"""echo 'notify = "{PROGRAM}"' >>{CONF}""")
    cluster.daemon_stop(led)
    cluster.daemon_start(led)
    cluster.wait_up(3, led)
    cluster.wait_current(NAME)
    yield lambda: [line.split("|") for line in led.run(f"cat {HEARD}").out.splitlines()]
    led.run(f"sed -i /^notify/d {CONF}; rm -f {PROGRAM} {HEARD}")
    cluster.daemon_stop(led)
    cluster.daemon_start(led)


def promise(cluster, host=None):
    return cluster.service(NAME, host)["promise"]


def write(led):
    led.run(f"date >>/srv/{NAME}/log; sync")


def test_a_promise_is_broken_told_and_kept_again(cluster, led, heard):
    wait_until(lambda: promise(cluster)["loss_s"] == 0, 60, "nothing would be lost: it is idle")
    assert promise(cluster) | {"held_set": ""} == {"max_loss_s": MAX_LOSS_S, "members": 2, "loss_s": 0, "kept": True,
                                                   "held_set": ""}
    third = [host for host in cluster.hosts if host is not led][-1]
    third.link(False)
    try:
        cluster.wait_up(2, led)
        write(led)
        wait_until(lambda: not promise(cluster, led)["kept"], 60, "it is broken")
        said = cluster.zbaton("status -x", host=led, check=False)
        assert said.rc == 6, said
        assert "(A-promise-broken: zbaton explain" in said.out, said
        assert f"{third.name} is not reachable (set " in said.out, said
        explained = json.loads(cluster.zbaton(f"explain -j {NAME} {led.name}", host=led).out)
        rules = [line["rule"] for line in explained["members"][0]["lines"]]
        assert "A-promise-broken" in rules, explained
    finally:
        third.link(True)
    cluster.wait_up(3, led)
    wait_until(lambda: promise(cluster, led)["kept"], 60, "it is kept again")
    lines = wait_until(lambda: [x for x in heard() if x[4] == "A-promise-kept"] and heard(), 30, "the program heard of it")
    of_promise = [x[:5] for x in lines if x[4].startswith("A-promise")]
    assert of_promise == [["_zbaton", led.name, NAME, "warning", "A-promise-broken"],
                          ["_zbaton", led.name, NAME, "info", "A-promise-kept"]], lines
    assert any(x[4] == "A-peer-down" for x in lines), lines


def names(cluster, host):
    return [snap for snap in cluster.snapshots(host, NAME)[""] if not snap.startswith("zbaton-")]


def test_received_copies_of_foreign_snapshots_expire(cluster, led):
    follower, other = [host for host in cluster.hosts if host is not led]
    top = cluster.dataset(led, NAME)
    copy = cluster.dataset(follower, NAME)
    led.run("; ".join(f"zfs snapshot {top}@{snap}" for snap in ("hourly-1", "hourly-2", "held", "stays")))
    cluster.zbaton(f"sync {NAME}", host=led)
    everything = ["hourly-1", "hourly-2", "held", "stays"]
    wait_until(lambda: names(cluster, follower) == everything == names(cluster, other), 60, "both have them")
    follower.run(f"zfs hold mine {copy}@held; zfs inherit zbaton:received {copy}@hourly-2")  # as if taken there
    led.run(f"zfs destroy {top}@hourly-1; zfs destroy {top}@hourly-2; zfs destroy {top}@held")
    wait_until(lambda: names(cluster, other) == ["stays"], 60, "the other one's copies went")
    wait_until(lambda: names(cluster, follower) == ["hourly-2", "held", "stays"], 60, "what may go went")
    said = wait_until(lambda: [e for e in cluster.events(NAME, follower) if e["rule"] == "A-foreign-stays"][1:]
                      and cluster.zbaton(f"explain {NAME} {follower.name}", host=follower).out, 30, "it is told")
    assert "snapshot hourly-2 of another tool stays: not received by zbaton here (A-foreign-stays)" in said, said
    assert "snapshot held of another tool stays: held: mine (A-foreign-stays)" in said, said
    follower.run(f"zfs release mine {copy}@held")
    wait_until(lambda: names(cluster, follower) == ["hourly-2", "stays"], 60, "it is held no longer")
    write(led)
    cluster.zbaton(f"sync {NAME}", host=led)
    cluster.wait_current(NAME)
