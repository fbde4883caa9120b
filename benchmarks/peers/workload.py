"""What the systems are given: conversations of a file, made-up memories, and all their vectors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.peers.measuring import Asked, Item, Workload
from benchmarks.peers.vectors import VectorTable
from benchmarks.retrieval import APART, split
from benchmarks.synthetic import Turn, questions, turns
from memos_ray.core.reader.questions import read_questions
from memos_ray.core.retrieval import IndexedMemory, ResidentIndex
from memos_ray.gateway.memories.ingestion import Ingestion, IngestOptions, drafts_of
from memos_ray.gateway.memories.models import NewMemory, SearchQuery, WriteReport, WriteResult
from memos_ray.gateway.memories.understanding import understand
from memos_ray.ports import EmbedderPort

FILLER = "filler"
_MOST_QUESTIONS = 500


def build(content: bytes, memories: int, lone: int) -> Workload:
    """Makes the workload of a file.

    Args:
        content: in LoCoMo's layout or the neutral one; see `benchmarks.retrieval`.
        memories: stored in all, the conversations' included: the rest is made up.
        lone: made-up memories to add one by one.
    """
    parts = split(content)
    names = {conversation: f"c{number}" for number, conversation in enumerate(parts)}
    spaces = {names[key]: _items(part, key) for key, part in parts.items()}
    asked = [
        Asked(names[one.conversation], one.text, one.gold)
        for one in read_questions(content)
        if one.gold and one.category != APART
    ]
    wanted = max(1000, memories - sum(map(len, spaces.values())))
    made_up = turns(wanted + lone)
    filler = [_made_up(number, turn) for number, turn in enumerate(made_up)]
    return Workload(
        filler=filler[:wanted],
        lone=filler[wanted:],
        spaces=spaces,
        questions=_thinned(asked),
        filler_questions=[Asked(FILLER, text) for text in questions(made_up[:wanted], 200)],
    )


def embed(work: Workload, embedder: EmbedderPort, folder: Path) -> VectorTable:
    """Computes the vectors of every text that any system will ask for, into a table."""
    return VectorTable.build(folder, texts_of(work), embedder)


def texts_of(work: Workload) -> Iterator[str]:
    """Yields the texts that the systems embed: as peers store them, and memos-ray's views."""
    spaces = {**work.spaces, FILLER: [*work.filler, *work.lone]}
    for items in spaces.values():
        yield from (item.said for item in items)
        yield from _views(items)
    now = datetime.now(UTC)
    for asked in (*work.questions, *work.filler_questions):
        understood = understand(SearchQuery(query=asked.text), now)
        yield from (asked.text, understood.text, *understood.nameless.values())
        if understood.anchored is not None:
            # The date that its time counts from is looked up by a search of its own.
            yield understood.anchored.event


def _items(part: bytes, conversation: str) -> list[Item]:
    """Returns what ingest would store of a conversation."""
    stored: list[NewMemory] = []

    async def keep(batch: Sequence[NewMemory]) -> WriteReport:
        stored.extend(batch)
        results = [WriteResult(id=str(number), version=1) for number in range(len(batch))]
        return WriteReport(results=results, token="")

    options = IngestOptions(name=f"{conversation}.json")
    report = asyncio.run(Ingestion(options, keep).run(drafts_of(part, options)))
    if report.failed:
        raise SystemExit(f"{report.failed} items of {conversation} cannot be read")
    return [_item(memory) for memory in stored]


def _made_up(number: int, turn: Turn) -> Item:
    fields = {**turn.fields(), "sources": [{"item": f"f{number}"}]}
    return _item(NewMemory.model_validate(fields))


def _item(memory: NewMemory) -> Item:
    said = f"{memory.speaker}: {memory.text}" if memory.speaker else memory.text
    name = memory.sources[0].item or ""
    return Item(name, said, memory.model_dump(mode="json", exclude_defaults=True))


def _views(items: Iterable[Item]) -> Iterator[str]:
    index = ResidentIndex(1)
    places = ("conversation", "session", "position", "speaker")
    index.upsert(
        [
            IndexedMemory(
                item.id,
                item.fields["text"],
                {name: item.fields[name] for name in places if name in item.fields},
            )
            for item in items
        ]
    )
    for plan in index.stale_views(len(index)):
        yield from (view.text for view in plan.views)


def _thinned(asked: list[Asked]) -> list[Asked]:
    """Returns every n-th question where there are very many: the slowest system has to answer."""
    return asked[:: -(-len(asked) // _MOST_QUESTIONS)] if asked else asked
