"""VAULT-5: who gives a partition up writes out what it has gathered, and keeps nothing of it."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import pytest

from memos_ray.actors.activation import preloading
from memos_ray.actors.activation.preloading import PreloadBudget, Preloader, SessionKey
from memos_ray.actors.sources.book import SourceBook
from memos_ray.actors.turns import FairGate
from memos_ray.actors.vault.bodies import BodyCache
from memos_ray.actors.vault.residency import Place, Residency
from memos_ray.config import VaultSettings
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.access.model import NamespaceMode
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.retrieval import ResidentIndex
from memos_ray.core.retrieval.settings import RetrievalSettings
from memos_ray.core.scheduling import AnsweredPrompt
from memos_ray.core.vault.operations import Create, Write
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.requests import ListRequest
from memos_ray.core.vault.ring import Ring
from memos_ray.errors import FencedError
from memos_ray.ports import Among, Derivation
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.shards import ShardBench

CALLER = CallContext(Principal("acme", "user:ann"))
PLACE = Place(0, "acme", "notes")


async def test_VAULT_5_reads_are_told_by_who_has_lost_the_partition() -> None:
    store = MemoryRecordStore()
    settings = VaultSettings(partitions=1, usage_flush_s=3600.0)
    bench = ShardBench(store, ManualClock(), lambda: Ring(1, ("one",)), settings)
    await bench.admit("acme", ["user:ann"], {"notes": NamespaceMode.WRITABLE})
    shard = bench.shard("one")
    await shard.own([0])
    create = Submission(CALLER, Write("notes", Create(Plaintext("tea"), minted_id="a")))
    await shard.write(0, [create])
    await shard.page(0, ListRequest(CALLER, "notes"))
    store.take(0, "two", store.fence(0).epoch + 1)
    again = Submission(CALLER, Write("notes", Create(Plaintext("tea"), minted_id="b")))
    (outcome,) = await shard.write(0, [again])
    assert isinstance(outcome, FencedError)
    await shard.close()
    assert [one.operation for one in store.accesses(0, 0, 10)] == ["list"]


class Counting(MemoryRecordStore):
    """A store that counts how often rows are read."""

    reads = 0

    def derivations(
        self, partition: int, kind: str, among: Among | None = None
    ) -> list[Derivation]:
        """See `RecordStorePort.derivations`."""
        self.reads += 1
        return super().derivations(partition, kind, among)


async def test_VAULT_5_sources_of_a_partition_that_was_given_up_are_read_anew() -> None:
    store = Counting()
    with ThreadPoolExecutor(1) as executor:
        book = SourceBook(store, executor)
        await book.sources(PLACE, 1)
        read = store.reads
        await book.sources(PLACE, 1)
        assert store.reads == read
        book.drop(1)
        await book.sources(PLACE, 1)
        assert store.reads == read, "it is another partition"
        book.drop(0)
        await book.sources(PLACE, 1)
        assert store.reads == 2 * read


async def test_SCHED_3_a_forecast_that_nobody_needs_any_more_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preloading, "_MOST_SESSIONS", 2)
    store = MemoryRecordStore()
    with ThreadPoolExecutor(1) as executor:
        residency = Residency(
            store=store,
            space="hashing",
            new_index=lambda: ResidentIndex(8, RetrievalSettings()),
            clock=ManualClock(),
            executor=executor,
            budget_bytes=1 << 20,
        )
        preloader = Preloader(
            PreloadBudget(4, 1 << 20),
            store=store,
            residency=residency,
            bodies=BodyCache(1 << 20),
            executor=executor,
            pressing=lambda: True,
            turns=FairGate(1),
        )
        for n in range(40):
            hits = (("a", 3),)
            answered = AnsweredPrompt(CALLER, "notes", "m", hits, "", "", conversation=str(n))
            preloader.note(PLACE, answered)
        gc.collect()
        # Of others only the type is asked: some warn when they are looked at.
        keys = [one for one in gc.get_objects() if type(one) is SessionKey and one.place is PLACE]
        held = {one.conversation for one in keys}
        assert held == {"38", "39"}
        await preloader.close()
