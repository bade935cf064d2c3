"""Which sets stay: months of them, by the calendar, on every member; what is in the way of their going; and the clocks."""

import datetime
import json
import re

import pytest
from zblab import wait_until

DAY_S = 86400
START = datetime.datetime(2027, 2, 1, 12, tzinfo=datetime.timezone.utc)  # Europe changes to summer time on 28 March
PERIODS = {"hourly": "%Y-%m-%d %H", "daily": "%Y-%m-%d", "weekly": "%G-%V", "monthly": "%Y-%m", "yearly": "%Y"}
NAME = re.compile(r"zbaton-(\d{6})-(\d{8})-(\d{8}T\d{6}Z)$")


def set_time(snapshot):
    """When a set was taken, by its name; None: it is no set."""
    match = NAME.match(snapshot)
    return match and datetime.datetime.strptime(match[3] + "+0000", "%Y%m%dT%H%M%SZ%z")


def planned(sets, keep, keep_for_s=0, **counts):
    """What stays of sets (names, oldest first): the newest of each of the newest periods, and so on."""
    newest_first = sorted(sets, reverse=True)
    stays = set(newest_first[:keep])
    newest = set_time(newest_first[0])
    stays |= {s for s in newest_first if keep_for_s and (newest - set_time(s)).total_seconds() <= keep_for_s}
    for period, count in counts.items():
        seen = []
        for each in newest_first:
            key = set_time(each).strftime(PERIODS[period])
            if key not in seen and len(seen) < count:
                seen.append(key)
                stays.add(each)
    return sorted(stays)


class Calendar:
    """The clocks of the hosts, which agree but for what a test adds, and are put right in the end."""

    def __init__(self, hosts):
        self.hosts = hosts
        self.now = START
        self.ahead_s = {host.name: 0 for host in hosts}

    def go(self, seconds):
        """Later, on every host that is on."""
        self.now += datetime.timedelta(seconds=seconds)
        for host in self.hosts:
            if host.alive():
                host.run(f"date -s @{int(self.now.timestamp()) + self.ahead_s[host.name]} >/dev/null")

    def close(self):
        """As this machine's."""
        now = datetime.datetime.now(datetime.timezone.utc).timestamp()
        for host in self.hosts:
            host.run(f"date -s @{int(now)} >/dev/null; rm -f /etc/localtime", check=False)


@pytest.fixture
def calendar(cluster):
    """Clocks that a test moves."""
    calendar = Calendar(cluster.hosts)
    yield calendar
    calendar.close()


def sets_of(cluster, host, name):
    """The sets of the service's own dataset, oldest first."""
    return [s for s in cluster.snapshots(host, name)[""] if set_time(s)]


def prune_plan(cluster, host, name):
    """{snapshot: why it stays, or None} by `prune -n`."""
    data = json.loads(cluster.zbaton(f"prune -n -j --node {host.name} {name}").out)
    assert data["node"] == host.name
    return {s["snapshot"]: None if s["goes"] else s["why"] for s in data["sets"]}


def holds_exactly(cluster, host, name, expected):
    """Waits until a host has these sets and no others, pruning now."""
    def exact():
        cluster.zbaton(f"prune --node {host.name} {name}")
        there = sets_of(cluster, host, name)
        assert there == expected, (host.name, sorted(set(there) ^ set(expected)))
        return True
    wait_until(exact, 120, f"{host.name} holds what is planned", 1)


@pytest.mark.long
def test_months_of_sets_leave_the_planned_ones_everywhere(cluster, calendar):
    one, two, three = cluster.hosts
    for host in cluster.hosts:
        host.run("ln -sf /usr/share/zoneinfo/Europe/Berlin /etc/localtime")
    members = {"keep": 4, "daily": 7, "weekly": 4, "monthly": 3}
    backup = {"daily": 30, "monthly": 12}
    cluster.declare("months", members=["vm1", "vm2"], backups=["vm3"], runner="none", interval="24h", **members,
                    **{f"backup_{period}": count for period, count in backup.items()})
    calendar.go(0)
    cluster.apply()
    cluster.wait_current("months", "vm1")
    made = set(sets_of(cluster, one, "months"))

    def days(count):
        for day in range(count):
            calendar.go(DAY_S)
            one.run(f"echo {calendar.now} >/srv/months/day")
            cluster.zbaton("snapshot months")
            made.update(sets_of(cluster, one, "months"))

    days(8)
    cluster.wait_current("months", "vm1")
    guid = two.run(f"zfs get -Hp -o value guid {cluster.dataset(two, 'months')}").out
    stood_on = sets_of(cluster, two, "months")[-1]
    cluster.daemon_stop(two)
    days(60)  # through the change to summer time
    assert stood_on in sets_of(cluster, one, "months")
    assert "base" in prune_plan(cluster, one, "months")[stood_on]
    cluster.daemon_start(two)
    cluster.wait_current("months", "vm1")
    assert two.run(f"zfs get -Hp -o value guid {cluster.dataset(two, 'months')}").out == guid, "not sent anew"

    days(3)
    calendar.ahead_s["vm2"] = 3600  # and one clock is an hour ahead, while its host follows and while it leads
    days(1)
    cluster.move("months", "vm2")
    cluster.wait_current("months", "vm2")
    calendar.go(DAY_S)
    cluster.zbaton("sync months", host=two)
    made.update(sets_of(cluster, two, "months"))
    expected = planned(made, **members)
    more = planned(made, keep=4, daily=30, weekly=4, monthly=12)
    assert len(made) > 70 and 10 <= len(expected) <= 4 + 7 + 4 + 3 and len(more) > 30
    for host, sets in ((one, expected), (two, expected), (three, more)):
        holds_exactly(cluster, host, "months", sets)
    plan = prune_plan(cluster, one, "months")
    assert list(plan) == expected[::-1] and None not in plan.values()
    oldest = plan[expected[0]].split(", ")
    assert "monthly" in oldest and "last" not in oldest, plan
    newest = plan[expected[-1]]
    assert newest.startswith("last, daily, weekly, monthly"), newest


def test_what_is_in_the_way_of_pruning_stays_and_is_named(cluster):
    one = cluster.hosts[0]
    cluster.declare("ways", runner="none", interval="1h", keep=30)
    cluster.apply()
    cluster.wait_current("ways", "vm1")
    for number in range(8):
        one.run(f"echo {number} >/srv/ways/file")
        cluster.zbaton("sync ways")
    dataset = cluster.dataset(one, "ways")
    one.run(f"zfs snapshot {dataset}@mine")
    cluster.zbaton("sync ways")
    sets = sets_of(cluster, one, "ways")
    assert len(sets) >= 9
    assert set(prune_plan(cluster, one, "ways")) == set(sets)
    assert one.run(f"zfs list -H -t snapshot -o name {dataset}").out.count("zbaton-") == len(sets), "a dry run"
    one.run(f"zfs hold -r mine {dataset}@{sets[2]}; "
            f"zfs clone -o mountpoint=none {dataset}@{sets[4]} {one.pool}/copy-of-ways")
    cluster.declare("ways", runner="none", interval="1h", keep=3)
    cluster.apply()
    plan = wait_until(lambda: (p := prune_plan(cluster, one, "ways")) and p.get(sets[-4]) != "last" and p, 60,
                      "the declaration is in force")
    assert plan[sets[2]] == "held: mine" and plan[sets[4]] == f"cloned: {one.pool}/copy-of-ways", plan
    assert [s for s, why in plan.items() if why and "last" in why] == sets[-3:][::-1]
    stay = [sets[2], sets[4], *sets[-3:]]
    holds_exactly(cluster, one, "ways", stay)
    for host in cluster.hosts[1:]:
        holds_exactly(cluster, host, "ways", sets[-3:])
    assert "mine" in cluster.snapshots(one, "ways")[""], "not zbaton's"
    one.run(f"zfs release -r mine {dataset}@{sets[2]}; zfs destroy {one.pool}/copy-of-ways")
    holds_exactly(cluster, one, "ways", sets[-3:])


@pytest.mark.long
def test_copies_of_other_snapshots_go_after_those_of_the_leader(cluster):
    one, two, three = cluster.hosts
    cluster.declare("others", runner="none", interval="1h", keep=2)
    cluster.apply()
    cluster.wait_current("others", "vm1")
    names = ["daily-1", "daily-2", "daily-3"]
    for name in names:
        one.run(f"zfs snapshot {cluster.dataset(one, 'others')}@{name}")
        cluster.zbaton("sync others")
    cluster.zbaton("sync others")
    cluster.zbaton("sync others")
    cluster.wait_current("others", "vm1")

    def there(host):
        """Which of them a host has."""
        return [name for name in names if name in cluster.snapshots(host, "others")[""]]

    def plan(host, expected):
        """Prunes until these are told as the reasons of all of them."""
        def told():
            cluster.zbaton(f"prune --node {host.name} others")
            said = prune_plan(cluster, host, "others")
            assert [said.get(name, "no copy") for name in names] == expected, said
            return True
        wait_until(told, 60, f"{host.name} tells why copies stay", 1)

    assert there(two) == there(three) == names
    for host in (two, three):
        plan(host, ["copy, a leader had it when asked last"] * 3)
    two.run(f"zfs inherit zbaton:received {cluster.dataset(two, 'others')}@daily-2")  # as if it were vm2's own
    three.run(f"zfs hold mine {cluster.dataset(three, 'others')}@daily-2")
    one.run("".join(f"zfs destroy {cluster.dataset(one, 'others')}@{name};" for name in names[:2]))  # the oldest
    gone = "copy, gone where it came from: goes in 7d"
    plan(two, [gone, "no copy", "copy, a leader had it when asked last"])
    plan(three, [gone, gone, "copy, a leader had it when asked last"])

    cluster.declare("others", runner="none", interval="1h", keep=2, foreign_grace="1s")
    cluster.apply()
    plan(three, ["no copy", "held: mine", "copy, a leader had it when asked last"])
    plan(two, ["no copy", "no copy", "copy, a leader had it when asked last"])
    assert there(three) == names[1:] and there(two) == names[1:] and there(one) == names[2:]
    three.run(f"zfs release mine {cluster.dataset(three, 'others')}@daily-2")
    plan(three, ["no copy", "no copy", "copy, a leader had it when asked last"])
    assert there(three) == names[2:] and there(two) == names[1:]


def test_a_backup_gets_all_sets_at_its_own_times(cluster):
    one, two, three = cluster.hosts
    cluster.declare("slow", members=["vm1", "vm2"], backups=["vm3"], runner="none", interval="1s", backup_every="30m")
    cluster.apply()
    cluster.wait_current("slow", "vm1")
    cluster.zbaton("sync slow")  # its time begins
    first = sets_of(cluster, three, "slow")
    for number in range(2):
        one.run(f"echo {number} >/srv/slow/file; sync -f /srv/slow")
        made = len(first) + number + 1
        wait_until(lambda count=made: len(sets_of(cluster, two, "slow")) >= count, 60, "vm2 has one set more")
    assert sets_of(cluster, three, "slow") == first
    member = cluster.member("slow", "vm3")
    assert member["state"] == "planned" and member["healthy"], member
    wait_until(lambda: cluster.zbaton("status -x slow", check=False).rc == 0, 30, "all is as it should be")
    cluster.zbaton("sync slow")
    assert sets_of(cluster, three, "slow") == sets_of(cluster, one, "slow"), "with all in between"
    one.run("echo last >/srv/slow/file; sync -f /srv/slow")
    cluster.move("slow", "vm2")
    cluster.wait_current("slow", "vm2")
    assert sets_of(cluster, three, "slow") == sets_of(cluster, one, "slow")


def bookmarks(cluster, host, name):
    """Names of the bookmarks of the service's own dataset."""
    said = host.run(f"zfs list -Hp -d 1 -t bookmark -o name {cluster.dataset(host, name)}").out.split()
    return sorted(mark.split("#base-")[1] for mark in said)


@pytest.mark.long
def test_a_member_that_was_away_goes_on_from_a_bookmark(cluster):
    one, two, three = cluster.hosts
    cluster.declare("away", runner="none", interval="1h", keep=2, catch_up=3)
    cluster.apply()
    cluster.wait_current("away", "vm1")
    dataset = cluster.dataset(two, "away")

    def leave():
        """vm2 is off while sets come; its base and the set after it are bookmarks on the others."""
        cluster.zbaton("sync away")
        base = sets_of(cluster, two, "away")[-1]
        cluster.daemon_stop(two)
        made = []
        for number in range(7):
            one.run(f"echo {number} >/srv/away/file")
            cluster.zbaton("snapshot away")
            made.append(sets_of(cluster, one, "away")[-1])
        wait_until(lambda: made[-1] in sets_of(cluster, three, "away"), 60, "vm3 has the newest set")
        wanted = [base, made[0]]

        def marked(host):
            cluster.zbaton(f"prune --node {host.name} away")
            there = sets_of(cluster, host, "away")
            assert bookmarks(cluster, host, "away") == wanted and not set(there) & set(wanted), there
            assert there[-3:] == made[-3:], there
            return True
        for host in (one, three):
            wait_until(lambda at=host: marked(at), 60, f"{host.name} has bookmarks of {wanted}")
        return base

    guid = two.run(f"zfs get -Hp -o value guid {dataset}").out
    base = leave()
    good = "/".join(str(int(part)) for part in sets_of(cluster, one, "away")[-2].split("-")[1:3])
    assert cluster.zbaton(f"revert -y away {good}", check=False).rc in (0, 6), "6: vm2 does not follow yet"
    for host in (one, three):
        wait_until(lambda at=host: len(cluster.rescues(at, "away")) == 1 and base in bookmarks(cluster, at, "away"), 60,
                   f"{host.name} set aside what came after, and goes on with the bookmarks")
    assert cluster.move("away", "vm3", check=False).rc in (0, 6), "6: vm2 does not follow yet"  # whoever leads
    cluster.daemon_start(two)
    cluster.wait_current("away", "vm3")
    assert two.run(f"zfs get -Hp -o value guid {dataset}").out == guid, "not sent anew"
    assert cluster.rescues(two, "away") == []
    assert two.run(f"zfs list -Hp -o name -t snapshot {dataset}").out
    cluster.move("away", "vm1")
    cluster.wait_current("away", "vm1")
    for host in cluster.hosts:
        wait_until(lambda at=host: cluster.zbaton(f"prune --node {at.name} away") and bookmarks(cluster, at, "away") == [], 60,
                   f"{host.name} keeps no bookmark that nobody needs")

    # Without the bookmarks it needs a full copy, which is told while it is away.
    base = leave()
    one.run("".join(f"zfs destroy {cluster.dataset(one, 'away')}#base-{mark}; " for mark in bookmarks(cluster, one, "away")))
    cluster.zbaton("prune away")
    told = wait_until(lambda: [event for event in cluster.events("away") if event["rule"] == "A-base-gone"], 60, "it is told")
    number = "/".join(str(int(part)) for part in base.split("-")[1:3])
    assert len(told) == 1 and f"vm2 goes on from set {number}" in told[0]["text"], told
    assert "A-base-gone" in cluster.zbaton("explain away", check=False).out
    cluster.daemon_start(two)
    wait_until(lambda: cluster.member("away", "vm2")["diverged"], 60, "vm2 has nothing in common with its leader")
    cluster.zbaton("rejoin -y away", host=two)
    cluster.wait_current("away", "vm1")
    assert two.run(f"zfs get -Hp -o value guid {dataset}").out != guid
    wait_until(lambda: "A-base-gone" not in cluster.zbaton("explain away", check=False).out, 60, "it is not said any more")
