#!/usr/bin/env python3
"""Nodes that leave the cluster, and certificates: engines of several nodes on this host, as in cluster.py."""
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys

from cluster import Node, check_join, main, raw, services, wait_for


def names(node):
    return [n["name"] for n in node.json("node", "list")["nodes"]]


def refusals(node, text):
    return sum(text in event["text"] for event in node.events("A-peer-refused"))


def all_up(*nodes):
    wait_for("all are up", lambda: all(n.nodes_up() == len(nodes) for n in nodes))


def check_setup_missing(base, programs):
    """What zbaton-setup carries out is refused by name where it does not stand beside zbaton."""
    alone = base / "alone"
    alone.mkdir()
    shutil.copy(programs / "zbaton", alone)
    done = subprocess.run([alone / "zbaton", "pki", "etcd", "--out", base / "pki", "e1=10.0.0.1"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 1, done
    assert f"there is no program {alone}/zbaton-setup" in done.stdout, done
    assert f"hint: it belongs beside {alone}/zbaton" in done.stdout, done
    assert not (base / "pki").exists()


def check_remove_refused(a, b, c, base):
    """vm2 has made the cluster; vm1 and vm3 have joined."""
    assert "no node 'vm9'" in a.zbaton("node", "remove", "-y", "vm9", code=1)
    out = a.zbaton("node", "remove", "-y", "vm2", code=3)
    assert "vm2 is this node" in out, out
    out = c.zbaton("node", "remove", "-y", "vm2", code=3)
    assert "vm2 holds the key of the cluster's CA" in out, out
    out = a.zbaton("node", "remove", "-y", "--lost", "vm1", code=3)
    assert "vm1 is not lost: it is up" in out, out
    out = a.zbaton("node", "remove", "vm1", code=3)
    assert "not agreed to; nothing was changed" in out, out
    path = base / "services.conf"
    path.write_text(services(["vm1", "vm2"], "vm1"))
    a.zbaton("apply", str(path))
    out = a.zbaton("node", "remove", "-y", "vm1", code=3)
    assert "vm1 is declared in service web" in out and "hint: take vm1 out of the services file" in out, out
    path.write_text(services(["vm2"], "vm2"))
    a.zbaton("apply", "-y", str(path))
    b.stop()
    wait_for("vm3 is seen down", lambda: a.nodes_up() == 2)
    out = a.zbaton("node", "remove", "-y", "vm3", code=3)
    assert "vm3 is not reachable" in out and "hint: zbaton node remove --lost vm3" in out, out
    out = a.zbaton("node", "remove", "-y", "vm1", code=3)
    assert "of the 2 nodes that are left 1 could be reached: no majority" in out, out
    assert "first: zbaton node remove --lost vm3" in out, out
    b.start()
    all_up(a, b, c)
    assert sorted(names(a)) == sorted(names(c)) == ["vm1", "vm2", "vm3"]


def check_removed(a, b, c, base):
    """vm1 is taken out, and is not let in by anybody, not after restarts."""
    before = a.version()
    out = a.zbaton("node", "remove", "-y", "vm1")
    assert "vm1 is no node of the cluster any more" in out, out
    assert sorted(names(a)) == ["vm2", "vm3"] and a.version() == before + 1
    assert "took vm1 out of the cluster" in a.zbaton("events", "-n", "1000")
    wait_for("vm1 is refused", lambda: refusals(c, "the other side refused: vm1 is not a node of this cluster"))
    wait_for("vm3 knows", lambda: sorted(names(b)) == ["vm2", "vm3"])
    for node in (a, b, c):
        node.stop()
    for node in (a, b, c):
        node.start()
    all_up(a, b)
    wait_for("vm1 is refused by vm3", lambda: refusals(b, "vm1 is not a node of this cluster"))
    assert c.nodes_up() == 1
    assert a.nodes_up() == b.nodes_up() == 2

    # With a new token it is a node again; its old certificate is not that node's.
    c.stop()
    old = base / "old-state"
    shutil.move(c.dir / "state", old)
    check_join(a, c)
    all_up(a, b, c)
    c.stop()
    shutil.move(c.dir / "state", base / "new-state")
    shutil.move(old, c.dir / "state")
    c.start()
    wait_for("the old one is refused", lambda: refusals(c, "the certificate of vm1 is not the pinned one"))
    assert a.nodes_up() == b.nodes_up() == 2
    c.stop()

    # Gone for ever.
    out = a.zbaton("node", "remove", "-y", "vm1", code=3)
    assert "vm1 is not reachable" in out, out
    a.zbaton("node", "remove", "-y", "--lost", "vm1")
    wait_for("vm3 knows that too", lambda: sorted(names(b)) == ["vm2", "vm3"])


def cert(node, of):
    """Fingerprint of a node's certificate, as the configuration of another one says, and when it ends."""
    [found] = [n for n in node.json("node", "list")["nodes"] if n["name"] == of]
    return found["cert"], found["cert_ends"]


def make_expired(a, b):
    """A certificate of this CA for vm3 that ended yesterday, and its key."""
    state, work = a.dir / "state", b.dir / "expired"
    work.mkdir()
    openssl = lambda *args: subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=work)  # noqa: E731
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key", "-out", "csr", "-subj", "/CN=vm3")
    (work / "conf").write_text(f"""[ca]
default_ca = d
[d]
database = {work}/index
serial = {work}/serial
new_certs_dir = {work}
default_md = sha256
policy = p
x509_extensions = e
[p]
commonName = supplied
[e]
keyUsage = digitalSignature
extendedKeyUsage = serverAuth,clientAuth
""")
    (work / "index").write_text("")
    (work / "serial").write_text("4711")
    openssl("ca", "-batch", "-config", "conf", "-cert", state / "ca.crt", "-keyfile", state / "ca.key", "-in", "csr", "-out", "crt",
            "-startdate", "20200101000000Z", "-enddate", "20210101000000Z", "-notext")
    return {"node.crt": (work / "crt").read_bytes(), "node.key": (work / "key").read_bytes()}


def forget_certificates(node):
    """It knows no certificate that another node has now, as one that was away for long."""
    with sqlite3.connect(node.dir / "state" / "engine" / "history.db") as db:
        [[version, text]] = db.execute("SELECT version, text FROM config WHERE state = 'committed' ORDER BY version DESC LIMIT 1")
        doc = json.loads(text)
        for i, other in enumerate(doc["nodes"]):
            other["fingerprint"] = f"{i:064x}"
        text = json.dumps(doc, sort_keys=True, separators=(",", ":"))
        db.execute("UPDATE config SET text = ?, hash = ? WHERE state = 'committed' AND version = ?",
                   (text, hashlib.sha256(text.encode()).hexdigest(), version))


def check_renewal(a, b, c):
    """vm2 holds the CA's key; each gets a new certificate, by order of any of them, and keeps it."""
    for node, order, of in ((a, a, "vm2"), (b, b, "vm3"), (b, a, "vm3")):
        before, _ = cert(a, of)
        out = order.zbaton("cert", "renew", *([of] if order is not node else []))
        assert out.startswith(f"The certificate of {of} is new, and ends 20"), out
        assert cert(order, of)[0] != before, "the last step is done when the command ends"
        wait_for("only the new one is accepted", lambda: cert(a, of)[0] == cert(b, of)[0] != before)
        all_up(a, b)
        assert node.events("A-cert-renewed")
    signed = [event["text"] for event in a.events("A-cert-signed")]
    assert signed.count("signed a new certificate for vm3") == 2, signed

    # One that is away would know neither certificate when it is back.
    b.stop()
    wait_for("vm3 is seen down", lambda: a.nodes_up() == 1)
    version = a.version()
    out = a.zbaton("cert", "renew", code=3)
    assert "vm3 is not reachable" in out and "hint: once it is back; or if it is gone for ever" in out, out
    assert a.version() == version
    b.start()
    all_up(a, b)
    assert "no node 'vm9'" in a.zbaton("cert", "renew", "vm9", code=1)
    for command in ("cert.sign", "verify.part", "verify.end"):  # nobody on this host is another node
        answer = raw(a, json.dumps({"v": 1, "cmd": command, "args": {}}).encode() + b"\n")
        assert answer["word"] == "refused" and answer["error"] == f"{command} is what other nodes ask for", answer
    now = {of: cert(a, of)[0] for of in ("vm2", "vm3")}
    for node in (a, b):
        node.stop()
    for node in (a, b):
        node.start()
    all_up(a, b)
    assert {of: cert(b, of)[0] for of in ("vm2", "vm3")} == now
    wait_for("each knows when the other's ends", lambda: cert(a, "vm3")[1] and cert(b, "vm2")[1])

    shutil.rmtree(c.dir / "state")
    check_join(a, c)
    all_up(a, b, c)

    # The one of before is not good any more: it stands in the files still, and is used without the history's.
    b.stop()
    with sqlite3.connect(b.dir / "state" / "engine" / "history.db") as db:
        assert db.execute("DELETE FROM meta WHERE name = 'identity'").rowcount == 1
    b.start()
    wait_for("it is refused", lambda: refusals(b, "the certificate of vm3 is not the pinned one"))
    assert a.nodes_up() == 2 and b.nodes_up() == 1

    # With a token it gets one that is, without its daemon, as long as the others are a majority.
    token = a.zbaton("token", "create", "-H").strip()
    assert "goes without NODE" in b.zbaton("cert", "renew", "--token", token, "vm3", code=2)
    out = b.zbaton("cert", "renew", "--token", token, code=3)
    assert "zbatond runs on this host" in out, out
    b.stop()
    forget_certificates(b)
    b.conf.write_text(b.conf.read_text().replace(f'listen = "{b.address}"', 'listen = "0.0.0.0:1"'))
    out = b.zbaton("cert", "renew", "--token", token)
    b.conf.write_text(b.conf.read_text().replace('listen = "0.0.0.0:1"', f'listen = "{b.address}"'))
    assert "vm3 has a new certificate" in out, out
    assert (b.dir / "state" / "engine" / "history.db").owner() == "_zbaton"
    [known] = [n for n in a.json("node", "list")["nodes"] if n["name"] == "vm3"]
    assert known["address"] == b.address, "the address is the one that was known"
    b.start()
    all_up(a, b, c)
    assert cert(a, "vm3")[0] == cert(b, "vm3")[0] != now["vm3"]

    # An expired one is no reason for anybody to let it in, and the daemon says so.
    b.stop()
    expired = make_expired(a, b)
    kept = {name: (b.dir / "state" / name).read_bytes() for name in ("node.crt", "node.key")}
    for name, text in expired.items():
        (b.dir / "state" / name).write_bytes(text)
    with open(b.dir / "log", "ab") as log:
        done = subprocess.run([b.fake_keeper, b.programs / "zbatond-engine", b.conf], stdout=log, stderr=log, timeout=60)
    assert done.returncode != 0
    assert "node.crt: certificate has expired" in b.log() and "zbaton cert renew --token TOKEN" in b.log(), b.log()
    wait_for("vm3 is seen down", lambda: a.nodes_up() == 2)
    b.zbaton("cert", "renew", "--token", a.zbaton("token", "create", "-H").strip())
    b.start()
    all_up(a, b, c)
    assert kept["node.crt"] != (b.dir / "state" / "node.crt").read_bytes()

    # For who is a node, not to become one.
    d = c.dir / "state"
    token = a.zbaton("token", "create", "-H").strip()
    c.stop()
    wait_for("vm1 is seen down", lambda: a.nodes_up() == 2)
    a.zbaton("node", "remove", "-y", "--lost", "vm1")
    before = (d / "node.crt").read_bytes()
    out = c.zbaton("cert", "renew", "--token", token, code=3)
    assert "vm1 is no node of this cluster: it can join" in out, out
    assert (d / "node.crt").read_bytes() == before and sorted(names(a)) == ["vm2", "vm3"]

    # Nobody signs: nothing changes.
    version = b.version()
    a.stop()
    wait_for("vm2 is seen down", lambda: b.nodes_up() == 1)
    out = b.zbaton("cert", "renew", code=3)
    assert "vm2 is not reachable" in out, out
    assert b.version() == version


def run(base, programs, fake_keeper):
    zfs_names = base / "zfs-names"
    zfs_names.write_text("pool\n")
    os.environ["ZFS_NAMES"] = str(zfs_names)
    nodes = [Node(base, name, programs, fake_keeper) for name in ("vm2", "vm3", "vm1")]
    a, b, c = nodes
    try:
        check_setup_missing(base, programs)
        a.zbaton("init", "--cluster", "test", *a.setup_options())
        a.start()
        check_join(a, b)
        check_join(a, c)
        all_up(a, b, c)
        check_remove_refused(a, b, c, base)
        check_removed(a, b, c, base)
        check_renewal(a, b, c)
    except BaseException:
        for n in nodes:
            print(f"--- {n.name}\n{n.log()}", file=sys.stderr)
        raise
    finally:
        for n in nodes:
            n.stop()


if __name__ == "__main__":
    sys.exit(main(run))
