"""Power cuts and killed processes: nothing writes before it was decided, services go on."""

from zblab import wait_until
from zblab.cluster import Recorder


def redis_pid(host, port):
    """Process number of the redis on a port."""
    return int(host.run(f"redis-cli -p {port} info server | tr -d '\\r' | grep ^process_id:").out.split(":")[1])


def test_power_cut_of_every_host_leads_where_it_led(cluster, tmp_path):
    places = {"cut1": ("vm1", 6411), "cut2": ("vm2", 6412), "cut3": ("vm3", 6413)}
    for name, (leader, port) in places.items():
        cluster.declare(name, start=f"redis {port}", leader=leader)
    cluster.apply()
    for name, (leader, _) in places.items():
        cluster.wait_current(name, leader)
    terms = {name: cluster.service(name)["term"] for name in places}
    recorder = Recorder(cluster.lab, tmp_path, port=6412)
    recorder.wait_more(20)
    for host in cluster.hosts:
        host.power_cut()
    recorder.stop()
    for host in cluster.hosts:
        host.boot(wait=False)
    cluster.lab.each(lambda host: host.wait_ready())
    for host in cluster.hosts:
        host.run("zfs mount -a", check=False)
    for name in places:
        assert cluster.writers(name) == [], "mounted writable before the daemon decided"
    for host in cluster.hosts:
        cluster.daemon_start(host)
    for name, (leader, _) in places.items():
        cluster.wait_current(name, leader)
        assert cluster.service(name)["term"] > terms[name], "a restarted holder takes a new term"
        assert cluster.writers(name) == [cluster.lab[leader]]
    assert recorder.assert_nothing_lost(cluster.lab["vm2"]) >= 20, "what redis synced before the cut is there"


def test_killed_engine_and_killed_keeper_stop_no_service(cluster, tmp_path):
    cluster.declare("steady", start="redis 6414")
    cluster.apply()
    cluster.wait_current("steady", "vm1")
    host = cluster.lab["vm1"]
    pid, term = redis_pid(host, 6414), cluster.service("steady")["term"]
    recorder = Recorder(cluster.lab, tmp_path, port=6414)
    recorder.wait_more(10)

    engine = cluster.engine_pid(host)
    host.run(f"kill -9 {engine}")
    wait_until(lambda: cluster.engine_pid(host) != engine, 30, "the keeper starts the engine again")
    recorder.wait_more(10)
    wait_until(lambda: cluster.leader("steady") is host, 60, "the engine leads again")

    keeper = cluster.keeper_pid(host)
    engine = cluster.engine_pid(host)
    host.run(f"kill -9 {keeper}")
    wait_until(lambda: host.run(f"kill -0 {engine}", check=False).rc != 0, 30, "the engine ends with its keeper")
    recorder.wait_more(10)
    cluster.daemon_start(host)
    wait_until(lambda: cluster.leader("steady") is host, 60, "the daemon leads again")
    recorder.wait_more(10)
    recorder.stop()

    assert redis_pid(host, 6414) == pid, "the service was never stopped"
    assert cluster.service("steady")["term"] == term, "the mounted tree continues its term"
    recorder.assert_nothing_lost(host)
    cluster.wait_current("steady", "vm1")


def test_a_stopped_daemon_leaves_its_services_running(cluster):
    cluster.declare("steady", start="redis 6414")
    cluster.apply()
    cluster.wait_current("steady", "vm1")
    host = cluster.lab["vm1"]
    pid = redis_pid(host, 6414)
    cluster.daemon_stop(host)
    assert redis_pid(host, 6414) == pid
    cluster.daemon_start(host)
    wait_until(lambda: cluster.leader("steady") is host, 60, "the daemon leads again")
    assert redis_pid(host, 6414) == pid
