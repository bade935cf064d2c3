"""The lab's fixtures for every test in this folder."""

import importlib.util
import os
import sys

_LAB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lab")
sys.path.insert(0, os.path.abspath(_LAB))

# By file name: both modules are called conftest.
_spec = importlib.util.spec_from_file_location("zblab_fixtures", os.path.join(_LAB, "conftest.py"))
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)

lab3 = _fixtures.lab3
lab3_session = _fixtures.lab3_session
lab3_systemd = _fixtures.lab3_systemd
lab3_systemd_session = _fixtures.lab3_systemd_session
pytest_runtest_makereport = _fixtures.pytest_runtest_makereport

import pytest  # noqa: E402
from zblab.cluster import Cluster  # noqa: E402


@pytest.fixture(scope="session")
def cluster_session(lab3_session):
    """zbaton on three hosts for the whole session; tests take `cluster`."""
    cluster = Cluster(lab3_session)
    cluster.close()
    cluster.start()
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(lab3, cluster_session):
    """The cluster, whole: hosts on, daemons running, every node up."""
    for host in cluster_session.hosts:
        cluster_session.daemon_make_whole(host)
    return cluster_session
