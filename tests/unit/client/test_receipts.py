"""Receipts through the SDK, in process and over HTTP."""

from __future__ import annotations

import asyncio

import pytest

from memos_ray import AsyncMemOS
from memos_ray.errors import InvalidInputError, NotFoundError


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
