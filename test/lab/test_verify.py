"""Whether members hold the same files under one set."""

import json
import re

import pytest
from zblab import wait_until

BIG = "random data"


def verify(cluster, args, host=None):
    """The exit code, and what -j says."""
    said = cluster.zbaton(f"verify -j {args}", host=host, check=False, timeout=180)
    return said.rc, json.loads(said.out)


def peeks(cluster, host):
    return json.loads(cluster.zbaton("peek list -j", host=host).out)["peeks"]


def block_of(host, dataset, inode):
    """Where the first block of a file is: (device, offset, size), in units of 512 bytes."""
    said = host.run(f"zdb -ddddd {dataset} {inode} 2>/dev/null || zdb -e -p /dev -ddddd {dataset} {inode}", timeout=180).out
    at = re.search(r"^ *0 +L0 0:([0-9a-f]+):([0-9a-f]+) ", said, re.M)
    assert at, said
    device = [line.split("\t")[1] for line in host.run(f"zpool list -vHP {host.pool}").out.splitlines() if "\t/dev/" in line]
    return device[0], (int(at[1], 16) + 0x400000) // 512, int(at[2], 16) // 512


@pytest.mark.long
def test_members_hold_the_same_files(cluster):
    one, two, three = cluster.hosts
    three.run(f"zfs set primarycache=metadata {three.pool}/services")  # what is read comes from the disk
    cluster.declare("sums", runner="none", interval="1h")
    cluster.apply()
    cluster.wait_current("sums", "vm1")
    one.run(f"zfs create {cluster.dataset(one, 'sums', 'log')}")
    cluster.zbaton("sync sums")
    one.run("cd /srv/sums && mkdir -p a/b && for i in $(seq 100); do echo $i >a/b/$i; done && ln -s nowhere link && mkfifo pipe && "
            "ln a/b/1 hard && echo log >log/file && chmod 600 log/file && touch \"$(printf 'two\\nlines')\" && "
            f"head -c 65536 /dev/urandom >'{BIG}'")
    cluster.zbaton("sync sums")
    newest = cluster.member("sums", "vm1")["newest_set"]

    rc, said = verify(cluster, "sums --full")
    assert rc == 0 and said["same"], said
    assert said["set"] == f"{newest['term']}/{newest['seq']}" and said["skipped"] == []
    assert [n["node"] for n in said["nodes"]] == ["vm1", "vm2", "vm3"]
    for node in said["nodes"]:
        # Two roots, a, b, 101 names of the loop's files, link, pipe, log/file, the one of two lines, the big one.
        assert (node["names"], node["files"], node["read_files"], node["unreadable"]) == (110, 104, 104, 0), said
        assert node["digest"] == said["nodes"][0]["digest"] and node["read_bytes"] > 65536
    some = cluster.zbaton("verify sums --sample 20% --nodes vm2,vm3", host=two)
    assert re.match(r"sums: set \d+/\d+ is the same on vm2, vm3\n", some.out), some.out
    read = [int(n) for n in re.findall(r"content of (\d+) of 104 files", some.out)]
    assert len(read) == 2 and read[0] == read[1] and 2 <= read[0] <= 60, some.out
    assert cluster.zbaton("verify sums --nodes vm1,vm9", check=False).rc == 1
    assert cluster.zbaton("verify sums --nodes vm1", check=False).rc == 3
    assert cluster.zbaton("verify sums --sample 101%", check=False).rc == 2
    assert cluster.zbaton("verify sums 1/99", check=False).rc == 1

    # A disk that returns other bytes than were written to it.
    inode = one.run(f"stat -c %i '/srv/sums/{BIG}'").out.strip()
    device, offset, size = block_of(three, cluster.dataset(three, "sums"), inode)
    three.run(f"dd if={device} of=/run/saved bs=512 skip={offset} count={size} iflag=direct 2>/dev/null && "
              f"dd if=/dev/urandom of={device} bs=512 seek={offset} count={size} oflag=direct conv=notrunc 2>/dev/null")
    try:
        rc, said = verify(cluster, "sums --full")
        assert rc == 1 and not said["same"] and said["differing"] == 1, said
        assert said["nodes"][2]["errors"] == [{"path": BIG, "error": "Input/output error"}], said
        assert said["names"] == [{"path": BIG, "same": [["vm1", "vm2"], ["vm3"]], "missing": []}], said
        text = cluster.zbaton("verify sums --full --nodes vm2,vm3", host=two, check=False)
        assert text.rc == 1 and f"  {BIG}: on vm2; otherwise on vm3\n" in text.out, text
        assert f"  {BIG}: cannot be read on vm3: Input/output error\n" in text.out, text
        told = [e for e in cluster.events("sums") if e["rule"] == "A-verify-differs"]
        assert len(told) == 1 and BIG in told[0]["text"], told
    finally:
        three.run(f"dd if=/run/saved of={device} bs=512 seek={offset} oflag=direct conv=notrunc 2>/dev/null; "
                  f"zpool clear {three.pool}; zpool scrub -w {three.pool}; zfs inherit primarycache {three.pool}/services", timeout=180)

    # What takes long: not twice at once, not for longer than is said, and not for nobody.
    # A hole does not, however large it is; a file is read once for each of its names.
    one.run("truncate -s 200G /srv/sums/hole && mkdir /srv/sums/long && cd /srv/sums/long && yes | head -c 64M >0 && "
            "for i in $(seq 500); do ln 0 $i; done", timeout=180)
    cluster.zbaton("sync sums")
    said = cluster.zbaton("verify sums --full --timeout 2s --nodes vm1,vm2", check=False)
    assert said.rc == 1 and "not all of it is read after" in said.err, said
    one.run("setsid zbaton verify sums --full --nodes vm1,vm3 >/dev/null 2>&1 </dev/null & echo $! >/run/verify.pid")
    wait_until(lambda: peeks(cluster, one) and peeks(cluster, three), 30, "both of them read")
    said = cluster.zbaton("verify sums --full", check=False)
    assert said.rc == 1 and "by order of vm1 already" in said.err, said
    said = cluster.zbaton("verify sums --full --nodes vm2,vm3", host=two, check=False)
    assert said.rc == 1 and "vm3: a set is being verified on vm3 already" in said.err, said
    assert peeks(cluster, one) and peeks(cluster, three), "the first one goes on"
    one.run("kill $(cat /run/verify.pid)")
    wait_until(lambda: not any(peeks(cluster, host) for host in cluster.hosts), 30, "none of them reads")
    one.run("rm -r /srv/sums/long")
    cluster.zbaton("sync sums")

    # Who is away is not looked at, and said so. Nothing is left of it.
    cluster.daemon_stop(three)
    wait_until(lambda: cluster.status()["cluster"]["nodes_up"] == 2, 30, "vm3 is seen to be away")
    rc, said = verify(cluster, "sums")
    assert rc == 0 and said["skipped"] == ["vm3"], said
    assert cluster.zbaton("verify sums --nodes vm1,vm3", check=False).rc == 1
    cluster.daemon_start(three)
    cluster.wait_up(3, one)
    for host in cluster.hosts:
        left = host.run(f"ls -A /run/zbaton/peek; zfs list -Hr -o name {host.pool}/services/.peek", check=False).out
        assert left in ("", f"{host.pool}/services/.peek\n"), (host.name, left)
