"""The keeper as a service of systemd, and units as what it runs: a restart of the daemon stops nothing."""

import os

import pytest
from test_keeper import BUILD, PROBE, SETUP, Keeper
from zblab import Lab, wait_until

pytestmark = [pytest.mark.systemd, pytest.mark.long]

UNITS = f"""
set -e
cat >/etc/systemd/system/zbprobe.service <<'X'
[Service]
Type=notify
NotifyAccess=main
ExecStart={PROBE} /etc/va.conf
KillMode=process
Delegate=yes
X
cat >/etc/systemd/system/demo.service <<'X'
[Service]
WorkingDirectory=/srv/web
ExecStart=/bin/sleep 4321
[Install]
WantedBy=multi-user.target
X
cat >/etc/systemd/system/clinging.service <<'X'
[Service]
KillMode=process
WorkingDirectory=/srv/web
ExecStart=/bin/sh -c "trap '' TERM; sleep 4322 & exec sleep 4323"
X
systemctl daemon-reload
"""


@pytest.fixture(scope="module")
def keeper():
    attached = os.environ.get("ZB_KEEPER_LAB_SYSTEMD")
    lab = Lab.attach(attached) if attached else Lab(hosts=1, init="systemd")
    if not attached:
        lab.__enter__()
    try:
        host = lab["vm1"]
        host.run("systemctl stop zbprobe 2>/dev/null; umount /srv/web 2>/dev/null; true")
        host.put(os.path.join(BUILD, "test/lab/keeper/keeper_probe"), PROBE, mode=0o755)
        host.run(SETUP, timeout=120)
        host.run(UNITS)
        keeper = Keeper(host, "va", "pa")
        keeper.configure()
        host.run("systemctl start zbprobe")
        answers(keeper)
        keeper.define().good()
        keeper.ask("create").good()
        keeper.take(1).good()
        yield keeper
    finally:
        if not attached:
            lab.__exit__(None, None, None)


def answers(keeper):
    wait_until(lambda: keeper.host.run(f"{PROBE} ask {keeper.conf} op=hello version=1", check=False).rc == 0,
               30, "the engine answers")


def test_restart_of_the_daemon_stops_no_command(keeper):
    host = keeper.host
    keeper.ask("start").good()
    pid = host.run("cat /sys/fs/cgroup/zbaton/va.web/cgroup.procs").out
    assert "zbprobe" not in host.run(f"cat /proc/{pid.split()[0]}/cgroup").out
    host.run("systemctl restart zbprobe")
    answers(keeper)
    assert host.run("cat /sys/fs/cgroup/zbaton/va.web/cgroup.procs").out.split()[0] == pid.split()[0]
    seen = keeper.observe()
    assert seen["mounted_here"] == 1 and seen["running"] == 1
    keeper.ask("stop").good()


def test_unit_is_run_checked_and_stopped(keeper):
    host = keeper.host
    keeper.define(runner="systemd", start=None, unit="demo.service").good()
    host.run("systemctl enable demo 2>&1")
    refused = keeper.ask("start").bad("refused", "at boot by itself")
    assert refused["hint"] == "systemctl disable demo.service"
    host.run("systemctl disable demo 2>&1")
    started = keeper.ask("start").good()
    assert keeper.ask("check").good()["running"] == 1
    host.run("systemctl restart zbprobe")
    answers(keeper)
    assert keeper.observe()["running"] == 1
    stopped = keeper.ask("stop").good()
    assert keeper.ask("check").good()["running"] == 0
    print(f"measured (ms): unit start {started['keeper_ms']}, stop {stopped['keeper_ms']}")
    host.run("systemctl status zbprobe | grep -q 'active (running)'")


def test_stop_of_a_unit_leaves_nothing(keeper):
    host = keeper.host
    keeper.define(runner="systemd", start=None, unit="clinging.service").good()
    keeper.ask("start").good()
    wait_until(lambda: host.run("pgrep -fx 'sleep 4322'", check=False).rc == 0, 20, "both processes are there")
    keeper.ask("stop").good()
    assert host.run("pgrep -f 'sleep 432[23]'", check=False).rc != 0
    keeper.define(runner="systemd", start=None, unit="nothing.service").good()
    keeper.ask("start").bad("not-found", "no unit")
    assert keeper.observe()["running"] == 0
    keeper.ask("stop").good()
    keeper.ask("demote").good()
