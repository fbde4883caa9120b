"""The REST door over a MemOS in this process, on a real loopback socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp

from memos_ray.actors.extraction.extraction import ExtractionParts
from memos_ray.core.scheduling import Learning
from memos_ray.ports import ClockPort, KvBuilderPort, ModelPort, TrainerPort
from memos_ray.testing.http_server import http_server
from memos_ray.testing.rest_door import rest_door


@dataclass(frozen=True, slots=True)
class HttpDoor:
    """Where it is, and the administrator's key."""

    url: str
    admin_key: str


@contextmanager
def http_door(
    folder: Path,
    models: Mapping[str, ModelPort] | None = None,
    kv_builder: KvBuilderPort | None = None,
    trainer: TrainerPort | None = None,
    learning: Mapping[str, Learning] | None = None,
    clock: ClockPort | None = None,
    extraction: ExtractionParts | None = None,
) -> Iterator[HttpDoor]:
    """Opens the door for the length of a block, in a thread; `folder` keeps the data."""

    @asynccontextmanager
    async def opening() -> AsyncIterator[tuple[ASGIApp, str]]:
        opened = rest_door(
            folder,
            models=models,
            kv_builder=kv_builder,
            trainer=trainer,
            learning=learning,
            clock=clock,
            extraction=extraction,
        )
        async with opened as door:
            yield door.app, door.memos.administrator.credential

    with http_server(opening()) as (url, key):
        yield HttpDoor(url, key)
