"""Sets that are kept because somebody gave them a name."""

import json

import pytest
from test_retention import prune_plan, sets_of
from zblab import wait_until


def labels(cluster, host, name):
    """{"term/seq": label} as history on this host shows it."""
    sets = json.loads(cluster.zbaton(f"history -j -n 3 {name}", host=host).out)["sets"]
    return {f"{s['set']['term']}/{s['set']['seq']}": s["label"] for s in sets if s["label"]}


@pytest.mark.long
def test_a_labelled_set_stays_on_every_member(cluster):
    one, two, three = cluster.hosts
    cluster.declare("mark", runner="none", interval="1h", keep=2)
    cluster.apply()
    cluster.wait_current("mark", "vm1")
    one.run("echo precious >/srv/mark/file")
    said = json.loads(cluster.zbaton("snapshot -j mark --label 'before the upgrade'", host=three).out)
    kept = f"{said['set']['term']}/{said['set']['seq']}"
    assert said["label"] == "before the upgrade"
    for text in ("''", "' '", "'a\tb'", "x" * 65):
        assert cluster.zbaton(f"snapshot mark --label {text}", check=False).rc == 2
    assert "has no label" in cluster.zbaton("unlabel mark 1/0", check=False).err
    assert "set 9/9 of mark is not known" in cluster.zbaton("label mark 9/9 x", check=False).err

    # vm3 is away while a second one is named, and two's copy is what is led from later.
    cluster.daemon_stop(three)
    one.run("echo second >/srv/mark/file")
    cluster.zbaton("sync mark")
    second = json.loads(cluster.zbaton("history -j -n 1 mark").out)["sets"][-1]["set"]
    second = f"{second['term']}/{second['seq']}"
    cluster.zbaton(f"label mark {second} 'another one'", host=two)
    cluster.daemon_start(three)
    cluster.wait_up(3, one)
    for number in range(6):
        one.run(f"echo {number} >/srv/mark/file")
        cluster.zbaton("sync mark")
    wanted = {kept: "before the upgrade", second: "another one"}
    for host in cluster.hosts:
        wait_until(lambda h=host: labels(cluster, h, "mark") == wanted, 30, f"{host.name} knows the labels")

    def left(host, count):
        cluster.zbaton("prune mark", host=host)
        return len(sets_of(cluster, host, "mark")) == count
    for host in cluster.hosts:
        wait_until(lambda h=host: left(h, 4), 60, f"{host.name} has two sets and the two that have a label")
        why = list(prune_plan(cluster, host, "mark").values())
        assert why[2:] == ["label another one", "label before the upgrade"], (host.name, why)
        assert all(words.startswith("last") for words in why[:2]), (host.name, why)
    path = cluster.zbaton(f"peek mark {kept}", host=three).out.strip()
    assert three.run(f"cat {path}/file").out.strip() == "precious"
    cluster.zbaton(f"peek end {path.split('/')[-1]}", host=three)

    cluster.move("mark", "vm2")
    cluster.wait_current("mark", "vm2")
    cluster.zbaton(f"unlabel mark {kept}", host=three)
    for host in cluster.hosts:
        wait_until(lambda h=host: labels(cluster, h, "mark") == {second: "another one"}, 30, f"{host.name} knows it")
        wait_until(lambda h=host: left(h, 3), 60, f"{host.name} lets it go")
    cluster.zbaton(f"unlabel mark {second}", host=one)
    assert labels(cluster, one, "mark") == {}
