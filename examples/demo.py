"""A tour: memories stored, found, explained, versioned, shared, still there after a SIGKILL, and
known to a model.

    python examples/demo.py [--input FILE] [--questions N]

Runs a whole cluster in this process tree, on a data folder of its own that is removed at the end.
`--input` takes a dialogue as LoCoMo or neutral JSON, OpenAI messages or JSONL, or a document; what
has no questions of its own is searched with its first words.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from talking import talk

from memos_ray import MemOS, MemosError, NotFoundError, UnavailableError
from memos_ray.core.reader.questions import Question, read_questions

_SHIPPED = Path(__file__).with_name("conversation.json")
_NAMESPACE = "user:admin/demo"
console = Console(width=110)


def main() -> None:
    """Runs the tour."""
    parser = argparse.ArgumentParser(description="A tour of MemOS on Ray.")
    parser.add_argument("--input", type=Path, default=_SHIPPED)
    parser.add_argument("--questions", type=int, default=4)
    arguments = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="memos-demo-") as folder:
        with MemOS(data=folder) as memos:
            console.rule(f"cluster ready in {time.perf_counter() - started:.1f} s")
            tour(memos, arguments.input, arguments.questions)
        talk(Path(folder), console)
        console.rule("stopped cleanly")


def tour(memos: MemOS, source: Path, questions: int) -> None:
    """Shows everything on one open client."""
    ingest(memos, source)
    for question in pick(source, questions):
        ask(memos, question)
    versions(memos)
    sharing(memos)
    survive(memos)


def ingest(memos: MemOS, source: Path) -> None:
    """Stores a conversation, twice: the second time nothing is stored again."""
    memos.admin.create_namespace(_NAMESPACE, kind="user_private")
    started = time.perf_counter()
    report = memos.ingest(source, namespace=_NAMESPACE)
    seconds = time.perf_counter() - started
    again = memos.ingest(source, namespace=_NAMESPACE)
    console.print(
        f"{source.name}: {report.stored} memories durable in {seconds:.1f} s, {report.failed} "
        f"refused; ingested again: {again.stored} stored, {again.replayed} known already"
    )


def pick(source: Path, count: int) -> list[Question]:
    """Returns questions of different kinds about the input, as far as it has any."""
    try:
        found = [one for one in read_questions(source.read_bytes()) if one.gold]
    except MemosError:
        words = " ".join(source.read_text(errors="ignore").split()[:8])
        return [Question(words, (), "its own words", None, "")]
    kinds = {one.category: one for one in reversed(found) if one.category != "adversarial"}
    return list(kinds.values())[:count]


def ask(memos: MemOS, question: Question) -> None:
    """Searches, and shows where the scores come from."""
    started = time.perf_counter()
    found = memos.search(
        question.text, namespace=_NAMESPACE, limit=3, explain=True, wait_indexed=True
    )
    took_ms = (time.perf_counter() - started) * 1e3
    table = Table(title=f"{question.text}  [{question.category}, {took_ms:.0f} ms]", expand=True)
    for heading in ("", "memory", "said", "score", "because"):
        table.add_column(heading, no_wrap=heading in ("", "said"))
    for hit in found.hits:
        memory = hit.memory
        is_gold = any(one.item in question.gold for one in memory.sources)
        parts = sorted(hit.signals, key=lambda part: -abs(part.contribution))[:3]
        reasons = ", ".join(f"{part.signal} {part.contribution:+.1f}" for part in parts)
        said = f"{memory.speaker or ''} {memory.event_time:%Y-%m-%d}" if memory.event_time else ""
        mark = "[green]✓[/green]" if is_gold else ""
        table.add_row(mark, memory.text[:160], said, f"{hit.score:.2f}", reasons)
    console.print(table)
    if question.answer:
        console.print(f"expected: {question.answer}\n")


def versions(memos: MemOS) -> None:
    """Updates a fact and shows both versions."""
    console.rule("a fact changes")
    stored = memos.add("Nora's train leaves at 9:40", tags=["travel"], semantic_type="fact")
    changed = memos.update(
        stored.id, "Nora's train leaves at 10:15", mode="overwrite", reason="new timetable"
    )
    diff = memos.diff(stored.id, 1, changed.version)
    console.print(diff.text)
    for version in memos.history(stored.id).versions:
        console.print(f"version {version.number}: {version.change} by {version.author}")
    memos.rollback(stored.id, 1, reason="the old timetable holds after all")
    console.print(f"rolled back: {memos.get(stored.id).text}")


def sharing(memos: MemOS) -> None:
    """Shares one memory with one agent, and shows that another is refused."""
    console.rule("one memory is shared with one agent")
    planner = memos.as_principal("agent:planner")
    stranger = memos.as_principal("agent:stranger")
    shared = memos.add("The spare key hangs behind the blue door")
    memos.share(shared.id, readers=["agent:planner"])
    console.print(f"agent:planner reads: {planner.get(shared.id).text}")
    try:
        stranger.get(shared.id)
    except NotFoundError as error:
        console.print(f"agent:stranger gets: {error.code} (it may not even know that it exists)")
    else:
        raise SystemExit("a stranger could read a private memory")


def survive(memos: MemOS) -> None:
    """Kills the shard in the middle of writes; everything acknowledged is there afterwards."""
    console.rule("a shard is killed in the middle of writes")
    acknowledged: list[str] = []
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            text = f"entry {number} of {threading.current_thread().name}"
            while True:
                try:
                    memos.add(text, tags=["crash-test"], idempotency_key=text)
                except UnavailableError:
                    # The key makes it harmless to repeat what may have been stored.
                    continue
                acknowledged.append(text)
                break

    writers = [threading.Thread(target=write, name=f"writer {n}") for n in range(4)]
    for writer in writers:
        writer.start()
    _wait_for(lambda: len(acknowledged) > 50)
    before = len(acknowledged)
    pid = shard_pid(memos)
    os.kill(pid, signal.SIGKILL)
    _wait_for(lambda: len(acknowledged) > before + 50)
    stop.set()
    for writer in writers:
        writer.join()
    stored = [memory.text for memory in memos.iterate(tags=["crash-test"])]
    lost = set(acknowledged) - set(stored)
    twice = len(stored) - len(set(stored))
    console.print(
        f"killed process {pid}; {len(acknowledged)} writes acknowledged, {before} of them before; "
        f"lost: {len(lost)}, stored twice: {twice}"
    )
    if lost or twice:
        raise SystemExit("acknowledged writes were lost or doubled")


def shard_pid(memos: MemOS) -> int:
    """Returns the process id of the first shard."""
    for component in memos.health().components:
        if "pid" in component.detail:
            return int(component.detail["pid"])
    raise SystemExit("no shard reports its health")


def _wait_for(condition: Callable[[], bool], limit_s: float = 240.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("waited too long")
        time.sleep(0.02)


if __name__ == "__main__":
    main()
