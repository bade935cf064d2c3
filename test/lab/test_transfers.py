"""How far a transfer is: what is told of it while it goes on against what was sent in the end."""

import json
import time

import pytest
from zblab import wait_until

COPY_MIB = 60
RATE = "rate 16mbit"  # half a minute for the copy
NEAR = 0.2  # an estimate may be off by that much


def sent_bytes(host):
    """What went out on the data network since the host's boot."""
    return int(host.run("cat /sys/class/net/eth0/statistics/tx_bytes").out)


def transfers(cluster, name, host, silent=()):
    """`zbaton transfers -j` of a service, as a host tells it; who does not answer is one of `silent`."""
    said = json.loads(cluster.zbaton(f"transfers -j {name}", host=host).out)
    assert said["output_version"]["command"] == "zbaton transfers", said
    assert {one["node"] for one in said["silent"]} <= set(silent), said
    return said["transfers"]


def filled(cluster, name):
    """A service of vm1 alone, with something to copy, and a slow way out of vm1; bytes sent by vm1 before vm2 becomes a member."""
    one = cluster.hosts[0]
    cluster.declare(name, members=["vm1"], runner="none", interval="1h")
    cluster.apply()
    cluster.wait_current(name, "vm1")
    one.run(f"head -c {COPY_MIB}M /dev/urandom >/srv/{name}/blob; sync")
    cluster.zbaton(f"snapshot {name}")
    one.netem(RATE)
    before = sent_bytes(one)
    cluster.declare(name, members=["vm1", "vm2"], runner="none", interval="1h")
    cluster.apply()
    return before


def holds_newest(cluster, name, node):
    """That member holds the newest set of the leader."""
    newest = {member["node"]: member["newest_set"] for member in cluster.service(name)["members"]}
    return newest[node] is not None and newest[node] == newest["vm1"]


def copy_watched(cluster, name, deadline_s=300):
    """What was told of the copy to vm2 from its beginning to its end: transfers as vm3 tells them, vm2's status as vm1 does."""
    seen, notes = [], []
    end = time.monotonic() + deadline_s
    while not holds_newest(cluster, name, "vm2"):
        assert time.monotonic() < end, (seen, notes)
        for one in transfers(cluster, name, cluster.hosts[2]):
            assert (one["service"], one["from"], one["to"]) == (name, "vm1", "vm2"), one
            seen.append(one)
        member = cluster.member(name, "vm2")
        if member["state"] == "receiving" and member["transfer"]["bytes_total"]:
            notes.append(member["note"])
        time.sleep(1)
    return seen, notes


def assert_left_falls(seen):
    """In the second half of what was seen less is left than in the first. On a busy machine a look takes seconds."""
    left = [one["left_s"] for one in seen if one["left_s"] is not None]
    assert len(left) >= 2, seen
    half = len(left) // 2
    assert sum(left[half:]) / len(left[half:]) < sum(left[:half]) / half, left


def test_a_first_copy_tells_how_far_it_is(cluster):
    one = cluster.hosts[0]
    try:
        before = filled(cluster, "progress")
        seen, notes = copy_watched(cluster, "progress")
        sent = sent_bytes(one) - before
    finally:
        one.netem(None)
    seen = [t for t in seen if t["set"] == seen[0]["set"]]  # what comes after the copy is of no interest
    done = [t["bytes"] for t in seen]
    totals = {t["bytes_total"] for t in seen if t["bytes_total"]}
    print(f"{COPY_MIB} MiB: {sent} bytes on the network, estimated {totals}, {len(seen)} looks: {done}, notes {notes}")
    assert done == sorted(done) and done[0] < done[-1] / 2, done
    assert len(totals) == 1, "one estimate, which stays"
    [total] = totals
    assert abs(total - sent) <= NEAR * sent and abs(total - done[-1]) <= NEAR * total, (total, sent, done[-1])
    assert_left_falls(seen)
    rates = [t["rate"] for t in seen if t["rate"]][1:]
    assert rates and all(500_000 < rate < 8_000_000 for rate in rates), rates
    percents = [int(note.split("%")[0]) for note in notes if "%" in note]
    assert len(percents) >= 2 and percents == sorted(percents) and 0 <= percents[0] < percents[-1] <= 100, notes
    for host in cluster.hosts:
        wait_until(lambda host=host: transfers(cluster, "progress", host) == [], 30, "nothing is being sent")
    assert cluster.zbaton("transfers progress").out == "nothing is being sent\n"
    assert cluster.member("progress", "vm2")["transfer"] is None


@pytest.mark.long
def test_a_copy_that_goes_on_is_estimated_by_what_is_left(cluster):
    """The link breaks in the middle; what is there already is not counted again."""
    one, two, three = cluster.hosts
    try:
        filled(cluster, "goneon")
        wait_until(lambda: [t for t in transfers(cluster, "goneon", three)
                            if t["bytes_total"] and t["bytes"] > t["bytes_total"] / 2], 120, "half of it is sent")
        [whole] = {t["bytes_total"] for t in transfers(cluster, "goneon", three)}
        two.link(False)
        wait_until(lambda: transfers(cluster, "goneon", one, ["vm2"]) == [], 120, "vm1 gives it up")
        two.link(True)
        rest = wait_until(lambda: [t["bytes_total"] for t in transfers(cluster, "goneon", one, ["vm2"])
                                   if t["bytes_total"]], 120, "it goes on")
        seen, _ = copy_watched(cluster, "goneon")
    finally:
        two.link(True)
        one.netem(None)
    print(f"whole {whole}, rest {rest}, sent of the rest {seen[-1]['bytes'] if seen else None}")
    assert rest[0] < whole * 0.75
    assert not seen or seen[-1]["bytes"] <= rest[0] * (1 + NEAR)
