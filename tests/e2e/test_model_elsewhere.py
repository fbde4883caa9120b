"""A model behind an endpoint, asked through the REST door of a real cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from memos_ray import InvalidInputError, MemOS, OverloadedError
from memos_ray.cli.cluster.server import Server
from memos_ray.cluster.keyring import Keyring
from memos_ray.config import Settings
from memos_ray.testing.http_server import http_server

pytestmark = pytest.mark.e2e

# Any deadline that follows from the gateway's would have passed; that one is enough for what a
# busy machine does itself.
_LIMIT_S, _LONG_S = 10.0, 22.0


async def _answer(request: Request) -> StreamingResponse:
    """Repeats the last message; takes its time in the middle when it is asked to be slow."""
    body = await request.json()
    said = body["messages"][-1]["content"]
    known = "Lima" in body["messages"][0]["content"]

    async def events() -> AsyncIterator[bytes]:
        for text, finish in ((f"{said} ", None), (f"known: {known}", "stop")):
            choice = {"delta": {"content": text}, "finish_reason": finish}
            yield b"data: " + orjson.dumps({"choices": [choice]}) + b"\n\n"
            if said == "slowly" and finish is None:
                await asyncio.sleep(_LONG_S)
        yield b"data: [DONE]\n\n"

    if said == "busy":
        return StreamingResponse(iter([b"{}"]), 429, {"Retry-After": "9"})
    return StreamingResponse(events(), media_type="text/event-stream")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    @asynccontextmanager
    async def opening() -> AsyncIterator[tuple[ASGIApp, None]]:
        yield Starlette(routes=[Route("/v1/chat/completions", _answer, methods=["POST"])]), None

    with http_server(opening()) as (url, _):
        yield f"{url}/v1"


@pytest.fixture(scope="module")
def memos(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemOS]:
    factory = "memos_ray.testing.embedders:HashingEmbedder"
    settings = Settings.model_validate(
        {
            "data": tmp_path_factory.mktemp("memos"),
            "models": [{"name": "remote", "engine": "openai", "base_url": endpoint}],
            "gateway": {"port": 0, "timeout_s": _LIMIT_S},
            "vectors": {"enabled": False},
            "embedder": {"kind": "custom", "factory": factory},
        }
    )
    server = Server(settings)
    running = server.start()
    try:
        key = Keyring(settings).admin_key()
        with MemOS(url=running.url, api_key=key) as client:
            yield client
    finally:
        server.stop()


def test_it_gets_the_memories_as_text(memos: MemOS) -> None:
    memos.add("Ana lives in Lima.")
    assert memos.models() == ["remote"]
    assert memos.chat("Where does Ana live?").text == "Where does Ana live? known: True"
    assert memos.chat("Who?", memory="off").text == "Who? known: False"


def test_an_answer_may_take_longer_than_other_requests(memos: MemOS) -> None:
    assert memos.chat("slowly", memory="off").text == "slowly known: False"


def test_its_errors_are_the_callers(memos: MemOS) -> None:
    with pytest.raises(OverloadedError) as busy:
        memos.chat("busy", memory="off")
    assert busy.value.details["retry_after_s"] == 9
    added = memos.add("Bo lives in Quito.")
    with pytest.raises(InvalidInputError, match="endpoint"):
        memos.convert([added.id or ""])
