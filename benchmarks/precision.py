"""Precision: does the right memory come back, and only that one?

    python -m benchmarks.precision --data FOLDER

Runs the single-turn cases of PrecisionMemBench (Flynt 2026, arXiv 2605.11325): `FOLDER` holds its
`beliefs.seed.json` and `retrieval.cases.json`. Every belief becomes one memory: its name, aliases
and content are the text, name, aliases and scopes are tags, and what was superseded or resolved has
ceased to hold. Each user is a namespace. The tiers of a case are read through the SDK:

    relevantBeliefs   a search with `min_relevance`, among unpinned beliefs of the scopes
    pinnedFacts       a list of the pinned ones; they take their share of a budget first
    openQuestions     a list of the pinned questions
    personaPrelude    a list of what holds in every scope

A case passes when all its tiers are as expected; `relevantBeliefs` has to be met exactly. It is
active when it expects some. Relations between beliefs are not followed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.machine import describe
from benchmarks.metrics import percentile
from memos_ray import MemOS
from memos_ray.gateway.memories.models import Memory, NewMemory

_EVERYWHERE = "user:universal"
_USER = "test-user"
_RELEVANCE = 0.2
_DEPTH = 50


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a case gave.

    Attributes:
        relevant, expected: ids of the tier `relevantBeliefs`; nothing is expected of it if absent.
        problems: tiers that are not as they should be.
    """

    name: str
    relevant: frozenset[str]
    expected: frozenset[str] | None
    problems: tuple[str, ...]
    search_s: float

    @property
    def active(self) -> bool:
        """Whether something must be found."""
        return bool(self.expected)

    @property
    def precision(self) -> float:
        """Share of the expected among the found; 0 when nothing is found."""
        return self._hits / len(self.relevant) if self.relevant else 0.0

    @property
    def recall(self) -> float:
        """Share of the found among the expected."""
        return self._hits / len(self.expected or ())

    @property
    def _hits(self) -> int:
        return len(self.relevant & (self.expected or frozenset()))


def memory_of(belief: Mapping[str, Any]) -> NewMemory:
    """Turns a belief into a memory."""
    names = [belief["canonical_name"].replace("_", " "), *belief["aliases"]]
    ended = belief["resolved_at"]
    if belief["epistemic_status"] == "superseded":
        ended = belief["updated_at"]
    return NewMemory(
        id=belief["_id"],
        text=f"{', '.join(names)}: {belief['content']}",
        tags=list(dict.fromkeys((*names, *belief["scope"]))),
        valid_to=ended,
        attributes={
            "question": belief["type"] == "open_question",
            "pinned": belief["pinned"],
            "everywhere": _EVERYWHERE in belief["scope"],
        },
    )


class Bench:
    """The beliefs in a cluster, and the cases run on them."""

    def __init__(self, memos: MemOS, min_relevance: float) -> None:
        self._memos = memos
        self._min_relevance = min_relevance

    def seed(self, beliefs: Iterable[Mapping[str, Any]], users: Iterable[str]) -> int:
        """Stores the beliefs, each with its user, and waits until they are embedded."""
        stored = 0
        for user in users:
            place = _place(user)
            self._memos.admin.create_namespace(place, kind="user_private")
            memories = [memory_of(one) for one in beliefs if one["user_id"] == user]
            if memories:
                report = self._memos.add(memories, namespace=place)
                if report.failed:
                    raise SystemExit(f"{len(report.failed)} beliefs could not be stored")
                stored += len(memories)
                self._memos.search("ready?", namespace=place, limit=1, wait_indexed=True)
        return stored

    def run(self, case: Mapping[str, Any]) -> Outcome:
        """Runs one case."""
        place, scopes = _place(case.get("userId", _USER)), case["scope"]
        pinned = self._listed(place, scopes, "attributes.pinned:true and attributes.question:false")
        asked = self._listed(place, scopes, "attributes.pinned:true and attributes.question:true")
        prelude = self._listed(place, [_EVERYWHERE], "true")
        room = case.get("budget", {}).get("maxBeliefs", _DEPTH) - len(pinned)
        started = time.perf_counter()
        relevant = self._relevant(place, case, room) if room > 0 else []
        elapsed = time.perf_counter() - started
        wanted = case["expect"]
        found = {
            "relevantBeliefs": [memory.id for memory in relevant],
            "pinnedFacts": [memory.id for memory in pinned],
            "openQuestions": [memory.id for memory in asked],
        }
        problems = [tier for tier, ids in found.items() if not _meets(wanted.get(tier, {}), ids)]
        if not _reads(wanted.get("personaPrelude", {}), [memory.text for memory in prelude]):
            problems.append("personaPrelude")
        only = wanted.get("relevantBeliefs", {}).get("shouldOnlyInclude")
        return Outcome(
            case["caseId"],
            frozenset(found["relevantBeliefs"]),
            None if only is None else frozenset(only),
            tuple(problems),
            elapsed,
        )

    def _relevant(self, place: str, case: Mapping[str, Any], room: int) -> list[Memory]:
        found = self._memos.search(
            case["query"],
            namespace=place,
            tags=case["scope"],
            filter="attributes.pinned:false and attributes.question:false"
            " and attributes.everywhere:false",
            min_relevance=self._min_relevance,
            limit=room,
        )
        return [hit.memory for hit in found.hits]

    def _listed(self, place: str, scopes: list[str], filter: str) -> list[Memory]:
        found = self._memos.list(place, tags=scopes, filter=f"{filter} and not has(valid_to)")
        return list(found.memories)


def _meets(wanted: Mapping[str, Any], ids: list[str]) -> bool:
    only = wanted.get("shouldOnlyInclude")
    return (
        (only is None or set(only) == set(ids))
        and set(wanted.get("mustInclude", ())) <= set(ids)
        and set(wanted.get("mustExclude", ())).isdisjoint(ids)
    )


def _reads(wanted: Mapping[str, Any], texts: list[str]) -> bool:
    whole = "\n".join(texts).casefold()
    return (
        (not wanted.get("nonEmpty") or bool(whole))
        and (not wanted.get("isNull") or not whole)
        and all(word.casefold() in whole for word in wanted.get("contains", ()))
        and not any(word.casefold() in whole for word in wanted.get("mustNotContain", ()))
    )


def _place(user: str) -> str:
    return f"user:admin/{user}"


def measure(folder: Path, min_relevance: float = _RELEVANCE) -> dict[str, object]:
    """Stores the beliefs, runs the cases and returns the figures."""
    beliefs = json.loads((folder / "beliefs.seed.json").read_bytes())
    cases = json.loads((folder / "retrieval.cases.json").read_bytes())
    users = {_USER, *(one["user_id"] for one in beliefs), *(one.get("userId") for one in cases)}
    with tempfile.TemporaryDirectory(prefix="memos-bench-") as data, MemOS(data=data) as memos:
        bench = Bench(memos, min_relevance)
        stored = bench.seed(beliefs, sorted(filter(None, users)))
        outcomes = [bench.run(case) for case in cases]
    active = [one for one in outcomes if one.active]
    return {
        "active_passes": sum(not one.problems for one in active),
        "active_cases": len(active),
        "total_passes": sum(not one.problems for one in outcomes),
        "cases": len(outcomes),
        "mean_precision": round(fmean(one.precision for one in active), 4),
        "mean_recall": round(fmean(one.recall for one in active), 4),
        "search_p50_ms": round(percentile([one.search_s for one in outcomes], 0.5) * 1e3, 3),
        "failed": {one.name: one.problems for one in outcomes if one.problems},
        "memories": stored,
        "min_relevance": min_relevance,
        "machine": describe(),
    }


def main() -> None:
    """Parses the command line and prints the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--min-relevance", type=float, default=_RELEVANCE)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.data, arguments.min_relevance), indent=1))


if __name__ == "__main__":
    main()
