"""READ-3, GOV-9: what has the id of an erased memory now does not follow that one's sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from memos_ray.actors.extraction.book import ExtractionBook
from memos_ray.actors.extraction.feed import ExtractConsumer
from memos_ray.core.cube.metadata import SourceRef
from memos_ray.core.extraction import Aside
from memos_ray.core.vault.operations import Age, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import MemosError
from memos_ray.testing.cubes import START, key_of, make_commit, make_cube
from memos_ray.testing.record_store import MemoryRecordStore


async def followed(names_its_source: bool, position: int) -> list[str]:
    """Has what was set aside follow an erased source; returns what is erased with it."""
    store, asked = MemoryRecordStore(), list[str]()
    store.take(0, "one", 1)
    made = make_cube("an extract", id="c", sources=(SourceRef(cube_id="s", version=1),))
    anew = made if names_its_source else make_cube("a note", id="c")
    store.commit(make_commit([made]))
    store.commit(make_commit(after=1, erased=[made]))
    store.commit(make_commit([anew], after=2))

    async def submit(
        wanted: Sequence[Submission], *, whole: bool = False
    ) -> list[Written | MemosError]:
        for one in wanted:
            assert isinstance(one.write.operation, Age)
            asked.append(one.write.operation.cube_id)
        return [Written("c", 0, 0, 4) for _ in wanted]

    with ThreadPoolExecutor(1) as executor:
        book = ExtractionBook(store, executor)
        book.open(0, 1)
        await book.load(0)
        consumer = ExtractConsumer(
            0,
            book=book,
            store=store,
            executor=executor,
            submit=submit,
            guard=None,  # type: ignore[arg-type]
            now=lambda: START,
            position=lambda: position,
            window=2,
            tokens=100,
            counters=Counter(),
        )
        key, gone = key_of(made), frozenset(["s"])
        await book.set_aside(0, Aside(key, "notes", "user:ann", gone, "frozen", 1, START))
        await consumer.again([key])
        assert book.asides(0) == []
    return asked


async def test_READ_3_GOV_9_a_memory_with_the_id_of_an_erased_one_stays() -> None:
    assert await followed(names_its_source=False, position=1) == []


async def test_READ_3_GOV_9_what_was_made_of_the_source_goes() -> None:
    assert await followed(names_its_source=True, position=1) == ["c"]
    # Whoever has the id since before the log was followed was set aside itself.
    assert await followed(names_its_source=False, position=3) == ["c"]
