"""A lab: some hosts with real OpenZFS on one emulated network, and its cleaning up."""

import atexit
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

from .host import Host
from .net import Network
from .util import LabError, local, process_start_time

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RUN_ROOT = os.environ.get("ZB_LAB_RUN", "/var/tmp/zbaton-lab")
HOSTS_MAX = 9
# A plain processor with AES: the load of the ZFS module measures one implementation of its
# checksums for every vector extension that it finds, slowly where each is emulated.
EMULATED_CPU = "qemu64,+rdrand,+aes,+ssse3,+sse4.1,+pclmulqdq"
INITS = ("mini", "systemd")

_numbers = itertools.count(1)

# What a host is asked for when a test has failed; each line is a command of its own.
COLLECTED = {
    "dmesg": "dmesg",
    "processes": "ps -eo pid,ppid,stat,wchan:24,args",
    "mounts": "cat /proc/self/mountinfo",
    "zpool": "timeout 10 zpool status -v; timeout 10 zpool list",
    "zfs": "timeout 10 zfs list -t all -o name,used,refer,mounted,readonly,mountpoint,guid",
    "journal": "journalctl --no-pager -n 5000 2>/dev/null",
    "log": "cd /var/log && for f in *.log zbaton/*; do [ -f $f ] && echo \"== $f\" && cat $f; done",
}


class Lab:
    """Hosts vm1..vmN; a context manager that starts the lab and always takes it down.

    keep=True leaves it up when the process ends; Lab.attach(name) finds it again.
    """

    def __init__(self, hosts=3, name=None, init="mini", pool_mib=2048, keep=False, mem_mib=1024):
        if not 1 <= hosts <= HOSTS_MAX:
            raise LabError(f"a lab has 1 to {HOSTS_MAX} hosts, not {hosts}")
        if init not in INITS:
            raise LabError(f"unknown init {init!r}: one of {', '.join(INITS)}")
        self.name = name or f"{os.getpid()}-{next(_numbers)}"
        self.init = init
        self.pool_mib = pool_mib
        self.mem_mib = mem_mib
        self.keep = keep
        self.dir = os.path.join(RUN_ROOT, self.name)
        self.image = None
        self.net = Network(self.name, range(1, hosts + 1))
        self.hosts = [Host(self, host_id) for host_id in range(1, hosts + 1)]
        self._owner = os.getpid()

    def __getitem__(self, name):
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if not self.keep:
            self.down()

    # --- life ---------------------------------------------------------------------------

    def start(self, deadline_s=240):
        """Boots all hosts at once; returns when every one answers and has its pool.

        When anything fails, nothing of the lab is left behind, except the consoles' last lines
        in the error.
        """
        clean_stale()
        self.image = image_path()
        os.makedirs(RUN_ROOT, exist_ok=True)
        try:
            os.mkdir(self.dir)
        except FileExistsError:
            raise LabError(f"a lab named {self.name} is up already ({self.dir})") from None
        self._save()
        if not self.keep:
            atexit.register(self._at_exit)
            turn_sigterm_into_exit()
        try:
            self.net.up()
            for host in self.hosts:
                host.prepare()
            for host in self.hosts:
                host.boot(wait=False)
            self.each(lambda host: host.wait_ready(deadline_s))
        except LabError as err:
            consoles = "".join(host.console_tail() for host in self.hosts)
            self.down()
            raise LabError(f"{err}\n{consoles}") from err
        except BaseException:
            self.down()
            raise

    def down(self):
        """Ends every process of the lab and removes its namespace and files; may be repeated."""
        for host in self.hosts:
            host.power_cut()
        self.net.down()
        shutil.rmtree(self.dir, ignore_errors=True)
        atexit.unregister(self._at_exit)

    def each(self, fn):
        """Calls fn(host) for all hosts at once; returns the results in order of the hosts."""
        return for_each(self.hosts, fn)

    # --- software -----------------------------------------------------------------------

    def install(self, path, hosts=None):
        """Unpacks a tar archive, or the content of a folder, into / of every host, or of some."""
        with tempfile.TemporaryFile() as archive:
            if os.path.isdir(path):
                argv = ["tar", "-C", path, "--owner=0", "--group=0", "-cf", "-", "."]
                subprocess.run(argv, stdout=archive, check=True)
                archive.seek(0)
                content = archive.read()
                flag = ""
            else:
                with open(path, "rb") as file:
                    content = file.read()
                flag = {b"\x1f\x8b": "-z"}.get(content[:2], "")
        # /lib and its like are links in the guest and must stay links; synced, so that a power
        # cut right after does not leave empty programs.
        cmd = f"tar -C / {flag} --no-overwrite-dir --keep-directory-symlink --no-same-owner -xf - && sync"
        for_each(hosts or self.hosts, lambda host: host.run(cmd, timeout=300, input=content))

    # --- faults -------------------------------------------------------------------------

    def partition(self, groups):
        """Cuts the data network into groups of host names; hosts in no group are alone."""
        self.net.partition([[self[name].id for name in group] for group in groups])

    def heal(self):
        """Joins the data network again."""
        self.net.heal()

    def make_whole(self):
        """Ends every fault and boots what is off; pools, files and processes stay as they are."""
        self.heal()
        for host in self.hosts:
            host.link(True, "data")
            host.link(True, "mgmt")
            if host.alive():
                host.cont()
                host.freeze_pool_disk(False)
            else:
                host.boot(wait=False)
        self.each(lambda host: host.wait_ready())
        self.each(lambda host: (host.netem(None), host.blackhole([])))

    # --- looking back -------------------------------------------------------------------

    def collect(self, folder):
        """Saves the console and the state of every host that still answers into a folder."""
        os.makedirs(folder, exist_ok=True)
        self.each(lambda host: self._collect_host(host, os.path.join(folder, host.name)))

    @staticmethod
    def _collect_host(host, prefix):
        for source in (host.serial_log, os.path.join(host.dir, "qemu.log")):
            if os.path.exists(source):
                shutil.copy(source, f"{prefix}-{os.path.basename(source)}")
        for name, cmd in COLLECTED.items():
            try:
                said = host.run(cmd, timeout=20, check=False)
            except LabError as err:
                with open(f"{prefix}-unreachable.txt", "w", encoding="utf-8") as file:
                    file.write(f"{err}\n")
                return
            with open(f"{prefix}-{name}.txt", "w", encoding="utf-8") as file:
                file.write(said.out + said.err)

    # --- inside -------------------------------------------------------------------------

    def accel_argv(self):
        """QEMU options of the processor: software emulation unless ZB_LAB_ACCEL=kvm.

        A /dev/kvm that is there may still not run a stock kernel, so it is never assumed.
        """
        if os.environ.get("ZB_LAB_ACCEL") == "kvm":
            return ["-accel", "kvm", "-cpu", "host"]
        return ["-accel", "tcg,thread=multi,tb-size=256", "-cpu", EMULATED_CPU]

    def _save(self):
        state = {
            "name": self.name, "hosts": len(self.hosts), "init": self.init,
            "pool_mib": self.pool_mib, "mem_mib": self.mem_mib, "keep": self.keep,
            "image": self.image, "owner": self._owner,
            "owner_start": process_start_time(self._owner),
        }
        path = os.path.join(self.dir, "state.json")
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump(state, file)
        os.rename(f"{path}.new", path)

    @classmethod
    def attach(cls, name):
        """A lab that another process started, by name."""
        try:
            with open(os.path.join(RUN_ROOT, name, "state.json"), encoding="utf-8") as file:
                state = json.load(file)
        except FileNotFoundError:
            raise LabError(f"no lab named {name}") from None
        lab = cls(state["hosts"], state["name"], state["init"], state["pool_mib"],
                  keep=True, mem_mib=state["mem_mib"])
        lab.image = state["image"]
        return lab

    def _at_exit(self):
        if os.getpid() == self._owner:  # a forked child must not take its parent's lab down
            self.down()


def for_each(hosts, fn):
    """Calls fn(host) for hosts at once; returns the results in their order."""
    with ThreadPoolExecutor(len(hosts)) as pool:
        return list(pool.map(fn, hosts))


def image_path():
    """The folder of the guest image, built first when it is missing."""
    return local([os.path.join(HERE, "image")]).out.strip()


def lab_names():
    """Names of the labs that have a folder, up or left behind."""
    try:
        return sorted(os.listdir(RUN_ROOT))
    except FileNotFoundError:
        return []


def clean_stale():
    """Takes down labs whose owner was killed before it could do so itself."""
    for name in lab_names():
        try:
            with open(os.path.join(RUN_ROOT, name, "state.json"), encoding="utf-8") as file:
                state = json.load(file)
        except (OSError, ValueError):
            continue
        gone = process_start_time(state["owner"]) != state["owner_start"]
        if gone and not state["keep"]:
            Lab.attach(name).down()


def turn_sigterm_into_exit():
    """A lab is taken down when its process is asked to end, too."""
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
