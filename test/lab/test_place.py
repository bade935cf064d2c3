"""Where services run: drains, relocation of what fails, failback."""

import json
import re

import pytest
from zblab import wait_until

RUN = "#!/bin/sh\nexec sleep 100000\n"
CHECK = "#!/bin/sh\n[ ! -e /run/sick-$ZBATON_SERVICE ] || { echo sick >&2; exit 1; }\n"


def declare(cluster, name, leader, **keys):
    """A service whose check fails where it is sick; it is not awaited."""
    for host in cluster.hosts:
        cluster.command(host, f"run-{name}", RUN)
        cluster.command(host, f"check-{name}", CHECK)
        host.run(f"rm -f /run/sick-{name}")
    keys = {"interval": "2s", "start_timeout": "4s", "stop_timeout": "10s", **keys}
    cluster.declare(name, leader=leader, start=f"run-{name}", check=f"check-{name}", **keys)


def leader(cluster, name):
    return cluster.service(name)["leader"]


def withdraw(cluster, *names):
    for name in names:
        del cluster.services[name]
    cluster.apply()


def failed(cluster, name, host=None):
    return {f["node"]: f for f in cluster.service(name, host)["failed"]}


@pytest.fixture
def undrained(cluster):
    """No node is drained afterwards, whatever becomes of the test."""
    yield
    cluster.zbaton("undrain vm3", check=False)


@pytest.mark.usefixtures("undrained")
def test_a_node_is_drained(cluster):
    names = ("drain-a", "drain-b", "drain-c", "drain-f")
    for name in names:
        declare(cluster, name, "vm3")
    cluster.apply()
    for name in names:
        cluster.wait_current(name, "vm3")
    cluster.zbaton("freeze -r maintenance drain-f")

    planned = cluster.zbaton("drain -n vm3", check=False)
    assert planned.rc == 6 and re.findall(r"^(drain-.): would move to vm", planned.out, re.M) == list(names[:3]), planned
    drained = cluster.zbaton("drain vm3", check=False, timeout=300)
    assert drained.rc == 6 and "vm3 is drained, and still leads 1" in drained.out, drained
    assert "drain-f: stays: frozen by root@vm1" in drained.out, drained
    went = {name: leader(cluster, name) for name in names}
    assert went["drain-f"] == "vm3" and "vm3" not in [went[name] for name in names[:3]], went
    for name in names:
        cluster.wait_current(name, went[name])
        assert f"{name}: moves to {went[name]}, by " in drained.out or name == "drain-f", drained
    [said] = [e for e in cluster.events("drain-a") if e["rule"] == "A-drain"]
    assert f"moved to {went['drain-a']}, by " in said["text"], said
    refused = cluster.move("drain-a", "vm3", check=False)
    assert refused.rc == 3 and "it is drained by root@vm1" in refused.err and "zbaton undrain vm3" in refused.err, refused

    # The mark is the cluster's, over restarts; undrain moves nothing back.
    three = cluster.hosts[2]
    cluster.daemon_stop(three, "KILL")
    cluster.daemon_start(three)
    cluster.wait_up(3, three)
    assert [d["node"] for d in cluster.status(three)["cluster"]["drained"]] == ["vm3"]
    cluster.zbaton("thaw drain-f")
    assert cluster.zbaton("drain vm3", host=three).rc == 0
    assert leader(cluster, "drain-f") != "vm3"
    cluster.zbaton("undrain vm3")
    assert leader(cluster, "drain-a") == went["drain-a"]
    cluster.move("drain-a", "vm3")
    withdraw(cluster, *names)


@pytest.mark.long
def test_what_fails_on_one_host_goes_to_another_and_what_fails_everywhere_stays(cluster):
    one, two, three = cluster.hosts
    declare(cluster, "sick", "vm1", restarts=1, relocate="yes", prefer=["vm1", "vm2", "vm3"])
    cluster.apply()
    cluster.wait_current("sick", "vm1")
    term = cluster.service("sick")["term"]
    one.run("touch /run/sick-sick")
    cluster.wait_current("sick", "vm2")
    assert set(failed(cluster, "sick", two)) == {"vm1"}, failed(cluster, "sick", two)
    assert "vm2, by preference: before vm3 in prefer" in json.dumps(cluster.events("sick", one))

    for host in (two, three):
        host.run("touch /run/sick-sick")
    wait_until(lambda: all(f["node"] for f in failed(cluster, "sick").values()) and len(failed(cluster, "sick")) == 3, 90,
               "it has failed on each")
    service = cluster.service("sick")
    assert service["leader"] == "vm3" and service["term"] == term + 2 and service["state"] == "stopped", service
    assert any("failed on vm3" in w and "stays stopped" in w and "zbaton start sick" in w
               for w in cluster.status(one)["warnings"])

    # Not begun anew by a daemon that is restarted; by an operator's word.
    cluster.daemon_stop(three, "KILL")
    cluster.daemon_start(three)
    cluster.wait_up(3, three)
    wait_until(lambda: cluster.service("sick", three)["leader"] == "vm3", 30, "vm3 leads again")
    cluster.zbaton("sync sick")
    service = cluster.service("sick")
    assert service["term"] == term + 2 and service["state"] == "stopped", service
    assert failed(cluster, "sick")["vm3"]["times"] == 1
    three.run("rm /run/sick-sick")
    cluster.zbaton("start sick")
    cluster.wait_current("sick", "vm3")
    assert failed(cluster, "sick") == {}
    withdraw(cluster, "sick")


@pytest.mark.long
def test_the_lead_goes_back_to_who_is_preferred(cluster):
    declare(cluster, "prefers", "vm2", prefer=["vm1"], failback="3s")
    cluster.apply()
    cluster.wait_current("prefers", "vm1")
    assert "zbatond@vm2: failback, vm1, by preference" in cluster.zbaton("history prefers").out
    withdraw(cluster, "prefers")
