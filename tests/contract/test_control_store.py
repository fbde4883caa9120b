"""The contract of `ControlStorePort`: documents with compare-and-set, and their audit events."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from memos_ray.adapters.sql.control import SqlControlStore
from memos_ray.adapters.sql.engine import open_server
from memos_ray.core.vault.log import ControlChange, ControlRecord, Event
from memos_ray.errors import DatabaseInUseError, InvalidInputError, VersionConflictError
from memos_ray.ports import ControlStorePort, EventQuery
from memos_ray.testing.control_store import MemoryControlStore
from memos_ray.testing.cubes import START
from memos_ray.testing.postgres_server import PostgresServer

_tenants = itertools.count()


@pytest.fixture(scope="module", params=["memory", "sqlite", "postgres"])
def control(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlStorePort]:
    made: ControlStorePort
    match request.param:
        case "memory":
            made = MemoryControlStore()
        case "sqlite":
            made = SqlControlStore.embedded(tmp_path_factory.mktemp("control"))
        case _:
            made = SqlControlStore.clustered(request.getfixturevalue("postgres").new_database())
    yield made
    made.close()


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test uses."""
    return f"tenant-{next(_tenants)}"


def put(tenant: str, key: str, expected: int = 0, body: bytes | None = b"{}") -> ControlChange:
    return ControlChange(tenant, "grant", key, body, expected)


def make_event(tenant: str, operation: str = "grant") -> Event:
    return Event(0, START, tenant, "notes", "user:ann", operation, detail={"role": "reader"})


def log(control: ControlStorePort, tenant: str) -> list[Event]:
    return control.events(0, 10_000, EventQuery(tenant=tenant))


def test_documents_are_as_they_were_put(control: ControlStorePort, tenant: str) -> None:
    assert control.get(tenant, "grant", "a") is None
    assert tenant not in control.tenants()
    changes = [
        ControlChange(tenant, kind, key, f"{kind} {key} \0\xff".encode(), 0)
        for kind, key in (("key", "B"), ("grant", "ä"), ("grant", "b"), ("grant", "Z"))
    ]
    control.commit(changes, [])
    records = control.load(tenant)
    assert [(one.kind, one.key) for one in records] == [
        ("grant", "Z"),
        ("grant", "b"),
        ("grant", "ä"),
        ("key", "B"),
    ]
    assert records[0] == ControlRecord(tenant, "grant", "Z", 1, changes[3].body or b"")
    assert control.get(tenant, "grant", "ä") == records[2]
    assert control.get(tenant, "key", "ä") is None
    assert tenant in control.tenants()


def test_tenants_do_not_meet(control: ControlStorePort, tenant: str) -> None:
    other = tenant + "-b"
    control.commit([put(tenant, "a"), put(other, "a", body=b"theirs")], [])
    control.commit([put(tenant, "a", 1, None)], [])
    assert control.load(tenant) == []
    assert [record.body for record in control.load(other)] == [b"theirs"]
    assert tenant not in control.tenants()


def test_a_revision_grows_with_each_change(control: ControlStorePort, tenant: str) -> None:
    control.commit([put(tenant, "a")], [])
    control.commit([put(tenant, "a", 1, b"two")], [])
    control.commit([put(tenant, "a", 2, b"three")], [])
    assert control.get(tenant, "grant", "a") == ControlRecord(tenant, "grant", "a", 3, b"three")
    control.commit([put(tenant, "a", 3, None)], [])
    assert control.get(tenant, "grant", "a") is None
    control.commit([put(tenant, "a", 0, None)], [])
    control.commit([put(tenant, "a", 0, b"anew")], [])
    assert control.get(tenant, "grant", "a") == ControlRecord(tenant, "grant", "a", 1, b"anew")


@pytest.mark.parametrize(
    ("key", "expected", "body"),
    [
        ("held", 0, b"new"),
        ("held", 0, None),
        ("held", 1, b"new"),
        ("held", 3, b"new"),
        ("held", 1, None),
        ("absent", 1, b"new"),
        ("absent", 1, None),
    ],
    ids=[
        "there already",
        "should not be there",
        "moved on",
        "not so far",
        "moved on before its removal",
        "not there",
        "removed already",
    ],
)
def test_another_revision_is_a_conflict_and_nothing_is_written(
    control: ControlStorePort, tenant: str, key: str, expected: int, body: bytes | None
) -> None:
    control.commit([put(tenant, "held"), put(tenant, "other")], [make_event(tenant)])
    control.commit([put(tenant, "held", 1, b"two")], [])
    before = control.load(tenant), log(control, tenant)
    changes = [put(tenant, "other", 1, b"x"), put(tenant, "new"), put(tenant, key, expected, body)]
    with pytest.raises(VersionConflictError):
        control.commit(changes, [make_event(tenant)])
    assert (control.load(tenant), log(control, tenant)) == before


def test_changes_of_one_commit_see_one_another(control: ControlStorePort, tenant: str) -> None:
    control.commit([put(tenant, "a"), put(tenant, "a", 1, b"two"), put(tenant, "b")], [])
    assert control.get(tenant, "grant", "a") == ControlRecord(tenant, "grant", "a", 2, b"two")
    with pytest.raises(VersionConflictError):
        control.commit([put(tenant, "c"), put(tenant, "c")], [])


@pytest.mark.parametrize("place", ["tenant", "kind", "key"])
def test_names_that_no_store_holds_are_refused(
    control: ControlStorePort, tenant: str, place: str
) -> None:
    for name in ("nul\0", "half \ud800", "n" * 513):
        bad = replace(put(tenant, "a"), **{place: name})  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError):
            control.commit([put(tenant, "good"), bad], [make_event(tenant)])
    with pytest.raises(InvalidInputError):
        control.commit([put(tenant, "good")], [make_event(tenant)._replace(principal="nul\0")])
    assert (control.load(tenant), log(control, tenant)) == ([], [])
    longest = replace(put(tenant, "a"), **{place: "n" * 512})  # type: ignore[arg-type]
    control.commit([longest], [])


def test_events_are_numbered_in_commit_order(control: ControlStorePort, tenant: str) -> None:
    events = [make_event(tenant, f"operation-{n}") for n in range(5)]
    control.commit([put(tenant, "a")], events[:2])
    control.commit([], events[2:])
    found = log(control, tenant)
    first = found[0].lsn
    assert found == [event._replace(lsn=first + n) for n, event in enumerate(events)]
    assert control.events(first, 2, EventQuery(tenant=tenant)) == found[1:3]


def test_events_are_found_by_what_a_query_names(control: ControlStorePort, tenant: str) -> None:
    later = START + timedelta(seconds=1)
    events = [
        make_event(tenant, "grant"),
        make_event(tenant, "key")._replace(principal="user:bob", at=later, request_id="r-1"),
        make_event(tenant, "revoke")._replace(namespace="", at=later, cube_id="c"),
    ]
    control.commit([], events)

    def operations(**conditions: object) -> list[str]:
        query = EventQuery(tenant=tenant, **conditions)  # type: ignore[arg-type]
        return [event.operation for event in control.events(0, 1_000, query)]

    assert operations() == ["grant", "key", "revoke"]
    assert operations(principal="user:bob") == ["key"]
    assert operations(operation="revoke") == ["revoke"]
    assert operations(namespace="") == ["revoke"]
    assert operations(request_id="r-1") == ["key"]
    assert operations(cube_id="c") == ["revoke"]
    assert operations(since=later) == ["key", "revoke"]
    assert operations(until=later) == ["grant"]


def test_of_many_at_once_one_wins_each_revision(control: ControlStorePort, tenant: str) -> None:
    """Counting by compare-and-set loses no step, and every step has its event."""
    control.commit([put(tenant, "count", 0, b"0")], [])
    start = threading.Barrier(4)

    def count(_: int) -> None:
        start.wait()
        done = 0
        while done < 10:
            record = control.get(tenant, "grant", "count")
            assert record is not None
            body = str(int(record.body) + 1).encode()
            try:
                control.commit(
                    [put(tenant, "count", record.revision, body)], [make_event(tenant, "step")]
                )
            except VersionConflictError:
                continue
            done += 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    record = control.get(tenant, "grant", "count")
    assert record is not None
    assert (record.body, record.revision) == (b"40", 41)
    lsns = [event.lsn for event in log(control, tenant)]
    assert lsns == list(range(lsns[0], lsns[0] + 40))


def test_several_may_create_the_same_document_and_one_does(
    control: ControlStorePort, tenant: str
) -> None:
    start = threading.Barrier(4)

    def create(number: int) -> bool:
        start.wait()
        try:
            control.commit([put(tenant, "one", 0, str(number).encode())], [make_event(tenant)])
        except VersionConflictError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(create, range(4)))
    assert won.count(True) == 1
    record = control.get(tenant, "grant", "one")
    assert record is not None
    assert int(record.body) == won.index(True)
    assert len(log(control, tenant)) == 1


def test_what_is_claimed_can_be_claimed_again_by_its_holder(control: ControlStorePort) -> None:
    control.claim()
    control.claim()


class TestOneClusterPerDatabase:
    def test_a_second_cluster_is_refused_until_the_first_is_gone(
        self, postgres: PostgresServer
    ) -> None:
        url = postgres.new_database()
        first, second = SqlControlStore.clustered(url), SqlControlStore.clustered(url)
        first.claim()
        with pytest.raises(DatabaseInUseError):
            second.claim()
        # It may read and write all the same: shards and gateways never claim anything.
        second.commit([put("tenant-x", "a")], [])
        first.close()
        second.claim()
        second.close()

    def test_a_lost_session_is_a_lost_claim(self, postgres: PostgresServer) -> None:
        url = postgres.new_database()
        first, second = SqlControlStore.clustered(url), SqlControlStore.clustered(url)
        first.claim()
        with closing(open_server(url)) as database, database.read() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks"
                    " WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
                )
            )
        first.claim()
        with pytest.raises(DatabaseInUseError):
            second.claim()
        first.close()
        second.close()
