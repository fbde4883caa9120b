"""Ends what an embedded cluster leaves behind when its process is killed.

Ray's node ends with the process that started it, but two of the node's children go on for a minute,
looking for it. A small process of ours knows them, and outlives the cluster's just long enough to
end them.

This file is also the program that runs; it needs the standard library only, and Linux' /proc.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from dataclasses import dataclass

_NODE = "raylet"
_LOOK_S = 0.25
_PATIENCE_S = 20.0


class Sweeper:
    """The process that watches over this one. Start it before Ray, close it after."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def close(self) -> None:
        """Has it sweep now, and waits until it is done. Safe to call twice."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True)
class Member:
    """A process of a node; the moment of its start tells it from a later one of the same number."""

    pid: int
    started_ticks: int


def members(owner: int) -> set[Member]:
    """Lists the children of the nodes that a process runs: agents and workers."""
    found = set()
    for node in _children(owner):
        if _name(node) == _NODE:
            ticks = ((pid, _started_ticks(pid)) for pid in _children(node))
            found |= {Member(pid, began) for pid, began in ticks if began is not None}
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += map(int, file.read().split())
    return found


def _name(pid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return None


def _started_ticks(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat") as file:
            # The name, in brackets, may hold anything; the rest are plain fields.
            return int(file.read().rpartition(")")[2].split()[19])
    except OSError:
        return None


def _main(owner: int) -> None:
    known: set[Member] = set()
    # Nothing is ever written to the pipe: it becomes readable when its other end is closed.
    while os.getppid() == owner and not select.select([0], [], [], _LOOK_S)[0]:
        known = members(owner) or known
    for member in known:
        with contextlib.suppress(OSError):
            if _started_ticks(member.pid) == member.started_ticks:
                os.kill(member.pid, signal.SIGKILL)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
