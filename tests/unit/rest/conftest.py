"""One REST door for each module; and nothing that a caller sends may turn up in a log."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from memos_ray.config import LimitSettings
from memos_ray.testing.rest_door import RestDoor, rest_door

CANARY = "walrus"
"""A word that tests put into what they store and ask, and that no log may repeat."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RestDoor]:
    limits = LimitSettings(text_bytes=2000, batch_items=50, request_bytes=100_000)
    async with rest_door(tmp_path_factory.mktemp("door"), limits=limits) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _discreet_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    # The client's own log, which names each URL, is none of ours.
    caplog.set_level(logging.WARNING, "httpx")
    with caplog.at_level(logging.DEBUG):
        yield
    assert CANARY not in caplog.text
    assert "Traceback" not in caplog.text
    assert "mk_default_" not in caplog.text
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
