"""What members hold or remember is not what it was: it shows within one interval, and nothing is forced over.

A copy that was written to by hand, a state directory that was put back to an older copy, a pool that was
replaced by an empty one under the same name.
"""

import time

import pytest
from test_move import assert_same_history
from zblab import wait_until

pytestmark = pytest.mark.long

NAME = "web"
PORT = 6451
INTERVAL_S = 20
SLACK_S = 10  # of emulated hosts: a look at the disk, a report, a command


@pytest.fixture
def web(cluster):
    """The service, running and current everywhere; -> leader, other followers."""
    cluster.declare(NAME, start=f"redis {PORT}", interval=f"{INTERVAL_S}s", keep=50)
    cluster.apply()
    cluster.wait_current(NAME)
    cluster.zbaton(f"sync {NAME}")
    cluster.wait_current(NAME)
    leader = cluster.leader(NAME)
    return leader, [host for host in cluster.hosts if host is not leader]


def told(cluster, host, rule, since=0):
    """Texts of the events of that rule on a host, newer than an id."""
    return [e["text"] for e in cluster.events("", host) if e["rule"] == rule and e["id"] > since]


def last_event(cluster, host):
    """The id of the newest event on a host."""
    events = cluster.events("", host)
    return events[-1]["id"] if events else 0


def test_a_copy_that_was_written_to_shows_and_is_kept(cluster, web):
    leader, (_, third) = web
    top = cluster.dataset(third, NAME)
    since = {host: last_event(cluster, host) for host in (leader, third)}
    rescues = cluster.rescues(third, NAME)
    before = cluster.snapshots(third, NAME)
    third.run(f"mount -t zfs -o rw,zfsutil {top} /mnt && echo mine >/mnt/by-hand; umount /mnt; zpool sync")
    done = time.monotonic()
    for host in (third, leader):
        wait_until(lambda host=host: told(cluster, host, "C-modified", since[host]), INTERVAL_S + SLACK_S,
                   f"{host.name} tells of it")
    assert time.monotonic() - done < INTERVAL_S + SLACK_S
    [text] = told(cluster, leader, "C-modified", since[leader])
    assert text.startswith(f"{third.name}: its copy was written to by somebody else: "), text
    # The way out is the ordinary one: what was written is set aside, and the copy follows again.
    [rescue] = wait_until(lambda: [r for r in cluster.rescues(third, NAME) if r not in rescues], 120,
                          "what was written is set aside")
    cluster.zbaton(f"sync {NAME}", host=leader)
    cluster.wait_current(NAME, leader.name)
    with cluster.rescue(third, rescue) as path:
        assert third.run(f"cat {path}/by-hand").out == "mine\n"
    kept = {guid for snaps in cluster.snapshots(third, NAME).values() for guid in snaps.values()}
    assert {guid for snaps in before.values() for guid in snaps.values()} <= kept, "every set is still there"
    cluster.assert_at_rest(NAME)
    assert_same_history(cluster, NAME)


def test_a_state_directory_that_was_put_back(cluster, web):
    leader, (second, third) = web
    cluster.daemon_stop(third)
    third.run("rm -rf /root/state-before; cp -a /var/lib/zbaton /root/state-before")
    cluster.daemon_start(third)
    cluster.wait_up(3, leader)
    cluster.move(NAME, second.name, host=leader)
    cluster.wait_current(NAME, second.name)
    term = cluster.service(NAME)["term"]
    since = last_event(cluster, second)
    cluster.daemon_stop(third)
    third.run("rm -rf /var/lib/zbaton && mv /root/state-before /var/lib/zbaton")
    cluster.daemon_start(third)
    for host in (second, third):
        wait_until(lambda host=host: told(cluster, host, "C-term-back", since if host is second else 0), 60,
                   f"{host.name} tells of it")
    assert f"knew of term {term}" in told(cluster, second, "C-term-back", since)[0]
    # Told by the others, it knows again what it had granted and who leads.
    cluster.zbaton(f"sync {NAME}", host=second)
    cluster.wait_current(NAME, second.name)
    assert cluster.service(NAME)["term"] == term, "nothing was taken over"
    assert cluster.writers(NAME) == [second]
    assert_same_history(cluster, NAME)


def test_a_pool_that_was_replaced_by_an_empty_one(cluster, web):
    leader, (second, third) = web
    elsewhere = {host: cluster.snapshots(host, NAME) for host in (leader, second)}
    since = {host: last_event(cluster, host) for host in (leader, third)}
    cluster.daemon_stop(third)
    third.run(f"zpool destroy {third.pool} && zpool create -f -o ashift=12 -o cachefile=none -O mountpoint=none "
              f"-O canmount=off {third.pool} /dev/vdb && "
              f"zfs create -o canmount=off -o mountpoint=none {third.pool}/services")
    cluster.daemon_start(third)
    for host in (leader, third):
        wait_until(lambda host=host: told(cluster, host, "A-pool-changed", since[host]), 60, f"{host.name} tells of it")
    [text] = told(cluster, leader, "A-pool-changed", since[leader])
    assert text.startswith(f"{third.name}: its pool is another one than before"), text
    # It is a member without a copy: it gets a full one, and leads nothing meanwhile.
    cluster.wait_current(NAME, leader.name, deadline_s=300)
    assert cluster.writers(NAME) == [leader]
    for host, before in elsewhere.items():
        now = cluster.snapshots(host, NAME)
        assert all(guid in now[rel].values() for rel, snaps in before.items() for guid in snaps.values()), host.name
    cluster.move(NAME, third.name, host=leader)
    cluster.wait_current(NAME, third.name)
