"""Servers that the whole test run shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from memos_ray.testing.postgres_server import PostgresServer, PostgresUnavailableError


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
