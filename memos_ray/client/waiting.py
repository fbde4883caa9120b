"""Looking again while a service is away: who waits for something goes on waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from memos_ray.errors import UnavailableError

T = TypeVar("T")

_PATIENCE_S = 300.0
_PAUSE_S = 0.5


async def seen(look: Callable[[], Awaitable[T]]) -> T:
    """Returns what `look` sees; while the service is away, it looks again for some minutes.

    Raises:
        MemosError: what `look` raised, when looking again cannot help or has not in time.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return await look()
        except UnavailableError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(_PAUSE_S)
