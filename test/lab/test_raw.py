"""An encrypted service on three hosts: followers have no key loaded, nothing is lost by moves, and who has not the
key is not moved to.
"""

import json
import shlex

import pytest
from zblab import wait_until
from zblab.cluster import Recorder

KEYS = "/etc/zbaton/keys"
# What anybody who may use the control socket can ask, without `zbaton rekey`.
ASK = """
import json, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect("/run/zbaton/control.sock")
s.sendall(json.dumps({"v": 1, "cmd": "rekey", "args": {"service": sys.argv[1]}}).encode() + b"\\n")
print(s.makefile().readline(), end="")
"""


def key_give(cluster, name, hosts):
    """The same key, in hexadecimal, for these hosts alone."""
    text = cluster.hosts[0].run("head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \\n'").out
    for host in cluster.hosts:
        host.run(f"mkdir -p {KEYS}; chmod 700 {KEYS}; rm -f {KEYS}/{name}")
    for host in hosts:
        host.run(f"umask 077; cat >{KEYS}/{name}", input=text + "\n")


def keystatus(cluster, host, name):
    return set(host.run(f"zfs get -Hr -t filesystem -o value keystatus {cluster.dataset(host, name)}").out.split())


def assert_loaded_on(cluster, name, leader):
    for host in cluster.hosts:
        want = {"available"} if host is leader else {"unavailable"}
        wait_until(lambda h=host, w=want: keystatus(cluster, h, name) == w, 30,
                   f"the key of {name} is {want} on {host.name}")


def declare(cluster, name, **keys):
    cluster.declare(name, flavour="raw", key_file=f"{KEYS}/{name}", key_format="hex", **keys)


@pytest.mark.parametrize("moves", (2, pytest.param(20, marks=pytest.mark.long)))
def test_the_lead_goes_back_and_forth(cluster, moves, tmp_path):
    name, port = f"veil-{moves}", 6430 + moves
    key_give(cluster, name, cluster.hosts)
    declare(cluster, name, start=f"redis {port}", keep=200)
    cluster.apply()
    cluster.wait_current(name, "vm1")
    one, two, three = cluster.hosts
    one.run(f"zfs create {cluster.dataset(one, name, 'log')}")
    recorder = Recorder(cluster.lab, tmp_path, port=port)
    try:
        recorder.wait_more(20)
        for i in range(moves):
            target = (two, one)[i % 2]
            cluster.move(name, target.name)
            wait_until(lambda t=target: cluster.leader(name, t) is t, 60, f"{name} runs on {target.name}")
            assert cluster.writers(name) == [target]
            assert_loaded_on(cluster, name, target)
            recorder.wait_more(5)
            target.run(f"echo {i} >/srv/{name}/log/move-{i}; sync -f /srv/{name}/log")
    finally:
        recorder.stop()
    last = (two, one)[(moves - 1) % 2]
    assert recorder.assert_nothing_lost(last) > 5 * moves
    cluster.zbaton(f"sync {name}")
    cluster.wait_current(name, last.name)
    # What every member holds is the same to read.
    assert "is the same on" in cluster.zbaton(f"verify --full {name}", host=last, timeout=180).out
    assert_loaded_on(cluster, name, last)
    # And where it never led.
    cluster.move(name, "vm3")
    wait_until(lambda: cluster.leader(name, three) is three, 60, f"{name} runs on vm3")
    assert recorder.assert_nothing_lost(three) > 5 * moves
    for i in range(moves):
        assert three.run(f"cat /srv/{name}/log/move-{i}").out == f"{i}\n"


def test_who_has_not_the_key_is_not_moved_to(cluster, tmp_path):
    name, port = "veiled", 6460
    one, two, _ = cluster.hosts
    key_give(cluster, name, cluster.hosts)
    declare(cluster, name, start=f"redis {port}")
    cluster.apply()
    cluster.wait_current(name, "vm1")
    recorder = Recorder(cluster.lab, tmp_path, port=port)
    try:
        recorder.wait_more(20)
        two.run(f"mv {KEYS}/{name} {KEYS}/{name}.away")
        wait_until(lambda: any(e["rule"] == "C-key" for e in cluster.events(name)), 90, "vm1 is told")
        refused = cluster.move(name, "vm2", check=False)
        assert refused.rc == 3 and "no key-file" in refused.err, refused
        assert cluster.leader(name) is one
        recorder.wait_more(5)
        key_give(cluster, f"{name}.other", [two])
        two.run(f"mv {KEYS}/{name}.other {KEYS}/{name}")
        refused = wait_until(lambda: (r := cluster.move(name, "vm2", check=False)) and "another one" in r.err and r, 90,
                             "the key is another one")
        assert refused.rc == 3
        drilled = cluster.zbaton(f"drill {name}", host=two, check=False)
        assert drilled.rc != 0 and "does not hold the key" in drilled.out + drilled.err, drilled
        recorder.wait_more(5)
        two.run(f"mv {KEYS}/{name}.away {KEYS}/{name}")
        cluster.zbaton(f"drill {name}", host=two)
        wait_until(lambda: cluster.move(name, "vm2", check=False).rc == 0, 90, "it is moved")
        recorder.wait_more(5)
    finally:
        recorder.stop()
    assert recorder.assert_nothing_lost(two) > 20
    assert_loaded_on(cluster, name, two)


def test_a_program_gives_the_key(cluster):
    name = "vaulted"
    one, two, _ = cluster.hosts
    key_give(cluster, name, cluster.hosts)
    for host in cluster.hosts:
        cluster.command(host, "vault-key", f"#!/bin/sh\n[ ! -e /run/sealed ] || {{ echo the vault is sealed >&2; exit 1; }}\ncat {KEYS}/$1\n")
    cluster.declare(name, flavour="raw", key_command=f"vault-key {name}", key_format="hex", runner="none")
    cluster.apply()
    cluster.wait_current(name, "vm1")
    one.run(f"echo kept >/srv/{name}/file")
    cluster.move(name, "vm2")
    assert_loaded_on(cluster, name, two)
    assert two.run(f"cat /srv/{name}/file").out == "kept\n"
    # A leader goes on without the vault; who cannot get the key is not moved to.
    for host in (one, two):
        host.run("touch /run/sealed")
        cluster.daemon_stop(host, "KILL")
        cluster.daemon_start(host)
    refused = wait_until(lambda: (r := cluster.move(name, "vm1", host=two, check=False)) and "key-command gives none" in r.err and r, 120,
                         "vm1 has no key")
    assert refused.rc == 3
    two.run(f"echo more >/srv/{name}/file")
    cluster.zbaton(f"sync {name}", host=two)
    assert_loaded_on(cluster, name, two)
    assert "key-command: vault-key vaulted: exit status 1: the vault is sealed" in one.run("cat /var/log/zbatond.log").out
    for host in (one, two):
        host.run("rm /run/sealed")
    wait_until(lambda: cluster.move(name, "vm1", host=two, check=False).rc == 0, 120, "it is moved back")
    assert_loaded_on(cluster, name, one)
    assert one.run(f"cat /srv/{name}/file").out == "more\n"


def test_the_key_is_changed(cluster, tmp_path):
    """Under a writer. Who has the earlier key only follows, until its file is replaced."""
    name, port = "rekeyed", 6470
    one, two, three = cluster.hosts
    key_give(cluster, name, cluster.hosts)
    declare(cluster, name, start=f"redis {port}")
    cluster.apply()
    cluster.wait_current(name, "vm1")
    one.run(f"zfs create {cluster.dataset(one, name, 'log')}")
    cluster.zbaton(f"sync {name}")
    one.run(f"echo before >/srv/{name}/log/file")

    def opens(host, key):
        tried = f"zfs load-key -n -L file://{KEYS}/{key} {cluster.dataset(host, name)}"
        return host.run(tried, check=False).rc == 0

    def rekey(host, check=True):
        said = cluster.zbaton(f"rekey {name} --key-file {KEYS}/{name}", host=host, check=check)
        assert host.run(f"ls /var/lib/zbaton/keeper/{name}.rekey", check=False).rc != 0, "it ends with the command"
        return said

    recorder = Recorder(cluster.lab, tmp_path, port=port)
    try:
        recorder.wait_more(20)
        same = rekey(one).out
        assert "nothing was changed" in same and same.count("has the key") == 3, same
        for host in cluster.hosts:
            host.run(f"cp -p {KEYS}/{name} {KEYS}/{name}.old")
        # What is no key changes nothing.
        one.run(f"echo 00ff >{KEYS}/{name}")
        refused = rekey(one, check=False)
        assert refused.rc not in (0, 6) and "not 64 hexadecimal digits" in refused.err, refused
        key_give(cluster, f"{name}.new", [one, three])
        for host in (one, three):
            host.run(f"mv {KEYS}/{name}.new {KEYS}/{name}")
        # Only for root of the host that leads, who has to mean what is declared; the engine alone cannot have it.
        elsewhere = rekey(two, check=False)
        assert elsewhere.rc == 3 and "run it on vm1, which leads" in elsewhere.err, elsewhere
        other = cluster.zbaton(f"rekey {name} --key-file {KEYS}/{name}.old", check=False)
        assert other.rc == 3 and f"another source of the key than is declared: key-file {KEYS}/{name}" in other.err, other
        unsaid = cluster.zbaton(f"rekey {name}", check=False)
        assert unsaid.rc == 2, unsaid
        asked = json.loads(one.run(f"python3 -c {shlex.quote(ASK)} {name}").out)
        assert asked["rc"] == 3 and "wants the consent of this host's root" in asked["error"], asked
        for host in cluster.hosts:
            assert opens(host, f"{name}.old"), host.name
        said = rekey(one, check=False)
        assert said.rc == 6, said
        for line in ("vm1: has the key", "vm3: has the key", "key-file or key-command has another one"):
            assert line in said.out, said
        assert any(e["rule"] == "A-rekey" for e in cluster.events(name))
        for host in cluster.hosts:
            assert not opens(host, f"{name}.old"), host.name
            assert opens(host, name) == (host is not two), host.name
        recorder.wait_more(5)
        refused = wait_until(lambda: (r := cluster.move(name, "vm2", check=False)) and "another one" in r.err and r, 90,
                             "vm2 has the earlier key")
        assert refused.rc == 3
        assert cluster.leader(name) is one
        # vm3 leads with the other key, and vm1 does not open its copy with the earlier one any more.
        wait_until(lambda: cluster.move(name, "vm3", check=False).rc == 0, 90, "it is moved to vm3")
        assert_loaded_on(cluster, name, three)
        assert three.run(f"cat /srv/{name}/log/file").out == "before\n"
        recorder.wait_more(5)
        two.run(f"cat >{KEYS}/{name}", input=one.run(f"cat {KEYS}/{name}").out)
        wait_until(lambda: cluster.move(name, "vm2", check=False).rc == 0, 90, "it is moved to vm2")
        recorder.wait_more(5)
        # Again, where the members led before: their children have their keys from the tree's.
        key_give(cluster, f"{name}.new", cluster.hosts)
        for host in cluster.hosts:
            host.run(f"mv {KEYS}/{name}.new {KEYS}/{name}")
        again = rekey(two).out
        assert again.count("has the key") == 3, again
        wait_until(lambda: cluster.move(name, "vm1", check=False).rc == 0, 90, "it is moved to vm1")
        recorder.wait_more(5)
    finally:
        recorder.stop()
    assert recorder.assert_nothing_lost(one) > 30
    assert_loaded_on(cluster, name, one)
    assert one.run(f"cat /srv/{name}/log/file").out == "before\n"
    cluster.zbaton(f"sync {name}")
    assert "is the same on" in cluster.zbaton(f"verify --full {name}", timeout=180).out


def test_what_is_not_taken_in(cluster):
    one = cluster.hosts[0]
    name = "veil-old"
    top = cluster.dataset(one, name)
    key_give(cluster, name, cluster.hosts)
    one.run(f"zfs create -o mountpoint=/srv/{name} {top}")
    declare(cluster, name, runner="none", mountpoint=f"/srv/{name}")
    refused = cluster.apply(check=False)
    assert refused.rc != 0 and f"{top} is not encrypted" in refused.out + refused.err, refused
    one.run(f"zfs destroy {top}; zfs create -o encryption=on -o keyformat=hex -o keylocation=file://{KEYS}/{name} "
            f"-o mountpoint=/srv/{name} {top} && echo before >/srv/{name}/file")
    cluster.declare(name, runner="none", mountpoint=f"/srv/{name}")
    refused = cluster.apply(check=False)
    said = refused.out + refused.err
    assert refused.rc != 0 and f"{top} is encrypted with a key of its own" in said and 'flavour = "raw"' in said, refused
    declare(cluster, name, runner="none", mountpoint=f"/srv/{name}")
    cluster.apply()
    cluster.wait_current(name, "vm1")
    assert_loaded_on(cluster, name, one)
    cluster.move(name, "vm2")
    assert wait_until(lambda: cluster.hosts[1].run(f"cat /srv/{name}/file").out, 30, "it is there") == "before\n"
    # The flavour stays.
    cluster.declare(name, runner="none", mountpoint=f"/srv/{name}")
    refused = cluster.apply(check=False)
    assert refused.rc != 0 and "its flavour is" in refused.out + refused.err, refused
    declare(cluster, name, runner="none", mountpoint=f"/srv/{name}")
