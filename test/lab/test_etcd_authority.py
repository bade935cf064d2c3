"""A cluster that gets an etcd and gives it up again while its service runs; and what etcd costs a planned move."""

import statistics
import time

import pytest
from etcd_auto import KEYS, NAME, PORT, QUIET_S, etcd, service, sessions  # noqa: F401  (a fixture)
from zblab.cluster import Recorder, longest_gap_ms
from zblab.watch import Watch

pytestmark = pytest.mark.long

ROUNDS = 4
HEARTBEAT_S = 2
RATIO = 1.25


@pytest.fixture(scope="module")
def plain(cluster_session):
    """The cluster without etcd, and the service."""
    with service(cluster_session):
        yield cluster_session


@pytest.fixture
def recorder(cluster, plain, tmp_path):
    """A continuous writer."""
    recorder = Recorder(cluster.lab, str(tmp_path), port=PORT, name=tmp_path.name)
    recorder.wait_more(20)
    yield recorder
    recorder.stop()


def life(cluster):
    """Of the service: which run of it, in which term; and of the hosts: which boot."""
    leader = cluster.leader(NAME)
    info = leader.run(f"redis-cli -p {PORT} info server").out
    return (leader.name, cluster.service(NAME)["term"], [line for line in info.split() if line.startswith("run_id:")],
            [host.run("cat /proc/sys/kernel/random/boot_id").out for host in cluster.hosts])


def test_the_service_runs_on_when_the_authority_changes(cluster, plain, etcd, recorder):  # noqa: F811
    """From orders alone to sessions in etcd, and back."""
    begun, since = time.monotonic(), time.time()
    watch = Watch(cluster, NAME).start()
    try:
        before = life(cluster)
        assert cluster.status()["authority"] == "manual"
        with sessions(cluster, etcd, KEYS):
            assert cluster.status()["authority"] == "etcd"
            assert life(cluster) == before
            recorder.wait_more(50)
        assert cluster.status()["authority"] == "manual"
        cluster.wait_current(NAME)
        assert life(cluster) == before
        recorder.wait_more(50)
    finally:
        watch.stop()
    watch.assert_one_writer(begun)
    assert longest_gap_ms(recorder.acknowledged(), since, time.time()) <= QUIET_S * 1000
    recorder.assert_nothing_lost(cluster.leader(NAME))


def down_ms(cluster, recorder):
    """A planned move to the next host: how long nothing was acknowledged."""
    cluster.wait_current(NAME)
    hosts = cluster.hosts
    target = hosts[(hosts.index(cluster.leader(NAME)) + 1) % len(hosts)]
    recorder.wait_more(20)
    since = time.time()
    cluster.move(NAME, target.name)
    recorder.wait_more(20)
    return longest_gap_ms(recorder.acknowledged(), since, time.time())


def etcd_down_ms(cluster, recorder, members):
    """The same; of etcd it wants nothing: what is asked there meanwhile is every node's heartbeat."""
    asked = members.hosts[0]
    revision, count, begun = members.revision(asked), members.transactions(), time.monotonic()
    ms = down_ms(cluster, recorder)
    beats = len(cluster.hosts) * ((time.monotonic() - begun) / HEARTBEAT_S + 2)
    assert members.transactions() - count <= beats
    strange = [key for key in members.changed(revision, asked) if "/session/" not in key]
    assert not strange
    return ms


def test_a_move_takes_no_longer_with_etcd(cluster, plain, etcd, recorder, capsys):  # noqa: F811
    """Both measured here, in turn."""
    manual, with_etcd = [], []
    for _ in range(2):
        manual += [down_ms(cluster, recorder) for _ in range(ROUNDS)]
        with sessions(cluster, etcd, KEYS):
            with_etcd += [etcd_down_ms(cluster, recorder, etcd) for _ in range(ROUNDS)]
    one, other = statistics.median(manual), statistics.median(with_etcd)
    with capsys.disabled():
        print(f"\na move's down time, medians of {len(manual)}: manual {one:.0f} ms, etcd {other:.0f} ms", end="")
    cluster.wait_current(NAME)
    recorder.assert_nothing_lost(cluster.leader(NAME))
    assert other <= RATIO * one, (manual, with_etcd)
