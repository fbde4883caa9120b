"""Made-up traces: who wants which KV cache when, and which change meanwhile.

A cache's size and what it saves follow from its length: 8 KiB a token and the seconds of prefill
that docs/performance.md has for the small model; or, for the large one, those of a model with 13
times the weights and 1.3 times the bytes a token (as Qwen3's 8B is to its 0.6B). Times are seconds
of a day; one in five seconds somebody asks.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

TOKEN_BYTES = 8192
_RATE = 0.2
_HOUR_S = 3600.0
_SKEW = 1.0
_TOPICS = 20


@dataclass(frozen=True, slots=True)
class Item:
    """Something that a cache is built of.

    Attributes:
        topic: what it is about; questions about it are similar to it.
    """

    id: str
    label: str
    topic: int
    size_bytes: int
    build_s: float


@dataclass(frozen=True, slots=True)
class Step:
    """An item is wanted, or it has changed."""

    at_s: float
    item: Item
    changed: bool = False


Trace = list[Step]


def cached(name: str, label: str, topic: int, tokens: int, *, large: bool = False) -> Item:
    """Returns an item of a length."""
    seconds = 5.5e-4 * tokens + 1.3e-7 * tokens * tokens
    size = tokens * TOKEN_BYTES
    if large:
        seconds, size = 13 * seconds, round(1.3 * size)
    return Item(name, label, topic, size, seconds)


def zipf(seed: int, *, large: bool = True) -> Trace:
    """Shared caches of 800 namespaces, used by Zipf's law all day."""
    return _shared(Random(seed), 8000, 800, _RATE, None, large)


def drift(seed: int, *, large: bool = True) -> Trace:
    """The same, but every hour a tenth of the namespaces change places."""
    return _shared(Random(seed), 8000, 800, _RATE, _HOUR_S, large)


def burst(seed: int, *, large: bool = True) -> Trace:
    """Half of the requests are turns of conversations, which end for good after nine or so."""
    random = Random(seed)
    steps = _shared(random, 4000, 400, _RATE / 2, None, large)
    horizon_s = 4000 / (_RATE / 2)
    turns = 0
    number = 0
    while turns < 4000:
        number += 1
        item = _item(random, f"conversation-{number}", "conversation", number, large)
        at_s = random.random() * horizon_s
        for _ in range(1 + int(random.expovariate(1 / 8))):
            steps.append(Step(at_s, item))
            at_s += 5 + random.expovariate(1 / 25)
            turns += 1
    return sorted(steps, key=lambda step: step.at_s)


MADE_UP: dict[str, Callable[..., Trace]] = {"zipf": zipf, "drift": drift, "burst": burst}


def _item(random: Random, name: str, label: str, number: int, large: bool) -> Item:
    tokens = min(8192, max(256, int(random.lognormvariate(math.log(1024), 0.8))))
    return cached(name, label, number % _TOPICS, tokens, large=large and random.random() < 0.5)


def _shared(
    random: Random, requests: int, items: int, rate: float, shift_s: float | None, large: bool
) -> Trace:
    ranks = [_item(random, f"shared-{number}", "shared", number, large) for number in range(items)]
    # A tenth of them is edited every hour or so, the others every other day.
    weights = [1 / _HOUR_S if random.random() < 0.1 else 1 / (48 * _HOUR_S) for _ in range(items)]
    edited = list(itertools.accumulate(weights))
    order = list(range(items))
    wanted = list(itertools.accumulate(1 / (rank + 1) ** _SKEW for rank in range(items)))
    steps: Trace = []
    at_s, shifted_s, edit_s = 0.0, 0.0, random.expovariate(edited[-1])
    for _ in range(requests):
        at_s += random.expovariate(rate)
        while edit_s < at_s:
            number = bisect(edited, random.random() * edited[-1])
            steps.append(Step(edit_s, ranks[min(number, items - 1)], changed=True))
            edit_s += random.expovariate(edited[-1])
        if shift_s is not None and at_s - shifted_s > shift_s:
            shifted_s = at_s
            places = random.sample(range(items), items // 10)
            moved = [order[place] for place in places]
            random.shuffle(moved)
            for place, one in zip(places, moved, strict=True):
                order[place] = one
        rank = bisect(wanted, random.random() * wanted[-1])
        steps.append(Step(at_s, ranks[order[min(rank, items - 1)]]))
    return steps
