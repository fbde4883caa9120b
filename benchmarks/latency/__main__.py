"""How long adds and searches take, and how much memory they hold.

    python -m benchmarks.latency --sizes 600 6000 100000

Texts are made up (`benchmarks.synthetic`); embedding is left out by an embedder that hashes words,
except where a section says so. Every section runs in a process of its own:

    shard       adds and searches inside a shard, in one namespace of each size
    adds        durable adds through the SDK: in batches, from concurrent adders, alone
    resident    RAM of a memory in a resident namespace
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

from benchmarks.isolation import isolated
from benchmarks.latency import adds, resident, shard
from benchmarks.machine import describe

Section = Callable[[argparse.Namespace], object]


def _shard(chosen: argparse.Namespace) -> object:
    return isolated(shard.measure, chosen.sizes, chosen.searches)


def _adds(chosen: argparse.Namespace) -> object:
    return isolated(adds.measure, chosen.adds, chosen.adders, chosen.lone)


def _resident(chosen: argparse.Namespace) -> object:
    return resident.measure(chosen.resident)


SECTIONS: dict[str, Section] = {"shard": _shard, "adds": _adds, "resident": _resident}


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
    return made


def main() -> None:
    """Runs the chosen sections and prints their figures."""
    chosen = parser().parse_args()
    figures: dict[str, object] = {name: SECTIONS[name](chosen) for name in chosen.only}
    print(json.dumps(figures | {"machine": describe()}, indent=1))


if __name__ == "__main__":
    main()
