"""Retrieval quality on conversations with questions and gold turns.

    python -m benchmarks.retrieval --data FILE

Every turn becomes one memory, every conversation one namespace; each question is searched in its
conversation's namespace through the SDK. `overall` leaves out questions of the category
"adversarial", which have no right answer; they are reported apart.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections import defaultdict
from hashlib import blake2b
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.metrics import average, percentile, score
from memos_ray import MemOS
from memos_ray.config import RetrievalTuning, Settings
from memos_ray.core.reader.dialogue import parse_conversations
from memos_ray.core.reader.questions import Question, read_questions

_DEFAULT = Path(__file__).parents[1] / "examples" / "conversation.json"
APART = "adversarial"
_DEPTH = 20


def split(content: bytes) -> dict[str, bytes]:
    """Cuts a file into its conversations, by the ids that questions refer to them with."""
    conversations = parse_conversations(content)
    names = [one.id or f"conversation-{number}" for number, one in enumerate(conversations, 1)]
    value = json.loads(content)
    if isinstance(value, dict):
        value = value.get("conversations", [value])
    if len(value) != len(names):
        # One dialogue, as the list of its messages.
        return {names[0]: content}
    parts = [json.dumps({"conversations": [one]}).encode() for one in value]
    return dict(zip(names, parts, strict=True))


def namespace_of(conversation: str) -> str:
    """Returns the namespace that a conversation is kept in; ids may be in any script."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", conversation)[:64]
    return f"user:admin/c-{safe}-{blake2b(conversation.encode(), digest_size=4).hexdigest()}"


def measure(data: Path, *, speaker_prior: bool = True, route: bool = False) -> dict[str, object]:
    """Ingests a file, asks its questions and returns the figures.

    Args:
        route: has each search find its own way among the conversations, instead of naming one.
    """
    content = data.read_bytes()
    questions = [question for question in read_questions(content) if question.gold]
    with tempfile.TemporaryDirectory(prefix="memos-bench-") as folder:
        settings = Settings(retrieval=RetrievalTuning(speaker_prior=speaker_prior))
        with MemOS(data=folder, settings=settings) as memos:
            memories, ingest_s = ingest(memos, content)
            scores, latencies = _ask(memos, questions, route=route)
    counted = [one for name, ones in scores.items() if name != APART for one in ones]
    return {
        "overall": average(counted),
        "categories": {name: average(ones) for name, ones in sorted(scores.items())},
        "questions": {name: len(ones) for name, ones in sorted(scores.items())},
        "memories": memories,
        "search_p50_ms": round(percentile(latencies, 0.5) * 1e3, 3),
        "search_p95_ms": round(percentile(latencies, 0.95) * 1e3, 3),
        "ingest_s": round(ingest_s, 1),
        "speaker_prior": speaker_prior,
        "route": route,
        "data": data.name,
        "machine": describe(),
    }


def ingest(memos: MemOS, content: bytes) -> tuple[int, float]:
    """Ingests each conversation of a file into its namespace; returns memories and seconds."""
    started = time.perf_counter()
    memories = 0
    for name, part in split(content).items():
        place = namespace_of(name)
        memos.admin.create_namespace(place, kind="user_private")
        report = memos.ingest(part, namespace=place, name=f"{name}.json")
        if report.failed:
            raise SystemExit(f"{report.failed} items of {name} could not be ingested")
        memories += report.stored
        while memos.search("ready?", namespace=place, limit=1).unembedded:
            time.sleep(0.5)
        print(f"{name}: {report.stored} memories", file=sys.stderr)
    return memories, time.perf_counter() - started


def _ask(
    memos: MemOS, questions: list[Question], *, route: bool
) -> tuple[dict[str, list[dict[str, float]]], list[float]]:
    scores: dict[str, list[dict[str, float]]] = defaultdict(list)
    latencies = []
    for number, question in enumerate(questions, 1):
        started = time.perf_counter()
        place = namespace_of(question.conversation)
        where = None if route else place
        found = memos.search(question.text, namespace=where, limit=_DEPTH, route=route)
        latencies.append(time.perf_counter() - started)
        ranked = [
            # Turns of all conversations are numbered alike.
            (source.item or "") if hit.memory.namespace == place else ""
            for hit in found.hits
            for source in hit.memory.sources[:1]
        ]
        scores[question.category].append(score(ranked, question.gold))
        if number % 100 == 0:
            print(f"{number}/{len(questions)} questions", file=sys.stderr)
    return scores, latencies


def main() -> None:
    """Parses the command line and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Raw)
    parser.add_argument("--data", type=Path, default=_DEFAULT)
    parser.add_argument("--no-speaker-prior", action="store_true")
    parser.add_argument(
        "--route", action="store_true", help="name no namespace; searches find their own way"
    )
    arguments = parser.parse_args()
    figures = measure(
        arguments.data, speaker_prior=not arguments.no_speaker_prior, route=arguments.route
    )
    print(json.dumps(figures, indent=1))


class _Raw(argparse.RawDescriptionHelpFormatter):
    pass


if __name__ == "__main__":
    main()
