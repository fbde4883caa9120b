"""SCHED-3: what the next turn of a conversation needs is in memory before it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memos_ray.config import VaultSettings
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.chat.models import ChatAnswer, ChatQuery, MemoryChoice, Turn
from memos_ray.gateway.memories.models import NewMemory
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.models import QuotingModel

MODEL = "quoting"
WHAT = ("garden", "archive", "kitchen", "cellar", "attic", "hall", "stairs", "yard")


class Bench:
    """A talk about rooms, in the order of `WHAT`, and a model that is asked about it."""

    def __init__(self, memos: InProcess) -> None:
        self.memos = memos
        self.ids: dict[str, str] = {}
        self.caller: Caller | None = None

    async def fill(self) -> None:
        said = [
            NewMemory(
                text=f"The {what} is kept by number {place}.",
                conversation="rooms",
                position=place,
            )
            for place, what in enumerate(WHAT)
        ]
        report = await self.memos.service.add(self.memos.administrator, said)
        self.ids = {what: one.id or "" for what, one in zip(WHAT, report.results, strict=True)}
        # Whoever has written them holds them in memory; the next owner does not.
        for name in list(self.memos.crew.shards):
            self.memos.crew.cut_off(name)
        await self.memos.supervisor.boot()

    async def ask(self, what: str, session: str = "s", **changes: object) -> ChatAnswer:
        """Asks about a room; returns when the shard has learnt from it."""
        query = ChatQuery.model_validate(
            {
                "model": MODEL,
                "messages": [Turn(role="user", content=f"Who keeps the {what}?")],
                "session": session,
                "memories": 1,
                "explain": True,
                **changes,
            }
        )
        caller = self.caller or self.memos.administrator
        answer = await self.memos.doorway.chats.chat(caller, query)
        await self.memos.doorway.chats.settle()
        return answer

    async def forecast(self, turns: int) -> None:
        """Waits until so many forecasts have been made."""
        async with asyncio.timeout(60):
            while await self.count("preload_turns") < turns:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def count(self, name: str) -> int:
        counts = [(await shard.status()).counters for shard in self.memos.crew.shards.values()]
        return sum(one.get(name, 0) for one in counts)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with in_process(tmp_path, models={MODEL: QuotingModel()}) as memos:
        made = Bench(memos)
        await made.fill()
        yield made


def chosen(answer: ChatAnswer) -> MemoryChoice:
    assert answer.explanation is not None
    (one,) = answer.explanation.memories
    return one


async def test_SCHED_3_what_stands_beside_the_last_turn_is_at_hand(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "memos_ray.actors.activation.preloading")
    first = await bench.ask("kitchen")
    assert not chosen(first).preloaded, "nothing is known before a first turn"
    await bench.forecast(1)
    # What was found is in memory already, and the next best as well.
    assert await bench.count("preload_loaded") == len(WHAT) - 2
    assert await bench.count("preload_needed") == 0
    second = await bench.ask("cellar")
    assert chosen(second).id == bench.ids["cellar"]
    assert chosen(second).preloaded
    assert await bench.count("preload_needed") == 1
    assert await bench.count("preload_hits") == 1
    assert f"{len(WHAT)} forecast, {len(WHAT)} at hand" in caplog.text
    assert "kitchen" not in caplog.text and bench.ids["cellar"] not in caplog.text


async def test_SCHED_3_a_conversation_is_its_callers_own(bench: Bench) -> None:
    await bench.ask("kitchen")
    await bench.forecast(1)
    other = await bench.memos.caller("user:bob")
    await bench.memos.service.add(other, [NewMemory(text="The hall of Bob is red.")])
    bench.caller = other
    answer = await bench.ask("hall")
    assert not chosen(answer).preloaded
    assert await bench.count("preload_needed") == 0


async def test_SCHED_3_what_was_deleted_is_not_loaded(bench: Bench) -> None:
    await bench.ask("kitchen")
    await bench.forecast(1)
    for what in ("cellar", "attic"):
        await bench.memos.service.delete(bench.memos.administrator, bench.ids[what])
    await bench.ask("kitchen")
    await bench.forecast(2)
    answer = await bench.ask("cellar")
    assert chosen(answer).id not in (bench.ids["cellar"], bench.ids["attic"])


@pytest.mark.parametrize(
    ("settings", "at_hand"),
    [
        (VaultSettings(partitions=4, preload_memories=0), 0),
        (VaultSettings(partitions=4, preload_memories=3), 3),
        (VaultSettings(partitions=4, preload_bytes=1), 1),
    ],
)
async def test_SCHED_3_the_budget_bounds_what_is_loaded(
    tmp_path: Path, settings: VaultSettings, at_hand: int
) -> None:
    async with in_process(tmp_path, models={MODEL: QuotingModel()}, settings=settings) as memos:
        bench = Bench(memos)
        await bench.fill()
        await bench.ask("kitchen")
        if settings.preload_memories:
            await bench.forecast(1)
        fetched = await bench.count("preload_loaded")
        # Those that were found are in memory already.
        assert at_hand - 2 <= fetched <= at_hand
        assert await bench.count("preload_turns") == (at_hand > 0)
