"""One host of a lab: a QEMU process, its disks, its console, and commands through ssh."""

import contextlib
import ctypes
import os
import shlex
import signal
import subprocess
import threading
import time

from .net import DATA, MGMT
from .qmp import qmp
from .util import CommandError, CommandTimeout, LabError, PidFile, Result

POOL_NAMES = ("pool1", "tank", "zdata")
NICS = ("data", "mgmt")
PR_SET_PDEATHSIG = 1
ANSWERS_S = 30  # a host that has not answered after this time, on a busy machine, does not hear

# The cheapest that sshd of the guest offers on a processor that is emulated.
SSH_OPTIONS = (
    "-F", "none",
    "-o", "BatchMode=yes",
    "-o", "StrictHostKeyChecking=no",
    "-o", "UserKnownHostsFile=/dev/null",
    "-o", "IdentitiesOnly=yes",
    "-o", "LogLevel=ERROR",
    "-o", "GSSAPIAuthentication=no",
    "-o", "PreferredAuthentications=publickey",
    "-o", "KexAlgorithms=curve25519-sha256",
    "-o", "Ciphers=aes128-gcm@openssh.com",
)


class Host:
    """A host; its state is in files of its folder, so that another process can take it over."""

    def __init__(self, lab, host_id):
        self.lab = lab
        self.id = host_id
        self.name = f"vm{host_id}"
        known = host_id <= len(POOL_NAMES)
        self.pool = POOL_NAMES[host_id - 1] if known else f"pool{host_id}"
        self.data_ip = f"{DATA}.{host_id}"
        self.mgmt_ip = f"{MGMT}.{host_id}"
        self.dir = os.path.join(lab.dir, self.name)
        self.serial_log = self._path("serial.log")
        self._qemu = PidFile(self._path("qemu.pid"))
        self._ssh = PidFile(self._path("ssh.pid"))
        self._ssh_socket = self._path("ssh.sock")
        self._lock = threading.Lock()
        self._children = []

    def __repr__(self):
        return f"<Host {self.name}>"

    def _path(self, name):
        return os.path.join(self.dir, name)

    # --- life ---------------------------------------------------------------------------

    def prepare(self):
        """Makes the folder and the disks: an overlay of the image, a pool disk, a spare."""
        os.makedirs(self.dir)
        self.new_root()
        for name, mib in (("pool.img", self.lab.pool_mib), ("spare.img", 256)):
            with open(self._path(name), "wb") as file:
                file.truncate(mib << 20)

    def new_root(self):
        """A root disk as of the image, in place of the one that a host that is off has."""
        backing = os.path.join(self.lab.image, "root.qcow2")
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", backing,
             self._path("root.qcow2")],
            check=True,
        )

    def new_pool_disk(self):
        """Another pool disk, in place of the one that a host that is off has.

        Something else is on it, so that the host makes no pool there by itself at its boot.
        """
        with open(self._path("pool.img"), "wb") as file:
            file.truncate(self.lab.pool_mib << 20)
        subprocess.run(["mkswap", self._path("pool.img")], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    @contextlib.contextmanager
    def pool_device(self):
        """The pool's partition of a host that is off, as a block device here, for a `with`."""
        image = self._path("pool.img")
        said = subprocess.run(["partx", "-rgo", "START,SECTORS", "--nr", "1", image], check=True, stdout=subprocess.PIPE)
        start, sectors = (int(word) * 512 for word in said.stdout.split())
        said = subprocess.run(["losetup", "--find", "--show", "--offset", str(start), "--sizelimit", str(sectors), image],
                              check=True, stdout=subprocess.PIPE)
        device = said.stdout.decode().strip()
        try:
            yield device
        finally:
            subprocess.run(["losetup", "--detach", device], check=True)

    def boot(self, wait=True, deadline_s=180, pool=True):
        """Switches the host on; with wait, returns when ssh answers and the pool is there (without
        pool: it is not)."""
        if self.alive():
            raise LabError(f"{self.name} runs already")
        self._disconnect()  # a host that reset itself left a connection behind
        with open(self._path("qemu.log"), "ab") as log:
            process = subprocess.Popen(
                self.lab.net.exec_argv(self._qemu_argv()),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=self._die_with_parent(),
            )
        self._children.append(process)
        self._qemu.write(process.pid)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path("pool.frozen"))
        for nic in NICS:
            if os.path.exists(self._path(f"{nic}.down")):
                self._wait_for_qmp()
                self._set_link(nic, False)
        if wait:
            self.wait_ready(deadline_s, pool)

    def wait_ready(self, deadline_s=180, pool=True):
        """Returns when ssh answers and the pool is up (without pool: is not); says why when it is
        not."""
        end = time.monotonic() + deadline_s
        while True:
            try:
                said = self._ready(end)
                break
            except CommandTimeout:
                if time.monotonic() >= end:
                    raise
                with self._lock:  # it reset itself: the connection will never hear of it
                    self._disconnect()
        if (said == "ready") != pool:
            raise LabError(f"{self.name}: {said}")

    def _ready(self, end):
        """What it says once it is up, with its clock set. CommandTimeout: nothing for a while."""
        self._connect(end)
        cmd = "while [ ! -e /run/zblab/ready ]; do sleep 0.2; done; cat /run/zblab/ready"
        said = self.run(cmd, timeout=min(ANSWERS_S, max(1.0, end - time.monotonic()))).out.strip()
        # The emulated clock chip is read to the second, and late.
        self.run(f"date -s @{time.time():.2f}", timeout=ANSWERS_S)
        return said

    def alive(self):
        """Whether the host is switched on (a paused host is)."""
        self._reap()
        return self._qemu.pid() is not None

    def power_cut(self):
        """Takes the power away: what was not flushed is lost, every connection is silent."""
        self._qemu.kill(signal.SIGKILL)
        self._disconnect()
        self._reap()

    def pause(self):
        """Freezes the host; its clocks stand still until cont()."""
        self.qmp("stop")

    def cont(self):
        """Lets a frozen host go on."""
        self.qmp("cont")

    def console_tail(self, lines=15):
        """The last lines of the console, headed by the host's name."""
        try:
            with open(self.serial_log, encoding="utf-8", errors="replace") as file:
                tail = file.read().splitlines()[-lines:]
        except OSError:
            return ""
        return "\n".join([f"--- console of {self.name}", *tail, ""])

    # --- commands -----------------------------------------------------------------------

    def run(self, cmd, timeout=60, check=True, input=None):
        """Runs a shell command on the host and returns its Result.

        With check a status other than 0 raises CommandError. Past the timeout in seconds it
        raises CommandTimeout; what was started may then still run on the host.
        """
        done = self._run_raw(cmd, timeout, input)
        result = Result(
            done.returncode, done.stdout.decode(errors="replace"),
            done.stderr.decode(errors="replace"),
        )
        if check and result.rc != 0:
            raise CommandError(self.name, cmd, result)
        return result

    def type(self, cmd, answers="", timeout=300):
        """Runs a command on a terminal, where the answers are typed; a Result of what is seen there."""
        self._connect(time.monotonic() + 30)
        try:
            done = subprocess.run(self.ssh_argv(cmd, tty=True), input=answers.encode(), capture_output=True,
                                  timeout=timeout, check=False)
        except subprocess.TimeoutExpired as err:
            raise CommandTimeout(f"{self.name}: {cmd!r} not done in {timeout} s") from err
        seen = done.stdout.decode(errors="replace").replace("\r\n", "\n")
        return Result(done.returncode, seen, done.stderr.decode(errors="replace"))

    def popen(self, cmd, **kwargs):
        """Starts a shell command on the host; returns the Popen of the ssh that carries it.

        Ending that ssh does not end the command unless it writes to a closed pipe.
        """
        self._connect(time.monotonic() + 30)
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        kwargs.setdefault("stdout", subprocess.PIPE)
        kwargs.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen(self.ssh_argv(cmd), **kwargs)

    def put(self, local, remote, mode=None):
        """Copies one file to the host, whole or not at all; mode is an int such as 0o755."""
        with open(local, "rb") as file:
            content = file.read()
        if mode is None:
            mode = os.stat(local).st_mode & 0o777
        path = shlex.quote(remote)
        part = shlex.quote(remote + ".part")
        folder = shlex.quote(os.path.dirname(remote) or ".")
        cmd = (f"mkdir -p {folder} && cat > {part} && chmod {mode:o} {part}"
               f" && mv {part} {path}")
        self.run(cmd, timeout=300, input=content)

    def get(self, remote, local):
        """Copies one file from the host."""
        cmd = f"cat {shlex.quote(remote)}"
        done = self._run_raw(cmd, 300, None)
        if done.returncode != 0:
            err = done.stderr.decode(errors="replace")
            raise CommandError(self.name, cmd, Result(done.returncode, "", err))
        with open(local, "wb") as file:
            file.write(done.stdout)

    def now(self):
        """The host's clock, seconds since the epoch."""
        return float(self.run("date +%s.%N").out)

    def ssh_argv(self, cmd=None, tty=False):
        """The ssh command line that runs cmd over the host's standing connection."""
        argv = ["ssh", *SSH_OPTIONS, "-S", self._ssh_socket, "-o", "ControlMaster=no",
                # Without the standing connection ssh would dial from outside the namespace.
                "-o", "ProxyCommand=false"]
        argv += ["-tt"] if tty else []
        argv += ["-l", "root", self.mgmt_ip]
        return argv + (["--", cmd] if cmd is not None else [])

    def _run_raw(self, cmd, timeout, input):
        self._connect(time.monotonic() + timeout)
        if isinstance(input, str):
            input = input.encode()
        stdin = {"input": input} if input is not None else {"stdin": subprocess.DEVNULL}
        try:
            return subprocess.run(
                self.ssh_argv(cmd), capture_output=True, timeout=timeout, check=False, **stdin
            )
        except subprocess.TimeoutExpired as err:
            raise CommandTimeout(f"{self.name}: {cmd!r} not done in {timeout} s") from err

    # --- faults -------------------------------------------------------------------------

    def link(self, up, nic="data"):
        """Pulls or plugs a network cable; the guest sees the carrier go. Stays over a boot."""
        marker = self._path(f"{nic}.down")
        if up and os.path.exists(marker):
            os.unlink(marker)
        if not up:
            with open(marker, "wb"):
                pass
        if self.alive():
            self._set_link(nic, up)

    def netem(self, spec):
        """Makes the data network slow or lossy ("delay 20ms rate 50mbit"); None ends it."""
        if spec is None:
            self.run("tc qdisc del dev eth0 root 2>/dev/null || true")
        else:
            self.run(f"tc qdisc replace dev eth0 root netem {spec}")

    def blackhole(self, addresses):
        """Sends nothing to these addresses any more; [] ends it."""
        lines = ["ip route flush type blackhole"] + [f"ip route replace blackhole {a}/32" for a in addresses]
        self.run("; ".join(lines))

    def isolate(self, alone):
        """Silence on the data network, in both directions, which nothing tells the host; False ends it."""
        self.lab.net.isolate(self.id, alone)

    def deafen(self, deaf):
        """As isolate(), for what others send alone."""
        self.lab.net.deafen(self.id, deaf)

    def freeze_pool_disk(self, frozen):
        """The pool disk takes requests and answers none, until this ends it or the host is switched off."""
        marker = self._path("pool.frozen")
        if not frozen and not os.path.exists(marker):
            return
        limits = dict.fromkeys(("bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
        self.qmp("block_set_io_throttle", {"device": "virtio1", "bps": 1 if frozen else 0, **limits})
        if frozen:
            with open(marker, "wb"):
                pass
        else:
            os.unlink(marker)

    def lose_pool_disk(self):
        """The pool disk answers no request but with an error, until the host is switched off."""
        self.freeze_pool_disk(False)
        self.qmp("human-monitor-command", {"command-line": "drive_del virtio1"})

    def qmp(self, command, arguments=None):
        """Runs one QMP command on the host's QEMU."""
        return qmp(self._path("qmp.sock"), command, arguments)

    def _set_link(self, nic, up):
        self.qmp("set_link", {"name": nic, "up": bool(up)})

    # --- inside -------------------------------------------------------------------------

    def _qemu_argv(self):
        lab = self.lab
        init = {"mini": "/usr/lib/zblab/init", "systemd": "/lib/systemd/systemd"}[lab.init]
        append = (
            "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on net.ifnames=0 "
            f"no_timer_check root=/dev/vda rw init={init} "
            f"systemd.machine_id={self.id:032x} spl.spl_hostid={0x5a420000 + self.id:#x} "
            f"zblab.id={self.id} zblab.host={self.name} zblab.pool={self.pool}"
        )
        argv = [
            "qemu-system-x86_64", "-name", f"zblab-{lab.name}-{self.name}", "-nodefaults",
            "-no-user-config", "-display", "none", "-no-reboot", *lab.accel_argv(),
            "-smp", "1", "-m", str(lab.mem_mib),
            "-chardev", f"file,id=serial,path={self.serial_log},append=on",
            "-serial", "chardev:serial",
            "-qmp", f"unix:{self._path('qmp.sock')},server=on,wait=off",
            "-kernel", f"{lab.image}/vmlinuz", "-initrd", f"{lab.image}/initrd",
            "-append", append,
            "-device", "virtio-rng-pci",
            "-drive", f"file={self._path('root.qcow2')},if=virtio,format=qcow2,cache=writeback",
        ]
        for name in ("pool.img", "spare.img"):
            path = self._path(name)
            argv += ["-drive", f"file={path},if=virtio,format=raw,cache={_cache_mode(path)}"]
        for net, nic in ((77, "data"), (78, "mgmt")):
            argv += [
                "-netdev", f"tap,id=net-{nic},ifname={nic}{self.id},script=no,downscript=no",
                "-device", f"virtio-net-pci,id={nic},netdev=net-{nic},romfile=,"
                           f"mac=52:54:00:{net}:00:{self.id:02x}",
            ]
        return argv

    def _die_with_parent(self):
        # The kernel watches the thread that forks, not the process: only for the main thread.
        if self.lab.keep or threading.current_thread() is not threading.main_thread():
            return None
        libc = ctypes.CDLL(None)
        return lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    def _wait_for_qmp(self):
        end = time.monotonic() + 10
        while not os.path.exists(self._path("qmp.sock")):
            if time.monotonic() > end or not self.alive():
                raise LabError(f"{self.name}: no QMP socket; see {self._path('qemu.log')}")
            time.sleep(0.02)

    def _connect(self, end):
        """Makes the standing ssh connection when there is none; end is monotonic time."""
        with self._lock:
            while not (self._ssh.pid() and os.path.exists(self._ssh_socket)):
                self._disconnect()
                if not self.alive():
                    raise LabError(f"{self.name} is switched off; see {self.serial_log}")
                if time.monotonic() >= end:
                    raise LabError(f"{self.name}: ssh does not answer; see {self.serial_log}")
                self._start_master(end)

    def _start_master(self, end):
        argv = ["ssh", *SSH_OPTIONS, "-o", "ConnectTimeout=5", "-M", "-N", "-S",
                self._ssh_socket, "-i", os.path.join(self.lab.image, "id_ed25519"),
                "-l", "root", self.mgmt_ip]
        process = subprocess.Popen(
            self.lab.net.exec_argv(argv), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )
        self._children.append(process)
        self._ssh.write(process.pid)
        end = min(end, time.monotonic() + 20)
        while process.poll() is None and time.monotonic() < end:
            if os.path.exists(self._ssh_socket):
                return
            time.sleep(0.01)
        time.sleep(0.2)

    def _disconnect(self):
        self._ssh.kill(signal.SIGKILL)
        try:
            os.unlink(self._ssh_socket)
        except FileNotFoundError:
            pass

    def _reap(self):
        self._children = [child for child in self._children if child.poll() is None]


def _cache_mode(path):
    """cache=none, as a disk with a flush would do, where the file system takes O_DIRECT."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_DIRECT))
    except OSError:
        return "writeback"
    return "none"
