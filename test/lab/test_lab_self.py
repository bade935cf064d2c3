"""The lab tests itself: what the other lab tests take for granted."""

import os
import subprocess
import time

import pytest
from zblab import CommandError, CommandTimeout, Lab, LabError, wait_until
from zblab.watch import Seen, one_writer


def ping(host, other, count=1):
    """Whether host reaches another one's ssh port on the data network within a second."""
    probe = f"timeout {count} bash -c 'exec 3<>/dev/tcp/{other.data_ip}/22'"
    return host.run(probe, check=False).rc == 0


def test_hosts_have_zfs_and_a_pool_of_their_own_name(lab3):
    for host, pool in zip(lab3.hosts, ("pool1", "tank", "zdata")):
        version = host.run("zfs version").out.split()
        assert version[0].startswith("zfs-2.3.") and version[1].startswith("zfs-kmod-2.3.")
        assert host.pool == pool
        assert host.run("zpool list -H -o name,health").out.split() == [pool, "ONLINE"]
        assert host.run(f"zfs get -H -o value mountpoint,canmount {pool}").out.split() == [
            "none", "off"]
        assert host.run("hostname").out.strip() == host.name


def test_clock_of_a_host_is_near_ours(lab3):
    for host in lab3.hosts:
        assert abs(host.now() - time.time()) < 2


def test_run_tells_status_output_and_time(lab3):
    host = lab3["vm1"]
    result = host.run("echo out; echo err >&2; exit 3", check=False)
    assert (result.rc, result.out, result.err) == (3, "out\n", "err\n")
    with pytest.raises(CommandError, match="ended with 3"):
        host.run("exit 3")
    with pytest.raises(CommandTimeout):
        host.run("sleep 30", timeout=1)
    assert host.run("cat", input="taken in").out == "taken in"


def test_popen_streams(lab3):
    process = lab3["vm2"].popen("echo first; read -r word; echo $word", stdin=subprocess.PIPE)
    assert process.stdout.readline() == b"first\n"
    out, _ = process.communicate(b"second\n", timeout=30)
    assert out == b"second\n"


def test_put_get_and_install(lab3, tmp_path):
    content = os.urandom(100_000)
    (tmp_path / "a").write_bytes(content)
    host = lab3["vm1"]
    host.put(str(tmp_path / "a"), "/tmp/put dir/a", mode=0o750)
    assert host.run("stat -c %a '/tmp/put dir/a'").out.strip() == "750"
    host.get("/tmp/put dir/a", str(tmp_path / "b"))
    assert (tmp_path / "b").read_bytes() == content
    script = tmp_path / "tree/usr/local/bin/said"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\necho installed\n")
    script.chmod(0o755)
    lab3.install(str(tmp_path / "tree"))
    subprocess.run(["tar", "-C", tmp_path / "tree", "-czf", tmp_path / "t.tgz", "."], check=True)
    lab3.install(str(tmp_path / "t.tgz"))
    assert all(h.run("said").out == "installed\n" for h in lab3.hosts)


@pytest.mark.long
def test_power_cut_keeps_what_was_synced_and_mounts_nothing(lab3):
    host = lab3["vm2"]
    dataset = f"{host.pool}/selftest"
    host.run(f"zfs create -o mountpoint=/selftest {dataset} && echo kept > /selftest/file"
             " && sync /selftest/file")
    host.power_cut()
    assert not host.alive()
    with pytest.raises(LabError, match="switched off"):
        host.run("true")
    host.boot()
    assert host.run(f"zfs get -H -o value mounted {dataset}").out.strip() == "no"
    assert host.run(f"zfs mount {dataset} && cat /selftest/file").out == "kept\n"
    host.run(f"zfs destroy {dataset}")


def test_link_down_cuts_data_but_not_management(lab3):
    one, two = lab3["vm1"], lab3["vm2"]
    wait_until(lambda: ping(one, two), 30, "vm1 reaches vm2")
    two.link(False)
    wait_until(lambda: two.run("cat /sys/class/net/eth0/operstate").out == "down\n", 10, "carrier")
    assert not ping(one, two)
    two.link(True)
    wait_until(lambda: ping(one, two), 30, "vm1 reaches vm2 again")


def test_partition_separates_groups_only(lab3):
    one, two, three = lab3.hosts
    lab3.partition([["vm1"], ["vm2", "vm3"]])
    assert not ping(one, two) and not ping(three, one)
    wait_until(lambda: ping(two, three), 30, "vm2 reaches vm3")
    lab3.heal()
    wait_until(lambda: ping(one, two) and ping(three, one), 30, "healed")


def test_netem_delays(lab3):
    one, two = lab3["vm1"], lab3["vm2"]
    one.netem("delay 2s")
    assert not ping(one, two)
    one.netem(None)
    wait_until(lambda: ping(one, two), 30, "no delay")


def test_pause_stops_a_host_until_cont(lab3):
    host = lab3["vm3"]
    before = float(host.run("cut -d' ' -f1 /proc/uptime").out)
    host.pause()
    with pytest.raises(CommandTimeout):
        host.run("true", timeout=3)
    host.cont()
    after = float(host.run("cut -d' ' -f1 /proc/uptime").out)
    assert after - before < 3


def is_alive(pid):
    """One that ended counts as gone, whenever its parent asks for its end."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.long
def test_down_leaves_nothing(tmp_path):
    lab = Lab(hosts=1, name=f"self{os.getpid()}")
    lab.start()
    pids = [lab.hosts[0]._qemu.pid(), lab.hosts[0]._ssh.pid()]
    lab.collect(str(tmp_path))
    assert (tmp_path / "vm1-dmesg.txt").stat().st_size > 1000
    lab.down()
    assert not os.path.exists(lab.dir)
    assert not os.path.exists(f"/run/netns/{lab.net.netns}")
    wait_until(lambda: not [pid for pid in pids if is_alive(pid)], 30, "no process is left")


def seen(*moments, mounts=("ns 1 d",), written=0):
    """Observations of a host that take a tenth of a second each."""
    return [Seen(at, at + 0.1, frozenset(mounts), {"d": written}) for at in moments]


def test_watch_finds_two_writers_and_nothing_else():
    one_writer({"vm1": seen(1, 2), "vm2": seen(2.3, 3)}, 0)  # one after the other
    one_writer({"vm1": seen(1) + [None] + seen(3), "vm2": seen(2.1, 2.5)}, 0)  # vm1 was off
    one_writer({"vm1": seen(1, 3, 4, mounts=()), "vm2": seen(2, 3)}, 0)
    with pytest.raises(AssertionError, match="both writable"):
        one_writer({"vm1": seen(1, 2, 3), "vm2": seen(1.5, 2.5)}, 0)
    lazy = seen(2, mounts=()) + seen(2.5, mounts=(), written=9)
    with pytest.raises(AssertionError, match="vm2 wrote"):
        one_writer({"vm1": seen(1, 2, 3), "vm2": lazy}, 0)


@pytest.mark.long
@pytest.mark.systemd
def test_systemd_hosts_boot_with_pools_and_nothing_started(lab3_systemd):
    for host in lab3_systemd.hosts:
        assert host.run("cat /proc/1/comm").out == "systemd\n"
        assert host.run("zpool list -H -o name").out.strip() == host.pool
        assert host.run("systemctl is-active redis-server etcd", check=False).rc != 0
        failed = host.run("systemctl list-units --failed --plain --no-legend").out
        assert failed == ""
