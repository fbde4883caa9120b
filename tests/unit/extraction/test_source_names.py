"""READ-3, GOV-9: a document of which something was erased costs what was stored with it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from memos_ray.actors.extraction.names import SourceNames
from memos_ray.actors.vault.residency import Place
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.metadata import SourceRef
from memos_ray.core.cube.predicate import Predicate
from memos_ray.core.extraction import SourceProgress, Totals
from memos_ray.ports import Damaged
from memos_ray.testing.cubes import START, make_commit, make_cube
from memos_ray.testing.record_store import MemoryRecordStore

PLACE = Place(0, "acme", "notes")
URI = "file:///diagnosis.pdf"


class Watched(MemoryRecordStore):
    """Counts the memories that scans return."""

    seen = 0

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
        found = super().scan(partition, tenant, namespace, predicate, after, limit, damaged)
        self.seen += len(found)
        return found


def stored(store: MemoryRecordStore, cubes: Sequence[MemCube]) -> None:
    store.commit(make_commit(cubes, after=store.last_lsn(0)))


def erase(store: MemoryRecordStore, cube: MemCube) -> None:
    store.commit(make_commit(after=store.last_lsn(0), erased=[cube]))


async def test_READ_3_GOV_9_an_erased_part_of_a_document_has_no_other_memories_read() -> None:
    store = Watched()
    store.take(0, "one", 1)
    document = (SourceRef(uri=URI),)
    parts = [
        make_cube(f"part {n}", id=f"d{n}", at=START + timedelta(seconds=n), sources=document)
        for n in range(8)
    ]
    later = [
        make_cube(f"tea {n}", id=f"t{n}", at=START + timedelta(days=1, seconds=n))
        for n in range(1000)
    ]
    stored(store, [*parts, *later])
    totals = Totals(sources=(SourceProgress(URI, "user:ann", read=8, witness="d7"),))
    with ThreadPoolExecutor(1) as executor:
        names = SourceNames(store, executor)
        assert await names.witnesses(PLACE, totals) == {(URI, "user:ann"): ("d7", "d7")}
        while len(parts) > 1:
            erase(store, parts.pop())
            found = await names.witnesses(PLACE, totals)
            totals = totals.witnessed(found)
            assert [one.witness for one in totals.sources] == [parts[-1].id]
        assert store.seen < 40
        # Whether there is something elsewhere is looked for once, when nothing is left there.
        erase(store, parts.pop())
        assert await names.witnesses(PLACE, totals) == {(URI, "user:ann"): ("d0", "")}
        assert store.seen < 1100
