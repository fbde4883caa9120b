"""API-2 and API-3 on every record store: what was made of what, and how logs are filtered."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from memos_ray.adapters.sql.records import SqlRecordStore
from memos_ray.core.cube.cube import Change, MemCube, ParentRef, VersionInfo
from memos_ray.core.cube.metadata import SourceRef
from memos_ray.core.vault.log import Outcome
from memos_ray.ports import EventQuery, RecordStorePort
from memos_ray.testing.cubes import START, make_cube, make_event
from memos_ray.testing.record_backends import Owner

TENANT = "acme"


def of(id: str, *sources: str, **fields: object) -> MemCube:
    named = tuple(SourceRef(cube_id=source, version=1) for source in sources)
    return make_cube(id=id, sources=named, **fields)  # type: ignore[arg-type]


def test_API_2_what_was_made_of_a_memory_is_found(records: RecordStorePort, owner: Owner) -> None:
    owner.commit(of("a"), of("b", "a"), of("c", "a", "b"), of("d", "a", tenant="umbrella"))
    partition = owner.partition
    assert records.derived(partition, TENANT, "a", "", 10) == ["b", "c"]
    assert records.derived(partition, TENANT, "a", "b", 10) == ["c"]
    assert records.derived(partition, TENANT, "a", "", 1) == ["b"]
    assert records.derived(partition, TENANT, "b", "", 10) == ["c"]
    assert records.derived(partition, TENANT, "c", "", 10) == []
    assert records.derived(partition, "umbrella", "a", "", 10) == ["d"]


def test_API_2_links_are_those_of_the_newest_version(
    records: RecordStorePort, owner: Owner
) -> None:
    first = of("b", "a")
    owner.commit(of("a"), first)
    info = VersionInfo(
        2,
        first.version.digest,
        Change.MERGE,
        "user:ann",
        START,
        (ParentRef("b", 1), ParentRef("x", 1)),
    )
    sources = (SourceRef(uri="https://example.org"),)
    owner.commit(
        replace(first, version=info, descriptive=replace(first.descriptive, sources=sources))
    )
    assert records.derived(owner.partition, TENANT, "a", "", 10) == []
    # The other parent of a merge counts, the memory's own version before does not.
    assert records.derived(owner.partition, TENANT, "x", "", 10) == ["b"]
    assert records.derived(owner.partition, TENANT, "b", "", 10) == []


def test_API_2_erased_memories_leave_no_links(records: RecordStorePort, owner: Owner) -> None:
    made = of("b", "a")
    owner.commit(of("a"), made)
    owner.commit(erased=[made])
    assert records.derived(owner.partition, TENANT, "a", "", 10) == []


def test_API_2_ids_that_no_index_holds_stop_no_commit(
    records: RecordStorePort, owner: Owner
) -> None:
    long = "x" * 5000
    owner.commit(of("b", long, "nul\0", "it's 100 %"))
    assert records.derived(owner.partition, TENANT, long, "", 10) == []
    assert records.derived(owner.partition, TENANT, "it's 100 %", "", 10) == ["b"]


def test_API_3_reads_are_found_by_each_memory_that_they_name(
    records: RecordStorePort, owner: Owner
) -> None:
    many = make_event(make_cube(id="x"), 0)._replace(
        cube_id=None,
        detail={"count": 3, "memories": 'a b_1 c%"d'},
    )
    one = make_event(make_cube(id="a"), 0)._replace(operation="get", detail={"memories": "a"})
    records.add_accesses(owner.partition, [many, one])

    def found(id: str) -> list[str]:
        query = EventQuery(cube_id=id)
        return [event.operation for event in records.accesses(owner.partition, 0, 10, query)]

    assert found("a") == [many.operation, "get"]
    assert found("b_1") == [many.operation] == found('c%"d')
    for other in ("b", "bx1", "c", "%", 'd"', "count"):
        assert found(other) == []


def test_API_3_outcome_form_and_the_end_of_what_is_looked_at(
    records: RecordStorePort, owner: Owner
) -> None:
    commit = owner.commit(of("a"), of("b"), of("c"))
    partition = owner.partition
    records.add_accesses(
        partition,
        [
            make_event(make_cube(id="a"), 0)._replace(outcome=Outcome.DENIED),
            make_event(make_cube(id="gone"), 0)._replace(outcome=Outcome.DONE),
        ],
    )

    def reads(**fields: object) -> list[str | None]:
        query = EventQuery(**fields)  # type: ignore[arg-type]
        return [event.cube_id for event in records.accesses(partition, 0, 10, query)]

    assert reads(outcome="denied") == ["a"]
    assert reads(form="plaintext") == ["a"]
    assert reads(form="parameter") == []
    events = records.events(partition, 0, 10, EventQuery(form="plaintext", through=2))
    assert [event.lsn for event in events] == [1, 2] and len(commit.events) == 3


def test_API_3_a_log_is_entered_at_a_moment(records: RecordStorePort, owner: Owner) -> None:
    partition = owner.partition
    assert records.log_position(partition, START, reads=True) == 0
    entries = [
        make_event(make_cube(id=f"c{n}"), 0)._replace(at=START + timedelta(hours=n))
        for n in range(5)
    ]
    records.add_accesses(partition, entries)
    for hours, position in ((-1, 0), (0, 0), (1, 1), (3.5, 4), (9, 5)):
        at = START + timedelta(hours=hours)
        assert records.log_position(partition, at, reads=True) == position
    assert records.log_position(partition, START, reads=False) == 0


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.derived(1, TENANT, "a", "", 5),
        lambda store: store.accesses(1, 0, 9, EventQuery(request_id="r", through=2**62)),
        lambda store: store.accesses(1, 0, 9, EventQuery(cube_id="a", through=10_000)),
        lambda store: store.events(1, 0, 9, EventQuery(tenant=TENANT, cube_id="a")),
        lambda store: store.events(1, 0, 9, EventQuery(form="plaintext", through=10_000)),
        lambda store: store.log_position(1, START, reads=True),
    ],
    ids=["derived", "request", "reads of one", "events of one", "form", "moment"],
)
def test_API_3_no_question_is_a_scan(
    tmp_path: Path, ask: Callable[[RecordStorePort], object]
) -> None:
    """Each is found by an index, or looks at a window of the log."""
    store = SqlRecordStore.embedded(tmp_path)
    store.take(1, "shard-0", 1)
    Owner(store, 1).commit(of("a"))
    asked: list[tuple[str, Any]] = []

    def note(*call: Any) -> None:
        asked.append((call[2], call[3]))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        ask(store)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
        store.close()
    (file,) = tmp_path.rglob("*.sqlite")
    selects = [one for one in asked if one[0].lstrip().startswith("SELECT")]
    with closing(sqlite3.connect(file)) as database:
        for sql, values in selects:
            for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", values):
                assert not row[3].startswith("SCAN"), row[3]
    assert selects
