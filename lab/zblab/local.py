"""A lab without a kernel of its own: three agents on loopback addresses of a machine that has ZFS.

Each "host" is a mount namespace with its own /etc/zbaton, /var/lib/zbaton, /run/zbaton, /var/log
and control group, and a pool in a file. What needs a host to fail is not offered.
"""

import os
import shlex
import shutil
import subprocess
import tempfile

from .host import POOL_NAMES
from .util import CommandError, CommandTimeout, LabError, Result, local

PRIVATE = ("etc/zbaton", "var/lib/zbaton", "run/zbaton", "var/log")


def usable():
    """Whether this machine has ZFS and we may use it."""
    return os.geteuid() == 0 and os.path.exists("/dev/zfs") and os.path.exists("/sys/module/zfs")


class LocalHost:
    """An agent's surroundings on this machine."""

    def __init__(self, lab, host_id):
        self.lab = lab
        self.id = host_id
        self.name = f"vm{host_id}"
        self.pool = f"zblocal-{POOL_NAMES[host_id - 1]}"
        self.data_ip = self.mgmt_ip = f"127.0.0.{host_id}"
        self.dir = os.path.join(lab.dir, self.name)
        self._holder = None

    def prepare(self):
        """Makes the pool and the namespace."""
        for path in PRIVATE:
            os.makedirs(os.path.join(self.dir, path))
        image = os.path.join(self.dir, "pool.img")
        with open(image, "wb") as file:
            file.truncate(self.lab.pool_mib << 20)
        local(["zpool", "create", "-f", "-o", "cachefile=none", "-O", "mountpoint=none",
               "-O", "canmount=off", self.pool, image])
        group = f"/sys/fs/cgroup/{self.lab.name}-{self.name}"
        os.makedirs(group, exist_ok=True)
        binds = " && ".join(
            f"mkdir -p /{path} && mount --bind {shlex.quote(os.path.join(self.dir, path))} /{path}"
            for path in PRIVATE)
        script = f"{binds} && mount --bind {group} /sys/fs/cgroup && echo ready && exec sleep infinity"
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        if self._holder.stdout.readline() != b"ready\n":
            raise LabError(f"{self.name}: no namespace of its own")

    def close(self):
        """Ends the namespace and destroys the pool."""
        group = f"/sys/fs/cgroup/{self.lab.name}-{self.name}"
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait()
        for folder, _, _ in os.walk(group, topdown=False):
            if os.path.exists(os.path.join(folder, "cgroup.kill")):
                with open(os.path.join(folder, "cgroup.kill"), "w", encoding="ascii") as file:
                    file.write("1")
            local(["sh", "-c", f"for i in 1 2 3 4 5 6 7 8 9 10; do rmdir {shlex.quote(folder)} "
                               "2>/dev/null && break; sleep 0.2; done"], check=False)
        local(["zpool", "destroy", "-f", self.pool], check=False)

    def run(self, cmd, timeout=60, check=True, input=None):
        """Runs a shell command in the namespace; as Host.run."""
        argv = ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--wd=/", "sh", "-c", cmd]
        content = input.encode() if isinstance(input, str) else input
        stdin = {"input": content} if content is not None else {"stdin": subprocess.DEVNULL}
        stdin["env"] = {**os.environ, "PATH": self.lab.path}
        try:
            done = subprocess.run(argv, capture_output=True, timeout=timeout, check=False, **stdin)
        except subprocess.TimeoutExpired as err:
            raise CommandTimeout(f"{self.name}: {cmd!r} not done in {timeout} s") from err
        result = Result(done.returncode, done.stdout.decode(errors="replace"),
                        done.stderr.decode(errors="replace"))
        if check and result.rc != 0:
            raise CommandError(self.name, cmd, result)
        return result


class _Loopback:
    """Everything is reachable from here."""

    @staticmethod
    def exec_argv(argv):
        """The command line as it is."""
        return argv


class LocalLab:
    """As Lab, for what the demonstration needs."""

    def __init__(self, hosts=3, pool_mib=512):
        self.pool_mib = pool_mib
        self.name = f"zblocal-{os.getpid()}"
        self.dir = tempfile.mkdtemp(prefix="zblocal-")
        self.net = _Loopback()
        self.path = os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        self.hosts = [LocalHost(self, number) for number in range(1, hosts + 1)]

    def __getitem__(self, name):
        return next(host for host in self.hosts if host.name == name)

    def __enter__(self):
        try:
            for host in self.hosts:
                host.prepare()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *_):
        self.down()

    def down(self):
        """Removes namespaces, pools and files."""
        for host in self.hosts:
            host.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def each(self, fn):
        """Calls fn(host) for every host, one after the other."""
        return [fn(host) for host in self.hosts]

    def install(self, path):
        """Nothing is installed: commands find the programs of a staged folder by PATH."""
        folders = [os.path.join(path, sub) for sub in ("usr/sbin", "usr/bin")]
        self.path = ":".join(folders + [self.path])
