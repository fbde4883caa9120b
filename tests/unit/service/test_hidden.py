"""What a caller may not see does not show: not in counts, and not when it changes meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from memos_ray.actors.turns import FairGate
from memos_ray.config import VaultSettings
from memos_ray.core.access.administration import PutRule
from memos_ray.core.access.context import Action
from memos_ray.core.access.model import Effect, MemoryCondition, Rule
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.vault.log import CubeKey
from memos_ray.errors import NotFoundError
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, SearchQuery, Sharing
from memos_ray.ports import Vectors
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.control_store import MemoryControlStore
from memos_ray.testing.embedders import HashingEmbedder
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.record_store import MemoryRecordStore

HOME = "user:admin"


class InterruptedStore(MemoryRecordStore):
    """Lets something happen just before or just behind the next look at heads."""

    before: Callable[[], None] | None = None
    behind: Callable[[], None] | None = None

    def heads(self, partition: int, keys: Sequence[CubeKey]) -> dict[CubeKey, MemCube]:
        """See `RecordStorePort.heads`."""
        before, behind = self.before, self.behind
        self.before = self.behind = None
        if before is not None:
            before()
        found = super().heads(partition, keys)
        if behind is not None:
            behind()
        return found


class WaitingEmbedder(HashingEmbedder):
    """Embeds nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See `EmbedderPort.embed`."""
        self.go.wait()
        return super().embed(texts)


@pytest.fixture
def store() -> InterruptedStore:
    return InterruptedStore()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def embedder() -> WaitingEmbedder:
    return WaitingEmbedder()


@pytest.fixture
async def memos(
    tmp_path: Path, store: InterruptedStore, clock: ManualClock, embedder: WaitingEmbedder
) -> AsyncIterator[InProcess]:
    settings = VaultSettings(partitions=4)
    async with in_process(
        tmp_path,
        store=store,
        control=MemoryControlStore(),
        clock=clock,
        embedder=embedder,
        settings=settings,
    ) as running:
        yield running
        embedder.go.set()


async def shared(memos: InProcess, text: str, reader: str) -> str:
    """Stores a memory that one other principal may read."""
    memory = NewMemory(text=text, readers=[reader])
    report = await memos.service.add(memos.administrator, [memory])
    return report.results[0].id or ""


async def texts(memos: InProcess, caller: Caller, query: SearchQuery) -> list[str]:
    return [hit.memory.text for hit in (await memos.service.search(caller, query)).hits]


async def test_hidden_memories_that_wait_for_their_vectors_are_not_counted(
    memos: InProcess,
) -> None:
    bob = await memos.caller("user:bob")
    await shared(memos, "for bob", "user:bob")
    hidden = [NewMemory(text=f"hidden {number}") for number in range(3)]
    await memos.service.add(memos.administrator, hidden)
    query = SearchQuery(namespaces=[HOME])
    assert (await memos.service.search(memos.administrator, query)).unembedded == 4
    assert (await memos.service.search(bob, query)).unembedded == 1


async def test_what_is_closed_during_a_search_is_not_in_its_answer(
    memos: InProcess, store: InterruptedStore
) -> None:
    me, bob = memos.administrator, await memos.caller("user:bob")
    memory_id = await shared(memos, "a word for bob", "user:bob")
    query = SearchQuery(namespaces=[HOME])
    assert await texts(memos, me, query) == ["a word for bob"]
    # The next owner has an index, and no text in its cache, so that a search asks the store.
    for name in list(memos.crew.shards):
        memos.crew.cut_off(name)
    await memos.supervisor.boot()
    await memos.doorway.browsing.entities(me, HOME)

    async def close_and_change() -> None:
        await memos.service.share(me, memory_id, Sharing(remove=["user:bob"]))
        await memos.service.update(me, memory_id, MemoryChange(text="no word for bob"))

    store.before = _elsewhere(close_and_change)
    assert await texts(memos, bob, query) == []


async def test_what_is_closed_while_a_search_waits_for_its_turn_is_not_in_its_answer(
    memos: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    me, bob = memos.administrator, await memos.caller("user:bob")
    memory_id = await shared(memos, "a word for bob", "user:bob")
    query = SearchQuery(namespaces=[HOME])
    assert await texts(memos, bob, query) == ["a word for bob"]
    closing = [Sharing(remove=["user:bob"])]

    def interrupt(gate: FairGate) -> None:
        turn = gate.turn

        @asynccontextmanager
        async def turn_behind_a_change(*args: Any) -> AsyncIterator[None]:
            if closing:
                await memos.service.share(me, memory_id, closing.pop())
            async with turn(*args):
                yield

        monkeypatch.setattr(gate, "turn", turn_behind_a_change)

    for shard in memos.crew.shards.values():
        interrupt(shard._turns)
    assert await texts(memos, bob, query) == []
    assert not closing


async def test_what_is_closed_while_the_past_is_read_stays_closed(
    memos: InProcess, store: InterruptedStore, clock: ManualClock
) -> None:
    me, bob = memos.administrator, await memos.caller("user:bob")
    memory_id = await shared(memos, "a word for bob", "user:bob")
    then = clock.now() + timedelta(seconds=1)
    clock.advance(2)
    query = SearchQuery(namespaces=[HOME], as_of=then)

    async def close() -> None:
        await memos.service.share(me, memory_id, Sharing(remove=["user:bob"]))

    store.behind = _elsewhere(close)
    await texts(memos, me, query)
    assert await texts(memos, bob, query) == []
    assert await texts(memos, me, query) == ["a word for bob"]


async def test_the_past_is_hidden_by_what_a_memory_is_today(
    memos: InProcess, clock: ManualClock
) -> None:
    """A rule about tags looks at the tags of today, whichever path the past is read by."""
    me, bob = memos.administrator, await memos.caller("user:bob")
    memory_id = await shared(memos, "a word for bob", "user:bob")
    then = clock.now() + timedelta(seconds=1)
    clock.advance(2)
    secret = Rule(
        "secret",
        Effect.DENY,
        (Action.READ,),
        ("user:*",),
        ("user:bob",),
        MemoryCondition(tags=("secret",)),
    )
    await memos.admin.change(me, PutRule(secret))
    query = SearchQuery(namespaces=[HOME], as_of=then)
    assert await texts(memos, bob, query) == ["a word for bob"]
    await memos.service.update(me, memory_id, MemoryChange(tags=["secret"]))
    with pytest.raises(NotFoundError):
        await memos.service.get(bob, memory_id, version=1)
    assert await texts(memos, bob, query) == []


async def test_the_log_of_refusals_does_not_tell_what_was_hidden(memos: InProcess) -> None:
    me, bob = memos.administrator, await memos.caller("user:bob")
    report = await memos.service.add(me, [NewMemory(text="hidden")])
    memory_id = report.results[0].id or ""
    for refused in (memory_id, f"{memory_id[:24]}ffffffff{memory_id[32:]}"):
        with pytest.raises(NotFoundError):
            await memos.service.delete(bob, refused)
    assert (await memos.doorway.logs.log(bob, HOME)).entries == []
    entries = (await memos.doorway.logs.log(me, HOME)).entries
    assert [entry.memory_id for entry in entries if entry.outcome == "denied"] == [memory_id]


def _elsewhere(work: Callable[[], Coroutine[None, None, None]]) -> Callable[[], None]:
    """Makes a call for a worker thread that carries work out on the loop and waits for it."""
    loop = asyncio.get_running_loop()
    return lambda: asyncio.run_coroutine_threadsafe(work(), loop).result()
