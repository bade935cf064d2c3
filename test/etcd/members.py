"""Members of an etcd cluster on this host's loopback, each with its data below a temporary folder.

They end with the program that starts them, whatever becomes of it: the kernel kills them.
"""
import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from ports import ports_free  # noqa: E402  (the path comes first)

DEADLINE_S = 60
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def wait_for(what, condition, deadline_s=DEADLINE_S):
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {deadline_s} s: {what}")


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Member:
    def __init__(self, cluster, name, settings):
        self.cluster = cluster
        self.name = name
        self.settings = settings  # variables of etcd's environment
        self.client = settings["ETCD_ADVERTISE_CLIENT_URLS"]
        self.process = None

    def start(self):
        argv = ["etcd", "--data-dir", self.cluster.dir / self.name, "--initial-cluster-token", "test",
                "--heartbeat-interval", "100", "--election-timeout", "1000"]
        env = {k: v for k, v in os.environ.items() if not k.startswith("ETCD_")}
        with open(self.cluster.dir / f"{self.name}.log", "ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, env={**env, **self.settings},
                                            preexec_fn=die_with_parent)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self):
        """Every thread of it stands still when this returns."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def post(self, path, **body):
        """A call of the gateway, beside the client that is tested."""
        request = urllib.request.Request(self.client + path, data=json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=2, context=self.cluster.context) as answer:
            return json.load(answer)

    def status(self):
        """What the member says of itself; None when it says nothing."""
        try:
            return self.post("/v3/maintenance/status")
        except (OSError, ValueError):
            return None

    def leads(self):
        said = self.status() if self.process is not None else None
        return said is not None and said.get("leader", "0") == said["header"]["member_id"]


def plain_settings(count):
    """Of members without TLS, by name."""
    ports = ports_free(2 * count)
    peers = {f"m{i}": f"http://127.0.0.1:{ports[2 * i + 1]}" for i in range(count)}
    return {name: {
        "ETCD_NAME": name, "ETCD_INITIAL_CLUSTER": ",".join(f"{n}={p}" for n, p in peers.items()),
        "ETCD_LISTEN_PEER_URLS": peer, "ETCD_INITIAL_ADVERTISE_PEER_URLS": peer,
        "ETCD_LISTEN_CLIENT_URLS": f"http://127.0.0.1:{ports[2 * i]}",
        "ETCD_ADVERTISE_CLIENT_URLS": f"http://127.0.0.1:{ports[2 * i]}",
    } for i, (name, peer) in enumerate(peers.items())}


def minted_settings(zbaton, folder, count):
    """As `zbaton pki etcd` prints them for members that listen on the loopback, but for the ports; its
    files are below folder."""
    hosts = {f"m{i}": f"127.0.0.{i + 1}" for i in range(count)}
    done = subprocess.run([zbaton, "pki", "etcd", "--out", folder, *(f"{n}={a}" for n, a in hosts.items())],
                          check=True, capture_output=True, text=True)
    text = done.stdout.replace("/etc/etcd/", f"{folder}/")
    for address in hosts.values():
        for port, free in zip((2379, 2380), ports_free(2)):
            text = text.replace(f"{address}:{port}", f"{address}:{free}")
    settings = {}
    for name, value in re.findall(r'^  (ETCD_\w+)="(.*)"$', text, re.M):
        if name == "ETCD_NAME":
            settings[value] = {}
        settings[list(settings)[-1]][name] = value
    assert list(settings) == list(hosts), done.stdout
    return settings


class Cluster:
    """Members under dir, by their settings; pki: the folder with ca.crt, client.crt and client.key."""

    def __init__(self, folder, settings, pki=None):
        self.dir = pathlib.Path(folder)
        self.dir.mkdir()
        self.members = [Member(self, name, own) for name, own in settings.items()]
        self.context = None
        self.client_options = {}
        if pki is not None:
            self.context = ssl.create_default_context(cafile=pki / "ca.crt")
            self.context.load_cert_chain(pki / "client.crt", pki / "client.key")
            self.client_options = tls_options(pki)

    def __enter__(self):
        try:
            for m in self.members:
                m.start()
            wait_for("a leader", self.leader)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        for m in self.members:
            m.kill()
        if exc and exc[0] is not None:
            for m in self.members:
                log = self.dir / f"{m.name}.log"
                if log.exists():
                    sys.stderr.write(f"--- {m.name}\n" + "\n".join(log.read_text().splitlines()[-15:]) + "\n")

    def leader(self):
        return next((m for m in self.members if m.leads()), None)

    def followers(self):
        leader = self.leader()
        return [m for m in self.members if m is not leader]


def tls_options(pki):
    """What the client is told of it, as texts."""
    return {name: (pki / file).read_text()
            for name, file in (("ca", "ca.crt"), ("cert", "client.crt"), ("key", "client.key"))}


def is_installed():
    return shutil.which("etcd") is not None
