"""Waiting for what is bound to happen, without guessing when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_PATIENCE_S = 120.0
_LOOK_S = 0.01


async def eventually(condition: Callable[[], bool]) -> None:
    """Returns as soon as a condition holds.

    Raises:
        TimeoutError: it does not within two minutes, which no machine needs, however busy.
    """
    async with asyncio.timeout(_PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)
