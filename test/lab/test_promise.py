"""What would be lost with the leader, against what was promised, and who hears of it."""

import json

import pytest
from zblab import wait_until

NAME = "promise"
INTERVAL_S = 2
MAX_LOSS_S = 6
PROGRAM = "/etc/zbaton/notify"
CONF = "/etc/zbaton/zbatond.conf"
HEARD = "/tmp/zbaton-heard"
TEXT = f"""#!/bin/sh
echo "$(id -un)|$ZBATON_NODE|$ZBATON_SERVICE|$ZBATON_LEVEL|$ZBATON_RULE|$ZBATON_TEXT" >>{HEARD}
"""


@pytest.fixture
def led(cluster):
    """The leader of a service that promises something; withdrawn in the end."""
    cluster.declare(NAME, runner="none", interval=f"{INTERVAL_S}s", max_loss=f"{MAX_LOSS_S}s", max_loss_members=2)
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
    assert of_promise == [["nobody", led.name, NAME, "warning", "A-promise-broken"],
                          ["nobody", led.name, NAME, "info", "A-promise-kept"]], lines
    assert any(x[4] == "A-peer-down" for x in lines), lines
