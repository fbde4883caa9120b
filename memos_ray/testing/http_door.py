"""The REST door over a MemOS in this process, on a real loopback socket."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

import uvicorn

from memos_ray.ports import ModelPort
from memos_ray.testing.rest_door import rest_door

_START_S = 60.0


@dataclass(frozen=True, slots=True)
class HttpDoor:
    """Where it is, and the administrator's key."""

    url: str
    admin_key: str


@contextmanager
def http_door(folder: Path, models: Mapping[str, ModelPort] | None = None) -> Iterator[HttpDoor]:
    """Opens the door for the length of a block, in a thread; `folder` keeps the data."""
    outcome: Queue[HttpDoor | BaseException] = Queue()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        servers: list[uvicorn.Server] = []

        async def serve() -> None:
            async with rest_door(folder, models=models) as door:
                config = uvicorn.Config(door.app, lifespan="off", ws="none", log_level="warning")
                server = uvicorn.Server(config)
                servers.append(server)
                listener.listen()
                outcome.put(HttpDoor(url, door.memos.administrator.credential))
                await server.serve([listener])

        def run() -> None:
            try:
                asyncio.run(serve())
            except BaseException as error:
                outcome.put(error)

        thread = threading.Thread(target=run, name="http door", daemon=True)
        thread.start()
        found = outcome.get(timeout=_START_S)
        if isinstance(found, BaseException):
            raise found
        try:
            yield found
        finally:
            servers[0].should_exit = True
            thread.join(_START_S)
