"""What the synchronous client stands on; its verbs, in `memos_ray.client.sync`, are generated."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from memos_ray.client.asynchronous import AsyncMemOS
from memos_ray.client.loop_thread import LoopThread
from memos_ray.client.opening import open_transport
from memos_ray.config import Settings

A = TypeVar("A")


class Blocking(Generic[A]):
    """The verbs of an asynchronous object, run on a loop in a thread of its own."""

    def __init__(self, wrapped: A, loop: LoopThread) -> None:
        self._async = wrapped
        self._loop = loop


class BlockingClient(Blocking[AsyncMemOS]):
    """A client of the memory service, safe to use from many threads; see `AsyncMemOS`.

    Connects at once. Concurrent calls share few round trips to the shards.
    """

    def __init__(
        self,
        *,
        data: Path | str | None = None,
        address: str | None = None,
        url: str | None = None,
        api_key: str | None = None,
        settings: Settings | None = None,
        purpose: str | None = None,
        role: str | None = None,
        application: str | None = None,
    ) -> None:
        # Ray starts from the caller's thread, as its signal handlers want it.
        opened = open_transport(data, address, url, api_key, settings)
        client = AsyncMemOS(purpose=purpose, role=role, application=application)
        client.attach(opened, owns=True)
        super().__init__(client, LoopThread())
        self._owns_loop = True

    @classmethod
    def _over(cls, client: AsyncMemOS, loop: LoopThread) -> Self:
        """Returns a view: a client on a loop that another one ends."""
        view = object.__new__(cls)
        view._async, view._loop, view._owns_loop = client, loop, False
        return view

    def close(self) -> None:
        """Disconnects; ends the cluster that `data=` started. Views of this client end with it."""
        if self._owns_loop and self._async.is_open:
            try:
                self._loop.run(self._async.close())
            finally:
                self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
