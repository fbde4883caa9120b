"""The light benchmarks, a few minutes in all: `python -m benchmarks`.

Retrieval quality on the shipped conversation, and `benchmarks.latency` at small sizes.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import retrieval
from benchmarks.isolation import isolated
from benchmarks.latency.__main__ import measure, parser
from benchmarks.machine import describe

_CONVERSATION = Path(__file__).parents[1] / "examples" / "conversation.json"
_LIGHT = "--sizes 600 6000 --resident 6000 --only shard adds resident idle".split()


def main() -> None:
    """Prints the figures."""
    figures = {
        "retrieval": isolated(retrieval.measure, _CONVERSATION),
        "latency": measure(parser().parse_args(_LIGHT)),
        "machine": describe(),
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
