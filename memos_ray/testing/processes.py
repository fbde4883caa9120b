"""Helper processes of tests: they never outlive the test run."""

from __future__ import annotations

import pwd
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

# Below those of outgoing connections, above those of Ray's workers.
_PORTS = (20_000, 32_768)
_GIVEN: set[int] = set()

# Changing the user unties a process, so that comes first.
_TIE = (
    "import ctypes, os, sys;"
    "{become}"
    "ctypes.CDLL(None).prctl(1, {signal});"
    "os.getppid() == int(sys.argv[1]) or os._exit(1);"
    "os.execvp(sys.argv[2], sys.argv[2:])"
)
_BECOME = "os.setgroups([]); os.setgid({group}); os.setuid({user});"


_LIMIT = (
    "import os, resource, sys;"
    "{become}"
    "[resource.prlimit(int(pid), {kind}, ({value}, resource.prlimit(int(pid), {kind})[1]))"
    " for pid in sys.argv[1:]]"
)


def tied(command: Sequence[str], parent: int, user: pwd.struct_passwd | None = None) -> list[str]:
    """Returns a command that runs `command` and is killed with its parent.

    The parent is the thread that starts it, as the kernel sees it: start it from the main thread.

    Args:
        parent: process id of whoever starts it.
        user: whom it runs as; only root can choose.
    """
    program = _TIE.format(become=_become(user), signal=int(signal.SIGKILL))
    return [sys.executable, "-P", "-c", program, str(parent), *command]


def limit_files(
    pids: Sequence[int], size_bytes: int, user: pwd.struct_passwd | None = None
) -> None:
    """Lets no file of running processes grow beyond a size.

    Args:
        user: whom they run as; even root may not be allowed to limit others.
    """
    kind = int(resource.RLIMIT_FSIZE)
    program = _LIMIT.format(become=_become(user), kind=kind, value=size_bytes)
    subprocess.run([sys.executable, "-P", "-c", program, *map(str, pids)], check=True)


def _become(user: pwd.struct_passwd | None) -> str:
    return "" if user is None else _BECOME.format(group=user.pw_gid, user=user.pw_uid)


def free_port() -> int:
    """Returns a loopback port that is free now, and that the kernel gives to nobody meanwhile.

    Each one once: a server takes a dozen before it listens on the first.
    """
    while True:
        port = random.SystemRandom().randrange(*_PORTS)
        if port in _GIVEN:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _GIVEN.add(port)
            return port


def end(process: subprocess.Popen[bytes], patience_s: float) -> None:
    """Terminates a process, kills it when it does not listen, and collects it."""
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def family(pid: int) -> list[psutil.Process]:
    """Returns a process and all below it."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def living(processes: list[psutil.Process]) -> list[str]:
    """Returns the names of those that have not ended."""
    found = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.name())
        except psutil.NoSuchProcess:
            continue
    return found


def wait_until_gone(processes: list[psutil.Process], limit_s: float = 50.0) -> None:
    """Waits until all have ended; for less than the minute after which Ray's agents do so alone."""
    deadline = time.monotonic() + limit_s
    while left := living(processes):
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.05)
