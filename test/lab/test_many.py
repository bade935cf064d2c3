"""Many datasets with many snapshots: what a look at them costs, and whether retention holds up other services."""

import statistics
import threading
import time

import pytest
from test_keeper import PROBE, host, keepers, ship  # noqa: F401

pytestmark = pytest.mark.long

SERVICES = ("many1", "many2")
DATASETS = 250  # of each
SNAPSHOTS = 200
PRUNED = 10000


def timed(host, command):  # noqa: F811
    """Seconds that a command takes on the host itself."""
    return float(host.run(f"bash -c 'TIMEFORMAT=%R; time {command} >/dev/null'", timeout=600).err)


@pytest.fixture
def many(keepers):  # noqa: F811
    """va leads trees of so many datasets with so many snapshots each, and another service, which vb follows."""
    a, b = keepers
    vm = a.host
    for pool in ("pa", "pb"):
        vm.run(f"truncate -s 8G /var/tmp/{pool}-more.img; zpool add {pool} /var/tmp/{pool}-more.img")
    for name in SERVICES:
        vm.run(f"zfs create -o canmount=noauto {a.root}/{name}; for i in $(seq {DATASETS - 1}); do echo {a.root}/{name}/$i; done | "
               "xargs -n1 zfs create -o canmount=noauto", timeout=600)
        a.define(name, members=["va"], runner="none", start=None, mountpoint=f"/srv/web-{name}", keep="2").good()
        a.ask("create", name, timeout=900).good()
        a.ask("grant", name, term=1, node="va", version=1, nonce=1, timeout=900).good()
        a.ask("promote", name, term=1, timeout=900).good()
    for keeper in keepers:
        keeper.define().good()
    a.ask("create").good()
    a.take(1).good()
    b.ask("learn", term=1, node="va").good()
    yield a, b
    vm.run("zpool destroy pa; zpool destroy pb; rm -f /var/tmp/*-more.img", timeout=300, check=False)


def test_a_look_costs_a_tenth_of_a_listing_and_pruning_holds_nobody_up(many):
    a, b = many
    vm = a.host
    for name in SERVICES:
        for seq in range(SNAPSHOTS):
            a.snapshot(1, seq, name, timeout=600).good()
        assert len(a.ask("observe", name, timeout=600).good()["datasets"]) == DATASETS
    looks, listings = [], []
    for _ in range(3):
        looks.append(sum(timed(vm, f"{PROBE} ask {a.conf} op=observe service={name}") for name in SERVICES))
        listings.append(timed(vm, f"zfs list -Hp -t all -o name,guid,createtxg -r {a.root}"))
    look, listing = statistics.median(looks), statistics.median(listings)
    print(f"{len(SERVICES) * DATASETS} datasets x {SNAPSHOTS} snapshots: a look {look:.2f} s, zfs list {listing:.2f} s, ratio {look / listing:.3f}")

    before = a.snapshot(1, 0).good()["manifest"]
    ship(a, b, before)
    cycles = {"alone": [], "beside": []}

    def cycle(seq, kind):
        nonlocal before
        begun = time.monotonic()
        made = a.snapshot(1, seq).good()["manifest"]
        assert ship(a, b, made, before)["receive"].good()
        before = made
        cycles[kind].append(time.monotonic() - begun)

    for seq in range(1, 6):
        cycle(seq, "alone")
    pruned = []

    def prune():
        while sum(pruned) < PRUNED:
            pruned.append(a.ask("prune", SERVICES[0], timeout=600).good()["count"])
            assert pruned[-1] > 0, sum(pruned)
    worker = threading.Thread(target=prune)
    worker.start()
    seq = 6
    while worker.is_alive():
        cycle(seq, "beside")
        seq += 1
    worker.join()
    alone, beside = statistics.median(cycles["alone"]), max(cycles["beside"])
    print(f"{sum(pruned)} snapshots pruned beside {len(cycles['beside'])} cycles of another service: the longest {beside:.2f} s, "
          f"alone {alone:.2f} s")
    assert sum(pruned) >= PRUNED and len(cycles["beside"]) >= 5
    assert look <= listing / 10, (looks, listings)
