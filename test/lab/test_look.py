"""OBSERVE: a look that says "as before" says so only while nothing has changed, whoever changed it."""

import time

import pytest
from test_keeper import FLAGS, host, keepers, led, ship  # noqa: F401 (fixtures)
from zblab import wait_until


class Eye:
    """Looks as an engine does: with the number of the look before."""

    def __init__(self, keeper):
        self.keeper = keeper
        self.nonce = 0

    def look(self):
        """True: as before."""
        reply = self.keeper.ask("observe", nonce=self.nonce).good()
        same = bool(reply["flags"] & FLAGS["same"])
        assert not same or (reply["nonce"] == self.nonce and not reply["datasets"])
        self.nonce = reply["nonce"]
        self.seen = reply
        return same

    def rest(self):
        """Until nothing is on its way to the disks any more."""
        wait_until(lambda: self.look() and self.look(), 60, "a look is as the one before")

    def stays(self, do):
        """Whether a look after that is as before. One look may meet the moment in which a group is written; three in a row do not."""
        for _ in range(3):
            self.rest()
            do()
            if self.look():
                return True
        return False


WHAT = {
    "a file is written": "echo x >/srv/web/other",
    "a file is renamed": "mv /srv/web/file /srv/web/file2",
    "a mode is changed": "chmod 600 /srv/web/file2",
    "a child's file is written": "echo x >/srv/web/log/other",
    "a snapshot": "zfs snapshot {a}/web/log@other",
    "a hold": "zfs hold x {a}/web@other0",
    "a bookmark": "zfs bookmark {a}/web@other0 {a}/web#mark",
    "a property": "zfs set user:x=y {a}/web/log",
    "a child": "zfs create {a}/web/new",
    "read-only by a remount": "mount -o remount,ro /srv/web/log",
    "an unmount": "umount /srv/web/log",
    "a rename": "zfs rename {a}/web/new {a}/web/newer",
    "a bind mount": "mkdir -p /mnt/y && mount --bind /srv/web/log /mnt/y",
    "a mount of a dataset that is no service's": "zfs create {a}x && mkdir -p /mnt/x && mount -t zfs -o zfsutil {a}x /mnt/x",
}


SHOWS = {
    "a file is written": lambda datasets: datasets[0]["written_bytes"] > 0,
    "an unmount": lambda datasets: any(d["rel"] == "log" and d["mount"] == 0 for d in datasets),
}


def test_whatever_changes_is_seen(led):  # noqa: F811
    """One after the other, each from rest."""
    a = led[0]
    a.host.run(f"zfs snapshot {a.root}/web@other0")
    eye = Eye(a)
    told = a.host.run(f"zpool history -i {a.pool} | wc -l").out
    for _ in range(3):
        eye.nonce = 0
        assert not eye.look()
    assert a.host.run(f"zpool history -i {a.pool} | wc -l").out == told, "a look is no news"
    assert eye.stays(lambda: time.sleep(12)), "two groups, of nothing: what follows is not seen by the time that passes"
    for what, command in WHAT.items():
        eye.rest()
        a.host.run(command.format(a=a.root))
        wait_until(lambda w=what: not eye.look() and SHOWS.get(w, lambda _: True)(eye.seen["datasets"]), 30, f"{what} is seen")
    a.host.run("umount /mnt/x /mnt/y")


def test_what_is_done_here_is_seen(led):  # noqa: F811
    """Operations of the keeper, and processes that end, which leave no trace in the pool."""
    a, b, first = led
    eye = Eye(a)
    a.ask("start").good()
    assert not eye.look() and eye.seen["running"] == 1
    a.ask("stop").good()
    a.host.run("cp -a /opt/commands/holder /opt/commands/writer")  # it writes nothing
    a.ask("start").good()
    assert eye.stays(lambda: a.ask("check").good()), "a check changes nothing"
    a.host.run("for p in $(cat /sys/fs/cgroup/zbaton/*/cgroup.procs /sys/fs/cgroup/zbaton/*/*/cgroup.procs 2>/dev/null); "
               "do kill -KILL $p; done")
    wait_until(lambda: not eye.look(), 10, "the service's end is seen")
    assert eye.seen["running"] == 0
    eye.rest()
    a.ask("learn", term=2, node="vb").good()  # demotes
    assert not eye.look()
    assert eye.seen["record"]["learned_term"] == 2 and eye.seen["mounted_here"] == 0

    eye = Eye(b)
    ship(a, b, first)
    assert not eye.look()
    eye.rest()
    b.ask("grant", term=3, node="vb", version=1, nonce=1).good()  # the record alone
    assert not eye.look()
    assert eye.seen["record"]["granted_term"] == 3
    eye.rest()
    # Another engine's number, an engine's own of before, none: a look each.
    eye.nonce ^= 2
    assert not eye.look()
    eye.rest()
    eye.nonce = 0
    assert not eye.look() and eye.seen["datasets"]


@pytest.mark.parametrize("changed", [False, True])
def test_the_pool_goes_and_comes_back(keepers, changed):  # noqa: F811
    """Exported and imported, changed elsewhere or not: its groups are of another life."""
    b = keepers[1]
    b.define().good()
    eye = Eye(b)
    eye.rest()
    b.host.run(f"zpool export {b.pool}")
    b.ask("observe", nonce=eye.nonce).bad("not-found", "not imported")
    if changed:
        b.host.run(f"zpool import -N -d /var/tmp {b.pool} && zfs create -u {b.root}/web && zpool export {b.pool}")
    b.host.run(f"zpool import -N -d /var/tmp {b.pool}")
    assert not eye.look()
    assert len(eye.seen["datasets"]) == int(changed)
