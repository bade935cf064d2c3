"""Sets to look into: read-only clones that end by themselves."""

import json

from zblab import wait_until


def peeks(cluster, host):
    return json.loads(cluster.zbaton("peek list -j", host=host).out)["peeks"]


def told(cluster, host, rule, text):
    """An event of this rule with the text in it."""
    return [e for e in cluster.events("", host) if e["rule"] == rule and text in e["text"]]


def test_a_set_is_looked_into_for_some_time(cluster):
    cluster.declare("look", runner="none", interval="1h", keep=2)
    cluster.apply()
    cluster.wait_current("look", "vm1")
    one, two, _ = cluster.hosts
    one.run(f"zfs create {cluster.dataset(one, 'look', 'log')} && echo first >/srv/look/file")
    cluster.zbaton("sync look")
    one.run("echo first >/srv/look/log/file")
    cluster.zbaton("sync look")
    old = json.loads(cluster.zbaton("history -j look").out)["sets"][-1]["set"]
    one.run("echo second >/srv/look/file")
    cluster.zbaton("sync look")

    # The newest set, on the node that is asked, and an older one, through another node.
    newest = cluster.zbaton("peek look", host=two)
    path = newest.out.strip()
    assert two.run(f"cat {path}/file {path}/log/file").out.split() == ["second", "first"]
    assert "until 20" in newest.err and path.split("/")[-1] in newest.err, newest.err
    assert two.run(f"touch {path}/x", check=False).rc != 0
    made = json.loads(cluster.zbaton(f"peek -j look {old['term']}/{old['seq']} --node vm2 --for 2h").out)
    older = made["peek"]
    assert made["node"] == "vm2" and (older["term"], older["seq"]) == (old["term"], old["seq"])
    assert two.run(f"cat {older['mounted']}/file").out.strip() == "first"
    assert len(peeks(cluster, two)) == 2 and peeks(cluster, one) == []
    assert "no set 1/99" in cluster.zbaton("peek look 1/99", host=two, check=False).err
    assert cluster.zbaton("peek look 1-2", host=two, check=False).rc == 2

    # A set that is looked into stays, and is named as what keeps it.
    for number in range(4):
        one.run(f"echo {number} >/srv/look/more")
        cluster.zbaton("sync look")

    def named():
        lines = json.loads(cluster.zbaton("explain -j look vm2").out)["members"][0]["lines"]
        found = {line["help"].split()[3].rstrip(",") for line in lines if line["rule"] == "A-peek"}
        assert found == {older["name"], path.split("/")[-1]}, lines
        return True
    wait_until(named, 60, "vm2 names what is looked into")

    # Neither a move nor what comes after it minds.
    cluster.move("look", "vm2")
    cluster.wait_current("look", "vm2")
    assert two.run(f"cat {path}/file").out.strip() == "second"
    assert cluster.zbaton(f"peek end {older['name']}", host=two).out.strip() == f"{older['name']} is ended."
    assert [p["name"] for p in peeks(cluster, two)] == [path.split("/")[-1]]

    # By itself: also where it is shown at another place, after a restart, and once nobody uses it any more
    # (a minute later, or when the daemon starts).
    other = cluster.zbaton("peek look --at /mnt/shown --for 8s", host=two).out.strip()
    assert other == "/mnt/shown" and two.run("cat /mnt/shown/log/file").out.strip() == "first"
    [brief] = [p["name"] for p in peeks(cluster, two) if p["name"] != path.split("/")[-1]]
    two.run("cd /mnt/shown/log && exec setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo $! >/run/look.pid")
    cluster.daemon_stop(two, "KILL")
    cluster.daemon_start(two)
    wait_until(lambda: told(cluster, two, "A-peek-stays", brief), 60, "vm2 says that it cannot end")
    assert "sleep" in told(cluster, two, "A-peek-stays", brief)[0]["text"]
    assert two.run("cat /mnt/shown/log/file").out.strip() == "first"
    assert len(told(cluster, two, "A-peek-stays", brief)) == 1
    two.run("kill $(cat /run/look.pid)")
    cluster.daemon_stop(two)
    cluster.daemon_start(two)
    wait_until(lambda: len(peeks(cluster, two)) == 1, 70, "it ends when nobody uses it")
    assert two.run("ls /mnt/shown").out == ""
    cluster.zbaton(f"peek end {path.split('/')[-1]}", host=two)
    assert peeks(cluster, two) == [] and two.run("ls -A /run/zbaton/peek").out == ""
    assert two.run(f"zfs list -Hr -o name {two.pool}/services/.peek").out.split() == [f"{two.pool}/services/.peek"]
