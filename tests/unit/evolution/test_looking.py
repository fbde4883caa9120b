"""EVO-1: a look for what use suggests steps aside, and no namespace's trouble is another's."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from memos_ray.actors.evolution.evolution import Evolution
from memos_ray.actors.policy.governance import MemGovernance
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.reading import RecordReader
from memos_ray.actors.vault.residency import Place
from memos_ray.actors.vault.usage import UsageLedger
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.predicate import Predicate
from memos_ray.core.evolution import EvolutionMode
from memos_ray.core.vault.operations import Written
from memos_ray.errors import StoreCorruptError
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.control_store import MemoryControlStore
from memos_ray.testing.record_store import MemoryRecordStore


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
    ) -> list[MemCube]:
        """See `RecordStorePort.scan`."""
        self.seen.append(namespace)
        if namespace == "damaged":
            raise StoreCorruptError("a row is damaged")
        return super().scan(partition, tenant, namespace, predicate, after, limit)


async def nothing_is_written(*_: object) -> list[Written]:
    raise AssertionError("a look writes nothing")


@contextmanager
def evolving(store: Looked) -> Iterator[Evolution]:
    clock, usage = ManualClock(), UsageLedger()
    governance = MemGovernance(
        MemoryControlStore(), clock, Random(0).randbytes, Ed25519PrivateKey.generate()
    )
    guard = PolicyGuard(governance.public_key(), governance, clock)
    with ThreadPoolExecutor(1) as executor:
        yield Evolution(
            store=store,
            reader=RecordReader(
                store=store, guard=guard, usage=usage, clock=clock, executor=executor
            ),
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
    with evolving(store) as evolution:
        evolution.open(0, 1)
        for namespace in ("damaged", "notes"):
            place = Place(0, "acme", namespace)
            await evolution.book.set_mode(place, EvolutionMode.PROPOSE, "user:ann")
        with pytest.raises(StoreCorruptError):
            await evolution.tick(0)
    assert store.seen == ["damaged", "notes"]
    # It was asked before each page.
    assert set(store.pressed) == {0, 1}
