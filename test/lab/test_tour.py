"""What the README and the manual show, typed as it stands there, on hosts under systemd."""

import pytest
from zblab import Lab, wait_until
from zblab.cluster import Cluster, stage
from zblab.pages import Typist, block, commands, read

pytestmark = [pytest.mark.systemd, pytest.mark.long]

UNITS = {
    "redis": "/usr/bin/redis-server --bind 0.0.0.0 --protected-mode no --dir /srv/redis --appendonly yes",
    "web": "/usr/bin/python3 -m http.server --directory /srv/web 8000",
}


@pytest.fixture(scope="module")
def installed():
    """Three hosts on which zbaton is installed, and the units of the examples."""
    with Lab(hosts=3, init="systemd") as lab:
        lab.install(stage())
        lab.each(lambda host: host.run("systemd-sysusers"))
        for name, command in UNITS.items():
            unit = f"[Service]\nExecStart={command}\n"
            lab.each(lambda host, n=name, u=unit: host.run(f"cat >/etc/systemd/system/{n}.service", input=u))
        lab.each(lambda host: host.run("systemctl daemon-reload"))
        yield lab


@pytest.fixture
def machines(installed):
    """The hosts, without a cluster."""
    yield installed
    installed.each(lambda host: host.run("systemctl disable --now zbaton; systemctl stop " + " ".join(UNITS), check=False))
    Cluster(installed).close()


def nodes_are_up(cluster, count, host=None):
    """Waits until a host (vm1 by default) sees that many nodes."""
    wait_until(lambda: cluster.status(host)["cluster"]["nodes_up"] == count, 60, f"{count} nodes are up")


def answers(host, command, text):
    """Waits until a service that has just been started answers."""
    wait_until(lambda: text in host.run(command).out, 60, command)


def refused(cluster, command, cause, hint):
    """A command that is refused: changes nothing, says why and which command helps."""
    said = cluster.zbaton(command, check=False)
    assert said.rc == 3 and cause in said.err, said
    assert f"\nhint: {hint}" in said.err, said


def refusals(cluster):
    """What a moved service refuses."""
    one, three = cluster.lab["vm1"], cluster.lab["vm3"]
    refused(cluster, "move redis vm2", "redis to vm2: it leads there already", "zbaton status redis")
    refused(cluster, "init --cluster prod --node vm1 --root pool1/services --listen 10.77.0.1:7979",
            "this host is a node already", "zbaton status")
    three.run("systemctl stop zbaton")
    nodes_are_up(cluster, 2)
    nodes_are_up(cluster, 2, cluster.lab["vm2"])
    refused(cluster, "move redis vm3", "redis to vm3: the target is not reachable", "zbaton node list")
    assert cluster.zbaton("status -x", check=False).rc == 6
    three.run("systemctl start zbaton")
    cluster.wait_current("redis", "vm2")
    wait_until(lambda: cluster.zbaton("status -x").out == "all services are healthy\n", 60, "all is healthy again")
    one.run("sed 's/members = .*/members = { vm1, vm3 }/' /root/services.conf >/root/less.conf")
    refused(cluster, "apply -y /root/less.conf", "vm2 leads it and has to stay a member", "zbaton move redis NODE")


def test_the_tour_of_the_readme(machines):
    readme = read("README.md")
    typist = Typist(machines)
    cluster = Cluster(machines)
    machines["vm1"].run("cat >/root/services.conf", input=block(readme, "The services file of that tour", "```\n", "```"))
    tour = commands(block(readme, "## A tour", "```\n", "```"))
    assert [command.split()[1] for _, command, _ in tour] == [
        "init", "enable", "token", "join", "enable", "apply", "status", "move"]
    for host, command, shown in tour:
        if command.startswith("zbaton apply"):
            typist.joins("vm3", "zdata/services", "10.77.0.3", tour)
            nodes_are_up(cluster, 3)
        if command == "zbaton status":
            cluster.wait_current("redis", "vm1")
        typist.expect(host, command, shown)
    cluster.wait_current("redis", "vm2")
    answers(machines["vm2"], "redis-cli ping", "PONG")
    refusals(cluster)


def test_the_examples_of_the_manual(machines):
    typist = Typist(machines)
    cluster = Cluster(machines)
    services = block(read("man/zbaton.conf.5"), ".Sh EXAMPLES", ".Bd -literal -offset indent\n", ".Ed")
    machines["vm1"].run("cat >/root/services.conf", input=services)
    for host, command, shown in commands(block(read("man/zbaton.8"), ".Sh EXAMPLES", ".Bd -literal -offset indent\n", ".Ed")):
        if command.startswith("zbaton apply"):
            nodes_are_up(cluster, 2)
        if command.startswith("zbaton move"):
            cluster.wait_current("web", "vm1")
        typist.expect(host, command, shown)
    cluster.wait_current("web", "vm2")
    answers(machines["vm2"], "curl -s http://127.0.0.1:8000/", "Directory listing")
