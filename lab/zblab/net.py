"""The lab's network: one namespace, a data and a management bridge, two taps per host.

Nothing leaves the namespace. The runner has an address on the management bridge only.
"""

import os

from .util import local

DATA = "10.77.0"
MGMT = "10.78.0"
RUNNER_ID = 254
BESIDE_IDS = (251, 252, 253)  # of what runs beside the hosts, on the data bridge (beside.py)


class Network:
    """Network namespace of one lab; every method may be called again without harm."""

    def __init__(self, lab_name, host_ids):
        self.netns = f"zblab-{lab_name}"
        self.host_ids = list(host_ids)

    def exec_argv(self, argv):
        """A command line that runs argv inside the namespace, under the same process number."""
        return ["ip", "netns", "exec", self.netns, *argv]

    def up(self):
        """Makes the namespace with its bridges and taps, all in one network."""
        local(["ip", "netns", "add", self.netns])
        lines = [
            "link set lo up",
            "link add mgmt type bridge mcast_snooping 0",
            f"addr add {MGMT}.{RUNNER_ID}/24 dev mgmt",
            "link set mgmt up",
            *self._bridge_lines(0),
        ]
        for host_id in self.host_ids:
            lines += [
                f"tuntap add data{host_id} mode tap",
                f"link set data{host_id} master bridge0 up",
                f"tuntap add mgmt{host_id} mode tap",
                f"link set mgmt{host_id} master mgmt up",
            ]
        self._batch(lines)

    def down(self):
        """Removes the namespace; its bridges and taps go with it."""
        if os.path.exists(f"/run/netns/{self.netns}"):
            local(["ip", "netns", "delete", self.netns])

    def partition(self, groups):
        """Gives each group of host ids a data bridge of its own: silence between groups.

        Hosts in no group are alone. Cards keep their carrier: nothing in a guest tells it.
        """
        named = {host_id for group in groups for host_id in group}
        groups = [list(g) for g in groups] + [[i] for i in self.host_ids if i not in named]
        lines = []
        for number, group in enumerate(groups):
            if not self._has(f"bridge{number}"):
                lines += self._bridge_lines(number)
            lines += [f"link set data{host_id} master bridge{number}" for host_id in group]
        self._batch(lines)

    def isolate(self, host_id, alone):
        """Silence between a host and everybody else; False ends it."""
        to = "nomaster" if alone else "master bridge0"
        self._batch([f"link set data{host_id} {to}"])

    def deafen(self, host_id, deaf):
        """Nothing reaches a host's data card any more, what it sends goes out; False ends it."""
        what = "replace" if deaf else "delete"
        local(["tc", "-n", self.netns, "qdisc", what, "dev", f"data{host_id}", "root"] +
              (["pfifo", "limit", "0"] if deaf else []), check=deaf)

    def heal(self):
        """All hosts on one data bridge again, and none deaf."""
        self.partition([self.host_ids])
        for host_id in self.host_ids:
            self.deafen(host_id, False)

    def _has(self, device):
        return local(["ip", "-n", self.netns, "link", "show", device], check=False).rc == 0

    @staticmethod
    def _bridge_lines(number):
        return [
            f"link add bridge{number} type bridge mcast_snooping 0",
            f"link set bridge{number} up",
        ]

    def _batch(self, lines):
        local(["ip", "-n", self.netns, "-batch", "-"], input="\n".join(lines) + "\n")
