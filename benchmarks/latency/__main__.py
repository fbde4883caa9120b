"""How long adds and searches take, and how much memory they hold.

    python -m benchmarks.latency --sizes 600 6000 100000

Texts are made up (`benchmarks.synthetic`); embedding is left out by an embedder that hashes words,
except where a section says so. Every section runs in a process of its own:

    shard       adds and searches inside a shard, in one namespace of each size
    adds        durable adds through the SDK: in batches, from concurrent adders, alone
    resident    RAM of a memory in a resident namespace
    doors       adds and searches through the SDK and REST, without and with embedding
    users       searches in one user's memories while more and more users share the shard
    noisy       searches of a tenant alone, and beside another with ten times the load
    sweep       searches while the lifecycle looks at `--swept` memories of the same partition
    archive     how many memories a second are archived with their texts, as a sweep does and as if
                asked for, and restored: by one shard, and by `--shards` at once
    topics      sorting memories into concepts, and showing topics; seconds of CPU
    idle        RAM of an embedded cluster that has nothing to do, by kind of process

`--sizes … 1000000` and `--users … 10000` take minutes and a few gigabytes.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable

from benchmarks.isolation import isolated
from benchmarks.latency import (
    adds,
    archive,
    doors,
    idle,
    noisy,
    resident,
    shard,
    sweep,
    topics,
    users,
)
from benchmarks.machine import describe

Section = Callable[[argparse.Namespace], object]


def _shard(chosen: argparse.Namespace) -> object:
    return isolated(shard.measure, chosen.sizes, chosen.searches)


def _adds(chosen: argparse.Namespace) -> object:
    return isolated(adds.measure, chosen.adds, chosen.adders, chosen.lone)


def _resident(chosen: argparse.Namespace) -> object:
    return resident.measure(chosen.resident)


def _doors(chosen: argparse.Namespace) -> object:
    measure, searches = doors.measure, chosen.searches
    return {
        "hashing": isolated(measure, chosen.door_sizes, searches, embedding=False),
        "embedding": isolated(measure, chosen.embedded_sizes, searches, embedding=True),
    }


def _users(chosen: argparse.Namespace) -> object:
    return isolated(users.measure, chosen.users, chosen.per_user)


def _noisy(chosen: argparse.Namespace) -> object:
    return isolated(noisy.measure, chosen.noisy_size, chosen.noisy_s)


def _sweep(chosen: argparse.Namespace) -> object:
    return isolated(sweep.measure, chosen.swept, chosen.beside_sweep, chosen.searches)


def _archive(chosen: argparse.Namespace) -> object:
    return isolated(archive.measure, chosen.archived, chosen.shards)


def _topics(chosen: argparse.Namespace) -> object:
    return isolated(topics.measure, chosen.sizes)


def _idle(chosen: argparse.Namespace) -> object:
    return idle.measure()


SECTIONS: dict[str, Section] = {
    "shard": _shard,
    "adds": _adds,
    "resident": _resident,
    "doors": _doors,
    "users": _users,
    "noisy": _noisy,
    "sweep": _sweep,
    "archive": _archive,
    "topics": _topics,
    "idle": _idle,
}


def parser() -> argparse.ArgumentParser:
    """Describes the command line."""
    made = argparse.ArgumentParser(
        prog="benchmarks.latency",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--only", nargs="+", choices=sorted(SECTIONS), default=list(SECTIONS))
    made.add_argument("--sizes", nargs="+", type=int, default=[600, 6_000, 100_000])
    made.add_argument("--searches", type=int, default=300)
    made.add_argument("--adds", type=int, default=10_000)
    made.add_argument("--adders", type=int, default=32)
    made.add_argument("--lone", type=int, default=300)
    made.add_argument("--resident", type=int, default=100_000)
    made.add_argument("--door-sizes", nargs="+", type=int, default=[600, 6_000, 100_000])
    made.add_argument("--embedded-sizes", nargs="+", type=int, default=[600, 6_000])
    made.add_argument("--users", nargs="+", type=int, default=[100, 1_000])
    made.add_argument("--noisy-size", type=int, default=6_000)
    made.add_argument("--noisy-s", type=float, default=20.0)
    made.add_argument("--per-user", type=int, default=100)
    made.add_argument("--swept", type=int, default=100_000)
    made.add_argument("--beside-sweep", type=int, default=6_000)
    made.add_argument("--archived", type=int, default=20_000)
    made.add_argument("--shards", type=int, default=os.cpu_count())
    return made


def measure(chosen: argparse.Namespace) -> dict[str, object]:
    """Runs the chosen sections."""
    return {name: SECTIONS[name](chosen) for name in chosen.only}


def main() -> None:
    """Prints the figures."""
    print(json.dumps(measure(parser().parse_args()) | {"machine": describe()}, indent=1))


if __name__ == "__main__":
    main()
