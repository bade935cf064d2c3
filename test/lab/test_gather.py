"""Sets of many services that are due at once share a transaction group, and none stands in another's way."""

import json

from test_keeper import PROBE, host, keepers, words_of  # noqa: F401 (fixtures)

SMALL = [f"web{number}" for number in range(6)]
CHILDREN = 20  # of the one that takes longer to get ready


def all_at_once(a, seq):
    """A set of each in the same moment: {service: (reply, groups of its snapshots)}."""
    asks = "\n".join(f"{PROBE} ask {a.conf} op=snapshot {words_of({'service': name, 'term': 1, 'seq': seq})} >/tmp/said.{name} &"
                     for name in ["big", *SMALL])
    # The keeper stands still until all have asked; one socket listens.
    a.host.run(f"trap 'kill -CONT {a.pid()}' EXIT; kill -STOP {a.pid()}; rm -f /tmp/said.*\n{asks}\n"
               f"for i in $(seq 200); do [ $(grep -c /run/{a.node}/probe.sock /proc/net/unix) -gt {1 + len(SMALL)} ] && break; sleep 0.1; done\n"
               f"sleep 0.5; kill -CONT {a.pid()}; wait", timeout=120)
    got = {}
    for name in ["big", *SMALL]:
        said = json.loads(a.host.run(f"cat /tmp/said.{name}").out)
        rows = a.host.run(f"zfs list -Hpr -t snapshot -o name,createtxg {a.root}/{name}").out
        got[name] = said, {int(row.split()[1]) for row in rows.splitlines() if f"@zbaton-000001-{seq:08d}-" in row}
    return got


def test_one_group_for_all_and_a_failure_for_one(keepers):  # noqa: F811
    a = keepers[0]
    for name in ["big", *SMALL]:
        a.define(name, mountpoint=f"/srv/{name}", interval="20s").good()
        a.ask("create", name).good()
        a.take(1, name).good()
    a.host.run(f"seq {CHILDREN} | xargs -I N zfs create {a.root}/big/N", timeout=120)
    a.snapshot(1, 0, "big").good()

    got = all_at_once(a, 1)
    assert [said["rc"] for said, _ in got.values()] == ["ok"] * len(got), got
    assert len(set.union(*(groups for _, groups in got.values()))) == 1, got
    for said, _ in got.values():
        guids = {entry["guid"] for entry in said["manifest"]["entries"]}
        assert len(guids) == len(said["manifest"]["entries"]) and 0 not in guids

    # Of one there is no room for a snapshot: the others have theirs.
    full = SMALL[2]
    a.host.run(f"head -c 200M /dev/urandom >/srv/{full}/file && zpool sync {a.pool} && zfs set refreservation=300M {a.root}/{full}")
    got = all_at_once(a, 2)
    said, groups = got.pop(full)
    assert said["rc"] == "no-space" and "the pool is full" in said["msg"] and full in said["msg"] and not groups, said
    assert [said["rc"] for said, _ in got.values()] == ["ok"] * len(got), got
    assert all(groups for _, groups in got.values())
    a.host.run(f"zfs set refreservation=none {a.root}/{full}")
    a.snapshot(1, 3, full).good()
