"""Members of an etcd cluster on this host's loopback, each with its data below a temporary folder.

They end with the program that starts them, whatever becomes of it: the kernel kills them.
"""
import ctypes
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

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


def ports_free(count):
    """Ports that nobody has now: all are held until all are known."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Member:
    def __init__(self, cluster, index, client_port, peer_port):
        self.cluster = cluster
        self.name = f"m{index}"
        self.dir = cluster.dir / self.name
        self.client = f"{cluster.scheme}://127.0.0.1:{client_port}"
        self.peer = f"{cluster.scheme}://127.0.0.1:{peer_port}"
        self.process = None

    def start(self):
        peers = ",".join(f"{m.name}={m.peer}" for m in self.cluster.members)
        argv = ["etcd", "--name", self.name, "--data-dir", self.dir,
                "--listen-client-urls", self.client, "--advertise-client-urls", self.client,
                "--listen-peer-urls", self.peer, "--initial-advertise-peer-urls", self.peer,
                "--initial-cluster", peers, "--initial-cluster-token", "test",
                "--heartbeat-interval", "100", "--election-timeout", "1000",
                *self.cluster.tls_options]
        # Its settings come from here alone.
        env = {k: v for k, v in os.environ.items() if not k.startswith("ETCD_")}
        with open(self.cluster.dir / f"{self.name}.log", "ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, env=env, preexec_fn=die_with_parent)

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


class Cluster:
    """count members under dir; tls: {"server": options of etcd, "context": an ssl.SSLContext} or None."""

    def __init__(self, folder, count, tls=None):
        self.dir = pathlib.Path(folder)
        self.dir.mkdir(exist_ok=True)
        self.scheme = "https" if tls else "http"
        self.tls_options = tls["server"] if tls else []
        self.context = tls["context"] if tls else None
        ports = ports_free(2 * count)
        self.members = [Member(self, i, ports[2 * i], ports[2 * i + 1]) for i in range(count)]

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


def is_installed():
    return shutil.which("etcd") is not None
