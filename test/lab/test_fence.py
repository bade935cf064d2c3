"""The fence command in failovers: it powers the old leader off while that is cut off and still writes,
or says why it cannot, and then nothing is taken.

The program runs on the host that shall lead, and asks the lab by a file to take the old leader's power.
"""

import threading
import time

import pytest
from test_failover import NAME, web  # noqa: F401  (a fixture)
from zblab import wait_until
from zblab.watch import Watch

pytestmark = pytest.mark.long

PROGRAM = "/etc/zbaton/fence"
CONF = "/etc/zbaton/zbatond.conf"
ASKED = "/run/fence.asked"
ANSWER = "/run/fence.answer"
TEXT = f"""#!/bin/sh
echo "$1 $ZBATON_NODE $ZBATON_SERVICE $ZBATON_TERM" >{ASKED}.new && mv {ASKED}.new {ASKED}
until [ -e {ANSWER} ]; do sleep 0.1; done
[ "$(cat {ANSWER})" = off ] && exit 0
echo "asked for $1" >&2
cat {ANSWER} >&2
exit 1
"""


class Fence:
    """The fence command of the host that shall lead, and the order that runs it."""

    def __init__(self, web):
        self.web = web
        self.host = web.new
        self.said = None
        self._order = None

    def install(self):
        """Makes it the host's, whose daemon then starts anew."""
        self.host.run(f"cat >{PROGRAM} && chmod 755 {PROGRAM}", input=TEXT)
        self.host.run(f"""echo 'fence-command = "{PROGRAM}"' >>{CONF}""")
        self._restart()

    def remove(self):
        """Leaves the host as it was."""
        self.answer("the test has ended")
        if self._order:
            self._order.join(120)
        self.host.run(f"sed -i /fence-command/d {CONF}; rm -f {PROGRAM} {ASKED} {ANSWER}")
        self._restart()

    def order(self):
        """Gives the order to lead, without a word about who is off; asked() and end() go on."""
        def run():
            self.said = self.web.cluster.failover(NAME, self.host.name, check=False)

        self._order = threading.Thread(target=run)
        self._order.start()

    def asked(self):
        """Waits for the program; what it was called with."""
        return wait_until(lambda: self.host.run(f"cat {ASKED}", check=False).out.split(), 60, "the command runs")

    def was_asked(self):
        """Whether it was ever run."""
        return self.host.run(f"test -e {ASKED}", check=False).rc == 0

    def answer(self, text):
        """What the program hears."""
        self.host.run(f"cat >{ANSWER}.new && mv {ANSWER}.new {ANSWER}", input=text)

    def end(self):
        """What came of the order."""
        self._order.join(120)
        assert not self._order.is_alive()
        print(self.said)
        return self.said

    def _restart(self):
        cluster = self.web.cluster
        cluster.daemon_stop(self.host)
        cluster.daemon_start(self.host)


@pytest.fixture
def fence(cluster, web):  # noqa: F811
    """The command, on a host that knows that the leader is cut off from it."""
    fence = Fence(web)
    fence.install()
    cluster.wait_up(3, web.new)
    web.write()
    cluster.zbaton(f"sync {NAME}")
    web.old.link(False)
    for host in (web.new, web.third):
        cluster.wait_up(2, host)
    yield fence
    web.old.link(True)
    fence.remove()


def renewed(cluster, web):
    """A leader that was not taken over is led back to by order, and has lost nothing."""
    web.old.link(True)
    cluster.wait_up(3, web.old)
    cluster.zbaton(f"failover {NAME} --to {web.old.name} -y", host=web.old, timeout=120)
    wait_until(lambda: cluster.leader(NAME) is web.old, 60, "it leads a new term")
    web.new = web.old
    web.settled()
    assert web.rescues() == []
    assert web.recorder.assert_nothing_lost(web.old)


def rules(cluster, host):
    return [(e["rule"], e["text"]) for e in cluster.events(NAME, host)]


def test_the_command_powers_off_who_still_writes(cluster, web, fence):  # noqa: F811
    plan = cluster.failover(NAME, web.new.name, flags="-n")
    assert f"Unless {web.old.name} answers, {web.new.name} runs: {PROGRAM} {web.old.name} " in plan.out, plan
    assert f"{web.new.name}: {PROGRAM} {web.old.name}\n" in plan.out, plan
    assert not fence.was_asked(), "a dry run runs nothing"

    watch = Watch(cluster, NAME).start()
    begun = time.monotonic()
    fence.order()
    node, same, service, term = fence.asked()
    assert (node, same, service) == (web.old.name, web.old.name, NAME)
    web.write()  # it is cut off, and writes
    assert cluster.writers(NAME) == [web.old]
    web.cut_old()
    fence.answer("off")
    said = fence.end()
    assert said.rc in (0, 6), said
    assert f"{web.new.name} runs {PROGRAM} {web.old.name}" in said.out
    wait_until(lambda: cluster.leader(NAME, web.new) is web.new, 60, f"{NAME} runs on {web.new.name}")
    assert cluster.service(NAME, web.new)["term"] == int(term), "granted before it ran"
    web.write()
    watch.stop()
    watch.assert_one_writer(begun)
    assert watch.count(begun) > 10
    assert any(rule == "A-fenced-command" and web.old.name in text for rule, text in rules(cluster, web.new))
    web.old_back()
    web.rescue()
    web.assert_all_kept()


def test_a_command_that_fails_leaves_the_leader_alone(cluster, web, fence):  # noqa: F811
    fence.order()
    fence.asked()
    fence.answer("no answer of the BMC\n")
    said = fence.end()
    assert said.rc == 3, said
    assert "exit status 1: no answer of the BMC" in said.err, said
    assert f"zbaton failover --fenced {web.old.name} --to {web.new.name} {NAME}" in said.err, said
    assert any(rule == "A-fence-failed" and "no answer" in text for rule, text in rules(cluster, web.new))
    web.write()
    assert cluster.writers(NAME) == [web.old]
    renewed(cluster, web)


def test_a_keeper_that_is_killed_counts_nothing(cluster, web, fence):  # noqa: F811
    fence.order()
    fence.asked()
    cluster.daemon_stop(fence.host, "KILL")
    running = f"pgrep -f '[s]h {PROGRAM} '"  # not the shell that asks
    assert fence.host.run(running, check=False).out, "it is left over"
    cluster.daemon_start(fence.host)
    assert not fence.host.run(running, check=False).out
    fence.answer("off")
    assert fence.end().rc != 0
    assert cluster.writers(NAME) == [web.old]
    renewed(cluster, web)
