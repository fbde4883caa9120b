"""EVO-1: a look for what use suggests steps aside, and no namespace's trouble is another's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest

from memos_ray.actors.activation.kv_caches import KvCaches
from memos_ray.actors.activation.kv_library import KvLibrary
from memos_ray.actors.activation.promoting import Promoter
from memos_ray.actors.activation.retention import retention_policy
from memos_ray.actors.activation.shared_blocks import SharedBlocks
from memos_ray.actors.evolution.evolution import Evolution
from memos_ray.actors.evolution.promotions import Promotions
from memos_ray.actors.parameter.parameter import ParameterMemory
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.reading import RecordReader
from memos_ray.actors.vault.residency import Place
from memos_ray.actors.vault.usage import UsageLedger
from memos_ray.config import VaultSettings
from memos_ray.core.access.model import NamespaceMode
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.predicate import Predicate
from memos_ray.core.evolution import EvolutionMode
from memos_ray.core.scheduling.policies import Budget
from memos_ray.core.vault.operations import Written
from memos_ray.core.vault.ring import Ring
from memos_ray.errors import MemosError, StoreCorruptError
from memos_ray.ports import Damaged
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.shards import ShardBench


class Looked(MemoryRecordStore):
    """A store that knows which namespaces were looked through; one of them is damaged."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.pressed: list[int] = []

    def pressing(self) -> bool:
        """Whether writes press: they do not, but somebody wants to know."""
        self.pressed.append(len(self.seen))
        return False

    def scan(
        self,
        partition: int,
        tenant: str,
        namespace: str,
        predicate: Predicate,
        after: tuple[int, str] | None,
        limit: int,
        damaged: Damaged | None = None,
    ) -> list[MemCube]:
        """See `RecordStorePort.scan`."""
        self.seen.append(namespace)
        if namespace == "damaged":
            raise StoreCorruptError("a row is damaged")
        return super().scan(partition, tenant, namespace, predicate, after, limit, damaged)


async def nothing_is_written(*_: object) -> list[Written]:
    raise AssertionError("a look writes nothing")


async def nothing_is_converted(*_: object) -> Written:
    raise AssertionError("there are no models")


async def nothing_is_deleted(*_: object) -> list[Written | MemosError]:
    raise AssertionError("there are no models")


def without_models(
    store: Looked,
    reader: RecordReader,
    guard: PolicyGuard,
    clock: ManualClock,
    executor: ThreadPoolExecutor,
) -> Promotions:
    """Returns the promotions of a shard that serves no models."""
    library = KvLibrary(Budget(0, 0), retention_policy(VaultSettings()), clock)
    caches = KvCaches(
        store=store, builder=None, library=library, rest=None, clock=clock, executor=executor
    )
    promoter = Promoter(
        {},
        0.0,
        blocks=SharedBlocks(store=store, caches=caches, clock=clock, executor=executor),
        clock=clock,
        convert=nothing_is_converted,
        write=nothing_is_deleted,
    )
    parameter = ParameterMemory(*[None] * 6, reader=reader, guard=guard, clock=clock, objects=None)
    return Promotions(promoter, parameter, guard=guard, now=clock.now)


@asynccontextmanager
async def evolving(store: Looked) -> AsyncIterator[Evolution]:
    clock, usage = ManualClock(), UsageLedger()
    bench = ShardBench(store, clock, lambda: Ring(1, ("shard-0",)))
    names = ("damaged", "notes")
    await bench.admit("acme", ["user:ann"], dict.fromkeys(names, NamespaceMode.WRITABLE))
    guard = PolicyGuard(bench.governance.public_key(), bench.governance, clock)
    with ThreadPoolExecutor(1) as executor:
        reader = RecordReader(store=store, guard=guard, usage=usage, clock=clock, executor=executor)
        yield Evolution(
            store=store,
            reader=reader,
            asking=None,
            promotions=without_models(store, reader, guard, clock, executor),
            guard=guard,
            usage=usage,
            clock=clock,
            executor=executor,
            write_all=nothing_is_written,
            pressing=store.pressing,
        )


async def test_EVO_1_a_look_steps_aside_and_passes_over_what_is_damaged() -> None:
    store = Looked()
    store.take(0, "shard-0", 1)
    async with evolving(store) as evolution:
        evolution.open(0, 1)
        for namespace in ("damaged", "notes"):
            place = Place(0, "acme", namespace)
            await evolution.book.set_mode(place, EvolutionMode.PROPOSE, "user:ann")
        with pytest.raises(StoreCorruptError):
            await evolution.tick(0)
    assert store.seen == ["damaged", "notes"]
    # It was asked before each page.
    assert set(store.pressed) == {0, 1}
