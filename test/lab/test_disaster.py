"""All members of a service are gone, and only a backup is left: zbaton-recovery(7), ONLY A BACKUP IS LEFT, as it
stands there. Then the same cluster has a member whose machine is lost, and is made anew under its name.

Three hosts play all parts: vm1 and vm2 are the members, vm3 is the backup (the page's vm4); vm2's machine is lost,
and the one in its place, of the same name, is the page's vm5. vm1 is not lost in truth: nobody reaches it, and it leads on.
"""

import re

import pytest
from test_failover import NAME, PORT
from test_recovery import boot_without_pool
from zblab import Lab, wait_until
from zblab.cluster import Cluster, Recorder, stage
from zblab.pages import Walk, read

pytestmark = pytest.mark.long

PAGE = "man/zbaton-recovery.7"
PARTS = {"vm4": "vm3", "vm5": "vm2"}
WORDS = {"--node vm4": "--node vm3", "pool4/services": "zdata/services", "10.77.0.4": "10.77.0.3",
         "--node vm5": "--node vm2", "--to vm5": "--to vm2", "pool5/services": "tank/services",
         "10.77.0.5": "10.77.0.2", "--cluster prod": "--cluster new --fenced vm2"}


class Disaster(Walk):
    """The section; hosts are the lab's, and daemons are started as the lab does."""

    def __init__(self, cluster, parts=PARTS, words=WORDS):
        super().__init__(cluster.lab, read(PAGE), "ONLY A BACKUP IS LEFT")
        self.cluster = cluster
        self.parts = parts
        self.words.update(words)

    def type(self, host, command, answers=None):
        host = self.parts.get(host, host)
        if command == "systemctl stop zbaton":
            return self.cluster.daemon_stop(self.lab[host])
        if command.startswith("systemctl enable"):
            return self.cluster.daemon_start(self.lab[host])
        return super().type(host, command, answers)

    def daemon(self, begin):
        """The next command is one of systemd's."""
        host, command, _ = self.left.pop(0)
        assert command.startswith(begin), command
        self.type(host, command)

    def edits(self, text):
        """The next command is an editor; the file is this when it ends."""
        host, command, _ = self.left.pop(0)
        assert command.startswith("vi "), command
        self.lab[self.parts.get(host, host)].run(f"cat >{command.split()[1]}", input=text)


def make(cluster, folder):
    """The service, led by vm1 with vm2 and vm3 behind it; then vm1 is out of reach, and vm2 lost. What vm3 had."""
    cluster.start(cluster.hosts[2])
    one, two, three = cluster.hosts
    cluster.declare(NAME, start=f"redis {PORT}", interval="1h", keep=200, members=["vm1", "vm2"], backups=["vm3"])
    cluster.apply()
    cluster.wait_current(NAME)
    one.run(f"zfs create {cluster.dataset(one, NAME, 'log')}")
    cluster.zbaton(f"sync {NAME}")
    one.run(f"echo kept >/srv/{NAME}/log/file")
    recorder = Recorder(cluster.lab, folder, port=PORT)
    recorder.wait_more(20)
    there = {number for number, _, _ in recorder.acknowledged()}
    cluster.zbaton(f"sync {NAME}")
    at = cluster.member(NAME, "vm3")["newest_set"]
    cluster.daemon_stop(three)
    two.power_cut()
    one.link(False)
    recorder.wait_more(20)
    cluster.zbaton(f"snapshot {NAME}", host=one)
    recorder.wait_more(20)
    recorder.stop()
    return {"recorder": recorder, "there": there, "set": f"{at['term']}/{at['seq']}",
            "snapshots": cluster.snapshots(three, NAME)}


@pytest.fixture(scope="module")
def lost(tmp_path_factory):
    """After the disaster, on hosts of its own: they end as other machines."""
    with Lab(hosts=3) as lab:
        cluster = Cluster(lab)
        cluster.before = make(cluster, tmp_path_factory.mktemp("records"))
        yield cluster


def new_machine(cluster, host):
    """In the place of one that is lost, with a pool that is empty."""
    host.new_root()
    host.new_pool_disk()
    boot_without_pool(host)
    host.run(f"zpool create -m none {host.pool} vdb")
    cluster.lab.install(stage(), [host])
    cluster._prepare(host)  # pylint: disable=protected-access


def refused(cluster, host, args, cause, hint):
    said = cluster.zbaton(args, host=host, check=False)
    assert said.rc != 0 and cause in said.err and hint in said.err, said


def leads(cluster, host):
    wait_until(lambda: cluster.leader(NAME, host) is host, 120, f"{NAME} runs on {host.name}")


def waits_for_an_order(cluster, host):
    def said():
        status = cluster.zbaton("status", host=host)
        return "by order (zbaton failover --to NODE)" in status.out + status.err
    wait_until(said, 60, f"{host.name} says what it waits for")


def test_a_backup_alone_brings_a_service_back(lost):
    cluster, (_, two, three) = lost, lost.hosts
    before = cluster.before
    page = Disaster(cluster)
    new_machine(cluster, two)

    # Not by mistake.
    plain = "init --cluster new --node vm3 --root zdata/services --listen 10.77.0.3:7979"
    three.run("mv /var/lib/zbaton /var/lib/zbaton.there")
    refused(cluster, three, plain, f"holds copies of services of an earlier cluster: {NAME}", "zbaton init --recover")
    three.run("mv /var/lib/zbaton.there /var/lib/zbaton")
    refused(cluster, three, f"{plain} --recover -y".replace("vm3", "vm9"), "says another node", "as it says")
    refused(cluster, three, f"{plain} --recover -y", "a host answers at 10.77.0.2", "--fenced vm2")
    refused(cluster, three, f"{plain} --recover --fenced vm2", "nobody has said that the other hosts are off", "--recover -y")
    cluster.daemon_start(three)
    refused(cluster, three, f"{plain} --recover -y", "zbatond runs on /var/lib/zbaton", "systemctl stop zbaton")

    page.daemon("systemctl stop")
    found = page.next("zbaton init --recover -n").out
    print(found)
    assert f"{NAME} " in found and f" {before['set']} " in found and "service web {" in found
    made = page.next("zbaton init --recover --cluster", "y\n").out
    assert "Cluster new has its first node vm3" in made, made
    page.daemon("systemctl enable")
    page.next("zbaton token create")
    page.next("zbaton join")
    page.daemon("systemctl enable")
    cluster.wait_up(2, three)
    page.next("cp ")
    kept = three.run("cat /root/services.conf").out
    assert kept == cluster.text()
    cluster.declare(NAME, start=f"redis {PORT}", interval="1h", keep=200, members=["vm2"], leader="vm2",
                    backups=["vm3"])
    page.edits(cluster.text())
    assert f"zbaton failover --to NODE {NAME}" in page.next("zbaton apply").out

    # Declared, it does not begin.
    waits_for_an_order(cluster, two)
    wait_until(lambda: cluster.member(NAME, "vm3", two)["newest_set"], 60, "vm2 knows what vm3 has")
    assert two.run(f"zfs list {cluster.dataset(two, NAME)}", check=False).rc != 0, "nothing was made"

    three.run("echo >/root/nothing.conf")
    refused(cluster, three, "apply -y /root/nothing.conf", "its copies would be given up", f"failover --to NODE {NAME}")

    plan = page.next("zbaton failover -n").out
    print(plan)
    assert f"Lost at most: what who led before wrote after set {before['set']}" in plan, plan
    assert re.search(r"term [0-9]+001\b", plan), plan
    done = page.next("zbaton failover --to", "y\n", rc=(0, 6)).out
    print(done)
    leads(cluster, two)
    page.next("zbaton status")
    page.end()
    assert before["there"] <= set(before["recorder"].stored(two)), "all that the backup had runs"
    assert two.run(f"cat /srv/{NAME}/log/file").out == "kept\n"
    for rel, snaps in before["snapshots"].items():
        here = cluster.snapshots(two, NAME)[rel]
        assert all(here.get(snap) == guid for snap, guid in snaps.items()), "with its history"
    assert cluster.service(NAME, two)["term"] > 1000


def test_a_member_that_was_not_lost_follows(lost):
    """vm1 led on all the time, as the old cluster's leader."""
    cluster, (one, two, three) = lost, lost.hosts
    assert cluster.leader(NAME, two) is two
    one.link(True)
    wait_until(lambda: cluster.zbaton("status -j", host=one, check=False).rc == 0, 60, "vm1's daemon answers")
    assert cluster.leader(NAME, one) is one, "two clusters, each with its leader"
    cluster.daemon_stop(one)
    one.power_cut()
    one.boot()
    one.run("mv /var/lib/zbaton /var/lib/zbaton.old")
    token = cluster.zbaton("token create", host=three).out.split()[0]
    cluster.zbaton(f"join {token} --node vm1 --root pool1/services --listen 10.77.0.1:7979", host=one)
    cluster.daemon_start(one)
    cluster.wait_up(3, three)
    cluster.services[NAME]["members"] = ["vm2", "vm1"]
    cluster.apply(host=three)
    cluster.zbaton(f"sync {NAME}", host=two)
    cluster.wait_current(NAME, "vm2")
    cluster.assert_at_rest(NAME)
    assert cluster.writers(NAME) == [two]
    [rescue] = cluster.rescues(one, NAME)
    recorder = cluster.before["recorder"]
    live = set(recorder.stored(two))
    with cluster.rescue(one, rescue) as path:
        rescued = set(recorder.stored_in(one, path))
    acknowledged = {number for number, _, _ in recorder.acknowledged()}
    assert acknowledged - live and acknowledged <= live | rescued, "what it wrote on its own is in its rescue"


def test_a_lost_member_is_made_anew_under_its_name(lost, tmp_path):
    cluster, (one, two, three) = lost, lost.hosts
    old = str(tmp_path / "old.tar")
    cluster.daemon_stop(one)
    one.run("tar -C / -cf - var/lib/zbaton etc/zbaton >/root/old.tar")
    one.get("/root/old.tar", old)
    one.power_cut()
    cluster.wait_up(2, two)
    new_machine(cluster, one)
    join = "--node vm1 --root pool1/services --listen 10.77.0.1:7979"
    token = cluster.zbaton("token create", host=three).out.split()[0]
    cluster.zbaton(f"join {token} {join}", host=one)
    cluster.daemon_start(one)
    cluster.wait_up(3, three)
    cluster.zbaton(f"sync {NAME}", host=two)
    cluster.wait_current(NAME, "vm2")
    assert cluster.rescues(one, NAME) == []
    cluster.move(NAME, "vm1", host=two)
    leads(cluster, one)
    assert cluster.before["there"] <= set(cluster.before["recorder"].stored(one))
    cluster.move(NAME, "vm2", host=one)
    leads(cluster, two)

    # The machine that was lost, with the certificate that it had.
    cluster.daemon_stop(one)
    cluster.wait_up(2, three)
    one.run("mv /var/lib/zbaton /var/lib/zbaton.new")
    one.put(old, "/root/old.tar")
    one.run("tar -C / -xf /root/old.tar")
    cluster.daemon_start(one)
    wait_until(lambda: three.run("grep 'vm1 is not the pinned one' /var/log/zbatond.log", check=False).out, 60,
               "vm3 does not let it in")
    assert cluster.status(three)["cluster"]["nodes_up"] == 2
    cluster.daemon_stop(one)
    one.run("mv /var/lib/zbaton /var/lib/zbaton.old; mv /var/lib/zbaton.new /var/lib/zbaton")
    cluster.daemon_start(one)
    cluster.wait_up(3, three)
    cluster.wait_current(NAME, "vm2")


def test_a_host_alone_goes_on_with_its_own_copy(lost):
    """Nobody is left but vm3, and no new host is there: it becomes the only member."""
    cluster, (one, two, three) = lost, lost.hosts
    cluster.wait_current(NAME, "vm2")
    for host in (one, two):
        host.power_cut()
    before = cluster.snapshots(three, NAME)
    cluster.daemon_stop(three)
    three.run("rm -r /var/lib/zbaton /var/lib/zbaton.before-* /etc/zbaton/zbatond.conf")  # no more than the pool is left
    init = "init --recover -y --cluster third --node vm3 --root zdata/services --listen 10.77.0.3:7979"
    refused(cluster, three, init.replace("--node vm3", "--node vm4"), "marks of node vm3", "--node vm3")
    said = cluster.zbaton(init, host=three).out
    assert "How they were declared is not known here" in said, said
    cluster.daemon_start(three)
    cluster.declare(NAME, start=f"redis {PORT}", interval="1h", keep=200, members=["vm3"], leader="vm3", backups=[])
    cluster.apply(host=three)
    waits_for_an_order(cluster, three)
    cluster.failover(NAME, "vm3")
    leads(cluster, three)
    assert cluster.service(NAME, three)["term"] == int(re.search(r"of this cluster begin above ([0-9]+)", said)[1]) + 1
    assert cluster.before["there"] <= set(cluster.before["recorder"].stored(three))
    after = cluster.snapshots(three, NAME)
    assert all(after[rel].items() >= snaps.items() for rel, snaps in before.items()), "with its history"
    assert cluster.rescues(three, NAME) == []

    # Sets that its history knows nothing of: the one that the backup had, and one from before a child was made.
    path = cluster.zbaton(f"peek {NAME} 1/0", host=three).out.strip()
    assert three.run(f"findmnt -n {path}").out and "log" not in three.run(f"ls {path}").out.split()
    cluster.zbaton(f"peek end {path.split('/')[-1]}", host=three)
    refused(cluster, three, f"revert -y {NAME} 1/0", "is not in every dataset that is there now", "zbaton history")
    done = cluster.zbaton(f"revert -y {NAME} {cluster.before['set']}", host=three, timeout=300).out
    assert f"{NAME} is at set {cluster.before['set']} again" in done, done
    leads(cluster, three)
    live = set(cluster.before["recorder"].stored(three))
    assert cluster.before["there"] <= live
    assert three.run(f"cat /srv/{NAME}/log/file").out == "kept\n"
