"""An ASGI application of this process on a real loopback socket, in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from queue import Queue
from typing import TypeVar

import uvicorn
from starlette.types import ASGIApp

T = TypeVar("T")

_START_S = 240.0


@contextmanager
def http_server(opening: AbstractAsyncContextManager[tuple[ASGIApp, T]]) -> Iterator[tuple[str, T]]:
    """Serves an application for the length of a block.

    Args:
        opening: gives the application and whatever else the block needs; entered and left in the
            server's thread.

    Yields:
        The URL, and what `opening` gave.
    """
    outcome: Queue[T | BaseException] = Queue()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        servers: list[uvicorn.Server] = []

        async def serve() -> None:
            async with opening as (app, found):
                config = uvicorn.Config(app, lifespan="off", ws="none", log_level="warning")
                server = uvicorn.Server(config)
                servers.append(server)
                listener.listen()
                outcome.put(found)
                await server.serve([listener])

        def run() -> None:
            try:
                asyncio.run(serve())
            except BaseException as error:
                outcome.put(error)

        thread = threading.Thread(target=run, name="http server", daemon=True)
        thread.start()
        found = outcome.get(timeout=_START_S)
        if isinstance(found, BaseException):
            raise found
        try:
            yield url, found
        finally:
            servers[0].should_exit = True
            thread.join(_START_S)
