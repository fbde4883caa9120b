"""Receipts through the SDK, in process and over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memos_ray import AsyncMemOS
from memos_ray.client.local import LocalTransport
from memos_ray.client.opening import Opened
from memos_ray.errors import InvalidInputError, NotFoundError
from memos_ray.testing.http_door import http_door
from memos_ray.testing.in_process import in_process


@pytest.fixture(params=["local", "http"])
async def memos(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncMemOS]:
    if request.param == "local":
        async with in_process(tmp_path) as made:
            client = AsyncMemOS()
            credential = made.administrator.credential
            client.attach(Opened(LocalTransport(made.doorway), credential), owns=False)
            yield client
    else:
        with http_door(tmp_path) as door:
            async with AsyncMemOS(url=door.url, api_key=door.admin_key) as client:
                yield client


async def test_an_erasure_has_a_receipt(memos: AsyncMemOS) -> None:
    stored = await memos.add("Ana lives in Lima.")
    assert stored.id
    with pytest.raises(NotFoundError):
        await memos.receipt(stored.id)
    await memos.delete(stored.id, hard=True)
    async with asyncio.timeout(60):
        while (receipt := await memos.receipt(stored.id)).state != "done":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert receipt.id == stored.id and receipt.verified()
    assert await memos.receipt(stored.id, namespace=receipt.namespace) == receipt
    with pytest.raises(InvalidInputError):
        await memos.receipt("")
