"""Small machines beside a lab's hosts: an address in the lab's network and files of their own, on the
runner's kernel. What runs there takes no time of an emulated processor, and no host's fault reaches it.
"""

import subprocess

from .net import BESIDE_IDS, DATA
from .util import CommandError, CommandTimeout, LabError, Result, wait_until

# Its own folders, which go with its last process. Children that nobody waits for leave no zombie.
INIT = ("for d in /run /var/log /var/lib; do mount -t tmpfs none $d || exit 1; done; "
        "exec env --ignore-signal=CHLD sleep infinity")


class Machine:
    """One of them: its commands run in namespaces that end with the test's process."""

    def __init__(self, lab, number):
        self.id = BESIDE_IDS[number - 1]
        self.name = f"beside{number}"
        self.data_ip = f"{DATA}.{self.id}"
        self._process = None
        self._pid = None
        self._lab = lab

    def __repr__(self):
        return f"<Machine {self.name}>"

    def start(self):
        """Returns when commands can be run."""
        subprocess.run(self._lab.net.exec_argv(["ip", "addr", "replace", f"{self.data_ip}/24", "dev", "bridge0"]),
                       check=True)
        # Not by `ip netns exec`, which mounts another /sys, without the control groups.
        argv = ["nsenter", f"--net=/run/netns/{self._lab.net.netns}", "setpriv", "--pdeathsig", "KILL",
                "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", INIT]
        self._process = subprocess.Popen(argv, start_new_session=True)
        wait_until(self._is_ready, 30, f"{self.name} has started", 0.05)

    def _is_ready(self):
        if self._process.poll() is not None:
            raise LabError(f"{self.name} ended with {self._process.returncode}")
        pid = self._process.pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            children = file.read().split()
        if not children:
            return False
        self._pid = children[0]
        with open(f"/proc/{self._pid}/comm", encoding="ascii") as file:
            return file.read() == "sleep\n"

    def stop(self):
        """Everything that runs there is killed."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def alive(self):
        """Whether commands can be run."""
        return self._process is not None and self._process.poll() is None

    def run(self, cmd, timeout=60, check=True):
        """As Host.run."""
        argv = ["nsenter", "-t", self._pid, "-m", "-p", "-n", "--", "sh", "-c", cmd]
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
                                  check=False)
        except subprocess.TimeoutExpired as err:
            raise CommandTimeout(f"{self.name}: {cmd!r} not done in {timeout} s") from err
        result = Result(done.returncode, done.stdout, done.stderr)
        if check and result.rc != 0:
            raise CommandError(self.name, cmd, result)
        return result


class Machines:
    """Machines on a lab's data network; a context manager that leaves nothing."""

    def __init__(self, lab):
        self.hosts = [Machine(lab, number + 1) for number in range(len(BESIDE_IDS))]

    def __enter__(self):
        try:
            for machine in self.hosts:
                machine.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends all of them."""
        for machine in self.hosts:
            machine.stop()
