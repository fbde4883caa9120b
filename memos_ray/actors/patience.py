"""Tries again what may work a moment later: stores and authorities that are away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from memos_ray.errors import MemosError

_T = TypeVar("_T")
_RETRY_MIN_S = 0.2
_RETRY_MAX_S = 10.0
_log = logging.getLogger(__name__)


async def patiently(act: Callable[[], Awaitable[_T]], what: str) -> _T:
    """Returns what `act` returns, once it does; waits longer before each new attempt.

    Args:
        what: it is about, for the log.

    Raises:
        MemosError: what cannot be tried again.
    """
    retry_s = _RETRY_MIN_S
    while True:
        try:
            return await act()
        except MemosError as error:
            if not error.retryable:
                raise
            _log.warning("%s: tried again after %s", what, error.code)
        await asyncio.sleep(retry_s)
        retry_s = min(2 * retry_s, _RETRY_MAX_S)
