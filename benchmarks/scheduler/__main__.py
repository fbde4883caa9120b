"""Which KV caches a shard keeps, compared with who knows the future.

    python -m benchmarks.scheduler [--data FILE] [--seeds N]

`zipf`, `drift` and `burst` are made up (`traces`), `locomo` is the order of the questions in FILE,
the shipped conversation if there is none. The tier has a tenth of the bytes of everything that is
wanted. `regret` is the extra time of prefill over that of the oracle (`replay.oracle`), as a share
of the oracle's; the mean of several seeds. `of_lru` compares it with that of `lru`. `one_model` has
the made-up traces with caches of one model only, whose seconds for each byte differ little.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

from benchmarks.machine import describe
from benchmarks.scheduler.dialogue import preloading, trace_of
from benchmarks.scheduler.replay import Outcome, oracle, replay
from benchmarks.scheduler.traces import MADE_UP, Trace
from memos_ray.core.scheduling.policies import (
    ByLabel,
    BySimilarity,
    CostBased,
    LeastRecentlyUsed,
    RetentionPolicy,
)

ROOT = Path(__file__).parents[2]
_SHARE = 0.1
_POLICIES: dict[str, RetentionPolicy] = {
    "lru": LeastRecentlyUsed(),
    "cost_based": CostBased(),
    "label": ByLabel(("shared", "conversation")),
    "similarity": BySimilarity(),
}
Figures = dict[str, dict[str, float]]


def compare(traces: Sequence[Trace], policies: Sequence[str] = tuple(_POLICIES)) -> Figures:
    """Replays traces by every policy; returns the mean figures of each.

    Args:
        policies: names; `lru` must be among them.
    """
    best: list[Outcome] = []
    found: dict[str, list[Outcome]] = {name: [] for name in policies}
    for trace in traces:
        sizes = {step.item.id: step.item.size_bytes for step in trace}
        # There is always room for the largest one.
        budget = max(round(_SHARE * sum(sizes.values())), *sizes.values())
        best.append(oracle(trace, budget))
        for name in policies:
            found[name].append(replay(trace, budget, _POLICIES[name]))
    regrets = {
        name: fmean(
            one.seconds / ideal.seconds - 1 for one, ideal in zip(outcomes, best, strict=True)
        )
        for name, outcomes in found.items()
    }
    figures = {
        name: {
            "regret": round(regrets[name], 3),
            "of_lru": round(regrets[name] / max(regrets["lru"], 1e-9), 3),
            "hits": round(fmean(one.hits for one in found[name]), 3),
            "prefill_s": round(fmean(one.seconds for one in found[name]), 1),
        }
        for name in policies
    }
    figures["oracle"] = {
        "regret": 0.0,
        "of_lru": 0.0,
        "hits": round(fmean(one.hits for one in best), 3),
        "prefill_s": round(fmean(one.seconds for one in best), 1),
    }
    return figures


def measure(content: bytes, seeds: int, say: Callable[[str], object]) -> dict[str, object]:
    """Returns all figures."""
    traces: dict[str, Figures] = {}
    one_model: dict[str, Figures] = {}
    for name, make in MADE_UP.items():
        say(f"{name}: {seeds} seeds")
        traces[name] = compare([make(seed) for seed in range(1, seeds + 1)])
        say(f"{name}: one model")
        one_model[name] = compare([make(1, large=False)], ("lru", "cost_based"))
    say("locomo")
    traces["locomo"] = compare([trace_of(content)])
    return {
        "traces": traces,
        "one_model": one_model,
        "preload": preloading(content),
        "machine": describe(),
    }


def main() -> None:
    """Parses the command line and prints the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=ROOT / "examples" / "conversation.json")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    figures = measure(
        arguments.data.read_bytes(),
        arguments.seeds,
        lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
