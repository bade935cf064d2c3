"""A lab without a kernel of its own: three agents on loopback addresses of a machine that has ZFS.

They share a network namespace, so that no port of the machine is taken and no service of it is met. Each "host" is a
mount namespace with its own /etc/zbaton, /var/lib/zbaton, /run, /var/log, /srv, users and control group, and a pool in
a file. A host that loses its power is one whose processes are all killed; what the machine holds in memory stays.
"""

import os
import shlex
import shutil
import subprocess
import tempfile

from .host import POOL_NAMES
from .lab import turn_sigterm_into_exit
from .util import CommandError, CommandTimeout, LabError, Result, local, wait_until

PRIVATE = ("etc/zbaton", "var/lib/zbaton", "run", "var/log", "srv")
USERS = {
    "passwd": ("_zbaton:x:64999:64999::/:/usr/sbin/nologin",),
    "group": ("_zbaton:x:64999:", "zbaton:x:64998:"),
}
CGROUPS = "/sys/fs/cgroup"
REDIS_BINARY = "/usr/bin/redis-check-rdb"
END_S = 30


def usable():
    """Whether this machine has ZFS and we may use it."""
    return os.geteuid() == 0 and os.path.exists("/dev/zfs") and os.path.exists("/sys/module/zfs")


def _write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _hold(argv):
    """Starts a process that does nothing in namespaces of its own; returns it when they are made."""
    holder = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
    if holder.stdout.readline() != b"ready\n":
        holder.kill()
        holder.wait()
        raise LabError(f"no namespace of its own: {shlex.join(argv)}")
    return holder


def _group_end(group):
    """Kills every process in a control group, and waits until they are gone."""
    _write(os.path.join(group, "cgroup.kill"), "1\n")

    def empty():
        with open(os.path.join(group, "cgroup.events"), encoding="ascii") as file:
            return "populated 0" in file.read()
    wait_until(empty, END_S, f"no process in {group}")


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
        self._pool_made = False

    def prepare(self):
        """Makes the pool and the namespace."""
        for path in PRIVATE:
            os.makedirs(os.path.join(self.dir, path))
        image = os.path.join(self.dir, "pool.img")
        with open(image, "wb") as file:
            file.truncate(self.lab.pool_mib << 20)
        local(["zpool", "create", "-o", "cachefile=none", "-O", "mountpoint=none",
               "-O", "canmount=off", self.pool, image])
        self._pool_made = True
        self._users()
        self._redis()
        self.lab.group_make(self.name)
        self.boot()

    def boot(self):
        """Makes the namespace, with nothing running in it."""
        group = self.lab.group_path(self.name)
        binds = [(os.path.join(self.dir, path), f"/{path}") for path in PRIVATE]
        binds += [(os.path.join(self.dir, name), f"/etc/{name}") for name in USERS]
        binds += [(group, CGROUPS)]
        script = " && ".join(shlex.join(["mount", "--bind", *bind]) for bind in binds)
        self._holder = _hold(["unshare", "--mount", "--propagation", "private", "sh", "-c",
                              f"{script} && echo ready && exec sleep infinity"])
        self.lab.group_put(self.name, self._holder)

    def power_cut(self):
        """Kills everything that runs in the namespace, which ends it and its mounts."""
        self.lab.group_kill(self.name)
        self._holder.wait()
        self._holder = None
        shutil.rmtree(os.path.join(self.dir, "run"))
        os.mkdir(os.path.join(self.dir, "run"))

    def alive(self):
        """Whether there is a namespace to run commands in."""
        return self._holder is not None

    def _users(self):
        """The engine's user and the control group, of this namespace only."""
        for name, lines in USERS.items():
            with open(f"/etc/{name}", encoding="utf-8") as file:
                text = file.read()
            there = {line.split(":")[0] for line in text.splitlines()}
            added = [line for line in lines if line.split(":")[0] not in there]
            _write(os.path.join(self.dir, name), "\n".join([text.rstrip("\n"), *added, ""]))

    def _redis(self):
        """redis-tools has the server too, under another name: no service of the machine is needed."""
        if shutil.which("redis-server") is None:
            os.mkdir(os.path.join(self.dir, "etc/zbaton/bin"))
            os.symlink(REDIS_BINARY, os.path.join(self.dir, "etc/zbaton/bin/redis-server"))

    def close(self):
        """Destroys the pool, when nothing runs in the namespace any more."""
        if self._holder is not None:
            self._holder.wait()
            self._holder = None
        if self._pool_made:
            # The kernel takes the namespace's mounts down a moment after its last process.
            wait_until(lambda: local(["zpool", "destroy", self.pool]), END_S, f"{self.pool} is destroyed")
            self._pool_made = False

    def _argv(self, cmd):
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", *self.lab.net.enter(),
                "sh", "-c", f"echo 0 >{CGROUPS}/cgroup.procs && exec sh -c \"$1\"", "sh", cmd]

    def popen(self, cmd, **kwargs):
        """Starts a shell command in the namespace; as Host.popen."""
        for stream in ("stdin", "stdout", "stderr"):
            kwargs.setdefault(stream, subprocess.DEVNULL if stream == "stdin" else subprocess.PIPE)
        return subprocess.Popen(self._argv(cmd), env={"PATH": self.lab.path}, **kwargs)

    def run(self, cmd, timeout=60, check=True, input=None):
        """Runs a shell command in the namespace; as Host.run."""
        argv = self._argv(cmd)
        content = input.encode() if isinstance(input, str) else input
        stdin = {"input": content} if content is not None else {"stdin": subprocess.DEVNULL}
        try:
            done = subprocess.run(argv, capture_output=True, timeout=timeout, check=False,
                                  env={"PATH": self.lab.path}, **stdin)
        except subprocess.TimeoutExpired as err:
            raise CommandTimeout(f"{self.name}: {cmd!r} not done in {timeout} s") from err
        result = Result(done.returncode, done.stdout.decode(errors="replace"),
                        done.stderr.decode(errors="replace"))
        if check and result.rc != 0:
            raise CommandError(self.name, cmd, result)
        return result


class _Loopback:
    """A network namespace with nothing but a loopback device."""

    def __init__(self, lab):
        self._lab = lab
        self._holder = None

    def up(self):
        """Makes it."""
        self._lab.group_make("net")
        self._holder = _hold(["unshare", "--net", "sh", "-c",
                              "ip link set lo up && echo ready && exec sleep infinity"])
        self._lab.group_put("net", self._holder)

    def down(self):
        """Waits for the end of what held it."""
        if self._holder is not None:
            self._holder.wait()

    def enter(self):
        """Options of nsenter(1)."""
        return [f"--net=/proc/{self._holder.pid}/ns/net"]

    def exec_argv(self, argv):
        """A command line that runs another in the namespace, and ends with the lab."""
        procs = os.path.join(self._lab.group, "net", "cgroup.procs")
        return ["nsenter", *self.enter(), "sh", "-c", f"echo 0 >{procs} && exec \"$@\"", "sh", *argv]


class LocalLab:
    """As Lab, for what the demonstration needs."""

    def __init__(self, hosts=3, pool_mib=512):
        self.pool_mib = pool_mib
        self.name = f"zblocal-{os.getpid()}"
        self.dir = tempfile.mkdtemp(prefix="zblocal-", dir="/var/tmp")
        self.group = os.path.join(CGROUPS, self.name)
        self.net = _Loopback(self)
        self.path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self._made = []
        self.hosts = [LocalHost(self, number) for number in range(1, hosts + 1)]

    def __getitem__(self, name):
        return next(host for host in self.hosts if host.name == name)

    def __enter__(self):
        turn_sigterm_into_exit()
        try:
            self._prepare()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *_):
        self.down()

    def _prepare(self):
        if not os.path.exists(os.path.join(CGROUPS, "cgroup.procs")):
            raise LabError(f"{CGROUPS} is not a cgroup2 hierarchy: boot with systemd.unified_cgroup_hierarchy=1")
        for path in PRIVATE:  # what is mounted over has to be there
            self._mkdir(f"/{path}")
        os.mkdir(self.group)
        self.net.up()
        for host in self.hosts:
            host.prepare()

    def _mkdir(self, path):
        if not os.path.isdir(path):
            self._mkdir(os.path.dirname(path))
            os.mkdir(path)
            self._made.append(path)

    def down(self):
        """Ends every process of the lab; removes namespaces, pools and files."""
        self._end()
        self.net.down()
        for host in self.hosts:
            host.close()
        shutil.rmtree(self.dir)
        while self._made:
            os.rmdir(self._made.pop())

    # --- control groups -------------------------------------------------------------------

    def group_path(self, name):
        """The folder of a control group below the lab's."""
        return os.path.join(self.group, name)

    def group_make(self, name):
        """Makes a control group below the lab's."""
        os.mkdir(self.group_path(name))

    def group_kill(self, name):
        """Ends every process in a control group."""
        _group_end(self.group_path(name))

    def group_put(self, name, process):
        """Moves a process into a control group."""
        _write(os.path.join(self.group, name, "cgroup.procs"), f"{process.pid}\n")

    def _end(self):
        if not os.path.isdir(self.group):
            return
        _group_end(self.group)
        for folder, _, _ in os.walk(self.group, topdown=False):
            os.rmdir(folder)

    # --- as of a Lab ------------------------------------------------------------------------

    def each(self, fn):
        """Calls fn(host) for every host, one after the other."""
        return [fn(host) for host in self.hosts]

    def install(self, path):
        """Nothing is installed: commands find the programs of a staged folder by PATH."""
        folders = [os.path.join(path, sub) for sub in ("usr/sbin", "usr/bin")]
        self.path = ":".join(folders + [self.path])
