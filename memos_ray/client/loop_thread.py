"""An event loop for callers that have none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any, TypeVar

from memos_ray.errors import InvalidInputError

T = TypeVar("T")


class LoopThread:
    """An event loop in a daemon thread, which any thread may hand work to."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="memos-ray client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Carries out a coroutine and returns its result; blocks.

        Raises:
            InvalidInputError: the loop has been closed.
        """
        if self._loop.is_closed():
            work.close()
            raise InvalidInputError("the client is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def each(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        """Yields the items of a generator, none of which is `None`; leaving early ends it."""
        try:
            while (item := self.run(_next(items))) is not None:
                yield item
        finally:
            # A loop that closes has ended its generators.
            if not self._loop.is_closed():
                self.run(items.aclose())

    def close(self) -> None:
        """Ends the loop and its thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()


async def _next(items: AsyncGenerator[T, None]) -> T | None:
    return await anext(items, None)
