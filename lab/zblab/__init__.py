"""A laboratory of real OpenZFS hosts under QEMU, for tests and by hand (see README.md)."""

from .host import Host
from .lab import Lab, clean_stale, lab_names
from .util import CommandError, CommandTimeout, LabError, Result, wait_until

__all__ = [
    "CommandError", "CommandTimeout", "Host", "Lab", "LabError", "Result", "clean_stale",
    "lab_names", "wait_until",
]
