"""The record stores of the contract suites."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from memos_ray.ports import RecordStorePort
from memos_ray.testing.record_backends import Backend, Owner, in_memory, on_postgres, on_sqlite

_partitions = itertools.count(10)


@pytest.fixture(scope="module", params=["memory", "sqlite", "postgres"])
def backend(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backend]:
    match request.param:
        case "memory":
            made = in_memory()
        case "sqlite":
            made = on_sqlite(tmp_path_factory.mktemp("records"))
        case _:
            made = on_postgres(request.getfixturevalue("postgres"))
    yield made
    made.store.close()


@pytest.fixture
def records(backend: Backend) -> RecordStorePort:
    return backend.store


@pytest.fixture
def database(backend: Backend) -> RecordStorePort:
    """A store that asks a database instead of judging by itself."""
    if backend.query is None:
        pytest.skip("in memory, predicates are judged by what they are compared with")
    return backend.store


@pytest.fixture
def partition() -> int:
    """A partition that no other test uses."""
    return next(_partitions)


@pytest.fixture
def owner(records: RecordStorePort, partition: int) -> Owner:
    """The owner of that partition, under epoch 1."""
    records.take(partition, "shard-0", 1)
    return Owner(records, partition)
