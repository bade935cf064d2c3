"""pytest fixtures of the lab: `lab3` and `lab3_systemd`, three hosts each, booted once a session.

A test that fails leaves the hosts' consoles and logs in build/lab-logs/<test>/. Use as a plugin:
test/lab/conftest.py imports everything from here.
"""

import os
import re
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from zblab import Lab, LabError  # noqa: E402  (the path comes first)

LOGS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "build/lab-logs")


@pytest.fixture(scope="session")
def lab3_session():
    """Three hosts under the mini init for the whole session; tests take `lab3`."""
    yield from three_hosts("mini")


def three_hosts(init):
    """A lab for a fixture. ZB_LAB names one that is up already (`lab/lab --name NAME up 3`), and is
    left up; tests of the other init get one of their own."""
    up = Lab.attach(os.environ["ZB_LAB"]) if os.environ.get("ZB_LAB") else None
    if up and up.init == init:
        yield up
        return
    with Lab(hosts=3, init=init) as lab:
        yield lab


@pytest.fixture(scope="session")
def lab3_systemd_session():
    """Three hosts under systemd for the whole session; tests take `lab3_systemd`."""
    yield from three_hosts("systemd")


@pytest.fixture
def lab3(lab3_session):
    """Three hosts, whole: what an earlier test cut, froze or switched off is put right first."""
    lab3_session.make_whole()
    return lab3_session


@pytest.fixture
def lab3_systemd(lab3_systemd_session):
    """As lab3, with systemd as the hosts' init."""
    lab3_systemd_session.make_whole()
    return lab3_systemd_session


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Collects while the hosts are still as the failure left them."""
    outcome = yield
    report = outcome.get_result()
    if not report.failed or call.when == "teardown":
        return
    labs = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Lab)]
    for lab in {id(lab): lab for lab in labs}.values():
        folder = os.path.join(LOGS, re.sub(r"[^\w.-]+", "_", item.name))
        try:
            lab.collect(folder)
            report.sections.append(("lab", f"logs of the hosts: {folder}"))
        except (LabError, OSError) as err:
            report.sections.append(("lab", f"no logs: {err}"))
