"""Failover that nobody orders: faults of hosts, pools, networks and etcd, each under a continuous writer."""

import os
import time

import pytest
from etcd_auto import NAME, PAUSED_S, PORT, QUIET_S, START_S, TTL_S, auto, etcd, run, sessions_open  # noqa: F401
from faults import (cut_from, cut_off, daemon_killed, deaf, engine_killed, engine_stopped, etcd_disk_frozen, etcd_gone,
                    etcd_stopped, mute, paused, pool_frozen, pool_lost, power_lost)
from test_matrix import ENGINE_DIR, install_engine
from zblab import wait_until
from zblab.cluster import Recorder, stage

TAKES_S = 60  # that who was granted a term has to begin it
POOL_STUCK_S = 30 + 5 + 2  # of src/keeper/deadline.c, a transaction group, a heartbeat


def test_the_leader_loses_power(run):
    """Its service runs elsewhere by itself, and it follows when it is back."""
    with power_lost(run.cluster, run.old):
        new = run.moves_on()
    run.end(new)


# --- its programs -----------------------------------------------------------------------------


@pytest.mark.long
def test_the_engine_is_killed(run):
    """The next engine goes on with the session: nobody takes over."""
    with engine_killed(run.cluster, run.old):
        run.recorder.wait_more(50)
    run.end(run.old, stays=True)


@pytest.mark.long
def test_the_engine_is_stopped(run):
    """A hung engine renews nothing: the keeper demotes, and another host takes over."""
    with engine_stopped(run.cluster, run.old):
        new = run.moves_on()
    run.end(new)


@pytest.mark.long
def test_the_keeper_is_killed(run):
    """The next keeper finds the tree mounted, and goes on with the session."""
    with daemon_killed(run.cluster, run.old):
        pass
    run.recorder.wait_more(50)
    run.end(run.old, stays=True)


@pytest.mark.long
def test_zbatond_is_stopped_for_long(run):
    """It leaves its session: the service goes on there, and nobody takes over."""
    run.cluster.daemon_stop(run.old)
    time.sleep(TTL_S + 10)  # what must not happen would happen by now
    run.recorder.wait_more(20)
    run.cluster.daemon_start(run.old)
    run.end(run.old, stays=True)


# --- its network ------------------------------------------------------------------------------


@pytest.mark.long
def test_the_leader_is_cut_off(run):
    """It demotes itself in time, though clients still reach it, and another host takes over."""
    with cut_off(run.old):
        new = run.moves_on()
    run.end(new)


@pytest.mark.long
@pytest.mark.parametrize("way", [deaf, mute], ids=lambda way: way.__name__)
def test_the_leader_is_cut_off_one_way(run, way):
    """The same where it can still speak, or still hear."""
    with way(run.old):
        new = run.moves_on()
    run.end(new)


@pytest.mark.long
def test_the_leader_is_cut_off_from_etcd(run, etcd):
    """It demotes itself in time though it reaches everybody else, and another host takes over."""
    with cut_from(run.old, etcd.hosts):
        new = run.moves_on()
    run.end(new)


@pytest.mark.long
def test_the_leader_is_cut_off_from_its_followers(run):
    """Its session goes on, and so does its service."""
    with cut_from(run.old, run.left):
        time.sleep(TTL_S + 10)  # what must not happen would happen by now
    run.end(run.old, stays=True)


@pytest.mark.long
def test_a_leader_that_others_follow_no_more_takes_a_new_term(run):
    """An order behind its back, which could not be carried out: by itself it takes a term above what was granted."""
    with cut_from(run.old, run.left):
        for host in run.left:
            run.cluster.wait_up(2, host)
        refused = run.cluster.failover(NAME, run.left[0].name, flags="-y --allow-data-loss", check=False)
        assert refused.rc == 3, refused
        run.recorder.wait_more(20)
    run.struck = time.time() + TAKES_S
    wait_until(lambda: run.cluster.service(NAME)["term"] > run.term + 1, TAKES_S + START_S, "it leads a term above")
    assert run.end(run.old) == [], "nothing is set aside"


# --- etcd -------------------------------------------------------------------------------------


@pytest.mark.long
def test_etcd_has_no_quorum_and_regains_it(run, etcd):
    """Everybody demotes, nothing is reset, and the last leader goes on by itself afterwards."""
    with etcd_stopped(etcd, 2):
        wait_until(lambda: run.cluster.writers(NAME) == [], 30, "nobody can write")
    run.end(run.runs_again())
    assert run.boot_ids() == run.boots


@pytest.mark.long
def test_the_disk_of_etcds_leader_stands_still(run, etcd):
    """The others elect another one in time: nothing happens to the service."""
    with etcd_disk_frozen(etcd) as frozen:
        wait_until(lambda: etcd.leader() not in (None, frozen), 30, "another member leads")
        time.sleep(TTL_S)  # what must not happen would happen by now
    run.end(run.old, stays=True)


@pytest.mark.long
def test_every_member_of_etcd_starts_anew(run, etcd):
    """Before the sessions lapse: nothing happens to the service."""
    with etcd_gone(etcd):
        pass
    run.recorder.wait_more(50)
    run.end(run.old, stays=True)


# --- its pool ---------------------------------------------------------------------------------


@pytest.mark.long
def test_the_pool_of_the_leader_is_lost(run):
    """What cannot be unmounted any more resets the host, and another host takes over."""
    with pool_lost(run.cluster, run.old):
        new = run.moves_on()
    run.end(new)


@pytest.mark.long
def test_the_disk_of_the_leaders_pool_stands_still(run):
    """The same where the disk gives no error but no answer, which is one after a while."""
    with pool_frozen(run.old):
        new = run.moves_on(POOL_STUCK_S)
        wait_until(lambda: not run.old.alive(), 60, "its host is reset")
    run.cluster.make_whole()
    run.end(new)


# --- a host that stands still -----------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("seconds", [10, TTL_S, 2 * TTL_S])
def test_the_leader_is_paused(run, seconds):
    """It writes for a moment only when it goes on after it was taken over; all of that is kept, and nobody gets it."""
    cluster, old = run.cluster, run.old
    beside = Recorder(cluster.lab, run.folder, port=PORT, name=f"beside{seconds}", hosts=[old])
    try:
        beside.wait_more(10)
        with paused(old):
            if seconds > TTL_S:
                run.moves_on()
            time.sleep(max(0, seconds - (time.time() - run.struck)))
        resumed = time.time()
        run.watch.excuse(old, time.monotonic(), time.monotonic() + PAUSED_S)
        run.settle(None)
        leader = cluster.leader(NAME)
        assert (leader is old) == (seconds < TTL_S) or seconds == TTL_S
        stays = cluster.service(NAME)["term"] == run.term
        made = run.end(leader, stays, quiet_s=seconds + QUIET_S)
        _, live, rescued = beside.assert_all_kept(cluster, leader, made)
        late = {number: at - resumed for number, at, _ in beside.acknowledged() if at > resumed}
        if leader is not old:
            assert max(late.values(), default=0) <= PAUSED_S
            assert late.keys() <= rescued - live
            run.said += f", {len(late)} late ones, up to {max(late.values(), default=0):.1f} s"
    finally:
        beside.stop()


# --- a move -----------------------------------------------------------------------------------


@pytest.mark.long
def test_the_target_of_a_move_dies_with_the_baton(run):
    """The last leader is well, and has given it away: it is taken over from whom it was given to."""
    cluster, (target, _) = run.cluster, run.left
    install_engine(cluster, os.path.join(os.path.dirname(stage()), "src/cmd/zbatond-engine-paused"), [target])
    wait_until(lambda: sessions_open(cluster), 90, "every node has a session")
    cluster.wait_current(NAME)
    target.run(f"touch {ENGINE_DIR}/pause-R-take")
    begun = cluster.zbaton(f"move -y --no-wait {NAME} {target.name}", host=run.old, check=False)
    assert begun.rc == 5, begun
    wait_until(lambda: target.run(f"test -e {ENGINE_DIR}/held-R-take", check=False).rc == 0, 90, "it takes the release")
    run.struck = time.time()
    target.power_cut()
    new = wait_until(lambda: cluster.leader(NAME, run.old), TTL_S + 5 + START_S, f"{NAME} runs on another host")
    assert new is not target
    run.recorder.wait_more(20)
    target.boot()
    target.run(f"rm -f {ENGINE_DIR}/held-R-take")
    install_engine(cluster, os.path.join(stage(), "usr/sbin/zbatond-engine"), [target])
    run.end(new)


# --- no fault ---------------------------------------------------------------------------------


@pytest.mark.long
def test_a_move_waits_for_nothing(run):
    """A planned move is done before any session could have ended."""
    begun = time.monotonic()
    run.cluster.move(NAME, run.left[0].name)
    assert time.monotonic() - begun < TTL_S
    run.end(run.left[0])
