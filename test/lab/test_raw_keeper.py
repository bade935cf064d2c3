"""Services of the raw flavour on real OpenZFS: two keepers on one guest, as in test_keeper.py. Followers
have no key loaded; who leads loads it, and lets go of it with the lead.
"""

import json

import pytest
from test_keeper import FLAGS, PROBE, host, keepers, ship, words_of  # noqa: F401
from test_rescue import in_s, peeks, rescue, rescues
from zblab import wait_until

pytestmark = pytest.mark.long

KEY = "/root/web.key"
RAW = {"flavour": "raw", "key-file": KEY, "runner": "none", "start": None}
FORMATS = {"raw": "head -c 32 /dev/urandom", "hex": "head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \\n'; echo",
           "passphrase": "echo 'correct horse battery staple'"}
OTHERS = {**FORMATS, "passphrase": "echo 'staple battery horse correct'"}


def key_make(host, path=KEY, key_format="raw"):
    host.run(f"umask 077; {{ {FORMATS[key_format]}; }} >{path}")


def values(keeper, name, below=""):
    """The value for every file system of the tree."""
    return keeper.host.run(f"zfs get -Hrp -t filesystem -o value {name} {keeper.root}/web{below}").out.split()


def assert_locked(keeper):
    assert set(values(keeper, "keystatus")) == {"unavailable"}


def led_raw(keepers, key_format="raw"):
    """va leads `web` in term 1 with a child, set 1/0 is on both, and vb has no key loaded."""
    a, b = keepers
    key_make(a.host, key_format=key_format)
    for keeper in keepers:
        keeper.define(**RAW, **{"key-format": key_format}).good()
    a.ask("create").good()
    assert_locked(a)
    a.take(1).good()
    a.host.run(f"zfs create {a.root}/web/log && echo 1 >/srv/web/file")
    manifest = a.snapshot(1, 0).good()["manifest"]
    a.host.run("echo 2 >/srv/web/log/file")
    b.ask("learn", term=1, node="va").good()
    ship(a, b, manifest)["receive"].good()
    assert_locked(b)
    return a, b, manifest


def pass_on(source, target, term, base):
    """A planned move of the lead; base: the manifest that the target stands on. Returns the final one."""
    second = dict(term=term, base_term=base["term"], base_seq=base["seq"])
    final = source.snapshot(seq=base["seq"] + 1 if base["term"] == term else 0, flags=["sync"], **second).good()["manifest"]
    source.ask("seal", term=term, manifest=final).good()
    ship(source, target, final, base, term=term)["receive"].good()
    source.ask("release", term=term + 1, node=target.node, manifest=final).good()
    assert_locked(source)
    assert_locked(target)
    target.take(term + 1, manifest=final, flags=["planned"]).good()
    source.ask("learn", term=term + 1, node=target.node).good()
    return final


@pytest.mark.parametrize("key_format,moves", [("hex", 6), ("passphrase", 2), ("raw", 20)])
def test_the_lead_goes_back_and_forth(keepers, key_format, moves):
    a, b, base = led_raw(keepers, key_format)
    host = a.host
    for i in range(moves):
        source, target = (a, b) if i % 2 == 0 else (b, a)
        host.run(f"echo {i} >/srv/web/file-{i}; dd if=/dev/urandom of=/srv/web/log/bulk-{i} bs=64k count=4 status=none")
        sums = host.run("cd /srv/web && find . -type f | sort | xargs sha256sum").out
        base = pass_on(source, target, i + 1, base)
        assert host.run("cd /srv/web && find . -type f | sort | xargs sha256sum").out == sums, "nothing lost"
        assert set(values(target, "keystatus")) == {"available"}
        assert set(values(target, "encryptionroot")) == {f"{target.root}/web"}, "children of the tree's root"
    assert set(values(source, "encryptionroot")) == {f"{source.root}/web"}
    assert target.observe()["key"] == 0 and source.observe()["key"] == 0
    # Who led before, and has lost the key, follows all the same: nothing of it is to be replayed.
    after = target.snapshot(moves + 1, 0, base_term=moves, base_seq=base["seq"]).good()["manifest"]
    ship(target, source, after, base, term=moves + 1)["receive"].good()
    host.run(f"mv {KEY} {KEY}.away")
    source.restart()
    assert source.observe()["key"] == 1
    host.run(f"mv {KEY}.away {KEY}")
    assert source.observe()["key"] == 0
    # A keeper that starts again goes on; one whose host was started again replays logs with the key.
    target.restart()
    assert target.observe()["mounted_here"] == 1
    target.stop("KILL")
    host.run("umount /srv/web/log /srv/web; zfs unload-key -a; true")
    target.start()
    assert target.observe()["mounted_here"] == 0
    assert_locked(target)
    target.take(moves + 2).good()
    assert host.run("cd /srv/web && find . -type f | sort | xargs sha256sum").out == sums
    target.ask("demote").good()
    assert_locked(target)


def test_a_volume_is_led_with_its_key(keepers):
    a, b, first = led_raw(keepers)
    host = a.host
    host.run(f"zfs create -V 16M {a.root}/web/disk")
    base = a.snapshot(1, 1, base_term=1, base_seq=0).good()["manifest"]
    assert [e["rel"] for e in base["entries"]] == ["", "disk", "log"]
    ship(a, b, base, first)["receive"].good()
    for source, target, term in ((a, b, 1), (b, a, 2)):
        host.run(f"echo {term} | dd of=/dev/zbaton/web/disk bs=4k seek=10 conv=fsync,notrunc status=none")
        base = pass_on(source, target, term, base)
        assert host.run("dd if=/dev/zbaton/web/disk bs=4k skip=10 count=1 status=none | head -c 1").out == str(term)
        assert host.run("readlink /dev/zbaton/web/disk").out.strip() == f"/dev/zvol/{target.root}/web/disk"
        assert host.run(f"test -e /dev/zvol/{source.root}/web/disk", check=False).rc != 0
    # The intent log of a volume wants the key too: it is replayed before the tree is led again.
    a.stop("KILL")
    put = "dd of=/dev/zbaton/web/disk bs=4k seek=10 conv=fsync,notrunc status=none"
    host.run(f"umount /srv/web/log /srv/web; exec 3<>/dev/zbaton/web/disk; echo 6 | {put}; zpool sync pa; "
             f"zpool freeze pa; echo 7 | {put}; exec 3>&-; zpool export -f pa; zpool import -N -d /var/tmp pa", timeout=60)
    a.start()
    assert_locked(a)
    a.take(4).good()
    assert host.run("dd if=/dev/zbaton/web/disk bs=4k skip=10 count=1 status=none | head -c 1").out == "7"
    a.ask("demote").good()
    assert_locked(a)


@pytest.mark.parametrize("key_format", sorted(FORMATS))
def test_the_key_is_changed(keepers, key_format):
    """There, and on vb again: then the datasets of va, which led before, have their keys from the tree's."""
    a, b, base = led_raw(keepers, key_format)
    host = a.host
    mine, its = KEY, f"{KEY}.b"
    host.run(f"cp -p {mine} {its}; cp -p {mine} {KEY}.old")
    b.define(**{**RAW, "key-file": its, "key-format": key_format}).good()

    def other_key(path, commands=OTHERS):
        host.run(f"umask 077; {{ {commands[key_format]}; }} >{path}")

    def opens(path, dataset):
        return host.run(f"zfs load-key -n -L file://{path} {dataset}", check=False).rc == 0

    def consent(keeper, path, age_s=0):
        """Root's, as `zbaton rekey` leaves it; where it is."""
        file = f"{keeper.state}/keeper/web.rekey"
        host.run(f"umask 077; echo 'key-file {path}' >{file}; touch -d '-{age_s} seconds' {file}")
        return file

    def rekey(keeper, path, **fields):
        consent(keeper, path)
        return keeper.ask("rekey", **fields)

    a.ask("rekey", term=1).bad("refused", "wants the consent of this host's root")
    assert rekey(a, mine, term=1).good()["flags"] == FLAGS["same"]
    iterations = values(a, "pbkdf2iters")[0]
    other_key(mine)
    assert a.observe()["key"] == 3
    # An engine that lies: without root, with what root said long ago, with what root did not say, and with a file
    # that others could have made.
    a.ask("rekey", term=1).bad("refused", "there is none")
    consent(a, mine, 700)
    a.ask("rekey", term=1).bad("refused", "there is none")
    rekey(a, its, term=1).bad("refused", f"another source of the key than is declared: key-file {mine}")
    host.run(f"chmod 620 {consent(a, mine)}")
    a.ask("rekey", term=1).bad("refused", "there is none")
    host.run(f"rm {consent(a, mine)}")
    rekey(a, mine, term=2).bad("refused", "not the established leader of term 2")
    rekey(b, its, term=1).bad("refused", "not the established leader of term 1")
    host.run("umount /srv/web/log")
    rekey(a, mine, term=1).bad("refused", f"{a.root}/web/log has its key from {a.root}/web and is not mounted")
    assert a.observe()["key"] == 3, "nothing was changed"
    middle = a.snapshot(1, 1, base_term=1, base_seq=0).good()["manifest"]  # it is mounted again
    assert rekey(a, mine, term=1).good()["flags"] == 0
    assert a.observe()["key"] == 0
    a.ask("rekey", term=1).bad("refused", "there is none")  # it was used
    assert rekey(a, mine, term=1).good()["flags"] == FLAGS["same"]
    assert values(a, "pbkdf2iters")[0] == iterations
    assert set(values(a, "keystatus")) == {"available"}
    host.run("echo 3 >/srv/web/log/third")
    after = a.snapshot(1, 2, base_term=1, base_seq=middle["seq"]).good()["manifest"]
    assert b.observe()["key"] == 0, "its copy has the earlier key"
    ship(a, b, after, base)["receive"].good()
    assert b.observe()["key"] == 3
    assert b.ask("rekey", flags=["dry_run"]).good()["key"] == 3
    for dataset in (f"{b.root}/web", f"{b.root}/web/log"):
        assert opens(mine, dataset) and not opens(its, dataset), dataset
    # A host that starts anew needs the other one.
    a.stop("KILL")
    host.run("umount /srv/web/log /srv/web; zfs unload-key -a; true")
    a.start()
    a.observe()
    a.ask("grant", term=2, node="va", version=1, nonce=1).good()
    host.run(f"mv {mine} {mine}.new; cp -p {KEY}.old {mine}")
    a.ask("promote", term=2).bad("mismatch", f"{mine} does not hold the key of {a.root}/web")
    host.run(f"mv {mine}.new {mine}")
    a.ask("promote", term=2).good()
    files = "cat /srv/web/file /srv/web/log/file /srv/web/log/third"
    assert host.run(files).out.split() == ["1", "2", "3"]
    # vb leads once its file is replaced.
    b.ask("learn", term=2, node="va").good()
    host.run(f"cp -p {mine} {its}")
    assert b.observe()["key"] == 0
    final = pass_on(a, b, 2, after)
    assert host.run(files).out.split() == ["1", "2", "3"]
    other_key(its, FORMATS)
    assert rekey(b, its, term=3).good()["flags"] == 0
    host.run("echo 4 >/srv/web/log/fourth")
    last = b.snapshot(3, 0, base_term=2, base_seq=final["seq"]).good()["manifest"]
    ship(b, a, last, final, term=3)["receive"].good()
    assert a.observe()["key"] == 3
    host.run(f"cp -p {its} {mine}")
    assert a.observe()["key"] == 0
    pass_on(b, a, 3, last)
    assert host.run(f"{files} /srv/web/log/fourth").out.split() == ["1", "2", "3", "4"]
    assert set(values(a, "encryptionroot")) == {f"{a.root}/web"}


def test_a_program_that_hangs_does_not_keep_the_keeper_from_ending(keepers):
    a, b, base = led_raw(keepers)
    host = a.host
    final = a.snapshot(1, 1, base_term=1, base_seq=0, flags=["sync"]).good()["manifest"]
    ship(a, b, final, base)["receive"].good()
    a.ask("demote").good()
    host.run("cat >/opt/commands/key; chmod 755 /opt/commands/key",
             input=f"#!/bin/sh\n[ ! -e /run/hang ] || {{ touch /run/asked; exec sleep 4321; }}\ncat {KEY}\n")
    b.define(**{**RAW, "key-file": None, "key-command": "key", "key-format": "raw"}).good()
    assert b.observe()["key"] == 0
    for keeper in (a, b):
        keeper.ask("grant", term=2, node="vb", version=1, nonce=1).good()
    host.run("rm -f /run/asked; touch /run/hang")
    promote = dict(term=2, manifest=final, flags=["planned"])
    words = words_of(dict(promote, op="promote", service="web"))
    host.run(f"setsid {PROBE} ask {b.conf} {words} >/root/promoted 2>&1 </dev/null &")
    wait_until(lambda: host.run("test -e /run/asked", check=False).rc == 0, 30, "it is asked for the key")
    b.stop()
    assert "stuck" not in b.log()
    assert host.run("pgrep -f '[s]leep 4321'", check=False).rc != 0
    assert set(values(b, "mounted")) == {"no"}
    host.run("rm /run/hang")
    b.start()
    assert b.observe()["record"]["established_term"] == 0
    b.ask("promote", **promote).good()
    assert set(values(b, "mounted")) == {"yes"}
    b.ask("demote").good()


def test_without_the_key_nothing_is_led(keepers):
    a, b, base = led_raw(keepers)
    host = a.host
    final = a.snapshot(1, 1, base_term=1, base_seq=0, flags=["sync"]).good()["manifest"]
    ship(a, b, final, base)["receive"].good()
    a.ask("demote").good()
    assert b.observe()["key"] == 0
    for keeper in (a, b):
        keeper.ask("grant", term=2, node="vb", version=1, nonce=1).good()
    host.run(f"mv {KEY} {KEY}.away")
    before = host.run(f"cat {b.state}/keeper/web.record").out
    promote = dict(term=2, manifest=final, flags=["planned"])
    b.ask("promote", **promote).bad("not-found", f"there is no key file {KEY}")
    assert b.observe()["key"] == 1
    key_make(host)
    b.ask("promote", **promote).bad("mismatch", f"{KEY} does not hold the key of {b.root}/web")
    assert b.observe()["key"] == 3
    host.run(f"cp {KEY}.away {KEY}; chmod 644 {KEY}")
    b.ask("promote", **promote).bad("refused", f"others than root can read or write {KEY}")
    assert b.observe()["key"] == 2
    b.ask("drill", manifest=final).bad("refused", "others than root")
    host.run(f"truncate -s 31 {KEY}; chmod 600 {KEY}")
    b.ask("promote", **promote).bad("format", "it holds 31 bytes, not 32 bytes")
    b.ask("drill", manifest=final).bad("unsupported", "it holds 31 bytes")
    assert host.run(f"cat {b.state}/keeper/web.record").out == before, "no term was begun"
    assert_locked(b)
    host.run(f"mv {KEY}.away {KEY}")
    assert b.observe()["key"] == 0
    b.ask("promote", **promote).good()
    assert host.run("cat /srv/web/log/file").out == "2\n"


def test_a_copy_is_looked_into(keepers):
    a, b, base = led_raw(keepers)
    host = b.host
    b.ask("drill", manifest=base).good()
    assert peeks(b) == []
    assert_locked(b)
    one = json.loads(b.ask("peek", manifest=base, time_s=in_s(host, 600)).good()["text"])
    assert host.run(f"cat {one['mounted']}/file").out == "1\n"
    host.run("sleep 1.1")  # the names of peeks have seconds
    b.ask("drill", manifest=base).good()
    assert host.run(f"cat {one['mounted']}/file").out == "1\n", "the end of the drill took no key away"
    second = a.snapshot(1, 1, base_term=1, base_seq=0).good()["manifest"]
    ship(a, b, second, base)["receive"].good()
    b.ask("peek-end", text=one["name"]).good()
    assert_locked(b)
    mine = json.loads(a.ask("peek", manifest=base, time_s=in_s(host, 600)).good()["text"])
    a.ask("peek-end", text=mine["name"]).good()
    host.run("echo on >/srv/web/file")


def test_what_came_away_is_kept(keepers):
    a, b, base = led_raw(keepers)
    host = a.host
    forks = a.snapshot(1, 1, base_term=1, base_seq=0).good()["manifest"]
    ship(a, b, forks, base)["receive"].good()
    host.run("echo tip >/srv/web/tip; echo tip >/srv/web/log/tip")
    a.ask("demote").good()
    b.take(2, manifest=forks, flags=["planned"]).good()
    a.ask("learn", term=2, node="vb").good()
    name = rescue(a, forks).good()["text"]
    assert [r["name"] for r in rescues(a)] == [name]
    assert_locked(a)
    print("measured: encryption roots after a rescue: ",
          host.run(f"zfs get -Hrp -t filesystem -o name,value encryptionroot {a.root}").out)
    second = b.snapshot(2, 0, base_term=1, base_seq=1).good()["manifest"]
    ship(b, a, second, forks, term=2)["receive"].good()
    path = a.ask("rescue-mount", text=name, rel="on").good()["text"]
    assert host.run(f"cat {path}/tip {path}/log/tip").out.split() == ["tip", "tip"]
    a.ask("rescue-mount", text=name, rel="off").good()
    assert_locked(a)
    pass_on(b, a, 2, second)
    host.run("echo later >/srv/web/log/later; test ! -e /srv/web/tip")
    third = a.snapshot(3, 0, base_term=2, base_seq=1).good()["manifest"]
    a.ask("rescue-drop", text=name).good()
    assert [e["rel"] for e in third["entries"]] == ["", "log"]


def test_what_is_not_taken_in(keepers):
    a, b = keepers
    host = a.host
    key_make(host)
    made = f"zfs create -o encryption=on -o keyformat=raw -o keylocation=file://{KEY}"
    b.define().good()
    a.define().good()
    host.run(f"{made} {a.root}/web")
    said = a.ask("create").bad("refused", f"{a.root}/web is encrypted with a key of its own")
    assert 'flavour = "raw"' in said["hint"]
    a.define(**RAW).good()
    host.run(f"zfs create -o encryption=off {a.root}/web/clear")
    a.ask("create").bad("refused", f"{a.root}/web/clear is not encrypted")
    host.run(f"zfs destroy {a.root}/web/clear; {made} {a.root}/web/other")
    said = a.ask("create").bad("refused", f"{a.root}/web/other is under the encryption root {a.root}/web/other")
    host.run(said["hint"])
    a.ask("create", flags=["unmount"]).good()
    a.take(1).good()
    # A child with a key of its own is named by each set, until it inherits.
    host.run(f"{made} {a.root}/web/third")
    said = a.snapshot(1, 0).bad("refused", f"{a.root}/web/third is under the encryption root")
    host.run(said["hint"])
    first = a.snapshot(1, 0).good()["manifest"]
    # vb knows the service as plain: the stream is refused before the kernel sees it.
    b.ask("learn", term=1, node="va").good()
    ship(a, b, first)["receive"].bad("mismatch", 'the stream is of flavour "raw", the service of "plain"')
    assert host.run(f"zfs list {b.root}/web", check=False).rc != 0
    a.ask("demote").good()
    a.ask("unadopt").good()
    host.run(f"zfs destroy -r {a.root}/web; zfs create {a.root}/web")
    a.ask("create").bad("refused", f"{a.root}/web is not encrypted")
    # What is marked as raw is not taken in as plain, whatever other marks it has.
    host.run(f"zfs destroy -r {a.root}/web")
    a.ask("create").good()
    assert set(values(a, "zbaton:flavour")) == {"raw"}
    a.define().good()
    a.ask("create").bad("refused", f"{a.root}/web is encrypted with a key of its own")
