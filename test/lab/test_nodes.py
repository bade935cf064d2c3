"""Nodes of a cluster that are needed."""


def test_who_leads_is_not_taken_out(cluster):
    cluster.declare("needed", runner="none", interval="1h")
    cluster.apply()
    cluster.wait_current("needed", "vm1")
    cluster.move("needed", "vm3")
    cluster.wait_current("needed", "vm3")
    said = cluster.zbaton("node remove -y vm3", check=False)
    assert said.rc == 3 and "vm3 leads " in said.err and "hint: zbaton move " in said.err, said
    cluster.move("needed", "vm1")
    said = cluster.zbaton("node remove -y vm2", check=False)
    assert said.rc == 3 and "vm2 leads " in said.err or "vm2 is declared in service " in said.err, said
    assert cluster.status()["cluster"]["nodes_up"] == 3
