"""An OpenAI-compatible endpoint that follows a script, on a real loopback socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from memos_ray.testing.http_server import http_server

USAGE = {
    "choices": [],
    "usage": {
        "prompt_tokens": 11,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 4},
    },
}


def said(text: str, finish: str | None = None) -> dict[str, Any]:
    """An event of an answer."""
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


OPENING = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
GOOD = (OPENING, said("one "), said("two"), said("", "stop"), USAGE, "[DONE]")


@dataclass(frozen=True, slots=True)
class Reply:
    """What the endpoint does with one request: an error, or events and then an end of some kind."""

    events: Sequence[Any] = GOOD
    then: str = "end"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None


Replying = Callable[[dict[str, Any]], Reply]


@dataclass
class Endpoint:
    """Follows a script, a reply for each request; the last one is for all that follow.

    Attributes:
        script: replies, or what makes them from the body of a request.
        asked: path, headers and body of every request.
        left: requests whose caller went away before the end.
    """

    script: list[Reply | Replying] = field(default_factory=lambda: [Reply()])
    asked: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    left: int = 0

    def reset(self) -> None:
        """Begins anew."""
        self.script, self.left = [Reply()], 0
        self.asked.clear()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        body = b""
        more = True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append((scope["path"], headers, json.loads(body)))
        next = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        reply = next if isinstance(next, Reply) else next(json.loads(body))
        if reply.status != 200:
            await self._start(send, reply, "application/json")
            refusal = reply.body
            written = refusal if isinstance(refusal, bytes) else json.dumps(refusal).encode()
            await send({"type": "http.response.body", "body": written})
            return
        await self._start(send, reply, "text/event-stream")
        for event in reply.events:
            line = event if isinstance(event, str) else json.dumps(event)
            chunk = f": alive\n\ndata: {line}\n\n".encode()
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if reply.then == "break":
            raise ConnectionResetError
        if reply.then == "hang":
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left += 1
            return
        await send({"type": "http.response.body", "body": b""})

    async def _start(self, send: Send, reply: Reply, kind: str) -> None:
        headers = {"content-type": kind, **reply.headers}
        lines = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": lines})


def answer(text: str, finish: str = "stop") -> Reply:
    """A whole answer, in one piece."""
    return Reply([OPENING, said(text), said("", finish), USAGE, "[DONE]"])


@contextmanager
def openai_endpoint() -> Iterator[tuple[str, Endpoint]]:
    """Serves an endpoint for the length of a block; yields its address, up to `/v1`, and itself."""

    @asynccontextmanager
    async def opening() -> AsyncIterator[tuple[ASGIApp, Endpoint]]:
        endpoint = Endpoint()
        yield endpoint, endpoint

    with http_server(opening()) as (url, endpoint):
        yield f"{url}/v1", endpoint
