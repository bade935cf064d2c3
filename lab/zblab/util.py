"""Errors, results and waiting: what every part of the lab uses."""

import os
import subprocess
import time
from dataclasses import dataclass


class LabError(Exception):
    """The lab itself failed, or a command on a host did."""


class CommandError(LabError):
    """A command ended with a status that was not expected."""

    def __init__(self, where, cmd, result):
        self.result = result
        super().__init__(
            f"{where}: {cmd!r} ended with {result.rc}\n"
            f"stdout: {result.out[-4000:]}\nstderr: {result.err[-4000:]}"
        )


class CommandTimeout(LabError):
    """A command did not end in its time."""


@dataclass
class Result:
    """How a command ended: exit status, standard output and standard error as text."""

    rc: int
    out: str
    err: str


def wait_until(fn, deadline_s, what, interval_s=0.2):
    """Polls fn until it returns something true, and returns that.

    An exception of type LabError or AssertionError counts as "not yet". Past the deadline a
    LabError says what was waited for and what was seen last.
    """
    end = time.monotonic() + deadline_s
    while True:
        try:
            seen = fn()
            if seen:
                return seen
        except (LabError, AssertionError) as err:
            seen = err
        if time.monotonic() >= end:
            raise LabError(f"not within {deadline_s} s: {what}; last seen: {seen!r}")
        time.sleep(interval_s)


def local(argv, input=None, check=True):
    """Runs a command on the machine that carries the lab; returns a Result."""
    done = subprocess.run(argv, input=input, capture_output=True, text=True, check=False)
    result = Result(done.returncode, done.stdout, done.stderr)
    if check and result.rc != 0:
        raise CommandError("here", " ".join(argv), result)
    return result


def process_start_time(pid):
    """The start time of a process in clock ticks, or None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
    except OSError:
        return None
    # Field 3 is the state: a zombie has ended, whoever has yet to reap it.
    return None if fields[0] == "Z" else fields[19]


class PidFile:
    """A process known by number and start time, so that a reused number is never taken for it."""

    def __init__(self, path):
        self.path = path

    def write(self, pid):
        with open(self.path, "w", encoding="ascii") as file:
            file.write(f"{pid} {process_start_time(pid)}\n")

    def pid(self):
        """The number of the process while it lives, else None."""
        try:
            with open(self.path, encoding="ascii") as file:
                pid, start = file.read().split()
        except (OSError, ValueError):
            return None
        return int(pid) if process_start_time(pid) == start else None

    def kill(self, signal, wait_s=10.0):
        """Sends a signal and waits until the process has ended."""
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal)
            end = time.monotonic() + wait_s
            while self.pid() is not None:
                if time.monotonic() > end:
                    raise LabError(f"process {pid} of {self.path} does not end")
                time.sleep(0.005)
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass
