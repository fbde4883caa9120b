"""Retrieval for questions in a dialogue: as typed, as rewritten, and as a person writes them.

    python -m benchmarks.followups

Every follow-up of `questions.json` is searched in the shipped conversation that it is about, three
times: alone, with the turns before it, and in the words of a person who was told them. The last is
what rewriting could reach at most. The rules were mended by looking at what became of the questions
of `development`, and of none that are `held_out`. `rewriting_ms` is what rewriting takes in this
process, behind twenty turns, the best of fifty for each question.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from benchmarks.metrics import average, score, spread_ms
from benchmarks.retrieval import ingest, namespace_of, split
from memos_ray import MemOS
from memos_ray.core.reader.turns import MAX_TURNS, Turn, rewrite

EXAMPLES = Path(__file__).parents[2] / "examples"
QUESTIONS = Path(__file__).with_name("questions.json")
_DEPTH = 10
_REPEATS = 50


def read() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yields the language, the file of the conversation and each question."""
    for group in json.loads(QUESTIONS.read_text(encoding="utf-8")):
        for question in group["questions"]:
            yield group["language"], group["conversation"], question


def measure() -> dict[str, object]:
    """Ingests the conversations, asks everything three times and returns the figures."""
    scores: dict[str, dict[str, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
    rewritten = 0
    with (
        tempfile.TemporaryDirectory(prefix="memos-bench-") as folder,
        MemOS(data=folder) as memos,
    ):
        places = {name: _place(memos, name) for name in sorted({name for _, name, _ in read()})}
        for language, name, question in read():
            found = memos.understand(
                question["question"], namespace=places[name], turns=question["turns"]
            )
            rewritten += found.rewritten
            for way, asked, turns in (
                ("as_typed", question["question"], []),
                ("rewritten", question["question"], question["turns"]),
                ("in_full", question["in_full"], []),
            ):
                hits = memos.search(asked, namespace=places[name], limit=_DEPTH, turns=turns).hits
                ranked = [source.item or "" for hit in hits for source in hit.memory.sources[:1]]
                one = score(ranked, question["gold"])
                seen = "held_out" if question["held_out"] else "development"
                for group in (seen, language, question["kind"]):
                    scores[group][way].append(one)
    return {
        **{
            group: {"questions": len(ways["as_typed"])}
            | {way: average(ones) for way, ones in ways.items()}
            for group, ways in sorted(scores.items())
        },
        "rewritten": rewritten,
        "rewriting_ms": rewriting_times(),
        "machine": describe(),
    }


def _place(memos: MemOS, name: str) -> str:
    content = (EXAMPLES / name).read_bytes()
    ingest(memos, content)
    (conversation,) = split(content)
    return namespace_of(conversation)


def rewriting_times(repeats: int = _REPEATS) -> dict[str, float]:
    """Times the rewriting of every follow-up behind as many turns as are looked at."""
    now = datetime(2025, 1, 1, tzinfo=UTC)
    said = [
        Turn(turn["content"], turn["role"] == "user")
        for _, _, question in read()
        for turn in question["turns"]
    ]
    times = []
    for _, _, question in read():
        own = [Turn(turn["content"], turn["role"] == "user") for turn in question["turns"]]
        turns = [*said, *own][-MAX_TURNS:]
        best = float("inf")
        for _ in range(repeats):
            started = time.perf_counter()
            rewrite(question["question"], turns, now, UTC)
            best = min(best, time.perf_counter() - started)
        times.append(best)
    return spread_ms(times)


def main() -> None:
    """Prints the figures."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    print(json.dumps(measure(), indent=1))


if __name__ == "__main__":
    main()
