"""Every host is gone with its pool, and a backup alone brings every service back: zbaton-recovery(7), ONLY A BACKUP IS
LEFT, as it stands there and on the hosts that it names. Then once more, and the new host is one of those that were
lost, made anew under its name.

vm1, vm2 and vm3 are the members, each leads a service, vm4 is the backup of all, and vm5 is new.
"""

import pytest
from test_disaster import Disaster, new_machine
from zblab import Lab, wait_until
from zblab.cluster import Cluster, Recorder

pytestmark = pytest.mark.long

PORTS = {"web": 6471, "mail": 6472}  # of redis
FILES = "files"  # a service without a program
SERVICES = [*PORTS, FILES]
LEADERS = dict(zip(SERVICES, ("vm1", "vm2", "vm3")))


def declare(cluster, members, leaders, backups=("vm4",)):
    for name in SERVICES:
        runner = {"start": f"redis {PORTS[name]}"} if name in PORTS else {"runner": "none"}
        cluster.declare(name, members=members, leader=leaders[name], backups=list(backups), interval="1h", keep=200, **runner)


class Written:
    """What is written into the services: numbered records, and a file in a dataset below each."""

    def __init__(self, cluster, folder):
        self.cluster = cluster
        self.folder = folder
        self.there = {name: set() for name in PORTS}  # numbers that the backup has
        self.files = 0
        self.sets = {}
        self.snapshots = {}

    def goes_on(self, backup):
        """Into the services where they run; then they are synced, and go on a little: that is lost."""
        recorders = {name: Recorder(self.cluster.lab, self.folder, port, f"{name}-{self.files}")
                     for name, port in PORTS.items()}
        self.files += 1
        for recorder in recorders.values():
            recorder.wait_more(10)
        for name in SERVICES:
            host = self.cluster.leader(name)
            host.run(f"echo {name} {self.files} >>/srv/{name}/log/file; sync")
            if name in recorders:
                self.there[name].add((recorders[name].name, tuple(n for n, _, _ in recorders[name].acknowledged())))
            self.cluster.zbaton(f"sync {name}")
            at = self.cluster.member(name, backup.name)["newest_set"]
            self.sets[name] = f"{at['term']}/{at['seq']}"
        for recorder in recorders.values():
            recorder.wait_more(10)
            recorder.stop()
        self.snapshots = {name: self.cluster.snapshots(backup, name) for name in SERVICES}

    def is_on(self, host):
        """All that the backup had, with its history."""
        for name in SERVICES:
            lines = [f"{name} {number}" for number in range(1, self.files + 1)]
            assert host.run(f"cat /srv/{name}/log/file").out.splitlines() == lines
            here = self.cluster.snapshots(host, name)
            for rel, snaps in self.snapshots[name].items():
                assert snaps and here[rel].items() >= snaps.items(), (name, rel)
        for name, port in PORTS.items():
            for records, numbers in self.there[name]:
                said = host.run(f"redis-cli -p {port} lrange {records} 0 -1").out.split()
                assert set(numbers) <= {int(number) for number in said} and numbers, (name, records)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The services, each of which runs on its host, all of them current on vm4."""
    with Lab(hosts=5) as lab:
        cluster = Cluster(lab)
        cluster.hosts = lab.hosts[:4]
        cluster.start()
        declare(cluster, ["vm1", "vm2", "vm3"], LEADERS)
        cluster.apply()
        for name in SERVICES:
            cluster.wait_current(name, LEADERS[name])
            leader = cluster.leader(name)
            leader.run(f"zfs create {cluster.dataset(leader, name, 'log')}")
            cluster.zbaton(f"sync {name}")
        written = Written(cluster, tmp_path_factory.mktemp("records"))
        written.goes_on(lab["vm4"])
        yield written


def lost(hosts):
    """Their power, and their disks."""
    for host in hosts:
        host.power_cut()
    for host in hosts:
        host.new_root()
        host.new_pool_disk()


def walk(page, written, new):
    """The section, to the end; then all runs on the new host, and vm4 is the backup again."""
    cluster, backup = written.cluster, written.cluster.lab["vm4"]
    page.daemon("systemctl stop")
    found = page.next("zbaton init --recover -n").out
    print(found)
    for name in SERVICES:
        assert f"{name} " in found and f" {written.sets[name]}" in found and f"service {name} {{" in found
    assert "has its first node vm4" in page.next("zbaton init --recover --cluster", "y\n").out
    page.daemon("systemctl enable")
    page.next("zbaton token create")
    page.next("zbaton join")
    page.daemon("systemctl enable")
    cluster.hosts = [backup, new]
    cluster.wait_up(2, backup)
    page.next("cp ")
    declare(cluster, [new.name], dict.fromkeys(SERVICES, new.name))
    page.edits(cluster.text())
    page.next("zbaton apply")
    for name in SERVICES:
        wait_until(lambda n=name: cluster.member(n, "vm4", new)["newest_set"], 120, f"{new.name} knows what vm4 has")
    for begin, answers in (("zbaton failover -n", None), ("zbaton failover --to", "y\n")):
        page.next(begin, answers, rc=(0, 6))
        host, command, _ = page.typed[-1]
        for name in SERVICES[1:]:
            said = page.type(host, command.replace("web", name), answers)
            assert said.rc in (0, 6), said
    for name in SERVICES:
        wait_until(lambda n=name: cluster.leader(n) is new, 120, f"{name} runs on {new.name}")
    page.next("zbaton status")
    page.end()
    written.is_on(new)
    for name in SERVICES:
        cluster.zbaton(f"sync {name}", host=new)
        cluster.wait_current(name, new.name)
        assert cluster.writers(name) == [new]
        assert cluster.rescues(backup, name) == [] == cluster.rescues(new, name)


def test_a_backup_alone_brings_every_service_back(written):
    lab = written.cluster.lab
    lost(lab.hosts[:3])
    walk(Disaster(written.cluster, {}, {}), written, lab["vm5"])


def test_and_on_a_host_that_was_lost_and_has_its_name_again(written):
    cluster, lab = written.cluster, written.cluster.lab
    one, backup, five = lab["vm1"], lab["vm4"], lab["vm5"]
    assert cluster.hosts == [backup, five], "the first disaster is over"
    new_machine(cluster, one)
    token = cluster.zbaton("token create", host=backup).out.split()[0]
    cluster.zbaton(f"join {token} --node vm1 --root pool1/services --listen 10.77.0.1:7979", host=one)
    cluster.daemon_start(one)
    cluster.hosts = [backup, five, one]
    cluster.wait_up(3, backup)
    declare(cluster, ["vm5", "vm1"], dict.fromkeys(SERVICES, "vm5"))
    cluster.apply()
    for name in SERVICES:
        cluster.zbaton(f"sync {name}", host=five)
        cluster.wait_current(name, "vm5")
    cluster.move("web", "vm1")
    written.goes_on(backup)

    lost([one, five])
    backup.run("rm -r /var/lib/zbaton.before-* /root/services.conf")  # of the first disaster
    new_machine(cluster, one)
    words = {"--node vm5": "--node vm1", "--to vm5": "--to vm1", "pool5/services": "pool1/services", "10.77.0.5": "10.77.0.1",
             "--cluster prod": "--cluster again --fenced vm1"}
    walk(Disaster(cluster, {"vm5": "vm1"}, words), written, one)
