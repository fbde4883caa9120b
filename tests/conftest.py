"""The order of the test run, the servers that it shares, and how Hypothesis runs in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from memos_ray.testing.postgres_server import PostgresServer, PostgresUnavailableError
from tests.balance import FromBothEnds, place

_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 4 << 30

# Machines differ in speed, so no test case has a deadline. The same examples in every run: what
# fails is then the work of a change. `--hypothesis-profile random` looks for others.
settings.register_profile(
    "memos",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.register_profile("random", settings.get_profile("memos"), derandomize=False)
settings.load_profile("memos")


def pytest_configure(config: pytest.Config) -> None:
    """Puts the data of tests into memory where there is room: a flush to a disk takes its time."""
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first."""
    items.sort(key=place)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FromBothEnds | None:
    """Has `--dist loadfile` give files away from both ends."""
    return FromBothEnds(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server; whoever stops it starts it again."""
    try:
        server = PostgresServer()
        server.start()
    except PostgresUnavailableError as error:
        pytest.skip(f"no PostgreSQL server here: {error}")
    yield server
    server.stop()
