"""Work behind the answers: one errand after the other, and none that fails unseen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from memos_ray.core.defects import describe_defect
from memos_ray.errors import MemosError

_log = logging.getLogger(__name__)


class Errands:
    """Runs errands in the order in which they are left, so that a later one finds what an earlier
    one has done.

    Concurrency: runs on the actor's event loop.
    """

    def __init__(self, what: str) -> None:
        """Takes what the errands are about, for the log."""
        self._what = what
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._put_off: set[asyncio.TimerHandle] = set()

    def leave(self, errand: Coroutine[Any, Any, None]) -> None:
        """Has something done; a failure is logged."""
        task = asyncio.create_task(self._run(errand))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def put_off(self, make: Callable[[], Coroutine[Any, Any, None]], after_s: float) -> None:
        """Leaves an errand after a while; others come before it."""

        def leave() -> None:
            self._put_off.discard(timer)
            self.leave(make())

        timer = asyncio.get_running_loop().call_later(after_s, leave)
        self._put_off.add(timer)

    async def settle(self) -> None:
        """Returns when everything that was left is done; what was put off is given up."""
        for timer in self._put_off:
            timer.cancel()
        self._put_off.clear()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _run(self, errand: Coroutine[Any, Any, None]) -> None:
        async with self._turn:
            try:
                await errand
            except MemosError as error:
                # Among them: another owner has the partition now, and does the rest.
                _log.warning("%s: not written or erased: %s", self._what, error.code)
            except Exception as error:
                _log.warning("%s: not written or erased: %s", self._what, describe_defect(error))
