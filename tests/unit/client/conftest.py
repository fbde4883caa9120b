"""The SDK over both transports: in this process and over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from memos_ray import AsyncMemOS
from memos_ray.client.local import LocalTransport
from memos_ray.client.opening import Opened
from memos_ray.testing.http_door import http_door
from memos_ray.testing.in_process import in_process


@pytest.fixture
def parts() -> dict[str, Any]:
    """What `memos` is made of, beside what every MemOS has: modules give their own."""
    return {}


@pytest.fixture(params=["local", "http"])
async def memos(
    request: pytest.FixtureRequest, parts: dict[str, Any], tmp_path: Path
) -> AsyncIterator[AsyncMemOS]:
    """A client of the administrator's."""
    folder = tmp_path / "memos"
    folder.mkdir()
    if request.param == "local":
        async with in_process(folder, **parts) as made:
            client = AsyncMemOS()
            credential = made.administrator.credential
            client.attach(Opened(LocalTransport(made.doorway), credential), owns=False)
            yield client
    else:
        with http_door(folder, **parts) as door:
            async with AsyncMemOS(url=door.url, api_key=door.admin_key) as client:
                yield client
