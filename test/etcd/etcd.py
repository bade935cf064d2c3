#!/usr/bin/env python3
"""The etcd client (src/etcd) against real members: one, three of which some fail, TLS, RBAC.

Arguments: the folders of zbaton and of etcd_drive (drive.c), which is the client as a program.
"""
import base64
import json
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import members

SKIP = 77
REQUEST_MS = 4000  # a login costs much time on a busy machine
SLACK_MS = 1500  # of a machine that is busy
UNKNOWN = ("timeout", "closed")  # it may or may not have been done


class Client:
    def __init__(self, program, endpoints, **options):
        environment = dict(os.environ)
        if "chroot" in options:  # where the sanitizer of leaks has no /proc to look into
            environment["ASAN_OPTIONS"] = "detect_leaks=0"
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=environment, preexec_fn=members.die_with_parent)
        self.write({"endpoints": endpoints, "request_ms": REQUEST_MS, **options})

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.stdin.close()
        try:
            assert self.process.wait(members.DEADLINE_S) == 0 or exc[0] is not None, "the client's end"
        finally:
            self.process.kill()
            self.process.wait()

    def write(self, what):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def calls(self, *calls):
        self.write(calls)
        answers = json.loads(self.process.stdout.readline())
        for a in answers:
            assert a["ms"] <= REQUEST_MS + SLACK_MS, a
        return answers

    def call(self, **call):
        return self.calls(call)[0]

    def put(self, key, value):
        return self.call(success=[["put", key, value]])

    def put_until(self, key, value, deadline_s=members.DEADLINE_S):
        """Repeats until it is done; the answer, and what the attempts before came to."""
        before = []

        def attempt():
            answer = self.put(key, value)
            if answer["rc"] != "ok":
                before.append(answer)
                time.sleep(0.05)
                return None
            return answer

        return members.wait_for(f"{key} is put", attempt, deadline_s), before


def client_of(program, cluster, first=None, **options):
    """Asks all members, that one first."""
    order = sorted(cluster.members, key=lambda m: m is not first)
    return Client(program, [m.client for m in order], **{**cluster.client_options, **options})


def ok(answer):
    assert answer["rc"] == "ok", answer
    return answer


def failed(answer, *words):
    assert answer["rc"] in words, answer
    return answer


def check_calls(program, cluster):
    with client_of(program, cluster) as c:
        first = ok(c.call(compare=[["/z/a", 0]], success=[["put", "/z/a", "\u00e4\n\"1\""]]))
        assert first["succeeded"] and first["revision"] > 1 and first["raft_term"] > 0, first
        again = ok(c.call(compare=[["/z/a", 0]], success=[["put", "/z/a", "2"]],
                          failure=[["range", "/z/a", None]]))
        assert not again["succeeded"] and again["revision"] == first["revision"], again
        [kv] = again["kvs"]
        assert kv["value"] == "\u00e4\n\"1\"" and kv["mod_revision"] == first["revision"], kv
        second = ok(c.call(compare=[["/z/a", first["revision"]], ["/z/b", 0]],
                           success=[["put", "/z/a", "2"], ["put", "/z/b", ""], ["range", "/z/", "/z0"],
                                    ["range", "/z/nothere", None], ["range", "/z/b", None]]))
        assert second["succeeded"], second
        assert [(kv["key"], kv["value"]) for kv in second["kvs"]] == [
            ("/z/a", "2"), ("/z/b", ""), ("/z/b", "")], second
        assert all(kv["mod_revision"] == second["revision"] for kv in second["kvs"]), second
        assert not ok(c.call(compare=[["/z/a", first["revision"]]], success=[["put", "/z/a", "3"]]))["succeeded"]
        failed(c.call(success=[["range", "/z/", "/z0"]]), "usage")
        failed(c.call(success=[["put", "/z/a", "1"], ["put", "/z/a", "2"]]), "refused")
        ok(c.call(compact=second["revision"]))
        failed(c.call(compact=second["revision"]), "stale")
        failed(c.call(compact=second["revision"] + 1000), "refused")


def check_many_at_once(program, cluster):
    """One of those that compare the same wins; the rest see what it wrote."""
    with Client(program, [cluster.members[0].client]) as c:
        calls = [{"compare": [["/many", 0]], "success": [["put", "/many", str(i)]],
                  "failure": [["range", "/many", None]]} for i in range(30)]
        answers = [ok(a) for a in c.calls(*calls)]
        [won] = [a for a in answers if a["succeeded"]]
        assert len({a["kvs"][0]["value"] for a in answers if not a["succeeded"]}) == 1
        assert all(a["kvs"][0]["mod_revision"] == won["revision"] for a in answers if not a["succeeded"])


def check_nobody_there(program, cluster):
    [port] = members.ports_free(1)
    with Client(program, [f"http://127.0.0.1:{port}", cluster.members[0].client]) as c:
        failed(c.put("/x", "1"), "failed")
        assert ok(c.put("/x", "1"))["endpoint"] == cluster.members[0].client
        assert ok(c.put("/x", "2"))["endpoint"] == cluster.members[0].client, "one that answers is stayed with"


def check_value_sizes(program, cluster):
    with Client(program, [cluster.members[0].client]) as c:
        big = "x" * 200_000
        for i in range(4):
            ok(c.put(f"/big/{i}", big))
        few = ok(c.call(success=[["put", "/n", ""], ["range", "/big/", "/big/3"]]))
        assert [kv["value"] for kv in few["kvs"]] == [big] * 3
        for i in range(4, 8):
            ok(c.put(f"/big/{i}", big))
        failed(c.call(success=[["put", "/n", ""], ["range", "/big/", "/big0"]]), "closed")
        failed(c.put("/toobig", "x" * 1_000_000), "limit")


def check_leader_killed(program, cluster):
    leader = cluster.leader()
    with client_of(program, cluster, leader) as c:
        assert ok(c.put("/k", "0"))["endpoint"] == leader.client
        term = ok(c.put("/k", "1"))["raft_term"]
        leader.kill()
        answer, before = c.put_until("/k", "2", 15)
        assert answer["endpoint"] != leader.client and answer["raft_term"] > term, answer
        assert before and all(a["rc"] in ("timeout", "closed", "failed") for a in before), before
        leader.start()
        members.wait_for("the killed member is back", leader.status)


def check_stopped(program, cluster, member):
    """A member that is stopped answers nobody: the next attempt is another one's. What the stopped
    one was asked is still there when it goes on, and finds that the revision it compares is gone."""
    with client_of(program, cluster, member) as c:
        first = ok(c.put("/s", "0"))
        assert first["endpoint"] == member.client
        compare = [["/s", first["revision"]]]
        member.stop()
        try:
            answer = failed(c.call(compare=compare, success=[["put", "/s", "late"]]), "timeout")
            assert answer["rc"] in UNKNOWN and answer["ms"] >= REQUEST_MS - 100, answer
            c.put_until("/n", "", 15)
            answer = ok(c.call(compare=compare, success=[["put", "/s", "2"]]))
            assert answer["succeeded"] and answer["endpoint"] != member.client, answer
        finally:
            member.go_on()
        members.wait_for("it goes on", member.status)
        members.wait_for("one leads", cluster.leader)
        again = ok(c.call(success=[["put", "/n", ""], ["range", "/s", None]]))
        assert again["kvs"][0]["value"] == "2", again


def check_quorum_lost(program, cluster):
    """Never an answer that says done; each within the time of a request."""
    left, *gone = cluster.members
    with client_of(program, cluster) as c:
        for m in gone:
            m.kill()
        begun = time.monotonic()
        seen = []
        while time.monotonic() < begun + 8:
            seen.append(failed(c.put("/q", "1"), "timeout", "closed", "failed"))
        mine = [a for a in seen if a["endpoint"] == left.client]
        assert mine and all(a["rc"] in UNKNOWN for a in mine), seen
        assert any("no leader" in a["text"] for a in mine), "it says so at once when it has found out"
        for m in gone:
            m.start()
        c.put_until("/q", "2")


def rbac_enable(member):
    """The user zb may do what it likes below /z/."""
    begin, end = (base64.b64encode(key).decode() for key in (b"/z/", b"/z0"))
    for path, body in (("user/add", {"name": "root", "password": "r"}), ("role/add", {"name": "root"}),
                       ("user/grant", {"user": "root", "role": "root"}), ("role/add", {"name": "z"}),
                       ("role/grant", {"name": "z", "perm": {"permType": "READWRITE", "key": begin, "range_end": end}}),
                       ("user/add", {"name": "zb", "password": "se\"cret\u00e4"}), ("user/grant", {"user": "zb", "role": "z"}),
                       ("enable", {})):
        member.post("/v3/auth/" + path, **body)


def check_rbac(program, cluster):
    member = cluster.members[0]
    user = {"user": "zb", "password": "se\"cret\u00e4"}
    with client_of(program, cluster, **user) as c, client_of(program, cluster) as nobody, \
            client_of(program, cluster, user="zb", password="x") as wrong:
        ok(c.put("/z/a", "without RBAC"))
        rbac_enable(member)
        ok(c.put("/z/a", "1"))
        assert [a["rc"] for a in c.calls(*[{"success": [["put", "/z/many", str(i)]]} for i in range(5)])] == ["ok"] * 5
        assert "permission denied" in failed(c.put("/other", "1"), "auth")["text"]
        assert "permission denied" in failed(c.call(success=[["put", "/z/a", "1"], ["range", "/other", None]]), "auth")["text"]
        assert "user name is empty" in failed(nobody.put("/z/a", "2"), "auth")["text"]
        assert "authentication failed" in failed(wrong.put("/z/a", "2"), "auth")["text"]
        member.kill()  # it forgets the tokens it gave
        member.start()
        members.wait_for("it is back", lambda: member.status())
        members.wait_for("one leads", cluster.leader)
        again = ok(c.call(success=[["put", "/z/b", "3"], ["range", "/z/a", None]]))
        assert again["kvs"][0]["value"] == "1", again


def pretender(folder):
    """Who has a certificate of the CA and its key, but not for that address; the endpoint."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "m0.crt", folder / "m0.key")
    listener = socket.create_server(("127.0.0.9", 0))

    def serve():
        while True:
            try:
                conn, _ = listener.accept()
                context.wrap_socket(conn, server_side=True).recv(1)
            except ssl.SSLError:
                pass
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    return listener, f"https://127.0.0.9:{listener.getsockname()[1]}"


def check_tls(program, cluster, folder, zbaton):
    """Who is not of the CA is not asked, and not answered."""
    mine = cluster.client_options
    other = folder.parent / "other"
    members.minted_settings(zbaton, other, 1)
    theirs = members.tls_options(other)
    with client_of(program, cluster, ca=theirs["ca"]) as c:
        assert "certificate" in failed(c.put("/x", "1"), "auth")["text"]
    for options in ({"ca": mine["ca"]}, {**theirs, "ca": mine["ca"]}):
        with Client(program, [cluster.members[0].client], **options) as c:
            failed(c.put("/x", "1"), "auth", "closed", "failed")
    with client_of(program, cluster, cert="no PEM", key="no PEM") as c:
        failed(c.put("/x", "1"), "auth")
    empty = folder.parent / "empty"  # as the engine lives
    empty.mkdir()
    with client_of(program, cluster, **({"chroot": str(empty)} if os.geteuid() == 0 else {})) as c:
        assert ok(c.call(compare=[["/x", 0]], success=[["put", "/x", "2"]]))["succeeded"]
    listener, endpoint = pretender(folder)
    with listener, Client(program, [endpoint], **mine) as c:
        failed(c.put("/x", "1"), "auth")


def check_minting(zbaton, folder):
    """One more host is of the same CA, for the same client; what is there stays."""
    def mint(*operands, code=0):
        done = subprocess.run([zbaton, "pki", "etcd", "--out", folder, *operands], capture_output=True, text=True)
        assert done.returncode == code, done
        return done.stdout + done.stderr

    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
    assert "m0.key already" in mint("m9=127.0.0.9", "m0=127.0.0.1", code=1)
    assert {path.name for path in folder.iterdir()} == set(before), "all or nothing"
    out = mint("m9=fd00::9")
    assert "https://[fd00::9]:2379" in out and "the CA that was there" in out, out
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"m9.crt", "m9.key"}
    conf = folder.parent / "zbatond.conf"
    conf.write_text('node = "vm1"\nroot = "pool/x"\nlisten = "127.0.0.1:7979"\n' + out[out.index("  etcd = "):])
    taken = subprocess.run([zbaton.parent / "zbatond", "-n", "-f", conf], check=True, capture_output=True, text=True)
    assert 'etcd = "https://[fd00::9]:2379"' in taken.stdout, taken
    for bad in (["m1"], ["m1=host"], ["=127.0.0.1"], ["M1=127.0.0.1"], ["ca=127.0.0.1"], ["a=127.0.0.1", "a=127.0.0.2"],
                ["a=127.0.0.1", "b=127.0.0.1"], ["a=127.0.0.1/8"], []):
        mint(*bad, code=2)


CHECKS_ONE = [check_calls, check_many_at_once, check_nobody_there, check_value_sizes, check_rbac]


def main():
    if not members.is_installed():
        return SKIP
    zbaton = pathlib.Path(sys.argv[1]) / "zbaton"
    program = pathlib.Path(sys.argv[2]) / "etcd_drive"
    with tempfile.TemporaryDirectory(prefix="zbaton-etcd-") as folder:
        base = pathlib.Path(folder)
        with members.Cluster(base / "one", members.plain_settings(1)) as cluster:
            for check in CHECKS_ONE:
                check(program, cluster)
        settings = members.minted_settings(zbaton, base / "pki", 3)
        check_minting(zbaton, base / "pki")
        with members.Cluster(base / "three", settings, base / "pki") as cluster:
            check_leader_killed(program, cluster)
            check_stopped(program, cluster, cluster.followers()[0])
            check_stopped(program, cluster, cluster.leader())
            check_quorum_lost(program, cluster)
            check_tls(program, cluster, base / "pki", zbaton)
            check_rbac(program, cluster)
    return 0


sys.exit(main())
