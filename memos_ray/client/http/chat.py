"""Conversations over HTTP: the OpenAI-compatible route, read back into events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import httpx
import orjson

from memos_ray.errors import InternalError, UnavailableError
from memos_ray.gateway.chat.models import ChatEvent, ChatQuery, ChatUsage
from memos_ray.gateway.chat.openai_models import ChatChunk, Usage
from memos_ray.gateway.problem_model import Problem
from memos_ray.gateway.problems import error_of_problem

PATH = "/v1/chat/completions"
_DATA, _END = "data: ", "[DONE]"


def body_of(query: ChatQuery) -> dict[str, object]:
    """Returns the body of the request; what was not set stays the service's business."""
    body = query.model_dump(mode="json", exclude_unset=True)
    if "speaker" in body:
        body["user"] = body.pop("speaker")
    return {**body, "stream": True, "stream_options": {"include_usage": True}}


async def events_of(
    client: httpx.AsyncClient, headers: Mapping[str, str], query: ChatQuery
) -> AsyncGenerator[ChatEvent, None]:
    """Asks, and yields the answer as it comes; leaving early cancels it.

    Raises:
        UnavailableError: nobody answers, or the connection broke.
        MemosError: what the service raised, before or under way.
        httpx.HTTPStatusError: the service refused; the caller knows what that stands for.
    """
    content = orjson.dumps(body_of(query))
    request = client.build_request(
        "POST",
        PATH,
        content=content,
        headers={**headers, "Content-Type": "application/json"},
        # A model may think for long before its first word.
        timeout=httpx.Timeout(None, connect=5.0),
    )
    try:
        answer = await client.send(request, stream=True)
    except httpx.TransportError:
        raise UnavailableError("nobody answers there", url=str(client.base_url)) from None
    try:
        if not answer.is_success:
            await answer.aread()
            answer.raise_for_status()
        async with aclosing(_events(answer)) as events:
            async for event in events:
                yield event
    except httpx.TransportError:
        raise UnavailableError("the connection broke") from None
    finally:
        await answer.aclose()


async def _events(answer: httpx.Response) -> AsyncGenerator[ChatEvent, None]:
    held: ChatEvent | None = None
    async for line in answer.aiter_lines():
        if not line.startswith(_DATA):
            continue
        data = line.removeprefix(_DATA)
        if data == _END:
            if held is not None:
                yield held
            return
        found = orjson.loads(data)
        if "error" in found:
            raise error_of_problem(Problem.model_validate(found))
        chunk = ChatChunk.model_validate(found)
        event = _event(chunk)
        if chunk.choices and event.finish is None:
            yield event
        else:
            # The usage comes behind the last word, in a chunk of its own.
            held = event if held is None else held.model_copy(update={"usage": event.usage})
    raise InternalError("the stream has no end")


def _event(chunk: ChatChunk) -> ChatEvent:
    choice = chunk.choices[0] if chunk.choices else None
    memory = chunk.memory
    first = choice is not None and choice.delta.role is not None
    return ChatEvent(
        text=(choice.delta.content or "") if choice else "",
        memories=memory.used if memory is not None and (first or memory.used) else None,
        finish=choice.finish_reason if choice else None,
        usage=_usage(chunk.usage),
        stored=memory.stored if memory is not None and not first else None,
        store_error=memory.store_error if memory is not None else None,
        response=memory.response if memory is not None else None,
        explanation=memory.explanation if memory is not None else None,
    )


def _usage(usage: Usage | None) -> ChatUsage | None:
    if usage is None:
        return None
    return ChatUsage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.prompt_tokens_details.cached_tokens,
    )
