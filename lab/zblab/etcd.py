"""etcd on the hosts of a lab, or on machines beside them (beside.py): one member each, whose disk can
stand still without the host's.

It is asked and served on the data network, so that a host that is cut off is cut off from it.
"""

import base64
import json
import shlex

from .lab import for_each
from .util import LabError, wait_until

CLIENT_PORT = 2379
PEER_PORT = 2380
IMAGE = "/var/lib/zblab-etcd.img"  # a file system of its own for the data: fsfreeze(8) stops no other
IMAGE_MIB = 400
FOLDER = "/var/lib/zblab-etcd"
PID = "/run/zblab-etcd.pid"
# An emulated host under load is late now and then: elections are for those that are gone.
HEARTBEAT_MS = 250
ELECTION_MS = 2500
ANSWERS_S = 90


class Etcd:
    """Members on all hosts of a lab, of a cluster or of Machines, made anew; a context manager that leaves
    nothing."""

    def __init__(self, cluster):
        self.hosts = cluster.hosts
        self.endpoints = [self.endpoint(host) for host in self.hosts]

    def __enter__(self):
        try:
            for_each(self.hosts, self._prepare)
            for_each(self.hosts, lambda host: self.start(host, wait=False))
            for host in self.hosts:
                self.wait_answers(host)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    @staticmethod
    def endpoint(host):
        """Where a member answers its clients."""
        return f"http://{host.data_ip}:{CLIENT_PORT}"

    # --- life ---------------------------------------------------------------------------

    def _prepare(self, host):
        self._wipe(host)
        host.run(f"truncate -s {IMAGE_MIB}M {IMAGE} && mkfs.ext4 -q -m 0 {IMAGE} && mkdir -p {FOLDER}",
                 timeout=120)

    def close(self):
        """Ends the members and removes their data, where a host is on."""
        for_each(self.hosts, lambda host: host.alive() and self._wipe(host))

    def make_whole(self):
        """Ends every fault of the members."""
        for host in self.hosts:
            goes_on = f"fsfreeze -u {FOLDER} 2>/dev/null; kill -CONT $(cat {PID}) 2>/dev/null"
            if host.run(goes_on, check=False).rc != 0:
                self.start(host, wait=False)
        for host in self.hosts:
            self.wait_answers(host)

    @staticmethod
    def _wipe(host):
        host.run(f"fsfreeze -u {FOLDER} 2>/dev/null; kill -9 $(cat {PID} 2>/dev/null) 2>/dev/null; "
                 f"for i in $(seq 100); do mountpoint -q {FOLDER} || break; umount {FOLDER} 2>/dev/null; "
                 f"sleep 0.1; done; rm -rf {PID} {IMAGE} {FOLDER}", check=False)

    def start(self, host, wait=True):
        """Starts the member of a host, also after its host was off; with wait, returns when it
        answers with a leader."""
        peers = ",".join(f"{h.name}=http://{h.data_ip}:{PEER_PORT}" for h in self.hosts)
        peer = f"http://{host.data_ip}:{PEER_PORT}"
        argv = ["etcd", "--name", host.name, "--data-dir", f"{FOLDER}/data",
                "--listen-client-urls", self.endpoint(host), "--advertise-client-urls", self.endpoint(host),
                "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                "--initial-cluster", peers, "--initial-cluster-token", "zblab",
                "--heartbeat-interval", str(HEARTBEAT_MS), "--election-timeout", str(ELECTION_MS)]
        host.run(f"modprobe loop; mountpoint -q {FOLDER} || mount -o loop {IMAGE} {FOLDER}; "
                 f"setsid {shlex.join(argv)} >>/var/log/etcd.log 2>&1 </dev/null & echo $! >{PID}")
        if wait:
            self.wait_answers(host)

    @staticmethod
    def kill(host):
        """Ends a member at once."""
        host.run(f"kill -KILL $(cat {PID}) && for i in $(seq 300); do "
                 f"kill -0 $(cat {PID}) 2>/dev/null || exit 0; sleep 0.1; done; exit 1")

    @staticmethod
    def signal(host, name):
        """A signal to a member: STOP, CONT."""
        host.run(f"kill -{name} $(cat {PID})")

    def freeze(self, host):
        """Lets the member's disk stand still: it answers what it has in memory, and writes nothing. One
        that leads does so until it has something to write."""
        host.run(f"fsfreeze -f {FOLDER}")

    def thaw(self, host):
        """The end of a freeze."""
        host.run(f"fsfreeze -u {FOLDER}")

    # --- asking -------------------------------------------------------------------------

    def call(self, host, path, timeout_s=10, **body):
        """A call of the member's JSON gateway, made on its host; LabError when it is not done."""
        said = host.run(f"curl -sS -m {timeout_s} -d {shlex.quote(json.dumps(body))} {self.endpoint(host)}{path}",
                        check=False, timeout=timeout_s + 30)
        if said.rc != 0:
            raise LabError(f"etcd on {host.name}: {said.err.strip()}")
        answer = json.loads(said.out)
        if "error" in answer:
            raise LabError(f"etcd on {host.name}: {answer['error']}")
        return answer

    def put(self, key, value, host):
        """Writes through a member; the revision."""
        body = {"key": _encode(key), "value": _encode(value)}
        return int(self.call(host, "/v3/kv/put", **body)["header"]["revision"])

    def get(self, key, host):
        """Reads through a member, as the quorum has it; None when the key is not there."""
        kvs = self.call(host, "/v3/kv/range", key=_encode(key)).get("kvs")
        return base64.b64decode(kvs[0].get("value", "")).decode() if kvs else None

    def delete(self, key, host):
        """Removes a key through a member."""
        self.call(host, "/v3/kv/deleterange", key=_encode(key))

    def revision(self, host):
        """Of the last change that a member knows."""
        return int(self.call(host, "/v3/kv/range", key=_encode("/"))["header"]["revision"])

    def changed(self, since, host):
        """The keys that were changed after a revision."""
        kvs = self.call(host, "/v3/kv/range", key=_encode("/"), range_end=_encode("0"), keys_only=True,
                        min_mod_revision=since + 1).get("kvs", [])
        return [base64.b64decode(kv["key"]).decode() for kv in kvs]

    def transactions(self):
        """How many the members have answered, by their own count."""
        def count(host):
            said = host.run(f"curl -sS -m 10 {self.endpoint(host)}/metrics").out
            return sum(float(line.split()[-1]) for line in said.splitlines()
                       if line.startswith("grpc_server_handled_total") and 'grpc_method="Txn"' in line)
        return int(sum(map(count, self.hosts)))

    def wait_answers(self, host):
        """Waits until a member knows a leader."""
        def answers():
            return "leader" in self.call(host, "/v3/maintenance/status", timeout_s=5)
        wait_until(answers, ANSWERS_S, f"etcd on {host.name} answers")

    def leader(self):
        """The host whose member leads, or None. One whose disk stands still believes that it leads on:
        the highest term decides."""
        found = []
        for host in self.hosts:
            try:
                status = self.call(host, "/v3/maintenance/status", timeout_s=5)
            except LabError:
                continue
            if status.get("leader") == status["header"]["member_id"]:
                found.append((int(status["header"]["raft_term"]), host.id, host))
        return max(found)[2] if found else None


def _encode(text):
    return base64.b64encode(text.encode()).decode()
