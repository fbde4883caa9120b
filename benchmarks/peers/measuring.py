"""The measurements, the same for every system."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from benchmarks.metrics import average, percentile, score
from benchmarks.processes import tree_rss_bytes

DEPTH = 10
_WARM = 10
_FILLER = "filler"


@dataclass(frozen=True, slots=True)
class Item:
    """One memory.

    Attributes:
        said: the text with its speaker in front, for systems that know no speakers.
        fields: what memos-ray stores: the text, and speaker, time and place in fields of their own.
    """

    id: str
    said: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """One question, and the ids of the memories that answer it; none where only time counts."""

    space: str
    text: str
    gold: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Workload:
    """What every system is given.

    Attributes:
        filler: made-up memories that rates are measured with.
        lone: more of them, to be added one by one.
        spaces: conversations, each of them one user's.
        questions: about the conversations.
        filler_questions: about the filler.
        batch: memories of one call.
    """

    filler: list[Item]
    lone: list[Item]
    spaces: dict[str, list[Item]]
    questions: list[Asked]
    filler_questions: list[Asked] = field(default_factory=list)
    batch: int = 500

    def save(self, path: Path) -> None:
        """Writes it as JSON."""
        path.write_text(json.dumps(asdict(self)))

    @staticmethod
    def load(path: Path) -> Workload:
        """Reads what `save` has written."""
        value = json.loads(path.read_text())
        return Workload(
            filler=[Item(**one) for one in value["filler"]],
            lone=[Item(**one) for one in value["lone"]],
            spaces={name: [Item(**one) for one in ones] for name, ones in value["spaces"].items()},
            questions=[_asked(one) for one in value["questions"]],
            filler_questions=[_asked(one) for one in value["filler_questions"]],
            batch=value["batch"],
        )


class System(Protocol):
    """A memory system under measurement."""

    def add(self, space: str, items: Sequence[Item]) -> None:
        """Stores memories of one user in as few calls as the system offers."""
        ...

    def finish(self) -> None:
        """Returns when everything that was added can be found by every means of the system."""
        ...

    def rest(self) -> None:
        """Returns when no work is left that goes on in the background."""
        ...

    def search(self, space: str, text: str, k: int) -> list[str]:
        """Returns the ids of the best memories, best first."""
        ...

    def close(self) -> None:
        """Ends the system."""
        ...


def measure(system: System, work: Workload) -> tuple[dict[str, float], dict[str, float]]:
    """Returns the figures that are compared, and some more."""
    adding_s = _add_all(system, _FILLER, work.filler, work.batch)
    _say(f"{len(work.filler) / adding_s:.0f} adds/s")
    started = time.perf_counter()
    system.finish()
    finishing_s = time.perf_counter() - started
    for space, items in work.spaces.items():
        _add_all(system, space, items, work.batch)
    system.finish()
    system.rest()
    searching, scores = _ask(system, work.questions)
    searching_filler, _ = _ask(system, work.filler_questions)
    adding_one = [_add_all(system, _FILLER, [item], 1) for item in work.lone]
    quality = average(scores)
    figures = {
        "adds_per_s": round(len(work.filler) / adding_s, 1),
        "add_p50_ms": _ms(adding_one, 0.5),
        "search_p50_ms": _ms(searching, 0.5),
        "recall@10": quality["recall@10"],
        "rss_mb": round(tree_rss_bytes() / 1e6, 1),
    }
    more = {
        "searchable_per_s": round(len(work.filler) / (adding_s + finishing_s), 1),
        "add_p95_ms": _ms(adding_one, 0.95),
        "search_p95_ms": _ms(searching, 0.95),
        "filler_search_p50_ms": _ms(searching_filler, 0.5),
        "filler_search_p95_ms": _ms(searching_filler, 0.95),
        "recall@5": quality["recall@5"],
        "ndcg@10": quality["ndcg@10"],
    }
    return figures, more


def _add_all(system: System, space: str, items: Sequence[Item], batch: int) -> float:
    started = time.perf_counter()
    for start in range(0, len(items), batch):
        system.add(space, items[start : start + batch])
    return time.perf_counter() - started


def _ask(system: System, questions: Sequence[Asked]) -> tuple[list[float], list[dict[str, float]]]:
    for asked in questions[:_WARM]:
        system.search(asked.space, asked.text, DEPTH)
    taken, scores = [], []
    for asked in questions:
        started = time.perf_counter()
        found = system.search(asked.space, asked.text, DEPTH)
        taken.append(time.perf_counter() - started)
        if asked.gold:
            scores.append(score(found, asked.gold))
    _say(f"{len(taken)} searches in {sum(taken):.1f} s")
    return taken, scores


def _asked(value: dict[str, Any]) -> Asked:
    return Asked(value["space"], value["text"], tuple(value["gold"]))


def _ms(seconds: Sequence[float], share: float) -> float:
    return round(percentile(seconds, share) * 1e3, 3)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
