"""READ-3, GOV-9: the names of what was read go with the last memory of it."""

from __future__ import annotations

import asyncio

from memos_ray.core.extraction import Totals
from memos_ray.gateway.memories.models import Source
from tests.unit.service.test_extraction import DIALOGUE, Bench, bench, endpoint, server

__all__ = ["bench", "endpoint", "server"]


async def named(bench: Bench) -> list[str]:
    return sorted(one.source for one in (await bench.settled()).sources)


async def until_named(bench: Bench, expected: list[str]) -> None:
    async with asyncio.timeout(60):
        while await named(bench) != expected:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def at_rest(bench: Bench) -> bytes:
    kinds = ("extraction_totals", "extraction_job")
    rows = [row for p in (0, 1) for kind in kinds for row in bench.memos.store.derivations(p, kind)]
    return b"".join(row.body for row in rows)


async def test_READ_3_GOV_9_a_conversation_of_erased_memories_has_no_name(bench: Bench) -> None:
    first = await bench.ingest(DIALOGUE, conversation="my divorce")
    await bench.ingest(DIALOGUE[:1], conversation="the weather")
    assert await named(bench) == ["my divorce", "the weather"]
    delete, admin = bench.memos.service.delete, bench.admin
    # The last one that was read goes first: another one stands for the conversation.
    for id in reversed(first[1:]):
        await delete(admin, id, hard=True)
    await bench.settled()
    assert await named(bench) == ["my divorce", "the weather"]
    await delete(admin, first[0], hard=True)
    await until_named(bench, ["the weather"])
    assert b"divorce" not in at_rest(bench)
    status = await bench.settled()
    assert (status.read, status.done) == (4, 3), "counts say nothing of it"


async def test_READ_3_GOV_9_a_document_of_erased_memories_has_no_name(bench: Bench) -> None:
    uri = "file:///diagnosis.pdf"
    ids = [await bench.add(text, sources=[Source(uri=uri)]) for text in ("I am ill.", "It hurts.")]
    await bench.settled()
    await bench.add("I like tea.")
    assert await named(bench) == ["", uri]
    await bench.memos.service.delete(bench.admin, ids[1], hard=True)
    await bench.settled()
    assert await named(bench) == ["", uri]
    # What can be restored is there.
    await bench.memos.service.delete(bench.admin, ids[0])
    await bench.settled()
    assert await named(bench) == ["", uri]
    await bench.memos.service.delete(bench.admin, ids[0], hard=True)
    await until_named(bench, [""])
    assert b"diagnosis" not in at_rest(bench)


def test_READ_3_counts_of_before_are_read() -> None:
    body = b'[[2,3,4,5],{"form":1},[["chat","user:ann",3,4,1,5,1700000000000000]],["a"]]'
    found = Totals.from_bytes(body)
    (source,) = found.sources
    assert (source.source, source.read, source.memories, source.witness) == ("chat", 3, 4, "")
    assert Totals.from_bytes(found.to_bytes()) == found
