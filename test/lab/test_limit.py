"""Limits of what a node sends: they hold, for all followers together, and a move does not wait for them."""

import contextlib

import pytest
from zblab import wait_until

CONF = "/etc/zbaton/zbatond.conf"
LIMIT = 2 << 20  # bytes per second
SENT = 40 << 20  # takes 20 s
FINAL = 700 << 10  # below what a move sends before the service is stopped


def counted(host, way="tx"):
    """(bytes that went over the data network since the host's boot, its uptime in seconds)."""
    said = host.run(f"cat /sys/class/net/eth0/statistics/{way}_bytes; cut -d' ' -f1 /proc/uptime").out.split()
    return int(said[0]), float(said[1])


def rate_of(host, size):
    """Bytes per second that a host sends, from a tenth to seven tenths of what is to be sent from now on."""
    begun = counted(host)[0]

    def sent(part):
        return wait_until(lambda: counted(host)[0] - begun > size * part and counted(host), 120,
                          f"{part} of {size} bytes are sent", 0.5)
    first = sent(0.1)
    last = sent(0.7)
    return (last[0] - first[0]) / (last[1] - first[1])


def assert_near(rate, limit):
    """The network adds 5 % to what is limited."""
    print(f"{rate / 1e6:.2f} MB/s, of {limit / 1e6:.2f} MB/s that may be sent")
    assert 0.9 * limit <= rate <= 1.1 * limit


def write(host, name, size):
    """Bytes that nothing makes smaller."""
    host.run(f"head -c {size} /dev/urandom >/srv/{name}/blob; sync")


@contextlib.contextmanager
def limited(cluster, host, text):
    """The node has these lines in zbatond.conf, for a `with`."""
    def restart():
        cluster.daemon_stop(host)
        cluster.daemon_start(host)
        cluster.wait_up(len(cluster.hosts), host)
    host.run(f"cp {CONF} {CONF}.before && cat >>{CONF}", input=text)
    restart()
    try:
        yield
    finally:
        host.run(f"mv {CONF}.before {CONF}")
        restart()


@pytest.mark.long
def test_a_first_copy_keeps_to_the_limit_of_its_service(cluster):
    one = cluster.hosts[0]
    cluster.declare("slow", members=["vm1"], runner="none", interval="1h")
    cluster.apply()
    cluster.wait_current("slow", "vm1")
    write(one, "slow", SENT)
    cluster.zbaton("sync slow")
    cluster.declare("slow", members=["vm1", "vm2"], runner="none", interval="1h", send_limit="2M")
    cluster.apply()
    assert_near(rate_of(one, SENT), LIMIT)
    assert 'send-limit = "2M"' in cluster.zbaton("config show").out
    cluster.wait_current("slow", "vm1")


@pytest.mark.long
def test_the_limit_of_a_node_holds_for_all_followers_together(cluster):
    one, two, three = cluster.hosts
    cluster.declare("shared", runner="none", interval="1h")
    cluster.apply()
    cluster.wait_current("shared", "vm1")
    with limited(cluster, one, 'send-limit = "64K"\nsend-limit-at = "12:00-24:00 2M, 00:00-12:00 2M"\n'):
        cluster.wait_current("shared", "vm1")
        write(one, "shared", SENT // 2)
        before = [counted(host, "rx")[0] for host in (two, three)]
        cluster.zbaton("snapshot shared")
        assert_near(rate_of(one, SENT), LIMIT)
        got = [counted(host, "rx")[0] - at for host, at in zip((two, three), before)]
        print(f"vm2 got {got[0]} bytes, vm3 {got[1]}")
        assert max(got) <= 1.2 * min(got)
        cluster.wait_current("shared", "vm1")


@pytest.mark.long
def test_the_final_set_of_a_move_is_not_held_back(cluster):
    one = cluster.hosts[0]
    cluster.declare("moved", runner="none", interval="1h", send_limit="64K")
    cluster.apply()
    cluster.wait_current("moved", "vm1")
    write(one, "moved", FINAL)
    cluster.move("moved", "vm2")
    own_ms = cluster.terms("moved")[-1]["own_ms"]
    print(f"down for {own_ms} ms, of which the limit would have taken {FINAL * 1000 // (64 << 10)}")
    assert own_ms < FINAL * 1000 // (64 << 10)
    cluster.wait_current("moved", "vm2")
    cluster.move("moved", "vm1")


@pytest.mark.parametrize("line, said", (
    ('send-limit = "5"', "send-limit: expected a size per second from 64K to 1T"),
    ('send-limit-at = "08:00-18:00 5M, 17:00-20:00 1M"', "08:00-18:00 and 17:00-20:00 overlap"),
))
def test_a_limit_that_is_none_is_refused(cluster, line, said):
    one = cluster.hosts[0]
    one.run(f"cat {CONF} - >/tmp/limit.conf && chmod 600 /tmp/limit.conf", input=line + "\n")
    refused = one.run("zbatond -n -f /tmp/limit.conf", check=False)
    assert refused.rc == 1 and said in refused.err, refused
