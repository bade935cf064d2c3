"""zbaton on the hosts of a lab: installs it, makes a cluster, declares services, asks the disks.

What is asserted about data is read from ZFS and from the service itself, not from zbaton.
"""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import time

from .lab import for_each
from .util import LabError, wait_until

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROOT = "services"
PORT = 7979
REDIS = """#!/bin/sh
PATH="$PATH:/etc/zbaton/bin"
exec redis-server --port "$1" --bind 0.0.0.0 --protected-mode no --dir "$ZBATON_MOUNTPOINT" \\
    --appendonly yes --appendfsync always --save "" --daemonize no
"""


def stage():
    """The folder with the installed programs, as `make` staged them."""
    path = os.environ.get("ZB_STAGE", os.path.join(TOP, "build", "stage"))
    if not os.path.exists(os.path.join(path, "usr/sbin/zbatond")):
        raise LabError(f"no zbatond under {path}: run `make` first")
    return path


class Cluster:
    """A zbaton cluster on all hosts of a lab, made anew; close() removes every trace of it."""

    def __init__(self, lab):
        self.lab = lab
        self.hosts = lab.hosts
        self.services = {}

    # --- life ---------------------------------------------------------------------------

    def start(self, first=None):
        """Installs, makes the cluster on a host (the first by default), joins the others."""
        self.lab.install(stage())
        self.lab.each(self._prepare)
        first = first or self.hosts[0]
        first.run("zbaton init --cluster lab " + self._identity(first))
        self.daemon_start(first)
        for host in [host for host in self.hosts if host is not first]:
            token = self.zbaton("token create", host=first).out.split()[0]
            host.run(f"zbaton join {token} " + self._identity(host))
            self.daemon_start(host)
        self.wait_up(len(self.hosts), first)
        return self

    def make_whole(self):
        """Ends every fault of the hosts; daemons that do not answer are started anew, as a service manager
        would."""
        self.lab.make_whole()
        self.lab.each(self.daemon_make_whole)

    def daemon_make_whole(self, host):
        """The daemon of a host answers, if need be another one."""
        if self.zbaton("status -j", host=host, check=False).rc != 0:
            self.daemon_stop(host, "KILL")
            self.daemon_start(host)

    def close(self):
        """Stops the daemons and services and removes state and datasets, where a host is on."""
        self.lab.each(lambda host: host.alive() and self._wipe(host))

    def _prepare(self, host):
        host.run("getent group zbaton >/dev/null || groupadd --system zbaton; "
                 "id _zbaton >/dev/null 2>&1 || useradd --system -g zbaton -d /nonexistent "
                 "-s /usr/sbin/nologin _zbaton; mkdir -p /etc/zbaton/commands")
        self.command(host, "redis", REDIS)

    def _wipe(self, host):
        self.daemon_stop(host)
        host.run(
            "for g in $(find /sys/fs/cgroup/zbaton* -name cgroup.kill 2>/dev/null); do echo 1 >$g; done; "
            f"for i in 1 2 3 4 5; do zfs umount -a 2>/dev/null; "
            f"zfs destroy -R {host.pool}/{ROOT} 2>/dev/null; "
            f"zfs list {host.pool}/{ROOT} >/dev/null 2>&1 || break; sleep 1; done; "
            "rm -rf /var/lib/zbaton /etc/zbaton /run/zbaton", check=False)

    def _identity(self, host):
        return f"--node {host.name} --root {host.pool}/{ROOT} --listen {host.data_ip}:{PORT}"

    def daemon_start(self, host, wait=True):
        """Starts zbatond; with wait, returns when it answers."""
        host.run("mkdir -p /run/zbaton; setsid zbatond >>/var/log/zbatond.log 2>&1 </dev/null & "
                 "echo $! >/run/zbatond.pid")
        if not wait:
            return
        wait_until(lambda: self.zbaton("status -j", host=host, check=False).rc == 0, 60,
                   f"zbatond answers on {host.name}")

    def daemon_stop(self, host, sig="TERM"):
        """Ends the keeper (and with TERM its engine); services go on."""
        host.run(f"p=$(cat /run/zbatond.pid 2>/dev/null) && kill -{sig} $p; "
                 "for i in $(seq 100); do kill -0 $p 2>/dev/null || break; sleep 0.1; done",
                 check=False)

    def keeper_pid(self, host):
        """Process number of the keeper."""
        return int(host.run("cat /run/zbatond.pid").out)

    def engine_pid(self, host):
        """Process number of the engine, the keeper's child."""
        return int(host.run(f"pgrep -P {self.keeper_pid(host)} -u _zbaton").out.split()[0])

    # --- zbaton ---------------------------------------------------------------------------

    def zbaton(self, args, host=None, check=True, timeout=120):
        """Runs the control program on a host (the first one by default)."""
        return (host or self.hosts[0]).run(f"zbaton {args}", check=check, timeout=timeout)

    def status(self, host=None):
        """`zbaton status -j` as an object."""
        return json.loads(self.zbaton("status -j", host=host).out)

    def wait_up(self, count, host, deadline_s=60):
        """Waits until a host sees so many nodes, itself included."""
        wait_until(lambda: self.status(host)["cluster"]["nodes_up"] == count, deadline_s,
                   f"{host.name} sees {count} nodes")

    def service(self, name, host=None):
        """The status of one service."""
        for service in self.status(host)["services"]:
            if service["name"] == name:
                return service
        raise LabError(f"no service {name} in status")

    def member(self, name, node, host=None):
        """The status of one member of a service."""
        for member in self.service(name, host)["members"]:
            if member["node"] == node:
                return member
        raise LabError(f"no member {node} of {name}")

    def leader(self, name, host=None):
        """The host that leads a service and runs it, or None."""
        service = self.service(name, host)
        for member in service["members"]:
            if member["role"] == "leader" and member["state"] == "running":
                return self.lab[member["node"]]
        return None

    def command(self, host, name, text):
        """Installs a program of the command runner."""
        path = f"/etc/zbaton/commands/{name}"
        host.run(f"mkdir -p /etc/zbaton/commands; cat >{path}; chmod 755 {path}; sync", input=text)

    def declare(self, name, **keys):
        """Adds or changes a service in the declaration file's text; apply() puts it in force."""
        text = {"members": [h.name for h in self.hosts], "leader": self.hosts[0].name,
                "mountpoint": f"/srv/{name}", "interval": "5s", "keep": 50, "runner": "command",
                "start-timeout": "60s", "stop-timeout": "30s"}
        text.update({key.replace("_", "-"): value for key, value in keys.items()})
        for other, declared in self.services.items():
            if other != name and "start" in text and declared.get("start") == text["start"]:
                raise LabError(f"{other} starts the same: {text['start']}; a port each")
        self.services[name] = text

    def text(self):
        """The services file."""
        out = []
        for name, keys in self.services.items():
            out.append(f"service {name} {{")
            for key, value in keys.items():
                if isinstance(value, list):
                    out.append(f"    {key} = {{ {', '.join(value)} }}")
                elif isinstance(value, int):
                    out.append(f"    {key} = {value}")
                else:
                    out.append(f"    {key} = {json.dumps(value)}")
            out.append("}")
        return "\n".join(out) + "\n"

    def apply(self, flags="-y", host=None, check=True, timeout=120):
        """`zbaton apply` of the declared services."""
        host = host or self.hosts[0]
        host.run("cat >/etc/zbaton/services.conf", input=self.text())
        return self.zbaton(f"apply {flags} /etc/zbaton/services.conf", host=host, check=check, timeout=timeout)

    def wait_current(self, name, leader=None, deadline_s=120):
        """Waits until the service runs (on `leader`) and every member holds its newest set."""
        def current():
            service = self.service(name)
            assert service["leader"] and (leader is None or service["leader"] == leader), service
            sets = set()
            for member in service["members"]:
                assert member["state"] in ("running", "current"), service
                newest = member["newest_set"]
                assert newest and newest["term"] == service["term"], service
                sets.add((newest["term"], newest["seq"]))
            assert len(sets) == 1, service
            return service
        return wait_until(current, deadline_s, f"{name} runs and every member is current")

    def move(self, name, node, check=True, host=None, timeout=300):
        """`zbaton move`; the result with its output."""
        return self.zbaton(f"move {name} {node}", check=check, host=host, timeout=timeout)

    def failover(self, name, to, *fenced, flags="-y", host=None, check=True, timeout=300):
        """`zbaton failover` to a node, on that node by default; the result with its output."""
        said = "".join(f" --fenced {node}" for node in fenced)
        return self.zbaton(f"failover {name} --to {to}{said} {flags}", check=check,
                           host=host or self.lab[to], timeout=timeout)

    def terms(self, name, host=None):
        """The terms of `zbaton history -j`, oldest first."""
        return json.loads(self.zbaton(f"history -j -n 200 {name}", host=host).out)["terms"]

    def events(self, name, host=None):
        """The newest of `zbaton events -j`, oldest first."""
        said = self.zbaton(f"events -j -n 100 {name}", host=host).out
        return [json.loads(line) for line in said.splitlines()]

    # --- the disks --------------------------------------------------------------------------

    @staticmethod
    def dataset(host, name, rel=""):
        """Full name of a service's dataset on a host."""
        return f"{host.pool}/{ROOT}/{name}" + (f"/{rel}" if rel else "")

    def orphans(self, host, name):
        """Datasets of a service's tree on a host that are in no set any more."""
        top = self.dataset(host, name)
        return host.run(f"zfs get -Hpr -s local,inherited -t filesystem -o name zbaton:orphan {top}").out.split()

    def snapshots(self, host, name):
        """{dataset relative to the service: {snapshot: guid}} read with zfs(8), in order, without orphans."""
        top = self.dataset(host, name)
        orphans = self.orphans(host, name)
        out = {}
        said = host.run(f"zfs list -Hp -r -t snapshot -s createtxg -o name,guid {top}").out
        for line in said.splitlines():
            full, guid = line.split("\t")
            dataset, snap = full.split("@")
            if dataset in orphans:
                continue
            out.setdefault(dataset[len(top):].lstrip("/"), {})[snap] = guid
        return out

    @staticmethod
    def rescues(host, name):
        """Names of a service's rescues on a host, read with zfs(8), oldest first."""
        top = f"{host.pool}/{ROOT}/.rescue"
        said = host.run(f"zfs list -Hp -d 1 -o name -s name {top} 2>/dev/null", check=False).out
        names = [line[len(top) + 1:] for line in said.split()]
        return [rescue for rescue in names if rescue.rsplit("-", 2)[0] == name]

    @contextlib.contextmanager
    def rescue(self, host, rescue):
        """The path at which a rescue's whole tree can be read on its host, for a `with`."""
        path = self.zbaton(f"rescue mount {rescue}", host=host).out.strip()
        try:
            yield path
        finally:
            self.zbaton(f"rescue umount {rescue}", host=host)

    def writers(self, name):
        """Hosts on which any dataset of the service is mounted read-write in any namespace."""
        def mounted(host):
            top = self.dataset(host, name)
            script = ("import glob\nseen=set()\n"
                      "for f in glob.glob('/proc/[0-9]*/mountinfo'):\n"
                      "  try: lines=open(f).read().splitlines()\n"
                      "  except OSError: continue\n"
                      "  for l in lines:\n"
                      "    a,b=l.split(' - ',1); b=b.split()\n"
                      "    if b[0]=='zfs' and (b[1]==T or b[1].startswith(T+'/')):\n"
                      "      if 'rw' in a.split()[5].split(',') and 'rw' in b[2].split(','): seen.add(b[1])\n"
                      "print(len(seen))\n")
            return int(host.run(f"python3 -c {shlex.quote(f'T={top!r}' + chr(10) + script)}").out) > 0
        return [host for host, rw in zip(self.hosts, for_each(self.hosts, mounted)) if rw]

    def assert_at_rest(self, name):
        """Every copy is as S0 says: readonly=on, canmount=noauto, followers unmounted, unwritten."""
        leader = self.service(name)["leader"]
        for host in self.hosts:
            top = self.dataset(host, name)
            said = host.run(f"zfs list -Hp -r -o name,readonly,canmount,mounted,written {top}").out
            orphans = self.orphans(host, name)
            for line in said.splitlines():
                dataset, readonly, canmount, mounted, written = line.split("\t")
                if dataset in orphans:
                    assert (readonly, mounted) == ("on", "no"), (host.name, line)
                    continue
                source = host.run(f"zfs get -H -o source readonly {dataset}").out.strip()
                if host.name == leader:
                    # the property shows "off" with source "temporary" while mounted over it
                    assert (readonly, source) == ("off", "temporary"), (host.name, line, source)
                else:
                    assert (readonly, mounted, written) == ("on", "no", "0"), (host.name, line)
                    assert source == "local", (host.name, dataset, source)
                assert canmount == "noauto", (host.name, line)


class SystemdCluster(Cluster):
    """Daemons run as zbaton.service, which starts at boot; services may be units."""

    def daemon_start(self, host, wait=True):
        host.run("systemctl daemon-reload && systemctl enable zbaton && systemctl restart zbaton", timeout=120)

    def daemon_stop(self, host, sig="TERM"):
        host.run("systemctl disable --now zbaton", check=False)

    def _wipe(self, host):
        self.daemon_stop(host)
        for keys in self.services.values():
            if "unit" in keys:
                host.run(f"systemctl stop {keys['unit']}", check=False)
        super()._wipe(host)


class Recorder:
    """A client that writes numbered records all the time (record-client), in the lab's network: on
    whichever host serves it, or of some of them."""

    def __init__(self, lab, folder, port=6379, name="records", hosts=None):
        self.lab = lab
        self.port = port
        self.name = name
        self.path = os.path.join(folder, f"acknowledged-{name}-{port}")
        argv = [os.path.join(TOP, "lab", "record-client"), "--out", self.path, "--list", name,
                "--port", str(port), *[host.mgmt_ip for host in hosts or lab.hosts]]
        self.process = subprocess.Popen(lab.net.exec_argv(argv), start_new_session=True)

    def acknowledged(self):
        """[(number, time, address)] so far."""
        try:
            with open(self.path, encoding="ascii") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return []
        return [(int(n), float(t), a) for n, t, a in (line.split() for line in lines)]

    def wait_more(self, count=10, deadline_s=60):
        """Waits until `count` more records were acknowledged."""
        have = len(self.acknowledged())
        wait_until(lambda: len(self.acknowledged()) >= have + count, deadline_s,
                   f"{count} more records")

    def stop(self):
        """Ends the client; returns the acknowledged numbers."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
        return [number for number, _, _ in self.acknowledged()]

    def stored(self, host):
        """Numbers that redis on a host holds."""
        said = host.run(f"redis-cli -p {self.port} lrange {self.name} 0 -1", timeout=120).out.split()
        return [int(number) for number in said]

    def stored_in(self, host, path):
        """Numbers in the append-only files of a redis that does not run, below a path of a host."""
        script = ("import glob, re, sys\n"
                  "for f in glob.glob(sys.argv[1] + '/appendonlydir/*.incr.aof'):\n"
                  "  for n in re.findall(rb'RPUSH\\r\\n[$]\\d+\\r\\n' + sys.argv[2].encode()\n"
                  "                      + rb'\\r\\n[$]\\d+\\r\\n(\\d+)\\r\\n', open(f, 'rb').read()):\n"
                  "    print(n.decode())\n")
        said = host.run(f"python3 -c {shlex.quote(script)} {path} {self.name}", timeout=120).out
        return [int(number) for number in said.split()]

    def assert_nothing_lost(self, host):
        """Every acknowledged record is in the service on that host; returns how many."""
        acknowledged = self.stop()
        missing = set(acknowledged) - set(self.stored(host))
        assert not missing, f"{len(missing)} acknowledged records lost: {sorted(missing)[:20]}"
        return len(acknowledged)

    def assert_all_kept(self, cluster, leader, rescues):
        """Every acknowledged record is live on the leader or in one of [(host, rescue)].

        Returns (acknowledged, live, rescued)."""
        acknowledged, live, rescued = set(self.stop()), set(self.stored(leader)), set()
        for host, rescue in rescues:
            with cluster.rescue(host, rescue) as path:
                rescued |= set(self.stored_in(host, path))
        missing = acknowledged - live - rescued
        assert not missing, f"{len(missing)} acknowledged records are nowhere: {sorted(missing)[:20]}"
        return acknowledged, live, rescued


def longest_gap_ms(acknowledged, since, until):
    """The longest time without an acknowledged record between two times, in milliseconds."""
    times = [t for _, t, _ in acknowledged if since <= t <= until]
    return max((b - a for a, b in zip(times, times[1:])), default=0.0) * 1000


def timed(fn):
    """(result, milliseconds) of a call."""
    begun = time.monotonic()
    result = fn()
    return result, (time.monotonic() - begun) * 1000
