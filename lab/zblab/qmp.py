"""One command to a running QEMU over its QMP socket."""

import json
import socket

from .util import LabError


def qmp(path, command, arguments=None, timeout_s=10.0):
    """Connects, negotiates, runs one command, returns what it returned."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout_s)
        try:
            sock.connect(path)
            with sock.makefile("rw", encoding="utf-8") as stream:
                json.loads(stream.readline())
                _call(stream, "qmp_capabilities", None)
                return _call(stream, command, arguments)
        except (OSError, ValueError) as err:
            raise LabError(f"QMP {command} on {path}: {err}") from err


def _call(stream, command, arguments):
    request = {"execute": command}
    if arguments is not None:
        request["arguments"] = arguments
    stream.write(json.dumps(request) + "\n")
    stream.flush()
    while True:
        answer = json.loads(stream.readline())
        if "return" in answer:
            return answer["return"]
        if "error" in answer:
            raise LabError(f"QMP {command}: {answer['error'].get('desc')}")
