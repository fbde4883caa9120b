"""RAM of this process and of everything that it has started."""

from __future__ import annotations

import ctypes
import gc
from collections import Counter
from itertools import pairwise

import psutil


def tree_rss_bytes() -> int:
    """Returns the resident set of this process and its descendants, summed.

    Pages that processes share count once for each of them.
    """
    return sum(rss for _, rss, _ in _processes())


def tree_by_name() -> dict[str, dict[str, float]]:
    """Returns count, RSS and PSS (shared pages divided among their users), by kind of process."""
    found: dict[str, Counter[str]] = {}
    for name, rss, pss in _processes():
        found.setdefault(name, Counter()).update(processes=1, rss=rss, pss=pss)
    return {
        name: {
            "processes": sums["processes"],
            "rss_mib": round(sums["rss"] / 2**20, 1),
            "pss_mib": round(sums["pss"] / 2**20, 1),
        }
        for name, sums in sorted(found.items(), key=lambda item: -item[1]["rss"])
    }


def settled_rss_bytes() -> int:
    """Returns the resident set of this process once garbage and free pages are given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(psutil.Process().memory_info().rss)


def _processes() -> list[tuple[str, int, int]]:
    found = []
    own = psutil.Process()
    for process in (own, *own.children(recursive=True)):
        try:
            memory = process.memory_full_info()
            found.append((_kind(process), int(memory.rss), int(memory.pss)))
        except psutil.NoSuchProcess:
            continue
    return found


def _kind(process: psutil.Process) -> str:
    """Names a process by its program, an interpreter by what it runs, a Ray actor by its class."""
    line = process.cmdline()
    if not line:
        return process.name()
    program = line[0].rsplit("/", 1)[-1]
    if program.startswith("ray::"):
        return program.split(".")[0]
    if program.startswith("python"):
        for before, word in pairwise(line):
            if before == "-m":
                return word
            if word.endswith(".py"):
                return word.rsplit("/", 1)[-1]
    return program
