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
