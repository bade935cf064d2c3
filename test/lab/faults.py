"""Faults of hosts, pools and etcd, each for a `with`: what ends it is what an operator's power switch, a service
manager or the end of the fault itself would do. A host that is off by then is left to that."""

import contextlib
import threading

from zblab import wait_until

# Two ends of faults may find one host off at once.
_boots = threading.Lock()


@contextlib.contextmanager
def fault(begin, end):
    """Both are functions."""
    begin()
    try:
        yield
    finally:
        end()


def revive(cluster, host):
    """A host that is off is switched on, and its daemon runs."""
    with _boots:
        if not host.alive():
            host.boot()
        cluster.daemon_make_whole(host)


# --- hosts ---


def power_lost(cluster, host):
    """A power cut."""
    return fault(host.power_cut, lambda: revive(cluster, host))


def paused(host):
    """The host stands still, its clocks too."""
    return fault(host.pause, lambda: host.alive() and host.cont())


@contextlib.contextmanager
def engine_stopped(cluster, host):
    """The engine hangs."""
    pid = cluster.engine_pid(host)
    with fault(lambda: host.run(f"kill -STOP {pid}"),
               lambda: host.alive() and host.run(f"kill -CONT {pid}", check=False)):
        yield


def engine_killed(cluster, host):
    """The engine is killed; the keeper starts another."""
    return fault(lambda: host.run(f"kill -9 {cluster.engine_pid(host)}"), lambda: None)


def daemon_killed(cluster, host):
    """The keeper is killed, and its engine ends with it."""
    return fault(lambda: cluster.daemon_stop(host, "KILL"), lambda: revive(cluster, host))


# --- the network ---


def cut_off(host):
    """Nothing goes either way on the host's data network."""
    return fault(lambda: host.isolate(True), lambda: host.isolate(False))


def deaf(host):
    """Nothing arrives there."""
    return fault(lambda: host.deafen(True), lambda: host.deafen(False))


def mute(host):
    """Nothing goes out from there."""
    return fault(lambda: host.netem("loss 100%"), lambda: host.alive() and host.netem(None))


def cut_from(host, others):
    """The host sends nothing to some others: etcd's members, or its peers."""
    return fault(lambda: host.blackhole([other.data_ip for other in others]),
                 lambda: host.alive() and host.blackhole([]))


# --- pools ---


def pool_frozen(host):
    """The pool's disk answers nothing."""
    return fault(lambda: host.freeze_pool_disk(True), lambda: host.alive() and host.freeze_pool_disk(False))


def pool_lost(cluster, host):
    """The pool's disk answers with errors, until the host is switched off and on again."""
    def end():
        host.power_cut()
        revive(cluster, host)
    return fault(host.lose_pool_disk, end)


# --- etcd ---


@contextlib.contextmanager
def etcd_disk_frozen(etcd):
    """The disk of the member that leads stands still."""
    leader = wait_until(etcd.leader, 30, "etcd has a leader")
    with fault(lambda: etcd.freeze(leader), lambda: etcd.thaw(leader)):
        yield leader


def etcd_stopped(etcd, count):
    """Members hang; without two of three there is no quorum."""
    members = etcd.hosts[:count]
    return fault(lambda: [etcd.signal(member, "STOP") for member in members],
                 lambda: [etcd.signal(member, "CONT") for member in members])


def etcd_gone(etcd):
    """Every member is killed."""
    return fault(lambda: [etcd.kill(member) for member in etcd.hosts], etcd.make_whole)
