"""src/zfs and src/os on real OpenZFS: runs the program of test/lab/zfs in a guest, case by case.

Its results are one pytest case each. The program is taken from the build directory named by
ZB_BUILD (default: build); lines "measured: ..." of it are printed (pytest -rP shows them).
"""

import glob
import os
import re
import xml.etree.ElementTree as ElementTree

import pytest
from zblab import Lab

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(HERE, "..", "..", os.environ.get("ZB_BUILD", "build"))
REMOTE = "/opt/zfs_test"

# Two pools on files. zta is exported and imported by a test, so both stand outside any cache file.
POOLS = f"""
set -e
for pool in zta ztb; do
    zpool destroy $pool 2>/dev/null || true
    rm -f /var/tmp/$pool.img
    truncate -s 512M /var/tmp/$pool.img
    zpool create -o ashift=12 -o cachefile=none -O mountpoint=none -O canmount=off \\
        $pool /var/tmp/$pool.img
done
"""


def cases():
    """The names of all tests, from the TESTS(...) tables of the sources."""
    found = []
    for path in sorted(glob.glob(os.path.join(HERE, "zfs", "test_*.c"))):
        with open(path, encoding="utf-8") as file:
            found += re.findall(r"\bTEST\((\w+)\)", file.read())
    return found


@pytest.fixture(scope="module")
def results():
    """Everything the program reported: {case: None or the text of its failure}."""
    with Lab(hosts=1) as lab:
        host = lab["vm1"]
        host.put(os.path.join(BUILD, "test/lab/zfs/zfs_test"), f"{REMOTE}/zfs_test", mode=0o755)
        host.put("/usr/lib/x86_64-linux-gnu/libcmocka.so.0", f"{REMOTE}/libcmocka.so.0")
        host.run(POOLS, timeout=120)
        done = host.run(
            f"cd {REMOTE} && rm -f *.xml && CMOCKA_MESSAGE_OUTPUT=xml"
            f" CMOCKA_XML_FILE={REMOTE}/%g.xml LD_LIBRARY_PATH={REMOTE} ./zfs_test 2>&1",
            timeout=1200, check=False)
        print("\n".join(re.findall(r"measured: .*", done.out)))
        xml = host.run(f"cat {REMOTE}/*.xml").out
        yield parse(xml), done


def parse(text):
    """The cases of several JUnit documents one after the other."""
    found = {}
    for document in re.split(r"(?=<\?xml)", text):
        if not document.strip():
            continue
        for case in ElementTree.fromstring(document).iter("testcase"):
            bad = [child for child in case if child.tag in ("failure", "error", "skipped")]
            found[case.get("name")] = bad[0].text or bad[0].tag if bad else None
    return found


@pytest.mark.parametrize("case", cases())
def test_case(results, case):
    """One test of the program."""
    reported, done = results
    assert case in reported, f"not reported; the program said:\n{done.out[-4000:]}"
    assert reported[case] is None, reported[case]
