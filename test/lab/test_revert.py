"""A service goes back to an earlier set: bad data was distributed, and single files are got back afterwards."""

import pytest
from test_failover import NAME, Web, web  # noqa: F401
from zblab import wait_until


def sets_newest(cluster, host):
    """(term, seq) of the newest set that a host holds."""
    newest = cluster.member(NAME, host.name, host)["newest_set"]
    return newest["term"], newest["seq"]


@pytest.fixture
def bad(cluster, web):  # noqa: F811
    """The service with bad data on every member; the good set before it, and a good file that came with the bad."""
    leader = web.old
    web.write()
    web.kept = set(web.recorder.stored(leader))
    leader.run(f"rm -f /srv/{NAME}/late; echo good >/srv/{NAME}/file")
    cluster.zbaton(f"sync {NAME}")
    web.good = sets_newest(cluster, leader)
    web.write()
    leader.run(f"rm /srv/{NAME}/file; echo wanted >/srv/{NAME}/late; sync -f /srv/{NAME}")
    cluster.zbaton(f"sync {NAME}")
    web.write()
    web.recorder.stop()
    web.new = leader
    web.set = f"{web.good[0]}/{web.good[1]}"
    return web


def test_a_set_that_cannot_be_gone_back_to(cluster, bad):
    leader = bad.old
    for wrong, rc, cause in (("last", 2, "is not a set: TERM/SEQ"), ("1/999999", 1, "is not known here"),
                             (bad.set, 3, "not agreed to")):
        said = cluster.zbaton(f"revert {NAME} {wrong}", host=bad.third, check=False)
        assert said.rc == rc and cause in said.err and "hint: zbaton" in said.err, said
    leader.run(f"cd /srv/{NAME} && {{ setsid sleep 600 >/dev/null 2>&1 </dev/null & echo $! >/run/in-the-way; }}")
    said = cluster.zbaton(f"revert -y {NAME} {bad.set}", host=bad.third, check=False)
    leader.run("kill $(cat /run/in-the-way)")
    assert said.rc != 0 and "(sleep)" in said.err and f"hint: zbaton explain {NAME}" in said.err, said
    assert cluster.leader(NAME) is leader and cluster.service(NAME)["term"] == bad.term
    assert leader.run(f"cat /srv/{NAME}/late").out == "wanted\n"


def test_bad_data_is_left_behind_and_a_file_got_back(cluster, bad):
    leader = bad.old
    here = bad.written_on(leader)
    plan = cluster.zbaton(f"revert -n {NAME} {bad.set}", host=bad.third).out
    assert f"goes back to set {bad.set}" in plan and "4/7 aside" in plan, plan
    said = cluster.zbaton(f"revert -y {NAME} {bad.set}", host=bad.third, check=False, timeout=180)
    print(said.out)
    assert said.rc in (0, 6) and f"{NAME} is at set {bad.set} again" in said.out, said
    wait_until(lambda: cluster.leader(NAME) is leader, 60, "the same node leads")
    assert leader.run(f"cat /srv/{NAME}/file; test -e /srv/{NAME}/late || echo none").out == "good\nnone\n"

    # Every member went back, and what was left behind is on each of them.
    bad.settled()
    term = cluster.terms(NAME)[-1]
    assert (term["reason"], term["leader"]) == ("revert", leader.name) and term["term"] > bad.term, term
    assert (term["fork_set"]["term"], term["fork_set"]["seq"]) == bad.good and "set aside" in term["lost"], term
    live = set(bad.recorder.stored(leader))
    assert bad.kept <= live and here - live, "records came after the good set"
    rescues = {host: bad.rescues(host) for host in cluster.hosts}
    assert all(len(made) == 1 for made in rescues.values()), rescues
    with cluster.rescue(leader, rescues[leader][0]) as path:
        assert here <= set(bad.recorder.stored_in(leader, path)), "the leader's has what was in no set, too"
        leader.run(f"cp {path}/late /srv/{NAME}/")
    assert leader.run(f"cat /srv/{NAME}/late").out == "wanted\n"
    for host in cluster.hosts:
        if host is not leader:
            with cluster.rescue(host, rescues[host][0]) as path:
                assert host.run(f"cat {path}/late").out == "wanted\n"
    assert cluster.writers(NAME) == [leader]
