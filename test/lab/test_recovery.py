"""zbaton-recovery(7), walked through: each section's bad day is staged, and its commands are typed as they stand
there, in their order. What the page promises is asserted, in its prose too, where it can be staged with them."""

import re

import pytest
from test_failover import NAME, PORT, Web
from zblab import LabError, wait_until
from zblab.cluster import SystemdCluster, stage
from zblab.pages import Walk, read, sections

pytestmark = [pytest.mark.systemd, pytest.mark.long]

PAGE = "man/zbaton-recovery.7"
CLONE = "zfs clone -o readonly=on -o mountpoint=/mnt/web zdata/services/web@zbaton-... zdata/web-copy"
# What is typed below, by section.
COMMANDS = {
    "DESCRIPTION": ["vm2# zbaton status -x", "vm2# zbaton events", "vm2# zbaton history web"],
    "THE LEADER DIED": ["vm2# zbaton failover -n web", "vm2# zbaton failover --fenced vm1 web"],
    "THE LEADER DIED AND CAME BACK": [
        "vm1# zbaton rescue list", "vm1# zbaton rescue diff NAME", "vm1# zbaton rescue mount NAME",
        "vm1# zbaton rescue umount NAME", "vm1# zbaton rescue export NAME /root/web.tar", "vm1# zbaton rescue drop NAME",
        "vm1# zbaton rejoin -n web vm1", "vm1# zbaton rejoin web vm1", "vm1# zbaton move web vm1"],
    "A COPY, A STATE DIRECTORY OR A POOL IS NOT WHAT IT WAS": [
        "vm3# zfs create -o canmount=off -o mountpoint=none zdata/services"],
    "TWO HOSTS OF THREE DIED": [
        "vm3# zfs list -H -o name -t snapshot -s createtxg zdata/services/web", f"vm3# {CLONE}"],
    "A POOL IS LOST": [
        "vm1# zpool create pool1 ...", "vm1# zfs create -o canmount=off -o mountpoint=none pool1/services",
        "vm1# systemctl restart zbaton", "vm2# zbaton token create",
        "vm1# zbaton join TOKEN --node vm1 --root pool1/services --listen 10.77.0.1:7979",
        "vm1# systemctl enable --now zbaton"],
    "THE WRONG HOST WAS FAILED OVER": ["vm1# zbaton failover --to vm1 web"],
    "BAD DATA WAS REPLICATED": [
        "vm1# zfs list -H -o name -t snapshot -s createtxg pool1/services/web",
        "vm1# zfs hold -r bad-day pool1/services/web@zbaton-...", "vm1# zbaton snapshot web",
        "vm1# ls /srv/web/.zfs/snapshot", "vm1# cp -a /srv/web/.zfs/snapshot/zbaton-.../file /srv/web/",
        "vm1# zbaton sync web", "vm1# zfs release -r bad-day pool1/services/web@zbaton-...",
        "vm1# zbaton history web", "vm1# zbaton revert -n web TERM/SEQ", "vm1# zbaton revert web TERM/SEQ"],
}
# A failover's: the others follow by now, or not yet.
TAKEN = (0, 6)
UNIT = f"""[Service]
ExecStart=/usr/bin/redis-server --port {PORT} --bind 0.0.0.0 --protected-mode no --dir /srv/web \\
    --appendonly yes --appendfsync always --save ""
"""
# The lab's own unit imports the pool, not one of ZFS.
AFTER_POOL = "[Unit]\nAfter=zblab-pool.service\n"


def equip(host):
    """The unit of the service, on a host whose root disk is new."""
    host.run("cat >/etc/systemd/system/web.service", input=UNIT)
    host.run("mkdir -p /etc/systemd/system/zbaton.service.d && cat >/etc/systemd/system/zbaton.service.d/lab.conf",
             input=AFTER_POOL)
    host.run("systemctl daemon-reload; sync")


class Day(Web):
    """The service, led by vm1, with vm2 and vm3; a client that writes; and the page."""

    def __init__(self, cluster, folder):
        super().__init__(cluster, folder)
        self.new = self.old
        self.known = {host.name: set(self.events(host)) for host in cluster.hosts}

    def walk(self, heading):
        """The commands of a section, to be typed."""
        return Walk(self.cluster.lab, read(PAGE), heading)

    def zbaton(self, args, host, rc=(0,)):
        """A command that ends with one of these."""
        said = self.cluster.zbaton(args, host=host, check=False, timeout=300)
        assert said.rc in rc, said
        return said

    def refused(self, args, host, cause, hint, rc=3):
        """A command that is refused, and says why and what helps."""
        said = self.zbaton(args, host, (rc,))
        assert cause in said.err, said
        assert f"hint: {hint}" in said.err, said

    def cut(self, *hosts):
        """Power cut; the others know it."""
        for host in hosts:
            host.power_cut()
        self.see_each_other()

    def unplug(self, host):
        """Its cable is pulled; the others know it."""
        host.link(False)
        for other in self.cluster.hosts:
            if other is not host:
                self.cluster.wait_up(2, other, 180)

    def on(self, *hosts):
        """Switched on again; what starts by itself has."""
        for host in hosts:
            host.boot(wait=False)
        for host in hosts:
            host.wait_ready()
            self.daemon_answers(host)
        self.see_each_other()

    def daemon_answers(self, host):
        wait_until(lambda: self.cluster.zbaton("status -j", host=host, check=False).rc == 0, 180,
                   f"zbatond answers on {host.name}")

    def see_each_other(self):
        """Every host that is on sees those that are, and no others."""
        there = [host for host in self.cluster.hosts if host.alive()]
        for host in there:
            self.cluster.wait_up(len(there), host, 180)

    def leads(self, host):
        """Waits until the service runs on a host; from now on it is the leader."""
        wait_until(lambda: self.cluster.leader(NAME, host) is host, 180, f"{NAME} runs on {host.name}")
        self.new = host

    def nobody_leads(self, host):
        """As this host knows; it has nothing mounted itself."""
        assert self.cluster.leader(NAME, host) is None
        assert host.run(f"findmnt -t zfs -n -o SOURCE | grep services/{NAME}", check=False).out == ""
        assert host.run("systemctl is-active web", check=False).out.strip() == "inactive"

    def sync(self, host=None):
        self.cluster.zbaton(f"sync {NAME}", host=host or self.new)

    def state(self, host, seen_from):
        return self.cluster.member(NAME, host.name, seen_from)["state"]

    def position(self, host, seen_from):
        newest = self.cluster.member(NAME, host.name, seen_from)["newest_set"]
        return (newest["term"], newest["seq"])

    def set_without(self, behind, other):
        """The leader and another host get a set that a third has not, whose cable stays pulled; what is in it."""
        behind.link(False)
        self.write()
        there = self.written_on(self.new)
        self.cluster.zbaton(f"snapshot {NAME}", host=self.new)
        at = self.position(self.new, self.new)
        wait_until(lambda: self.position(other, other) == at, 60, f"{other.name} has set {at}")
        return at, there

    def settled(self):
        """Everybody holds the newest set of the leader, at rest; what several have has one guid. How many of the
        older ones each keeps depends on who was away."""
        self.sync()
        self.cluster.wait_current(NAME, self.new.name)
        self.cluster.assert_at_rest(NAME)
        assert self.cluster.writers(NAME) == [self.new]
        first, *others = [{(d, snap): guid for d, snaps in each.items() for snap, guid in snaps.items()}
                          for each in self.snapshots(*self.cluster.hosts)]
        for other in others:
            common = first.keys() & other.keys()
            assert list(first)[-1] in common and all(first[each] == other[each] for each in common)

    def kept(self, *hosts, but=frozenset()):
        """Every record acknowledged so far is in the service, or in a rescue on one of these hosts; but those."""
        acknowledged = {number for number, _, _ in self.recorder.acknowledged()}
        found = set(self.recorder.stored(self.new)) | but
        for host in hosts:
            for rescue in self.rescues(host):
                with self.cluster.rescue(host, rescue) as path:
                    found |= set(self.recorder.stored_in(host, path))
        missing = acknowledged - found
        assert len(acknowledged) > 20 and not missing, f"{len(missing)} records are nowhere: {sorted(missing)[:20]}"

    def nothing_lost(self):
        """All follow, every acknowledged record is in the service, and nothing had to be set aside."""
        self.settled()
        self.write(5)
        assert [self.cluster.rescues(host, NAME) for host in self.cluster.hosts] == [[], [], []]
        self.kept()

    def last_term(self, host):
        """The newest term that a host knows of."""
        return self.cluster.terms(NAME, host)[-1]["term"]

    def snapshots(self, *hosts):
        return [self.cluster.snapshots(host, NAME) for host in hosts]

    def events(self, host, service=NAME):
        return self.cluster.zbaton(f"events -n 1000 {service}", host=host).out.splitlines()

    def told(self, host, text, service=NAME):
        """Waits until a host has an event of a service with this that it had not at the begin of the test."""
        return wait_until(lambda: [line for line in self.events(host, service)
                                   if text in line and line not in self.known[host.name]], 180,
                          f"{host.name} tells: {text}")[-1]


DECLARED = {"runner": "systemd", "unit": "web.service", "interval": "1h", "keep": 24}


def make(cluster):
    """The cluster and the service anew; vm2 makes it."""
    cluster.close()
    cluster.lab.each(equip)
    cluster.start(cluster.lab["vm2"])
    cluster.apply()
    cluster.wait_current(NAME, "vm1")


def make_as_before(cluster):
    """The service as it was made: what a test left is put right with zbaton itself, or it fails."""
    for host in cluster.hosts:
        wait_until(lambda h=host: cluster.zbaton("status -j", host=h, check=False).rc == 0, 30, f"{host.name} answers")
    cluster.apply()
    cluster.wait_current(NAME, deadline_s=60)
    if cluster.leader(NAME) is not cluster.hosts[0]:
        cluster.move(NAME, "vm1")
        cluster.wait_current(NAME, "vm1")
    for host in cluster.hosts:
        for rescue in cluster.rescues(host, NAME):
            cluster.zbaton(f"rescue drop -y {rescue}", host=host)


@pytest.fixture(scope="module")
def made(lab3_systemd_session):
    """The cluster, of this file; tests take `day`."""
    cluster = SystemdCluster(lab3_systemd_session)
    yield cluster
    cluster.close()


@pytest.fixture
def day(lab3_systemd, made, tmp_path):
    """The service, led by vm1 and current everywhere, and nothing set aside."""
    made.services = {}
    made.declare(NAME, **DECLARED)
    try:
        make_as_before(made)
    except (LabError, AssertionError):
        make(made)
    day = Day(made, tmp_path)
    yield day
    if day.recorder:
        day.recorder.stop()


def test_every_command_of_the_page_is_typed_here():
    shown = {heading: [f"{host}# {command}" for host, command, _ in found]
             for heading, found in sections(read(PAGE)).items() if heading != "ONLY A BACKUP IS LEFT"}  # test_disaster
    assert shown == COMMANDS


def test_look_first(day):
    cluster, (one, two, three) = day.cluster, day.cluster.hosts
    cluster.declare("pair", members=["vm1", "vm2"], backups=["vm3"], runner="none", interval="1h")
    cluster.apply()
    cluster.wait_current("pair", "vm1")
    page = day.walk("DESCRIPTION")
    day.write()
    day.sync()
    day.write()
    before = day.snapshots(two, three)
    day.cut(one)
    seen = page.next("zbaton status", rc=(6,)).out
    assert re.search(r"^web +vm1 +.*unreachable", seen, re.M) and re.search(r"^pair +vm1 +.*unreachable", seen, re.M), seen
    events = page.next("zbaton events").out
    print(events)
    assert "vm1" in events.splitlines()[-1]
    assert re.search(rf"^ *{day.term} +vm1 ", page.next("zbaton history").out, re.M)
    page.end()

    # Of two members it is both, and backups do not count; a refused command has destroyed nothing.
    for flags in ("", " --allow-data-loss"):
        day.refused(f"failover -y --fenced vm1{flags} pair", two, "majority", "zbaton node list; zbaton status pair", 4)
    day.refused("failover -y --to vm3 pair", two, "a backup never does", "zbaton status pair; zbaton events pair")
    assert day.last_term(two) == day.term
    day.nobody_leads(two)
    day.nobody_leads(three)
    assert day.snapshots(two, three) == before

    # Who led last goes on by itself, in a new term, with all that was written durably.
    day.on(one)
    day.leads(one)
    assert cluster.service(NAME, one)["term"] > day.term
    cluster.wait_current("pair", "vm1")
    day.nothing_lost()


def test_the_leader_died(day):
    cluster, (one, two, three) = day.cluster, day.cluster.hosts
    page = day.walk("THE LEADER DIED")
    day.write()
    day.sync()
    day.refused("failover -y web", two, "the leader is up and leads", "zbaton move web NODE")
    at, _ = day.set_without(two, three)
    day.write()
    one.power_cut()
    two.link(True)
    day.see_each_other()
    said = page.next("zbaton failover -n").out
    assert "web is to go to vm3, the reachable member that holds the newest set" in said, said
    assert f"Lost at most: what vm1 wrote after set {at[0]}/{at[1]}" in said, said
    assert day.last_term(two) == day.term
    day.refused("failover -y web", two, "may still be writable",
                "power vm1 off, then: zbaton failover --fenced vm1 --to vm3 web")
    day.refused("failover web --fenced vm1", two, "not agreed to", "zbaton failover -n web")
    page.next("zbaton failover --fenced", "y\n", rc=TAKEN)
    page.end()
    day.leads(three)
    assert f"what vm1 wrote after set {at[0]}/{at[1]}" in day.zbaton("history web", two).out

    # Then it may be switched on; and a second one, for which the host's name is typed.
    day.on(one)
    day.settled()
    assert len(day.rescues(one)) == 1
    day.write()
    day.cut(three)
    said = two.type("zbaton failover --to vm2 web", "y\nvm\nvm3\n")
    assert said.rc in TAKEN and "Is vm3 off? Type its name" in said.out, said
    day.leads(two)
    day.on(three)

    # From a leader that is up.
    day.write()
    day.zbaton("failover -y --to vm1 --allow-data-loss web", one, TAKEN)
    day.leads(one)
    day.settled()
    day.kept(one, two, three)


def vault_make(day):
    """A second service, whose dataset is encrypted on its leader; nothing is left of an earlier one. It is of the
    plain flavour, as nothing else was once, and has the marks of such a time: it would not be taken in any more."""
    one = day.cluster.hosts[0]
    for host in day.cluster.hosts:
        top = f"{host.pool}/services"
        host.run(f"for d in $(zfs list -H -o name {top}/vault; zfs list -H -o name -r {top}/.rescue | grep /vault-); do "
                 "zfs destroy -R $d; done 2>/dev/null", check=False)
    one.run("dd if=/dev/urandom of=/root/key bs=32 count=1 status=none; sync; "
            "zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///root/key -o zbaton:service=vault "
            "-o zbaton:node=vm1 -o zbaton:pool=$(zpool get -Hp -o value guid pool1) pool1/services/vault")
    day.cluster.declare("vault", runner="none", interval="1h", keep=24)
    day.cluster.apply()
    day.cluster.wait_current("vault", "vm1")


def what_blocks_a_rejoin(day):
    """vm1 comes back, and its copies do not follow until what is in the way is gone, which the events name."""
    cluster, (one, two, _) = day.cluster, day.cluster.hosts
    one.boot()
    one.run("mount -t zfs -o ro,zfsutil pool1/services/web /mnt && cd /mnt && "
            "{ setsid sleep 3000 >/dev/null 2>&1 </dev/null & echo $! >/run/user-of-web; }")
    cluster.daemon_start(one)
    assert "mounted at /mnt" in day.told(one, "is held")
    assert day.state(one, two) != "current" and day.rescues(one) == []
    one.run("kill $(cat /run/user-of-web)")
    wait_until(lambda: day.rescues(one), 90, "what vm1 wrote is set aside")
    day.told(one, "its encryption key is not loaded", "vault")
    assert cluster.member("vault", "vm1", two)["state"] != "current" and cluster.rescues(one, "vault") == []
    one.run("zfs load-key pool1/services/vault")
    [rescue] = wait_until(lambda: cluster.rescues(one, "vault"), 180, "what vm1 wrote to vault is set aside")
    day.told(one, rescue, "vault")
    one.run("zfs load-key pool1/services/vault", check=False)  # that of both, wherever it was loaded before
    with cluster.rescue(one, rescue) as path:
        assert one.run(f"cat {path}/file").out == "late\n"


def the_rescue_is_looked_at(day, page, lost):
    """list, diff, mount, export, drop."""
    one = day.cluster.hosts[0]
    [rescue] = day.rescues(one)
    assert re.search(rf"^{rescue} +web ", page.next("zbaton rescue list").out, re.M)
    page.words["NAME"] = rescue
    assert re.search(r"^M .*appendonly", page.next("zbaton rescue diff").out, re.M)
    path = page.next("zbaton rescue mount").out.strip()
    assert lost <= set(day.recorder.stored_in(one, path))
    assert one.run(f"touch {path}/file", check=False).rc != 0
    page.next("zbaton rescue umount")
    assert one.run("ls -A /run/zbaton/rescue").out == ""

    one.run("echo mine >/root/web.tar")
    said = day.zbaton(f"rescue export {rescue} /root/web.tar", one, (1,))
    assert "/root/web.tar" in said.err and one.run("cat /root/web.tar").out == "mine\n", said
    one.run("rm /root/web.tar")
    page.next("zbaton rescue export")
    assert one.run("stat -c %a /root/web.tar").out == "600\n"
    one.run("mkdir /root/out && tar -C /root/out -xf /root/web.tar")
    assert lost <= set(day.recorder.stored_in(one, f"/root/out/{rescue}"))
    one.run("rm -r /root/out /root/web.tar")
    assert one.run("ls -A /run/zbaton/rescue").out == ""

    day.refused(f"rescue drop {rescue}", one, "not agreed to", f"zbaton rescue drop -y {rescue}")
    assert day.rescues(one) == [rescue]
    page.next("zbaton rescue drop", "y\n")
    assert day.rescues(one) == []


def test_the_leader_died_and_came_back(day):
    cluster, (one, two, three) = day.cluster, day.cluster.hosts
    page = day.walk("THE LEADER DIED AND CAME BACK")
    vault_make(day)
    day.write()
    day.sync()
    cluster.zbaton("sync vault")
    day.write()
    one.run("echo late >/srv/vault/file && sync -f /srv/vault/file; systemctl disable zbaton; sync")
    day.cut(one)
    for name in (NAME, "vault"):
        cluster.failover(name, "vm2", "vm1", flags="-y")
    day.leads(two)
    lost = day.written_on(one) - set(day.recorder.stored(two))
    assert len(lost) >= 20
    what_blocks_a_rejoin(day)
    day.settled()
    day.write()
    day.kept(one)
    the_rescue_is_looked_at(day, page, lost)

    # Without a snapshot in common it waits for the word.
    one.run("systemctl stop zbaton; zfs destroy pool1/services/web@%; systemctl start zbaton")
    wait_until(lambda: day.state(one, two) == "diverged", 90, "web on vm1 is diverged")
    assert "a full copy is needed (zbaton rejoin)" in day.zbaton("status web", one).out
    assert "no snapshot in common" in page.next("zbaton rejoin -n").out
    assert day.rescues(one) == []
    assert "set aside" in page.next("zbaton rejoin").out
    day.settled()
    assert len(day.rescues(one)) == 1

    assert "Nothing lost." in page.next("zbaton move").out
    page.end()
    day.leads(one)
    day.settled()
    day.write()
    day.kept(but=lost)


def test_a_copy_is_not_what_it_was(day):
    cluster, (one, two, three) = day.cluster, day.cluster.hosts
    cluster.declare(NAME, **{**DECLARED, "interval": "10s"})  # as often everybody looks at the own copy
    cluster.apply()
    page = day.walk("A COPY, A STATE DIRECTORY OR A POOL IS NOT WHAT IT WAS")
    day.write()
    day.sync()

    # Somebody mounted a copy.
    three.run("mkdir -p /root/web && mount -t zfs -o rw,zfsutil zdata/services/web /root/web && "
              "echo mine >/root/web/by-hand; umount /root/web; zpool sync")
    day.told(one, "vm3: its copy was written to by somebody else")
    [rescue] = wait_until(lambda: day.rescues(three), 180, "it is set aside")
    day.settled()
    with cluster.rescue(three, rescue) as path:
        assert three.run(f"cat {path}/by-hand").out == "mine\n"

    # vm3's pool is another one of that name.
    three.run("zpool destroy -f zdata && zpool create -f -o cachefile=none -O mountpoint=none -O canmount=off zdata vdb")
    day.told(one, "vm3: its pool is another one than before", service="")
    day.write()
    page.next("zfs create")
    page.end()
    day.settled()
    day.kept()
    assert day.rescues(three) == []


def the_last_one_leads(day):
    """vm2 and vm3 are gone: the service runs on, through a restart of the daemon, but not of the host."""
    cluster, (one, two, three) = day.cluster, day.cluster.hosts
    day.cut(two, three)
    day.write()
    pid = one.run("systemctl show -p MainPID --value web").out
    one.run("systemctl restart zbaton", timeout=120)
    day.daemon_answers(one)
    day.leads(one)
    assert one.run("systemctl show -p MainPID --value web").out == pid
    day.write()
    one.power_cut()
    day.on(one)
    wait_until(lambda: "waits for grants" in day.zbaton("status web", one).out, 90, "vm1 asks the others")
    day.nobody_leads(one)
    day.refused("failover -y --fenced vm2,vm3 --allow-data-loss --to vm1 web", one, "no majority",
                "zbaton node list; zbaton status web", rc=4)
    day.nobody_leads(one)
    day.on(two)
    day.leads(one)
    day.on(three)
    day.nothing_lost()


def the_leader_in_another_machine(day):
    """vm3 is left; vm1's disks come back in another machine: pool, state and configuration."""
    cluster, (one, two, three) = day.cluster, day.cluster.hosts
    day.write()
    one.run("systemctl stop zbaton")
    kept = one.run("tar -C / -cf - var/lib/zbaton etc/zbaton | base64").out
    day.write()
    one.power_cut()
    two.power_cut()
    day.see_each_other()
    one.new_root()
    one.boot()
    day.cluster.lab.install(stage(), [one])
    equip(one)
    one.run("base64 -d | tar -C / -xf - && sync", input=kept)
    cluster.daemon_start(one)
    day.leads(one)
    day.on(two)
    day.nothing_lost()


def the_set_is_read(day, page, at):
    """A clone of the newest set of the one that is left, vm3; its snapshot."""
    three = day.cluster.hosts[2]
    names = page.next("zfs list").out.split()
    page.words["zbaton-..."] = names[-1].split("@")[1]
    page.next("zfs clone")
    page.end()
    assert at <= set(day.recorder.stored_in(three, "/mnt/web"))
    assert three.run("touch /mnt/web/x", check=False).rc != 0
    return names


def test_two_hosts_of_three_died(day):
    cluster, (one, two, three) = day.cluster, day.cluster.hosts
    cluster.declare(NAME, **{**DECLARED, "keep": 3})
    cluster.apply()
    page = day.walk("TWO HOSTS OF THREE DIED")
    day.write()
    day.sync()
    the_last_one_leads(day)
    the_leader_in_another_machine(day)

    day.write()
    at = day.written_on(one)
    day.sync()
    day.cut(one, two)
    for flags in ("", " --allow-data-loss"):
        day.refused(f"failover -y --fenced vm1,vm2{flags} web", three, "no majority", "zbaton node list; zbaton status web", 4)
    day.nobody_leads(three)
    names = the_set_is_read(day, page, at)

    # Two members, but the last leader is not one of them.
    day.on(two)
    day.refused("failover -y --to vm3 web", three, "may still be writable",
                "power vm1 off, then: zbaton failover --fenced vm1 --to vm3 web")
    day.nobody_leads(three)
    day.zbaton("failover -y --fenced vm1 --to vm3 web", three, TAKEN)
    day.leads(three)
    day.on(one)
    day.settled()
    day.kept(one)


    def left():
        day.sync()
        return three.run("zfs list -H -o name -t snapshot -s createtxg zdata/services/web").out.split()
    wait_until(lambda: names[-2] not in left(), 120, "newer sets push the one before it out")
    there = names[-1].split("@")[1]
    wait_until(lambda: left() and there not in cluster.snapshots(two, NAME)[""], 120, "and it, where no clone is")
    assert names[-1] in left()
    three.run("zfs destroy zdata/web-copy")
    wait_until(lambda: names[-1] not in left(), 120, "and there, without the clone")


def boot_without_pool(host):
    """A host whose pool disk is new; it is ready all the same, and the disk blank."""
    host.boot(pool=False)
    assert host.run("zpool list -H").out == ""
    host.run("wipefs -q -a /dev/vdb; echo ready >/run/zblab/ready")


def test_a_pool_is_lost(day):
    cluster, (one, two, three) = day.cluster, day.cluster.hosts
    page = day.walk("A POOL IS LOST")
    day.write()
    day.sync()

    # A follower's: the service runs on.
    three.run("zpool destroy -f zdata && wipefs -q -a /dev/vdb")
    day.write()
    cluster.zbaton(f"snapshot {NAME}")
    wait_until(lambda: day.state(two, one) == "current" and day.state(three, one) == "behind", 90, "vm3 gets nothing")
    three.run("zpool create zdata vdb && zfs create -o canmount=off -o mountpoint=none zdata/services && "
              "systemctl restart zbaton")
    cluster.wait_current(NAME, "vm1")
    day.nothing_lost()

    # The leader's; vm3, which has the newest set, is off.
    at, there = day.set_without(two, three)
    day.write()
    one.lose_pool_disk()
    one.power_cut()
    two.link(True)
    wait_until(lambda: day.position(three, two) == at, 180, "vm2 knows what vm3 has")
    three.power_cut()
    one.new_pool_disk()
    boot_without_pool(one)
    page.words["..."] = "vdb"
    page.next("zpool create")
    page.next("zfs create")
    page.next("systemctl restart")
    day.daemon_answers(one)
    day.see_each_other()
    print(day.told(one, "newer set"))
    day.nobody_leads(one)
    day.refused("failover -y web", two, "a member that does not answer holds a newer set",
                "zbaton failover -n web says who holds more")
    day.on(three)
    said = day.zbaton("failover -y web", two, TAKEN)
    assert f", from set {at[0]}/{at[1]}. Lost at most: what vm1 wrote after set {at[0]}/{at[1]}" in said.out, said
    day.leads(three)
    day.settled()
    assert there <= set(day.recorder.stored(three))
    the_state_directory_is_lost(day, page)


def the_state_directory_is_lost(day, page):
    """Of vm1, with its pool: a new machine of the same name. Then that of vm3 alone."""
    cluster, (one, _, three) = day.cluster, day.cluster.hosts
    one.power_cut()
    one.new_root()
    one.new_pool_disk()
    boot_without_pool(one)
    cluster.lab.install(stage(), [one])
    equip(one)
    page.again("zpool create")
    page.again("zfs create")
    page.next("zbaton token")
    page.next("zbaton join")
    page.next("systemctl enable")
    page.end()
    day.daemon_answers(one)
    day.see_each_other()
    day.settled()
    day.refused("token create", one, "does not hold the key", "run the command on vm2, which holds it")

    # Of vm3 alone, when vm1 leads: its copy is still there.
    cluster.move(NAME, "vm1", host=three)
    day.leads(one)
    day.settled()
    three.run("systemctl stop zbaton; rm -r /var/lib/zbaton")
    day.write()
    token = day.zbaton("token create", cluster.hosts[1]).out.split()[0]
    day.zbaton(f"join {token} --node vm3 --root zdata/services --listen 10.77.0.3:7979", three)
    three.run("systemctl start zbaton")
    day.daemon_answers(three)
    day.see_each_other()
    day.settled()
    assert cluster.rescues(three, NAME) == []


def failover_given_up(day):
    """vm1 cannot be reached, and is not said to be off."""
    day.refused("failover -y --to vm2 web", day.cluster.hosts[1], "may still be writable",
                "power vm1 off, then: zbaton failover --fenced vm1 --to vm2 web")


def two_leaders(day, new):
    """The leader is said to be off, and is not: both write for a while."""
    cluster, old = day.cluster, day.new
    day.write()
    day.sync()
    day.unplug(old)
    day.zbaton(f"failover -y --fenced {old.name} --to {new.name} web", new, TAKEN)
    day.leads(new)
    day.write()
    assert len(cluster.writers(NAME)) == 2
    lost = day.written_on(old) - set(day.recorder.stored(new))
    assert len(lost) >= 20
    return old, lost


def test_the_wrong_host_was_failed_over(day):
    cluster, (one, two, three) = day.cluster, day.cluster.hosts
    page = day.walk("THE WRONG HOST WAS FAILED OVER")

    # Given up: the members stay behind, until the leader has a new term.
    day.write()
    day.sync()
    day.unplug(one)
    failover_given_up(day)
    day.write()
    one.link(True)
    day.see_each_other()
    cluster.zbaton("snapshot web", host=one)
    assert day.state(two, one) == "behind" and cluster.service(NAME, one)["term"] == day.term
    page.next("zbaton failover --to vm1", "y\n", rc=TAKEN)
    page.end()
    day.leads(one)
    assert cluster.service(NAME, one)["term"] > day.term + 1
    day.nothing_lost()

    # Given up, and nobody leads: the last leader asks for a higher term by itself.
    day.cut(one)
    failover_given_up(day)
    day.on(one)
    day.leads(one)
    day.nothing_lost()

    # The old leader hears of the new term, as it is; then another one after a power cut.
    old, lost = two_leaders(day, two)
    old.link(True)
    day.settled()
    day.kept(one)
    old, lost = two_leaders(day, three)
    old.power_cut()
    old.link(True)
    day.on(old)
    day.settled()
    day.kept(one, two)
    assert lost

    # Elsewhere.
    assert "Nothing lost." in day.zbaton("move web vm1", three).out
    day.leads(one)
    day.settled()
    day.kept(one, two)


def everything_goes_back(day, page):
    """To the set before the newest one; a record of after it is found in the rescue of each member, and dropped with
    it. Returns those."""
    cluster, one = day.cluster, day.cluster.hosts[0]
    day.write()
    kept = set(day.recorder.stored(one))
    day.sync()
    before = day.position(one, one)
    page.words["TERM/SEQ"] = f"{before[0]}/{before[1]}"
    day.write()
    day.sync()
    here = day.written_on(one)
    assert re.search(rf"\b{before[0]}/{before[1]}\b", page.next("zbaton history").out)
    page.next("zbaton revert -n")
    page.next("zbaton revert", "y\n", rc=TAKEN)
    page.end()
    day.leads(one)
    day.settled()
    acknowledged = {number for number, _, _ in day.recorder.acknowledged()}
    live = set(day.recorder.stored(one))
    assert kept <= live and here - live
    for host in cluster.hosts:
        [rescue] = day.rescues(host)
        with cluster.rescue(host, rescue) as path:
            stored = set(day.recorder.stored_in(host, path))
            assert here - live <= stored if host is one else stored - live, host.name
        cluster.zbaton(f"rescue drop -y {rescue}", host=host)
    return acknowledged - live


def test_bad_data_was_replicated(day):
    cluster, (one, two, three) = day.cluster, day.cluster.hosts
    cluster.declare(NAME, **{**DECLARED, "keep": 3})
    cluster.apply()
    page = day.walk("BAD DATA WAS REPLICATED")
    day.write()
    one.run("echo good >/srv/web/file")
    day.sync()
    one.run("rm /srv/web/file")
    day.sync()
    day.settled()

    names = page.next("zfs list").out.split()
    good = page.words["zbaton-..."] = names[-3].split("@")[1]
    page.next("zfs hold")
    page.next("zbaton snapshot")


    def left():
        day.sync()
        return [good in snaps[""] for snaps in day.snapshots(one, two, three)]
    wait_until(lambda: not any(left()[1:]), 120, "newer sets push it out")
    assert left() == [True, False, False], "but not where it is held"

    assert good in page.next("ls").out.split()
    page.next("cp")
    page.next("zbaton sync")
    day.settled()
    newest = list(cluster.snapshots(two, NAME)[""])[-1]
    for host in (two, three):
        seen = host.run(f"mkdir -p /root/set && mount -t zfs -o ro {cluster.dataset(host, NAME)}@{newest} /root/set && "
                        "cat /root/set/file; umount /root/set")
        assert seen.out == "good\n"
    page.next("zfs release")
    wait_until(lambda: not any(left()), 120, "it goes when it is not held")
    dropped = everything_goes_back(day, page)

    # What is led cannot be stopped from outside: it is started again.
    one.run("systemctl stop web")
    wait_until(lambda: one.run("systemctl is-active web", check=False).out == "active\n", 90, "web is started again")
    day.leads(one)
    day.settled()
    day.write(5)
    day.kept(but=dropped)
