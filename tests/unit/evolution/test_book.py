"""EVO-1, GOV-9: proposals go with their memories, and none about others is looked at."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from memos_ray.actors.evolution.book import PROPOSAL, EvolutionBook
from memos_ray.actors.vault.residency import Place
from memos_ray.core.evolution import EvolutionKind, Evolved
from memos_ray.core.vault.log import CubeKey
from memos_ray.errors import UnavailableError
from memos_ray.ports import Among, Derivation
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.waiting import eventually

AT = datetime(2026, 1, 1, tzinfo=UTC)
PLACE = Place(0, "acme", "notes")


class Watched(MemoryRecordStore):
    """Counts the rows that are read, and is away once when it is armed."""

    rows = 0
    armed = False

    def derivations(
        self, partition: int, kind: str, among: Among | None = None
    ) -> list[Derivation]:
        """See `RecordStorePort.derivations`."""
        found = super().derivations(partition, kind, among)
        self.rows += len(found)
        return found

    def forget_derivations(
        self, partition: int, epoch: int, tenant: str, kind: str, names: object
    ) -> None:
        """See `RecordStorePort.forget_derivations`."""
        if self.armed:
            self.armed = False
            raise UnavailableError("the store is away")
        super().forget_derivations(partition, epoch, tenant, kind, names)  # type: ignore[arg-type]


class Held(MemoryRecordStore):
    """Holds the writing of a row back until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.writing, self.go = threading.Event(), threading.Event()

    def save_derivation(self, partition: int, epoch: int, row: Derivation) -> None:
        """See `RecordStorePort.save_derivation`."""
        self.writing.set()
        self.go.wait()
        super().save_derivation(partition, epoch, row)


def proposal(number: int) -> Evolved:
    sources = ((f"m{number}", 1), (f"m{number + 1}", 1))
    return Evolved(f"p{number}", "acme", "notes", EvolutionKind.SUMMARY, sources, (), AT)


def names(store: MemoryRecordStore) -> set[str]:
    return {row.name for row in store.derivations(0, PROPOSAL)}


async def test_EVO_1_GOV_9_an_erasure_reads_no_proposals_about_others() -> None:
    store = Watched()
    store.take(0, "one", 1)
    with ThreadPoolExecutor(1) as executor:
        first, second = EvolutionBook(store, executor), EvolutionBook(store, executor)
        first.open(0, 1)
        for number in range(0, 80, 2):
            await first.put(PLACE, proposal(number))
        store.rows = 0
        for number in (4, 9):
            await first.forget(0, [CubeKey("acme", f"m{number}"), CubeKey("other", "m0")])
        assert store.rows == 0
        assert names(store) == {f"p{n}" for n in range(0, 80, 2)} - {"p4", "p8"}
        # Another owner reads them once.
        second.open(0, 1)
        store.rows = 0
        for number in range(10, 20):
            await second.forget(0, [CubeKey("acme", f"m{number}")])
        assert store.rows == 38
        assert names(store) == {f"p{n}" for n in (0, 2, 6, *range(20, 80, 2))}


async def test_EVO_1_GOV_9_what_was_cut_off_goes_with_the_next_look() -> None:
    store = Watched()
    store.take(0, "one", 1)
    with ThreadPoolExecutor(1) as executor:
        book = EvolutionBook(store, executor)
        book.open(0, 1)
        await book.put(PLACE, proposal(0))
        store.armed = True
        with pytest.raises(UnavailableError):
            await book.forget(0, [CubeKey("acme", "m0")])
        assert names(store) == {"p0"}
        await book.tidy(0)
        assert names(store) == set()
        # What comes behind the erasure of its memories goes, too.
        await book.put(PLACE, proposal(2))
        await book.tidy(0)
        assert names(store) == set()


async def test_EVO_1_GOV_9_no_row_is_written_behind_the_erasure_of_its_memory() -> None:
    store = Held()
    store.take(0, "one", 1)
    with ThreadPoolExecutor(2) as executor:
        book = EvolutionBook(store, executor)
        book.open(0, 1)
        putting = asyncio.create_task(book.put(PLACE, proposal(4)))
        await eventually(store.writing.is_set)
        forgetting = asyncio.create_task(book.forget(0, [CubeKey("acme", "m5")]))
        # It has all the time to come before the row.
        await asyncio.wait([forgetting], timeout=0.2)
        store.go.set()
        await asyncio.gather(putting, forgetting)
        assert names(store) == set()
        # What is proposed anew, of what is there, stays.
        await book.put(PLACE, proposal(6))
        assert names(store) == {"p6"}
