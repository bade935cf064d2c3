"""Many datasets with many sets: what a look at them costs, and whether pruning them holds other services up.

vm1 leads two services of 250 datasets alone (a service has at most 256), with 200 sets of each, and a small one that
vm2 follows. The many sets are taken while vm1 is off, by OpenZFS as a library (test/lab/many) and under the names
that the keeper gives them: an emulated host takes half an hour for them. ZB_MANY_DATASETS makes fewer
of them.
"""

import itertools
import json
import os
import statistics
import subprocess
import time

import pytest
from test_keeper import BUILD, PROBE, Keeper
from zblab import Lab, wait_until
from zblab.cluster import Cluster

pytestmark = pytest.mark.long

MANY = ("many1", "many2")
DATASETS = int(os.environ.get("ZB_MANY_DATASETS", "250"))  # of each
SETS = 200
FIRST = 100  # seq of the oldest of them
KEPT = 160  # of many1, in the end: 10,000 snapshots go
ROUNDS = 3
QUICK = "quick"
BUSY = 0.1  # of a processor
INTERVAL_S = 2

# {dataset: how many snapshots} of all datasets below one; zfs list takes minutes for them.
COUNT = """
local out = {}
local function walk(ds)
    local n = 0
    for _ in zfs.list.snapshots(ds) do n = n + 1 end
    out[ds] = n
    for child in zfs.list.children(ds) do walk(child) end
end
walk((...)['argv'][1])
return out
"""
# "<time> <newest set>" whenever it is another one.
ARRIVALS = """
while :; do
    now=$(zfs list -Hd1 -t snapshot -o name -s createtxg {dataset} | tail -n 1)
    [ "$now" = "$last" ] || echo "$(date +%s.%N) $now"
    last=$now
    sleep 0.1
done
"""


def names(cluster, name):
    """The datasets of a service of many on vm1."""
    top = cluster.dataset(cluster.hosts[0], name)
    return [top] + [f"{top}/{number}" for number in range(1, DATASETS)]


def daemon_start(cluster):
    """On vm1, where it has much to look at before it answers and leads."""
    host = cluster.hosts[0]
    cluster.daemon_start(host, wait=False)
    wait_until(lambda: cluster.zbaton("status -j", check=False).rc == 0, 1800, "zbatond answers", interval_s=10)
    for name in MANY:
        wait_until(lambda n=name: cluster.leader(n) is host, 1800, f"{name} is led", interval_s=10)


def sets_make(cluster):
    """So many sets of the two services, above those that they have."""
    host = cluster.hosts[0]
    lines = [" ".join(f"{dataset}@zbaton-000001-{seq:08d}-20260101T{seq // 60:02d}{seq % 60:02d}00Z"
                      for name in MANY for dataset in names(cluster, name)) for seq in range(FIRST, FIRST + SETS)]
    with host.pool_device() as device:
        subprocess.run([os.path.join(BUILD, "test/lab/many/pool_sets"), device, host.pool], check=True,
                       input="".join(line + "\n" for line in lines).encode(), timeout=1800)


def snapshots(cluster, name):
    """How many there are of each dataset on vm1."""
    host = cluster.hosts[0]
    host.run("cat >/root/count.lua", input=COUNT)
    said = host.run(f"zfs program -n -j -t 100000000 -m 100000000 {host.pool} /root/count.lua {cluster.dataset(host, name)}",
                    timeout=300).out
    return json.loads(said)["return"]


@pytest.fixture(scope="module")
def many():
    with Lab(hosts=2, pool_mib=8192, mem_mib=6144) as lab:
        cluster = Cluster(lab)
        cluster.start()
        host = cluster.hosts[0]
        for name in MANY:
            host.run("xargs -n1 zfs create", input="\n".join(names(cluster, name)), timeout=600)
            cluster.declare(name, members=["vm1"], runner="none", interval="24h", keep=SETS + 50)
        cluster.apply(timeout=1800)
        for name in MANY:
            wait_until(lambda n=name: cluster.leader(n) is host, 1800, f"{name} is led", interval_s=10)
        cluster.daemon_stop(host)
        host.run(f"grep ' zfs ' /proc/self/mounts | sort -rk2 | awk '{{print $2}}' | xargs -n1 umount; zpool export {host.pool}; sync",
                 timeout=300)
        host.power_cut()
        sets_make(cluster)
        host.boot()
        daemon_start(cluster)
        yield cluster


def listing_s(host):
    """Seconds that a list of all snapshots takes, by the host's clock."""
    return float(host.run("bash -c 'TIMEFORMAT=%R; time zfs list -Hp -t all -o name,guid,createtxg >/root/list'",
                          timeout=3600).err)


@pytest.fixture
def keeper(many):
    """The keeper of vm1 with the probe as its engine, on a copy of the state that zbatond has, which does not run."""
    host = many.hosts[0]
    many.daemon_stop(host)
    host.put(os.path.join(BUILD, "test/lab/keeper/keeper_probe"), PROBE, mode=0o755)
    keeper = Keeper(host, host.name, host.pool)
    keeper.root = f"{host.pool}/services"
    keeper.version = 99
    keeper.configure()
    host.run(f"cp -a /var/lib/zbaton {keeper.state}")
    keeper.start()
    yield keeper
    keeper.stop()
    daemon_start(many)


def test_a_look_takes_a_tenth_of_a_listing(keeper):
    """The observation of both services, as an engine asks for it again and again."""
    host = keeper.host
    for name in MANY:
        keeper.define(name, members=["vm1"], leader="vm1", runner="none", start=None).good()
        keeper.observe(name)

    def look_s():
        replies = [keeper.observe(name) for name in MANY]
        for reply in replies:
            assert len(reply["datasets"]) == DATASETS
            [newest] = {d["newest"] for d in reply["datasets"]}
            assert newest > f"zbaton-000001-{FIRST + SETS - 1:08d}"
        return sum(reply["elapsed_ms"] for reply in replies) / 1000
    looks, listings = [], []
    for _ in range(ROUNDS):
        looks.append(look_s())
        listings.append(listing_s(host))
    assert int(host.run("grep -c @zbaton- /root/list").out) >= len(MANY) * DATASETS * SETS
    look, listing = statistics.median(looks), statistics.median(listings)
    print(f"{len(MANY) * DATASETS} datasets x {SETS} sets: a look takes {look:.2f} s, zfs list {listing:.2f} s, "
          f"1/{listing / look:.0f} ({looks}, {listings})")
    assert look <= listing / 10


def daemon_s(cluster):
    """Seconds of processor time that the keeper and the engine of vm1 have taken."""
    host = cluster.hosts[0]
    pids = cluster.keeper_pid(host), cluster.engine_pid(host)
    return sum(int(host.run(f"awk '{{print $14 + $15}}' /proc/{pid}/stat").out) for pid in pids) / 100


def at_rest(cluster):
    """For half a minute. The host's load would not tell: ticks find an emulated one busy that hardly is."""
    spent = [daemon_s(cluster)]
    for _ in range(3):
        time.sleep(10)
        spent.append(daemon_s(cluster))
    return all(0 <= now - then < 10 * BUSY for then, now in itertools.pairwise(spent))


def gaps(arrivals, since, until):
    """Seconds between sets that came in between two times."""
    times = [at for at in arrivals if since <= at <= until]
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def test_pruning_holds_no_other_service_up(many, tmp_path):
    cluster, (one, two) = many, many.hosts
    # The daemon was started anew: the first sets of a term, and what there is to prune.
    wait_until(lambda: at_rest(cluster), 1800, f"zbatond of {one.name} does little")
    cluster.declare(QUICK, runner="none", interval=f"{INTERVAL_S}s", keep=10)
    cluster.apply()
    cluster.wait_current(QUICK)
    writer = one.popen(f"while :; do date >/srv/{QUICK}/file; sleep 0.2; done")
    with open(tmp_path / "arrivals", "wb") as file:
        sampler = two.popen(ARRIVALS.format(dataset=cluster.dataset(two, QUICK)), stdout=file)

    def arrivals():
        with open(tmp_path / "arrivals", encoding="ascii") as seen:
            return [float(line.split()[0]) for line in seen]
    begun = two.now()
    time.sleep(1)
    wait_until(lambda: len(gaps(arrivals(), begun, two.now())) >= 20, 300, "some sets came in")

    there = sum(snapshots(cluster, MANY[0]).values())
    pruning = two.now()
    cluster.declare(MANY[0], members=["vm1"], runner="none", interval="24h", keep=KEPT)
    cluster.apply()
    cluster.zbaton(f"prune {MANY[0]}")

    def left():
        return sum(snapshots(cluster, MANY[0]).values()) == DATASETS * KEPT
    wait_until(left, 3600, f"{KEPT} sets are left", 10)
    ended = two.now()
    for process in (writer, sampler):
        process.terminate()
    alone, beside = gaps(arrivals(), begun, pruning), gaps(arrivals(), pruning, ended)
    print(f"{there - DATASETS * KEPT} snapshots pruned in {ended - pruning:.0f} s beside {len(beside)} sets of another service, "
          f"every {INTERVAL_S} s: {statistics.median(beside):.1f} s between two of them, the longest {max(beside):.1f} s; "
          f"alone {statistics.median(alone):.1f} s, the longest {max(alone):.1f} s")
    assert there - DATASETS * KEPT >= DATASETS * (SETS - KEPT)
    assert set(snapshots(cluster, MANY[0]).values()) == {KEPT}
    assert len(beside) >= (ended - pruning) / (3 * statistics.median(alone)) and max(beside) <= 3 * max(alone)
