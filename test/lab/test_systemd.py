"""Under systemd: units as services, the daemon as a unit."""

import pytest
from zblab import Lab, wait_until
from zblab.cluster import Recorder, SystemdCluster

pytestmark = [pytest.mark.systemd, pytest.mark.long]

UNIT = """[Unit]
Description=redis for the test
[Service]
ExecStart=/usr/bin/redis-server --port 6441 --bind 0.0.0.0 --protected-mode no --dir /srv/unit \\
    --appendonly yes --appendfsync always --save ""
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture(scope="module")
def pair():
    """Two hosts under systemd with a cluster."""
    with Lab(hosts=2, init="systemd") as lab:
        cluster = SystemdCluster(lab)
        cluster.start()
        for host in lab.hosts:
            host.run("cat >/etc/systemd/system/unit-redis.service && systemctl daemon-reload", input=UNIT)
        yield cluster


def test_a_unit_moves_and_the_daemon_restarts_without_stopping_it(pair, tmp_path):
    one, two = pair.hosts
    pair.declare("unit", runner="systemd", unit="unit-redis.service")
    one.run("systemctl enable unit-redis.service")
    pair.apply()
    said = wait_until(lambda: [line for line in pair.zbaton("events").out.splitlines()
                               if "systemctl disable" in line], 60, "the enabled unit is refused")
    assert "unit-redis.service" in said[-1]
    assert one.run("systemctl is-active unit-redis.service", check=False).out.strip() != "active"
    one.run("systemctl disable unit-redis.service")
    pair.wait_current("unit", "vm1")

    recorder = Recorder(pair.lab, tmp_path, port=6441)
    recorder.wait_more(10)
    pid = one.run("systemctl show -p MainPID --value unit-redis.service").out
    one.run("systemctl restart zbaton.service", timeout=120)
    wait_until(lambda: pair.leader("unit") is one, 60, "the daemon leads again")
    assert one.run("systemctl show -p MainPID --value unit-redis.service").out == pid
    recorder.wait_more(10)

    pair.move("unit", "vm2")
    assert one.run("systemctl is-active unit-redis.service", check=False).out.strip() == "inactive"
    assert one.run("pgrep -f 'port 6441'", check=False).rc != 0, "no process of the service is left"
    recorder.wait_more(10)
    recorder.assert_nothing_lost(two)
    pair.wait_current("unit", "vm2")
