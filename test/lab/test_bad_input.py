"""Bad input: each a clear error with the place and the remedy, and nothing changes."""

import pytest

SERVICE = """service {name} {{
    members = {{ vm1, vm2, vm3 }}
    leader = vm1
    mountpoint = "{mountpoint}"
    runner = "command"
    start = "redis 6431"
}}
"""

BAD_FILES = {
    "unknown key": ("service a {\n    membres = { vm1 }\n}\n", ["2", "membres", "members"]),
    "unknown node": (SERVICE.format(name="a", mountpoint="/srv/a").replace("vm3", "vm9"), ["vm9"]),
    "bad interval": (SERVICE.format(name="a", mountpoint="/srv/a").replace(
        'runner =', 'interval = "soon"\n    runner ='), ["5", "interval", "soon"]),
    "overlapping mountpoints": (SERVICE.format(name="a", mountpoint="/srv/a")
                                + SERVICE.format(name="b", mountpoint="/srv/a/inside"), ["/srv/a", "b"]),
    "relative mountpoint": (SERVICE.format(name="a", mountpoint="srv/a"), ["mountpoint", "absolute"]),
    "dataset outside the root": (SERVICE.format(name="../other", mountpoint="/srv/a"), ["name"]),
    "syntax": ("service a {\n    members = { vm1\n", ["bad.conf:1", "{"]),
    "leader not a member": (SERVICE.format(name="a", mountpoint="/srv/a").replace(
        "members = { vm1, vm2, vm3 }", "members = { vm2, vm3 }"), ["leader", "vm1"]),
}


@pytest.mark.parametrize("kind", sorted(BAD_FILES))
def test_a_bad_services_file_is_refused_with_its_line(cluster, kind):
    host = cluster.lab["vm1"]
    text, words = BAD_FILES[kind]
    before = cluster.zbaton("config show").out
    host.run("cat >/root/bad.conf", input=text)
    said = cluster.zbaton("apply -y /root/bad.conf", check=False)
    assert said.rc in (1, 2, 3), said
    message = said.err + said.out
    assert "bad.conf" in message or kind == "unknown node", message
    for word in words:
        assert word in message, f"{word!r} is not in: {message}"
    assert cluster.zbaton("config show").out == before


def test_unknown_service_and_node_are_named(cluster):
    cluster.declare("known", start="redis 6432")
    cluster.apply()
    cluster.wait_current("known", "vm1")
    said = cluster.move("nosuch", "vm2", check=False)
    assert said.rc in (1, 2, 3) and "nosuch" in said.err, said
    said = cluster.move("known", "vm7", check=False)
    assert said.rc in (1, 2, 3) and "vm7" in said.err, said
    said = cluster.move("known", "vm1", check=False)
    assert said.rc == 3 and "already" in said.err, said
    assert cluster.leader("known") is cluster.lab["vm1"]


def test_a_leader_stays_a_member(cluster):
    cluster.declare("known", start="redis 6432")
    cluster.apply()
    cluster.wait_current("known", "vm1")
    cluster.declare("known", start="redis 6432", members=["vm2", "vm3"], leader="vm2")
    said = cluster.apply("-y", check=False)
    cluster.declare("known", start="redis 6432")
    assert said.rc == 3 and "vm1 leads it" in said.err and "zbaton move known" in said.err, said


def test_usage_errors_exit_2(cluster):
    for args in ("", "mvoe web vm2", "move", "move one two three", "status --colour"):
        said = cluster.zbaton(args, check=False)
        assert said.rc == 2 and "zbaton" in said.err, (args, said)


def test_expired_used_and_broken_tokens(cluster):
    host = cluster.lab["vm2"]
    join = (f"zbaton -f /root/other.conf join {{}} --node vm9 --root {host.pool}/other "
            f"--listen {host.data_ip}:7990")
    token = cluster.zbaton("token create --lifetime 1s").out.split()[0]
    host.run("sleep 2")
    for bad, words in ((token, ["expired"]), (token[:-6] + "AAAAAA", ["token"]), ("zbt1.x", ["token"])):
        said = host.run(join.format(bad), check=False)
        assert said.rc != 0, said
        assert any(word in said.err for word in words), said
    assert host.run("test -e /root/other.conf", check=False).rc != 0, "nothing is left behind"
    nodes = cluster.zbaton("node list -H").out
    assert "vm9" not in nodes


def test_strangers_are_refused_and_named(cluster):
    """Another CA, garbage, an oversized frame: refused, named in the events, and the cluster goes on."""
    one, two = cluster.lab["vm1"], cluster.lab["vm2"]
    two.run("cd /tmp && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=vm2 "
            "-keyout stranger.key -out stranger.crt -days 1 2>/dev/null")
    said = two.run(f"timeout 10 openssl s_client -connect {one.data_ip}:7979 -cert /tmp/stranger.crt "
                   "-key /tmp/stranger.key -tls1_3 </dev/null 2>&1; true").out
    assert "alert" in said or "closed" in said.lower() or "error" in said.lower(), said
    two.run(f"timeout 10 bash -c 'head -c 100000 /dev/urandom >/dev/tcp/{one.data_ip}/7979' 2>/dev/null; true")
    two.run(f"(printf '\\x7f\\xff\\xff\\xff\\x01\\x01\\x00\\x00'; sleep 2) | timeout 10 openssl s_client "
            f"-connect {one.data_ip}:7979 -quiet 2>/dev/null; true")
    events = cluster.zbaton("events -j").out
    assert two.data_ip in events, "the refused peer is named"
    assert cluster.status()["cluster"]["nodes_up"] == 3
